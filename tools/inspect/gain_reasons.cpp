// SPDX-License-Identifier: Apache-2.0
// The workload that is explained, the conclusion from its facts, and the chain of steps.
#include "tools/inspect/gain_reasons.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/inspect/gain_facts.h"

namespace kernelites {
namespace {

/// A fact of this share of the difference accounts for it.
constexpr double k_accounts_share = 0.5;
constexpr double k_percent_apart = 0.005;  // of what is called a difference at all

/// A ratio proves nothing if its interval holds 0, or if it is this small.
bool is_proven(const PairedRatio& ratio) {
  return std::abs(ratio.log_ratio_median) >= k_percent_apart &&
         (ratio.log_ratio_high < 0 || ratio.log_ratio_low > 0);
}

double log_ratio_of(const WorkloadTimes& times) {
  if (times.ratio) return times.ratio->log_ratio_median;
  if (!times.before || !times.after) return 0;
  return std::log(times.after->time_us_median / times.before->time_us_median);
}

/// The workload with the greatest change in the direction of the whole; among those of at least half of it the one with
/// the most counters.
const WorkloadTimes* explained_times(const CandidateChange& change) {
  double whole = change.ratio ? change.ratio->ratio.log_ratio_median : 0;
  if (!change.ratio)
    for (const WorkloadTimes& times : change.times) whole += log_ratio_of(times);
  const double sign = whole > 0 ? 1 : -1;
  double greatest = 0;
  for (const WorkloadTimes& times : change.times)
    if (times.before && times.after) greatest = std::max(greatest, sign * log_ratio_of(times));
  const WorkloadTimes* chosen = nullptr;
  std::size_t most = 0;
  for (const WorkloadTimes& times : change.times) {
    const double gain = sign * log_ratio_of(times);
    if (!times.before || !times.after || gain < greatest / 2 || gain <= 0) continue;
    const std::size_t facts = counted_in_both(change, times.workload);
    if (!chosen || facts > most || (facts == most && gain > sign * log_ratio_of(*chosen))) {
      chosen = &times;
      most = facts;
    }
  }
  return chosen;
}

std::string share_text(double share) { return fmt::format("{:.0f} %", 100 * share); }

/// Which facts of known worth go with the difference, and what share of it they come to.
void conclude(GainReasons& reasons) {
  const double saved = reasons.before_us - reasons.after_us;
  double best = 0, sum = 0;
  bool is_counted = false, is_modelled = false, has_overlap = false;
  for (const GainFact& fact : reasons.facts) {
    is_counted = is_counted || fact.source == FactSource::counted;
    is_modelled = is_modelled || fact.source == FactSource::modelled;
    if (!fact.worth_us) {
      has_overlap = has_overlap || fact.source == FactSource::counted;
      continue;
    }
    const double share = *fact.worth_us / saved;
    best = std::max(best, share);
    if (share > 0) sum += share;
  }
  const char* const word = saved > 0 ? "gain" : "loss";
  if (is_modelled && sum > 0) {
    reasons.explained = Explained::accounted;
    reasons.conclusion = fmt::format(
        "By the virtual GPU's time model these launches make up {} of the {}. It is modelled, not measured.",
        share_text(std::min(sum, 1.0)), word);
  } else if (best >= k_accounts_share) {
    reasons.explained = Explained::accounted;
    reasons.conclusion = fmt::format("The first fact can account for {} of the {}.",
                                     best > 1 ? "all" : "up to " + share_text(best), word);
  } else if (is_counted && has_overlap) {
    reasons.explained = Explained::overlap;
    const std::string work =
        sum >= 0.01 ? fmt::format("The counted work accounts for at most {} of the {}", share_text(sum), word)
                    : fmt::format("No counted work accounts for the {}", word);
    reasons.conclusion = fmt::format(
        "{}: about the same is done, {} of it at once. The facts without a worth say how; they go with the "
        "{} and do "
        "not prove its cause.",
        work, saved > 0 ? "more" : "less", word);
  } else if (is_counted) {
    reasons.explained = Explained::unexplained;
    reasons.conclusion = fmt::format(
        "The facts do not explain the {}: no counter changed by as much. `kernelites profile` on both "
        "sources "
        "counts anew.",
        word);
  } else {
    reasons.explained = Explained::uncounted;
    reasons.conclusion = fmt::format(
        "No hardware counters of both are known here, so the facts do not prove a cause: code and plan "
        "differ as "
        "told, and any of it may make the {}. `kernelites profile` on both sources counts.",
        word);
  }
}

std::vector<std::string> opposite_words(const CandidateChange& change, double sign) {
  std::vector<std::string> words;
  for (const WorkloadTimes& times : change.times) {
    const double log_ratio = log_ratio_of(times);
    if (!times.ratio || !is_proven(*times.ratio) || sign * log_ratio <= 0) continue;
    words.push_back(fmt::format("{:.3f}x at {}", std::exp(-log_ratio), times.workload));
  }
  return words;
}

PairedRatio product(const PairedRatio& a, const PairedRatio& b) {
  const auto half = [](const PairedRatio& ratio) { return (ratio.log_ratio_high - ratio.log_ratio_low) / 2; };
  const double median = a.log_ratio_median + b.log_ratio_median;
  const double width = std::hypot(half(a), half(b));
  return {.log_ratio_median = median,
          .log_ratio_low = median - width,
          .log_ratio_high = median + width,
          .confidence = std::min(a.confidence, b.confidence),
          .rounds = std::min(a.rounds, b.rounds)};
}

}  // namespace

const char* fact_source_name(FactSource source) {
  constexpr const char* k_names[] = {"counted", "modelled", "planned", "compiled"};
  return k_names[static_cast<int>(source)];
}

const char* explained_name(Explained explained) {
  constexpr const char* k_names[] = {"accounted", "overlap", "uncounted", "unexplained", "no_change"};
  return k_names[static_cast<int>(explained)];
}

GainReasons gain_reasons(const RunReader& run, const CandidateChange& change) {
  GainReasons reasons;
  const WorkloadTimes* const times = explained_times(change);
  const bool is_proven_here =
      (change.ratio && is_proven(change.ratio->ratio)) || (times && times->ratio && is_proven(*times->ratio));
  if (!times) {
    reasons.conclusion = change.times.empty()
                             ? "Neither was timed, so there is nothing to explain."
                             : "No workload was timed for both, so there is nothing to explain.";
    return reasons;
  }
  reasons.workload = times->workload;
  reasons.ratio = times->ratio;
  reasons.before_us = times->before->time_us_median;
  reasons.after_us = times->after->time_us_median;
  reasons.is_modelled = times->after->is_modelled;
  reasons.facts = gain_facts(run, change, *times);
  reasons.against = opposite_words(change, log_ratio_of(*times) < 0 ? 1 : -1);
  if (!is_proven_here) {
    reasons.conclusion =
        "No difference in time is proven, so there is nothing to explain; the facts below differ.";
    return reasons;
  }
  conclude(reasons);
  return reasons;
}

std::vector<GainFact> leading_facts(const GainReasons& reasons, std::size_t count) {
  const bool is_gain = reasons.before_us >= reasons.after_us;
  // Where facts account for it, plan and code only say the same again.
  const bool is_told_plainly = reasons.explained != Explained::accounted;
  std::vector<GainFact> leading;
  for (const GainFact& fact : reasons.facts)
    if (leading.size() < count && (fact.worth_us ? (*fact.worth_us > 0) == is_gain : is_told_plainly))
      leading.push_back(fact);
  return leading;
}

std::vector<std::size_t> steps_that_gained(const std::vector<GainStep>& chain, std::size_t count) {
  const auto gain = [&](std::size_t at) {
    const auto& ratio = chain[at].change.ratio;
    return ratio ? -ratio->ratio.log_ratio_median : 0;
  };
  std::vector<std::size_t> steps;
  for (std::size_t at = 0; at < chain.size(); ++at)
    if (gain(at) > 0) steps.push_back(at);
  std::stable_sort(steps.begin(), steps.end(),
                   [&](std::size_t a, std::size_t b) { return gain(a) > gain(b); });
  if (steps.size() > count) steps.resize(count);
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::vector<GainStep> gain_chain(const RunReader& run, const std::string& name) {
  std::vector<CandidateRecord> lineage = run.archive.lineage(find_candidate(run, name).ordinal);
  std::reverse(lineage.begin(), lineage.end());  // a seed first
  std::vector<GainStep> chain;
  std::optional<CandidateEnd> before;
  std::optional<PairedRatio> from_seed =
      PairedRatio{.log_ratio_median = 0, .confidence = 1, .rounds = 1 << 30};
  for (const CandidateRecord& record : lineage) {
    CandidateEnd after = candidate_end(run, record.id);
    if (before) {
      GainStep step{.change = change_between(run, *before, after), .reasons = {}, .from_seed = {}};
      step.reasons = gain_reasons(run, step.change);
      if (from_seed && step.change.ratio)
        from_seed = product(*from_seed, step.change.ratio->ratio);
      else
        from_seed.reset();
      step.from_seed = from_seed;
      chain.push_back(std::move(step));
    }
    before = std::move(after);
  }
  return chain;
}

}  // namespace kernelites
