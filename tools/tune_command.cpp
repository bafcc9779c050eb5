// SPDX-License-Identifier: Apache-2.0
// kernelites tune: every choice of a file's tunables, proved and timed against its default.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "engine/core/error.h"
#include "engine/search/placement.h"
#include "engine/variation/tuning.h"
#include "tools/command_line.h"
#include "tools/data_root.h"
#include "tools/evaluation_requests.h"
#include "tools/text_table.h"
#include "tools/worker_setup.h"

namespace kernelites {
namespace {

struct TuneOptions {
  std::string file;
  std::string task;
  std::string device = "auto";
  std::string worker;
  std::string data;
  std::string log = "/dev/null";
  std::size_t choices_max = 64;
  int rounds = 20;
  bool is_json = false;
};

struct Choice {
  Candidate candidate;
  Verdict verdict;
  double speedup = 0;  ///< over the default; 0: not timed
  std::optional<PairedRatio> ratio;
  std::string code_digest;
};

/// The default, then everything within one change of it, then within two, at most `count_max`.
std::vector<Choice> choices_of(const Candidate& start, std::size_t count_max) {
  std::vector<Choice> choices{{.candidate = start}};
  const std::vector<Tunable> tunables = parse_tunables(start.source);
  for (int changes : {1, 2})
    for (Tuning& tuning : neighbours(tunables, start.tuning, changes, count_max))
      if (choices.size() < count_max) choices.push_back({.candidate = {start.source, std::move(tuning)}});
  return choices;
}

void examine_all(Evaluator& pool, const Task& task, const std::string& device, std::vector<Choice>& choices) {
  std::map<std::string, Request> requests;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    Request request = request_for(task, device, fmt::format("examine-{}", i), 600);
    request.examine = ExamineRequest{.candidate = choices[i].candidate, .key = Key::random()};
    requests.emplace(request.id, std::move(request));
  }
  ask_all(pool, requests, [&](const Reply& reply) {
    Choice& choice = choices[std::stoul(reply.id.substr(8))];
    choice.verdict =
        reply.examination ? reply.examination->verdict : Verdict::failed("worker", "lost", reply.error);
    if (reply.examination) choice.code_digest = reply.examination->code_digest;
  });
}

void duel_all(Evaluator& pool, const Task& task, const std::string& device, int rounds,
              std::vector<Choice>& choices) {
  std::map<std::string, Request> requests;
  for (std::size_t i = 1; i < choices.size(); ++i) {
    if (!choices[i].verdict.is_passed) continue;
    Request request =
        duel_request(task, device, fmt::format("duel-{}", i),
                     {{"candidate", choices[i].candidate}, {"default", choices[0].candidate}}, rounds);
    requests.emplace(request.id, std::move(request));
  }
  const auto weights = workload_weights(task);
  ask_all(pool, requests, [&](const Reply& reply) {
    Choice& choice = choices[std::stoul(reply.id.substr(5))];
    if (!reply.duel) {
      choice.verdict = Verdict::failed("worker", "lost", reply.error);
    } else if (!reply.duel->verdict.is_passed) {
      choice.verdict = reply.duel->verdict;
    } else {
      choice.ratio = pooled_ratio(*reply.duel, "default", weights);
      if (choice.ratio) choice.speedup = std::exp(-choice.ratio->log_ratio_median);
    }
  });
}

std::string tuning_text(const Tuning& tuning) {
  std::vector<std::string> words;
  for (const auto& [name, value] : tuning) words.push_back(fmt::format("{}={}", name, value));
  return fmt::format("{}", fmt::join(words, " "));
}

void print_choices(const std::vector<Choice>& choices, bool is_json, const DeviceFacts& device,
                   std::ostream& out) {
  Json json = Json::array();
  std::vector<std::vector<std::string>> rows{{"tunables", "speed-up", "interval", "verdict"}};
  for (const Choice& choice : choices) {
    json.push_back(
        {{"tuning", choice.candidate.tuning}, {"verdict", choice.verdict}, {"speedup", choice.speedup}});
    const std::string interval =
        choice.ratio ? fmt::format("[{:.3f}, {:.3f}] n={}", std::exp(-choice.ratio->log_ratio_high),
                                   std::exp(-choice.ratio->log_ratio_low), choice.ratio->rounds)
                     : "";
    rows.push_back(
        {tuning_text(choice.candidate.tuning),
         choice.speedup > 0 ? fmt::format("{:.3f}", choice.speedup) : "-", interval,
         choice.verdict.is_passed ? "passed" : choice.verdict.stage + ": " + choice.verdict.reason});
  }
  if (is_json)
    out << Json{{"device", device}, {"is_modelled", device.is_virtual}, {"choices", json}}.dump(2) << "\n";
  else
    out << fmt::format("on {}, speed-ups over the default, {}\n", device.kind,
                       device.is_virtual ? "modelled" : "measured")
        << text_table(rows);
}

void tune(const TuneOptions& options, Program& program) {
  const DataRoot data = find_data_root(options.data, program.executable);
  const Task task = find_task(options.task, data);
  const Candidate start = load_candidate(options.file);
  if (start.tuning.empty())
    throw ConfigError(options.file, "", "declares no tunables (// tune: NAME = 32 | 64)");
  std::vector<Choice> choices = choices_of(start, options.choices_max);

  const auto pool =
      start_workers({}, options.device, find_worker(options.worker, program.executable), options.log);
  const std::string device = device_of(pool->provenance());
  examine_all(*pool, task, device, choices);
  if (choices[0].verdict.is_passed) {
    choices[0].speedup = 1;
    duel_all(*pool, task, device, options.rounds, choices);
  }
  std::stable_sort(choices.begin(), choices.end(),
                   [](const Choice& a, const Choice& b) { return a.speedup > b.speedup; });
  print_choices(choices, options.is_json, pool->provenance().device, program.out);
  const bool is_any_passed =
      std::any_of(choices.begin(), choices.end(), [](const Choice& c) { return c.verdict.is_passed; });
  program.exit_code = is_any_passed ? exit_done : exit_failed;
}

}  // namespace

void add_tune_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<TuneOptions>();
  command.add_option("file", options->file, "The .cu file")->required();
  command.add_option("--task", options->task, "Task name or folder")->required();
  command.add_option("--device", options->device, "auto, gpu or vgpu")
      ->check(CLI::IsMember({"auto", "gpu", "vgpu"}));
  command.add_option("--choices", options->choices_max, "At most so many choices")
      ->check(CLI::Range(2, 4096));
  command.add_option("--rounds", options->rounds, "Rounds of timing")->check(CLI::Range(2, 1000));
  command.add_option("--worker", options->worker, "The worker program");
  command.add_option("--log", options->log, "File for the worker's messages");
  command.add_option("--data", options->data, "Folder that holds tasks/, kernels_seed/ and prompts/");
  command.add_flag("--json", options->is_json, "Print JSON");
  command.footer(
      "Example: kernelites tune kernels_seed/gqa_decode_splitkv/split_kv.cu --task gqa_decode_splitkv");
  command.callback([options, &program] { tune(*options, program); });
}

}  // namespace kernelites
