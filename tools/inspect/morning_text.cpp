// SPDX-License-Identifier: Apache-2.0
// The page, part by part.
#include "tools/inspect/morning_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "engine/core/time_verdict.h"
#include "tools/inspect/explain_text.h"
#include "tools/inspect/screen_text.h"
#include "tools/inspect/text_table.h"

namespace kernelites {
namespace {

constexpr std::size_t k_failures_shown = 8;
constexpr std::size_t k_advice_shown = 5;
constexpr std::size_t k_facts_shown = 3;

using Rows = std::vector<std::vector<std::string>>;

/// A modelled ratio has no spread: an interval would look like certainty.
std::string gain_words(const Gain& gain) {
  return gain.is_modelled ? fmt::format("{:.3f}x", gain.x)
                          : fmt::format("{:.3f}x [{:.3f}, {:.3f}]", gain.x, gain.low, gain.high);
}

/// How sure: of measured times the interval, of modelled ones how far the model is off.
std::string how_sure(const RunFacts& run) {
  const EliteFacts& best = *run.best;
  if (!best.is_modelled) {
    if (!best.over_baseline) return ", measured.";
    return fmt::format(", {:.4g} % interval [{:.3f}, {:.3f}] of {} paired rounds, measured.",
                       100 * best.over_baseline->confidence, best.over_baseline->low,
                       best.over_baseline->high, best.over_baseline->rounds);
  }
  std::string words = ", modelled and not measured.";
  if (!run.model_error) return words + " Nobody has compared the time model with such a device.";
  words +=
      fmt::format(" The time model is {}; {}", error_words(*run.model_error), agreement_words(best.speedup));
  if (!is_told_apart(best.speedup))
    return words +
           fmt::format(": a gain of {:.1f} % cannot be told from none by it.", 100 * (best.speedup - 1));
  std::vector<std::string> below;
  for (const WorkloadTime& time : best.times)
    if (time.over_baseline && !is_told_apart(time.over_baseline->x))
      below.push_back(fmt::format("{} ({:.3f}x)", time.workload, time.over_baseline->x));
  return words + (below.empty()
                      ? "."
                      : fmt::format("; it cannot tell the gain from none at {}.", fmt::join(below, ", ")));
}

bool is_refused(const UntimedSeed& seed) { return !is_without_time(seed.verdict); }

/// Of which seeds the baseline is the best.
std::string best_of_words(const RunFacts& run) {
  const std::size_t all = run.seeds.size(), timed = all - run.seeds_untimed.size();
  if (timed == all)
    return fmt::format("the best of the {} that the run began with",
                       all == 1 ? std::string("one seed") : fmt::format("{} seeds", all));
  return timed == 1 ? fmt::format("the only one of {} seeds that could be timed", all)
                    : fmt::format("the best of {} of {} seeds, those that could be timed", timed, all);
}

/// What the gain is over, and what it is not.
std::string baseline_words(const RunFacts& run) {
  std::string words;
  if (run.baseline)
    words += fmt::format(" The baseline is #{}: {}, {}.", run.baseline->ordinal, run.baseline->summary,
                         best_of_words(run));
  for (const UntimedSeed& seed : run.seeds_untimed)
    words += fmt::format(" LEFT OUT of all duels: #{} {}, which {} ({}: {}).", seed.ordinal, seed.name,
                         no_duel_words(seed.verdict), seed.verdict.reason, seed.verdict.message);
  if (!run.seeds_left_out.empty())
    words += fmt::format(" LEFT OUT of this run: the task's seed{} {}, which may be as fast.",
                         run.seeds_left_out.size() == 1 ? "" : "s", fmt::join(run.seeds_left_out, ", "));
  return words;
}

/// Of a best that no second process timed, why.
std::string_view why_unconfirmed(const EliteFacts& best) {
  if (best.proof.confirmations > 0) return "";
  return best.is_modelled ? " (of modelled times none is made)" : " (the first of its cell asks for none)";
}

/// Headline: the best, how much faster, how sure, what it is.
std::string headline(const RunFacts& run, std::size_t columns) {
  std::string text =
      wrapped(fmt::format("{} on {}, {} ({})", run.title.empty() ? run.run.task : run.title,
                          run.device.kind.empty() ? "?" : run.device.kind, run.end.state, run.folder),
              columns);
  if (!run.end.words.empty()) text += wrapped("It " + run.end.words + ".", columns);
  if (!run.best && !run.seed_failure.empty())
    return text +
           wrapped(fmt::format("{}: {}.",
                               run.seeds_untimed.empty() ? "No seed passed"
                               : std::all_of(run.seeds_untimed.begin(), run.seeds_untimed.end(), is_refused)
                                   ? "No seed is left: those that passed were refused in stage time"
                                   : "No seed has a time here, though some pass every check",
                               run.seed_failure),
                   columns);
  if (!run.best) return text + "No candidate has been proven yet.\n";
  const EliteFacts& best = *run.best;
  std::string words = fmt::format("The best is #{} ({}), {:.3f}x as fast as the baseline", best.ordinal,
                                  best.cell, best.speedup) +
                      how_sure(run);
  words += baseline_words(run);
  words +=
      fmt::format(" Examinations that it passed: {}; duels: {}, of them confirmations: {}{}.",
                  best.proof.examinations, best.proof.duels, best.proof.confirmations, why_unconfirmed(best));
  text += wrapped(words, columns);
  return run.best_words.empty()
             ? text
             : text + wrapped(fmt::format("What it is: {}.", fmt::join(run.best_words, "; ")), columns);
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

std::string step_text(const GainStep& step, std::size_t columns) {
  const GainReasons& reasons = step.reasons;
  std::string words =
      fmt::format("#{} -> #{} {}: {}", step.change.before.record.ordinal, step.change.after.record.ordinal,
                  step.change.after.record.operator_name,
                  step.change.ratio ? gain_words(gain_of(step.change.ratio->ratio, reasons.is_modelled))
                                    : std::string("gain not known"));
  if (!reasons.workload.empty())
    words +=
        fmt::format("; at {} {:.2f} us -> {:.2f} us", reasons.workload, reasons.before_us, reasons.after_us);
  std::string text = wrapped(words, columns, 0, 2);
  for (const GainFact& fact : leading_facts(reasons, k_facts_shown))
    text += wrapped(
        fmt::format("- {} ({})", fact.brief.empty() ? fact.words : fact.brief, fact_source_name(fact.source)),
        columns, 2, 2);
  return text;
}

std::string why_text(const RunFacts& run, std::size_t columns) {
  if (run.best_chain.empty())
    return run.best ? wrapped("The best is a seed: nothing that was tried is faster.", columns) : "";
  std::vector<std::size_t> told = steps_that_gained(run.best_chain);
  if (told.empty()) told = {run.best_chain.size() - 1};
  std::string text;
  if (run.best_chain.size() > told.size())
    text += wrapped(fmt::format("Of {} steps from its seed those that gained most:", run.best_chain.size()),
                    columns);
  for (const std::size_t at : told) text += step_text(run.best_chain[at], columns);
  return text + wrapped(run.best_chain[told.back()].reasons.conclusion, columns);
}

std::string failures_text(const MorningFacts& facts, std::size_t columns) {
  if (facts.failures.empty())
    return facts.run.seed_failure.empty() ? "Nothing failed.\n"
                                          : wrapped(facts.run.seed_failure + ".", columns);
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
  RunInstant held = hold_run(folder);
  return {.run = run_facts(held, folder), .failures = failure_groups(held.rows)};
}

std::string morning_text(const MorningFacts& facts, std::size_t columns) {
  const auto part = [](const char* title, const std::string& text) {
    return text.empty() ? text : fmt::format("\n{}\n{}", title, text);
  };
  return headline(facts.run, columns) + part("WHAT WAS TRIED", tried_text(facts.run, columns)) +
         part("WHY THE BEST IS FASTER", why_text(facts.run, columns)) +
         part("WHAT FAILED REPEATEDLY", failures_text(facts, columns)) +
         part("HEAD-ROOM TO THE ROOFLINE", head_room_text(facts.run)) +
         part("SPENT", spend_text(facts.run, columns)) + part("WHAT TO DO NEXT", advice_text(facts, columns));
}

}  // namespace kernelites
