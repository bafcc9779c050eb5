// SPDX-License-Identifier: Apache-2.0
// kernelites judge: asks a model about the suspicious winners of a run. Its answer can flag, and never pass.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>

#include <chrono>
#include <map>
#include <memory>
#include <set>

#include "engine/core/error.h"
#include "engine/llm/http_loop.h"
#include "engine/llm/make_endpoint.h"
#include "engine/search/judgements.h"
#include "engine/search/placement.h"
#include "engine/variation/judge.h"
#include "engine/variation/text_rules.h"
#include "tools/command_line.h"
#include "tools/data_root.h"
#include "tools/run_reader.h"
#include "tools/text_table.h"

namespace kernelites {
namespace {

constexpr std::chrono::seconds k_answer_max{900};
constexpr std::chrono::milliseconds k_wait{500};

struct JudgeOptions {
  std::string run;
  std::string endpoint;
  std::string data;
};

/// A winner that somebody has to be asked about.
struct Suspect {
  CandidateRecord record;
  std::vector<std::string> grounds;
  ModelRequest request;
};

/// Elites and champions of the run that are suspicious and were not judged before.
std::vector<Suspect> suspects(const RunReader& run, const PromptFile& prompt) {
  std::set<std::uint64_t> ordinals;
  const Grid grid = run.archive.grid();
  for (const Elite& elite : grid.elites()) ordinals.insert(elite.ordinal);
  for (const Champion& champion : run.archive.champions()) ordinals.insert(champion.ordinal);
  for (const Judgement& judgement : judgements(run.archive)) ordinals.erase(judgement.ordinal);
  std::vector<Suspect> found;
  for (const std::uint64_t ordinal : ordinals) {
    const auto evaluated = run.archive.evaluated(ordinal);
    if (!evaluated || !evaluated->examination || !evaluated->examination->examination || !evaluated->duel ||
        !evaluated->duel->duel || evaluated->record.operator_name == "seed")
      continue;
    const Winner winner{.task = run.task,
                        .source = evaluated->record.candidate.source,
                        .examination = *evaluated->examination->examination,
                        .duel = *evaluated->duel->duel,
                        .device = run.device,
                        .gain = speedup_over(*evaluated->duel->duel, run.baseline_id, run.weights)};
    const std::vector<std::string> grounds = grounds_against(winner);
    if (grounds.empty()) continue;
    found.push_back({.record = evaluated->record,
                     .grounds = grounds,
                     .request = judge_request(winner, prompt, fmt::format("{}-judge", ordinal))});
    found.back().request.ordinal = ordinal;
  }
  return found;
}

/// The reply to a request; what does not come in time is cancelled.
ModelReply answer_of(Endpoint& endpoint, const ModelRequest& request) {
  const auto deadline = std::chrono::steady_clock::now() + k_answer_max;
  endpoint.submit(request);
  for (;;) {
    endpoint.pump();
    // One that was given up may still be answered.
    if (auto reply = endpoint.take(); reply && reply->id == request.id) return *reply;
    if (std::chrono::steady_clock::now() > deadline) {
      endpoint.cancel(request.id);
      return ModelReply{.id = request.id, .failure = "timeout"};
    }
    std::vector<pollfd> others;
    endpoint.wait(others, k_wait);
  }
}

void judge(const JudgeOptions& options, Program& program) {
  const DataRoot data = find_data_root(options.data, program.executable);
  const std::filesystem::path file = data.folder / "prompts" / "judge.md";
  const PromptFile prompt = parse_prompt(read_text(file), file.string());
  if (prompt.placeholders != std::set<std::string>{"formula", "grounds", "reasons", "source"})
    throw ConfigError(file.string(), "placeholders", "expected formula, grounds, reasons and source");
  const std::vector<Suspect> asked = suspects(read_run(options.run), prompt);
  HttpLoop http;
  const auto endpoint =
      make_endpoint(endpoint_config_from_option(options.endpoint),
                    {.http = http, .clock = {}, .run_folder = options.run, .recordings = {}});
  Archive archive = Archive::open(options.run);
  std::vector<std::vector<std::string>> rows{{"#", "summary", "because", "opinion", "reason", "lines"}};
  for (const Suspect& suspect : asked) {
    const ModelReply reply = answer_of(*endpoint, suspect.request);
    const auto lines = static_cast<int>(split_lines(suspect.record.candidate.source).size());
    const auto opinion = reply.failure.empty() ? parse_opinion(reply.text, lines) : std::nullopt;
    const Judgement judgement = judgement_of(suspect.record.ordinal, suspect.grounds, opinion, reply.model);
    archive.append_event(event_of(judgement));
    rows.push_back({fmt::to_string(judgement.ordinal), suspect.record.summary.substr(0, 40),
                    fmt::format("{}", fmt::join(judgement.grounds, " ")), judgement.opinion, judgement.reason,
                    fmt::format("{}", fmt::join(judgement.lines, " "))});
  }
  program.out << text_table(rows);
  std::map<std::string, int> counts;
  for (const Judgement& judgement : judgements(archive)) ++counts[judgement.opinion];
  program.out << fmt::format("\n{} flagged, {} clean, {} without an opinion\n", counts[k_opinion_flagged],
                             counts[k_opinion_clean], counts[k_opinion_none]);
}

}  // namespace

void add_judge_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<JudgeOptions>();
  command.add_option("run", options->run, "Folder of a run that is not running")->required();
  command.add_option("--judge", options->endpoint, "The model that is asked: as --endpoint of run")
      ->required();
  command.add_option("--data", options->data, "Folder that holds tasks/, kernels_seed/ and prompts/");
  command.footer("Example: kernelites judge runs/rmsnorm --judge openai:MODEL");
  command.callback([options, &program] { judge(*options, program); });
}

}  // namespace kernelites
