// SPDX-License-Identifier: Apache-2.0
// Modelled ratios, and how far they are to be believed.
#include "engine/search/triage.h"

#include <algorithm>
#include <cmath>

#include "archive/elite_rule.h"
#include "engine/core/rng.h"
#include "engine/search/null_duels.h"

namespace kernelites {
namespace {

/// Mean |modelled - measured log ratio| of measured landscapes (docs/measurement.md, "Triage"), and for how many duels
/// it counts.
constexpr double k_error_before = 0.15;
constexpr double k_error_weight = 8;

}  // namespace

Triage::Triage(TriageSettings settings, std::map<std::string, double> weights, const Key& key)
    : settings_(std::move(settings)), weights_(std::move(weights)), key_(key) {}

void Triage::know(const std::string& candidate_id, const Examination& examination) {
  if (is_on() && examination.verdict.is_passed && !examination.modelled_us.empty())
    modelled_us_[candidate_id] = examination.modelled_us;
}

void Triage::learn(const std::string& candidate_id, const Duel& duel) {
  if (!is_on() || !duel.verdict.is_passed || learned_.count(candidate_id) > 0) return;
  double sum = 0;
  int arms = 0;
  for (std::size_t arm = 1; arm < duel.arms.size(); ++arm) {
    const auto modelled = log_ratio(candidate_id, duel.arms[arm], weights_);
    const auto measured = pooled_ratio(duel, duel.arms[arm], weights_);
    if (duel.arms[arm] == candidate_id || !modelled || !measured) continue;
    sum += std::abs(*modelled - measured->log_ratio_median);
    ++arms;
  }
  if (arms == 0) return;
  error_sum_ += sum / arms;
  learned_.insert(candidate_id);
}

void Triage::take_up(const std::string& candidate_id, const std::vector<EvaluationRecord>& evaluations) {
  if (!is_on()) return;
  for (const EvaluationRecord& evaluation : evaluations) {
    if (evaluation.examination) know(candidate_id, *evaluation.examination);
    if (evaluation.duel && !is_null_duel(evaluation)) learn(candidate_id, *evaluation.duel);
  }
}

double Triage::mean_error() const {
  return (k_error_weight * k_error_before + error_sum_) /
         (k_error_weight + static_cast<double>(learned_.size()));
}

std::optional<Standing> Triage::standing(const CandidateRecord& candidate, const Elite* incumbent,
                                         const std::vector<Champion>& champions) const {
  if (!is_on() || incumbent == nullptr) return std::nullopt;
  const auto behind_elite = log_ratio(candidate.id, incumbent->candidate_id, weights_);
  if (!behind_elite) return std::nullopt;
  Standing standing{.lag = *behind_elite};
  for (const Champion& champion : champions) {
    const auto behind = log_ratio(candidate.id, champion.candidate_id, {{champion.workload, 1.0}});
    if (!behind) return std::nullopt;
    standing.lag = std::min(standing.lag, *behind);
  }
  standing.is_far_behind = standing.lag > settings_.errors * mean_error();
  standing.is_sample =
      standing.is_far_behind && Rng(key_.derive("triage", candidate.ordinal).seed())
                                        .below(static_cast<std::uint64_t>(settings_.sample)) == 0;
  return standing;
}

/// log(modelled time of the candidate / of the other), the mean by weight; empty unless all that weighs is modelled.
std::optional<double> Triage::log_ratio(const std::string& candidate_id, const std::string& other_id,
                                        const std::map<std::string, double>& weights) const {
  const auto own = modelled_us_.find(candidate_id), other = modelled_us_.find(other_id);
  if (own == modelled_us_.end() || other == modelled_us_.end()) return std::nullopt;
  double sum = 0, total = 0;
  for (const auto& [workload, weight] : weights) {
    if (weight <= 0) continue;
    const auto mine = own->second.find(workload), theirs = other->second.find(workload);
    if (mine == own->second.end() || theirs == other->second.end()) return std::nullopt;
    sum += weight * std::log(mine->second / theirs->second);
    total += weight;
  }
  if (total <= 0) return std::nullopt;
  return sum / total;
}

}  // namespace kernelites
