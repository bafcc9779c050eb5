// SPDX-License-Identifier: Apache-2.0
// Advice from the facts of a run: explicit rules, each with its command line.
#include <fmt/format.h>

#include <algorithm>

#include "engine/core/time_verdict.h"
#include "tools/inspect/morning_text.h"
#include "tools/inspect/screen_text.h"

namespace kernelites {
namespace {

constexpr double k_head_room = 0.8;       // below this share of the floor there is something to win
constexpr double k_failure_share = 0.25;  // of one cause among all that was proposed

std::string goes_on(const MorningFacts& facts, const std::string& more) {
  return fmt::format("kernelites run --out {}{}{}", shell_word(facts.run.folder), more.empty() ? "" : " ",
                     more);
}

/// How a run that stopped goes on. Recorded replies are soon all used, and come again.
Advice more_of(const MorningFacts& facts) {
  const Spent& spent = facts.run.spent;
  const std::string budget = fmt::format("--budget-candidates {}", spent.candidates - spent.seeds + 100);
  const Json endpoint = facts.run.run.configuration.value("endpoint", Json());
  const bool is_replay = endpoint.is_object()
                             ? endpoint.value("kind", Json()) == "replay"
                             : endpoint.is_string() && endpoint.get<std::string>().rfind("replay", 0) == 0;
  if (is_replay)
    return {"the run can go on; a model proposes what its recorded replies do not have",
            goes_on(facts, "--endpoint openai:MODEL --budget-usd 5 " + budget)};
  return {"the run can go on; with a larger budget if that was its end", goes_on(facts, budget)};
}

/// The workload that is farthest from its floor, by weight; null if nothing is known.
const WorkloadFacts* most_head_room(const RunFacts& run) {
  const WorkloadFacts* chosen = nullptr;
  double most = 0;
  for (const WorkloadFacts& workload : run.workloads) {
    if (!workload.champion || workload.floor_us <= 0) continue;
    const double room = 1 - workload.floor_us / workload.champion->timing.time_us_median;
    if (room * workload.weight <= most) continue;
    most = room * workload.weight;
    chosen = &workload;
  }
  return chosen;
}

void advise_on_failures(const MorningFacts& facts, std::vector<Advice>& advice) {
  if (facts.failures.empty()) return;
  const FailureGroup& most = facts.failures.front();
  const std::int64_t tried = facts.run.counters.variations - facts.run.spent.seeds;
  if (static_cast<double>(most.count) < k_failure_share * static_cast<double>(tried)) return;
  // Where no model took part there is no prompt to look at.
  const bool has_prompt = most.stage == "reply" && !most.endpoint.empty();
  advice.push_back({fmt::format("{} of {} variations ended at {}: {}; look at one of them{}", most.count,
                                tried, most.stage, most.reason, has_prompt ? " and at the prompt" : ""),
                    fmt::format("kernelites show {} {}{}", shell_word(facts.run.folder), most.newest,
                                has_prompt ? " --prompt" : "")});
}

void advise_on_head_room(const RunFacts& run, std::vector<Advice>& advice) {
  const WorkloadFacts* const room = most_head_room(run);
  if (!room) return;
  const double share = room->floor_us / room->champion->timing.time_us_median;
  if (share >= k_head_room) return;
  const std::string why = fmt::format("most is left at {}: {:.0f} % of the floor that {} sets", room->name,
                                      100 * share, room->limit);
  // A seed has no way to explain: nothing that was tried is faster there.
  const auto is_champion = [&](const LineageNode& node) { return node.ordinal == room->champion->ordinal; };
  const auto node = std::find_if(run.lineage.begin(), run.lineage.end(), is_champion);
  if (node != run.lineage.end() && !node->parent && node->skipped == 0)
    advice.push_back({why + ", and nothing beats a seed there",
                      fmt::format("kernelites show {} {}", shell_word(run.folder), room->champion->ordinal)});
  else
    advice.push_back(
        {why, fmt::format("kernelites explain {} {}", shell_word(run.folder), room->champion->ordinal)});
}

}  // namespace

std::vector<Advice> next_steps(const MorningFacts& facts) {
  const RunFacts& run = facts.run;
  std::vector<Advice> advice;
  const auto without_time =
      std::find_if(run.seeds_untimed.begin(), run.seeds_untimed.end(),
                   [](const UntimedSeed& seed) { return is_without_time(seed.verdict); });
  if (!run.best && run.failed_seed > 0 && without_time != run.seeds_untimed.end()) {
    advice.push_back({"no seed has a time here: begin with one that has, or on a device that can time it",
                      fmt::format("kernelites run --task {} {}--seeds FILE", shell_word(run.run.task),
                                  run.device.is_virtual ? "--device gpu, or " : "")});
    return advice;
  }
  if (!run.best && run.failed_seed > 0) {
    advice.push_back({fmt::format("{}: see what the first one fails at, mend it, and start a new run",
                                  run.seeds_untimed.empty() ? "no seed passed" : "no seed is left"),
                      fmt::format("kernelites show {} {}", shell_word(run.folder), run.failed_seed)});
    return advice;
  }
  if (!run.best) {
    advice.push_back({"nothing was proven yet: see how far the seeds are, or let the run go on",
                      fmt::format("kernelites log {}", shell_word(run.folder))});
    return advice;
  }
  if (run.end.state == "gone")
    advice.push_back({"the run's process is gone, and the run can go on", goes_on(facts, "")});
  else if (run.end.state != "done" && run.end.state != "running")
    advice.push_back(more_of(facts));
  advise_on_head_room(run, advice);
  if (!run.best_chain.empty() && run.best_chain.back().reasons.explained == Explained::uncounted &&
      !run.device.is_virtual)
    advice.push_back(
        {"no counters say why the best is faster",
         fmt::format("kernelites show {0} {1} --source > best.cu && kernelites profile best.cu --task {2}",
                     shell_word(run.folder), run.best->ordinal, shell_word(run.run.task))});
  if (!run.seeds_left_out.empty())
    advice.push_back(
        {fmt::format("the task's seed {} was left out: time the best beside it", run.seeds_left_out.front()),
         fmt::format("kernelites show {0} {1} --source > best.cu && kernelites bench --task {2} best.cu "
                     "kernels_seed/{2}/{3}",
                     shell_word(run.folder), run.best->ordinal, shell_word(run.run.task),
                     shell_word(run.seeds_left_out.front()))});
  if (without_time != run.seeds_untimed.end() && run.device.is_virtual)
    advice.push_back(
        {fmt::format("seed {} has no time here: time the best beside it on a GPU", without_time->name),
         fmt::format(
             "kernelites show {0} {1} --source > best.cu && kernelites show {0} {2} --source > seed.cu && "
             "kernelites bench --task {3} best.cu seed.cu --device gpu",
             shell_word(run.folder), run.best->ordinal, without_time->ordinal, shell_word(run.run.task))});
  if (run.device.is_virtual)
    advice.push_back(
        {"all times are modelled: prove the best on a GPU before you believe them",
         fmt::format("kernelites show {0} {1} --source > best.cu && kernelites evaluate best.cu --task {2} "
                     "--device gpu",
                     shell_word(run.folder), run.best->ordinal, shell_word(run.run.task))});
  advise_on_failures(facts, advice);
  if (run.spent.model_calls == 0)
    advice.push_back({"no model took part; one proposes what a tuner cannot",
                      goes_on(facts, "--endpoint openai:MODEL --budget-usd 5")});
  if (!run.best_chain.empty())
    advice.push_back(
        {"what changed on the way to the best",
         fmt::format("kernelites explain {} {} --all", shell_word(run.folder), run.best->ordinal)});
  return advice;
}

}  // namespace kernelites
