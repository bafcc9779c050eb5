// SPDX-License-Identifier: Apache-2.0
// The elite rule: who enters a cell, and on what evidence an incumbent gives way.
//
// An empty cell takes the first candidate that passed every stage and was timed. An incumbent is replaced only on a
// significant paired difference: the upper bound of log(candidate / incumbent) lies below
// ln(1 - max(effect_min, null_half_width)) in one duel, and below 0 in a second one in a fresh process with fresh
// inputs, whose number of rounds is fixed beforehand. What looks faster and is not proven to be is dueled again, up to
// `looks_max` times, and the duels count together (`combined_ratio`): equal code is never timed again, so that a gain
// lost to noise once would be lost for good. It is confirmed by as many duels. Of 2000 timed candidates of a night
// about one in each look passes by luck (two-sided confidence 99.9 %), one in a hundred of those is confirmed. Ties
// keep the incumbent, which prevents drift by noise.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "archive/grid.h"
#include "engine/core/evaluation.h"

namespace kernelites {

/// Parameters of the rule.
struct EliteRule {
  double effect_min = 0.005;   ///< smallest gain worth a change: half a percent
  double null_half_width = 0;  ///< half-width of the interval of an A/A duel on this device; 0: not measured
  double confidence_min = 0.999;              ///< of the first duel's interval: less proves nothing
  double confirmation_confidence_min = 0.98;  ///< two-sided: 99 % for the one side that counts
  bool needs_confirmation = true;             ///< false only where times are exact (the virtual GPU)
  double workload_loss_max = 0;  ///< if positive: no workload may lose more than this (0.02 = 2 %)
  /// Duels of a candidate that looks faster by more than the threshold and is not proven to be.
  int looks_max = 4;
};

/// One duel as the rule sees it.
struct DuelEvidence {
  std::string duel_id;
  bool is_passed = false;  ///< the verdict on the timed outputs
  double speedup = 0;  ///< against the baseline, geometric mean over workloads; 0: no baseline arm (set 1 if
                       ///< the candidate is the baseline)
  std::string incumbent_id;          ///< whom `ratio` compares with; empty: the cell was empty
  std::optional<PairedRatio> ratio;  ///< pooled over workloads
  double worst_log_ratio = 0;        ///< of the workload where the candidate does worst
};

/// Everything that is known of a candidate when its place is decided.
struct Evidence {
  std::uint64_t ordinal = 0;
  std::string candidate_id;
  bool is_passed = false;  ///< the examination's verdict
  Descriptors descriptors;
  Provenance provenance;
  std::optional<DuelEvidence> duel;
  std::optional<DuelEvidence> confirmation;
};

/// What the rule says, worst first. Stored as candidate.outcome by `insert_status_name`; append only.
enum class InsertStatus {
  failed,             ///< some verdict is not passed
  unplaced,           ///< the descriptors name no cell
  untimed,            ///< passed, not timed: duel it
  incumbent_changed,  ///< timed against someone who is no longer there: duel it again
  incomparable,       ///< the incumbent is stale (another task, harness or device): re-examine that first
  tie,                ///< no significant gain: the incumbent stays
  regression,         ///< significant gain in total, but a workload loses too much
  unconfirmed,        ///< significant: confirm it in a fresh process
  not_confirmed,      ///< the second duel does not agree
  improved,           ///< replaces the incumbent
  added               ///< first of its cell
};
const char* insert_status_name(InsertStatus status);
/// True if nothing more can change the decision: tell it.
bool is_final(InsertStatus status);

struct Decision {
  InsertStatus status = InsertStatus::failed;
  std::optional<Elite> elite;  ///< set if and only if status is improved or added
};

/// The elite rule. Pure; changes nothing.
Decision decide_insert(const Grid& grid, const Evidence& evidence, const EliteRule& rule);

/// True if the interval proves a gain beyond the rule's threshold.
bool is_significant_gain(const PairedRatio& ratio, const EliteRule& rule);
/// True if the interval of a confirming duel proves any gain at all.
bool is_confirmed_gain(const PairedRatio& ratio, const EliteRule& rule);

/// True if the estimate lies beyond the rule's threshold, whatever its interval: another duel may prove it.
bool looks_like_gain(const PairedRatio& ratio, const EliteRule& rule);

/// One ratio from independent duels of the same arms: the mean of log ratios, weighted by the inverse squares of their
/// half-widths. Where the duels scatter more than their intervals say, the interval is widened as much (Birge, Phys.
/// Rev. 40, 207). Of one duel it is that duel's. REQUIRES: at least one.
PairedRatio combined_ratio(const std::vector<PairedRatio>& ratios);

/// The ratios of the candidate against arm `arm` pooled over workloads: the weighted mean of log ratios, with
/// bounds from the root of summed squares of the weighted half-widths (workloads are timed independently).
/// Empty if the arm or a workload is missing, or no weight is positive. `weights`: by workload; those not
/// named weigh nothing.
std::optional<PairedRatio> pooled_ratio(const Duel& duel, const std::string& arm,
                                        const std::map<std::string, double>& weights);
/// The largest log ratio median against `arm` over the weighted workloads: 0.02 means 2 % slower there.
double worst_log_ratio(const Duel& duel, const std::string& arm,
                       const std::map<std::string, double>& weights);
/// The evidence of a duel with the arms `incumbent` (ignored if absent) and `baseline`, by label.
DuelEvidence duel_evidence(const std::string& duel_id, const Duel& duel, const std::string& incumbent_id,
                           const std::map<std::string, double>& weights);

}  // namespace kernelites
