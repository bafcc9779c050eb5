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
#include "engine/search/budget.h"
#include "engine/search/judgements.h"
#include "engine/search/model_calls.h"
#include "engine/search/placement.h"
#include "engine/search/recorded_config.h"
#include "engine/variation/judge.h"
#include "engine/variation/text_rules.h"
#include "tools/command_line.h"
#include "tools/data_root.h"
#include "tools/inspect/run_reader.h"
#include "tools/inspect/screen_text.h"
#include "tools/inspect/text_table.h"

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

/// Asks within the run's caps and on its account, as part of the variation that the winner came from.
ModelReply asked_reply(Archive& archive, Endpoint& endpoint, const Suspect& suspect,
                       const BudgetLimits& budget) {
  ModelRequest request = suspect.request;
  const CostBound most = endpoint.cost_max(request);
  if (!can_call(budget, archive.spent(), most))
    return {.id = request.id, .failure = "budget", .message = "the run's budget allows no further call"};
  request.limit = {.tokens = budget.tokens > 0 ? most.tokens : 0, .usd = budget.usd > 0 ? most.usd : 0};
  ModelCallRecord record = sent_record(request, endpoint.name(), most);
  record.ordinal = suspect.record.variation;
  CostBound lost;
  for (const ModelCallRecord& known : archive.model_calls(record.ordinal))
    if (known.request_id == request.id) lost = {.tokens = known.tokens_most, .usd = known.usd_most};
  if (lost == CostBound{})
    archive.record_model_call(record);
  else
    archive.record_model_call_again(request.id, most.tokens, most.usd);  // of a judge that was stopped
  const ModelReply reply = answer_of(endpoint, request);
  CostBound cost = reply.failure == "timeout" ? most : most_of(reply.cost);  // nobody waits to hear
  cost += lost;
  archive.record_model_reply(ended_record(reply, record.ordinal, cost));
  return reply;
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
      make_endpoint(endpoint_config_from_option(options.endpoint, "--judge"),
                    {.http = http, .clock = {}, .run_folder = options.run, .recordings = {}});
  Archive archive = Archive::open(options.run);
  const BudgetLimits budget =
      recorded_run_config(archive.run().configuration, options.run + ": configuration").budget;
  std::vector<std::vector<std::string>> rows{{"#", "summary", "because", "opinion", "reason", "lines"}};
  for (const Suspect& suspect : asked) {
    const ModelReply reply = asked_reply(archive, *endpoint, suspect, budget);
    if (reply.failure == "budget") {
      program.out << reply.message << "\n";
      break;
    }
    const auto lines = static_cast<int>(split_lines(suspect.record.candidate.source).size());
    const auto opinion = reply.failure.empty() ? parse_opinion(reply.text, lines) : std::nullopt;
    const Judgement judgement = judgement_of(suspect.record.ordinal, suspect.grounds, opinion, reply.model);
    archive.append_event(event_of(judgement));
    rows.push_back({fmt::to_string(judgement.ordinal), cut_to(clean_line(suspect.record.summary), 40),
                    fmt::format("{}", fmt::join(judgement.grounds, " ")), judgement.opinion,
                    clean_line(judgement.reason), fmt::format("{}", fmt::join(judgement.lines, " "))});
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
