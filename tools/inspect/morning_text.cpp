// SPDX-License-Identifier: Apache-2.0
// The page, part by part.
#include "tools/inspect/morning_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/inspect/explain_text.h"
#include "tools/inspect/screen_text.h"
#include "tools/inspect/text_table.h"

namespace kernelites {
namespace {

constexpr std::size_t k_failures_shown = 8;
constexpr std::size_t k_advice_shown = 5;
constexpr std::size_t k_facts_shown = 4;

using Rows = std::vector<std::vector<std::string>>;

std::string gain_words(const Gain& gain) {
  return fmt::format("{:.3f}x [{:.3f}, {:.3f}]", gain.x, gain.low, gain.high);
}

/// Headline: the best, how much faster, how sure.
std::string headline(const RunFacts& run, std::size_t columns) {
  std::string text =
      wrapped(fmt::format("{} on {}, {} ({})", run.title.empty() ? run.run.task : run.title,
                          run.device.kind.empty() ? "?" : run.device.kind, run.run.state, run.folder),
              columns);
  if (!run.best) return text + "No candidate has been proven yet.\n";
  const EliteFacts& best = *run.best;
  std::string words = fmt::format("The best is #{} ({}), {:.3f}x as fast as the baseline", best.ordinal,
                                  best.cell, best.speedup);
  if (best.over_baseline)
    words += fmt::format(", {:.4g} % interval [{:.3f}, {:.3f}] of {} paired rounds",
                         100 * best.over_baseline->confidence, best.over_baseline->low,
                         best.over_baseline->high, best.over_baseline->rounds);
  words += best.is_modelled ? ", modelled and not measured." : ", measured.";
  if (run.baseline)
    words += fmt::format(" The baseline is #{}: {}.", run.baseline->ordinal, run.baseline->summary);
  words += fmt::format(" Examinations that it passed: {}; duels: {}, of them confirmations: {}.",
                       best.proof.examinations, best.proof.duels, best.proof.confirmations);
  return text + wrapped(words, columns);
}

std::string tried_text(const RunFacts& run, std::size_t columns) {
  const std::int64_t beyond = run.spent.candidates - run.spent.seeds;
  std::string words = fmt::format(
      "{} variations gave {} candidates beyond {} seeds: {} passed every stage, {} different codes, {} "
      "elites in {} cells.",
      run.counters.variations - run.spent.seeds, beyond, run.spent.seeds, run.counters.passed,
      run.counters.distinct_codes, run.elites.size(), run.cells);
  Rows rows{{"operator", "endpoint", "asked", "candidates", "passed", "elites", "usd"}};
  for (const ArmRow& arm : run.arms.rows)
    rows.push_back({arm.ledger.operator_name,
                    arm.ledger.endpoint.empty() ? "-" : clean_line(arm.ledger.endpoint),
                    fmt::to_string(arm.ledger.variations), fmt::to_string(arm.ledger.candidates),
                    fmt::to_string(arm.ledger.passed), fmt::to_string(arm.ledger.elites),
                    fmt::format("{:.4f}", arm.ledger.calls.usd)});
  return wrapped(words, columns) + (rows.size() > 1 ? text_table(rows) : "");
}

std::string why_text(const MorningFacts& facts, std::size_t columns) {
  if (facts.best_chain.empty())
    return facts.run.best ? wrapped("The best is a seed: nothing that was tried is faster.", columns) : "";
  std::string text;
  for (const GainStep& step : facts.best_chain)
    text += wrapped(fmt::format("#{} -> #{} {}: {}", step.change.before.record.ordinal,
                                step.change.after.record.ordinal, step.change.after.record.operator_name,
                                step.change.ratio
                                    ? gain_words(gain_of(step.change.ratio->ratio, step.reasons.is_modelled))
                                    : std::string("gain not known")),
                    columns, 0, 2);
  const GainReasons& last = facts.best_chain.back().reasons;
  text += wrapped(last.conclusion, columns);
  for (std::size_t i = 0; i < std::min(last.facts.size(), k_facts_shown); ++i)
    text += wrapped(fmt::format("- {} ({})", last.facts[i].words, fact_source_name(last.facts[i].source)),
                    columns, 2, 2);
  return text;
}

std::string failures_text(const MorningFacts& facts, std::size_t columns) {
  if (facts.failures.empty()) return "Nothing failed.\n";
  Rows rows{{"times", "stage", "reason", "operator", "endpoint", "newest"}};
  std::int64_t rest = 0;
  for (const FailureGroup& group : facts.failures) {
    if (rows.size() > k_failures_shown) {
      rest += group.count;
      continue;
    }
    rows.push_back({fmt::to_string(group.count), group.stage, group.reason, group.operator_name,
                    group.endpoint.empty() ? "-" : cut_to(clean_line(group.endpoint), 24),
                    fmt::format("#{}", group.newest)});
  }
  std::string text = text_table(rows);
  if (rest > 0) text += wrapped(fmt::format("and {} more of rarer causes", rest), columns);
  return text;
}

std::string spend_text(const RunFacts& run, std::size_t columns) {
  return wrapped(
      fmt::format("{:.4f} USD for {} model calls ({} tokens in, {} out), {:.0f} s of the device, {:.0f} s of "
                  "workers, {:.1f} min of wall clock.",
                  run.spent.usd, run.spent.model_calls, run.spent.input_tokens, run.spent.output_tokens,
                  run.spent.device_s, run.spent.worker_s, run.spent.wall_s / 60),
      columns);
}

std::string head_room_text(const RunFacts& run) {
  Rows rows{{"workload", "champion", "time us", "x", "floor us", "% of floor", "limit", "kind"}};
  for (const WorkloadFacts& workload : run.workloads) {
    if (!workload.champion) continue;
    const double time_us = workload.champion->timing.time_us_median;
    const bool is_known = workload.floor_us > 0 && time_us > 0;
    rows.push_back({workload.name, fmt::format("#{}", workload.champion->ordinal),
                    fmt::format("{:.2f}", time_us), fmt::format("{:.3f}", workload.champion->speedup),
                    is_known ? fmt::format("{:.2f}", workload.floor_us) : "?",
                    is_known ? fmt::format("{:.1f}", 100 * workload.floor_us / time_us) : "?", workload.limit,
                    workload.champion->timing.is_modelled ? "modelled" : "measured"});
  }
  return rows.size() > 1 ? text_table(rows) : "No workload has a champion yet.\n";
}

std::string advice_text(const MorningFacts& facts, std::size_t columns) {
  std::string text;
  std::size_t told = 0;
  for (const Advice& advice : next_steps(facts)) {
    if (told++ == k_advice_shown) break;
    // A command is one line, however long: it is to be copied.
    text += wrapped("- " + advice.why, columns, 0, 2) + "    " + advice.command + "\n";
  }
  return text;
}

}  // namespace

MorningFacts morning_facts(const std::string& folder) {
  MorningFacts facts{.run = run_facts(folder),
                     .failures = failure_groups(std::filesystem::path(folder) / "run.db"),
                     .best_chain = {}};
  if (facts.run.best) facts.best_chain = gain_chain(read_run(folder), facts.run.best->id);
  return facts;
}

std::string morning_text(const MorningFacts& facts, std::size_t columns) {
  const auto part = [](const char* title, const std::string& text) {
    return text.empty() ? text : fmt::format("\n{}\n{}", title, text);
  };
  return headline(facts.run, columns) + part("WHAT WAS TRIED", tried_text(facts.run, columns)) +
         part("WHY THE BEST IS FASTER", why_text(facts, columns)) +
         part("WHAT FAILED REPEATEDLY", failures_text(facts, columns)) +
         part("HEAD-ROOM TO THE ROOFLINE", head_room_text(facts.run)) +
         part("SPENT", spend_text(facts.run, columns)) + part("WHAT TO DO NEXT", advice_text(facts, columns));
}

}  // namespace kernelites
