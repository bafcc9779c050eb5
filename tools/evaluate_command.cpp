// SPDX-License-Identifier: Apache-2.0
// kernelites evaluate: one kernel file through all stages.
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <memory>

#include "engine/core/device_names.h"
#include "engine/core/error.h"
#include "tools/command_line.h"
#include "tools/data_root.h"
#include "tools/evaluation_requests.h"
#include "tools/inspect/evaluation_text.h"
#include "tools/model_key.h"
#include "tools/tuning_words.h"
#include "tools/worker_setup.h"

namespace kernelites {
namespace {

struct EvaluateOptions {
  std::string file;
  std::string task;
  std::string against;
  std::string device = "auto";
  std::string worker;
  std::string data;
  std::string log = "/dev/null";
  std::string model_key;
  std::vector<std::string> tuning;
  int rounds = 30;
  bool is_explain = false;
  bool is_untimed = false;
  bool is_json = false;
};

/// What a verdict on a text that may be no kernel of this task leaves open; empty where it is one.
std::string doubt(const EvaluateOptions& options, const Verdict& verdict) {
  if (verdict.is_passed || (verdict.stage != "plan" && verdict.stage != "compile")) return "";
  if (const auto kind = std::filesystem::path(options.file).extension(); kind != ".cu" && kind != ".cuh")
    return fmt::format("{} does not end in .cu: is it a kernel file?\n", options.file);
  if (verdict.message.find("\"Problem\"") == std::string::npos) return "";
  return fmt::format("a member of Problem is a dim or a tensor of the task: is it a kernel for {}?\n",
                     options.task);
}

void evaluate(const EvaluateOptions& options, Program& program) {
  const DataRoot data = find_data_root(options.data, program.executable);
  const Task task = find_task(options.task, data);
  Candidate candidate = load_candidate(options.file);
  apply_tuning(options.tuning, candidate);
  const Key model_key = model_key_option(options.model_key);
  std::vector<DuelArm> arms{{"candidate", candidate}};
  if (!options.against.empty()) arms.push_back({"against", load_candidate(options.against)});

  const auto pool =
      start_workers({}, options.device, find_worker(options.worker, program.executable), options.log);
  const std::string device = device_of(pool->provenance());
  const DeviceFacts facts = pool->provenance().device;
  const Examination examination = examine(*pool, task, device, "examine", candidate);
  std::optional<Duel> timed;
  if (examination.verdict.is_passed && !options.is_untimed) {
    if (arms.size() > 1) {
      const Examination other = examine(*pool, task, device, "examine-against", arms[1].candidate);
      if (!other.verdict.is_passed)
        throw ConfigError("--against", options.against, "does not pass: " + other.verdict.message);
    }
    timed = duel(*pool, task, device, arms, options.rounds, {}, model_key);
  }
  const Verdict& verdict = timed && !timed->verdict.is_passed ? timed->verdict : examination.verdict;
  program.exit_code = verdict.is_passed ? exit_done : exit_failed;

  if (options.is_json) {
    Json json{{"verdict", verdict}, {"device", facts}, {"examination", examination}};
    if (timed) {
      json["duel"] = *timed;
      json["rates"] = rates_json(task, facts, *timed);
    }
    program.out << json.dump(2) << "\n";
    return;
  }
  program.out << fmt::format("{} on {}\n", options.file, facts.kind);
  if (options.is_explain) program.out << examination_text(examination);
  if (!options.is_explain || (timed && !timed->verdict.is_passed)) {
    program.out << (verdict.is_passed ? std::string("passed\n")
                                      : fmt::format("failed at stage {} ({}): {}\n", verdict.stage,
                                                    verdict.reason, verdict.message));
    for (const Diagnostic& diagnostic : verdict.diagnostics)
      program.out << fmt::format("  {}{}\n",
                                 diagnostic.line > 0 ? fmt::format("line {}: ", diagnostic.line) : "",
                                 diagnostic.message);
  }
  program.out << doubt(options, verdict);
  if (timed) program.out << duel_text(task, facts, *timed);
}

}  // namespace

void add_evaluate_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<EvaluateOptions>();
  command.add_option("file", options->file, "The .cu file")->required();
  command.add_option("--task", options->task, "Task name or folder")->required();
  command.add_option("--against", options->against, "Another file to time it against, paired");
  command.add_option("--tune", options->tuning, k_tune_option_words);
  command.add_option("--device", options->device, "auto, gpu, vgpu or vgpu:rtx4090")
      ->check(CLI::IsMember(device_names()));
  command.add_option("--rounds", options->rounds, "Rounds of timing")->check(CLI::Range(2, 1000));
  command.add_option("--model-key", options->model_key, k_model_key_words);
  command.add_option("--worker", options->worker, "The worker program");
  command.add_option("--log", options->log, "File for the worker's messages");
  command.add_option("--data", options->data, "Folder that holds tasks/, kernels_seed/ and prompts/");
  command.add_flag("--explain", options->is_explain,
                   "Stages, kind, resources, launches, errors against their gates");
  command.add_flag("--no-timing", options->is_untimed, "Prove it only");
  command.add_flag("--json", options->is_json, "Print JSON");
  command.footer("Example: kernelites evaluate kernels_seed/rmsnorm/naive.cu --task rmsnorm --explain");
  command.callback([options, &program] { evaluate(*options, program); });
}

}  // namespace kernelites
