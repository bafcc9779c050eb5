// SPDX-License-Identifier: Apache-2.0
// One candidate's evaluations, read once, and what follows from them.
#include "tools/inspect/elite_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "archive/elite_rule.h"
#include "engine/core/claims.h"
#include "engine/core/error.h"
#include "engine/core/roofline.h"
#include "engine/search/judgements.h"
#include "engine/search/null_duels.h"
#include "engine/search/specimens.h"
#include "engine/variation/bottleneck.h"
#include "tools/inspect/told_kind.h"

namespace kernelites {
namespace {

bool is_confirmation(const EvaluationRecord& duel) { return duel.request.value("is_confirmation", false); }

/// Duels of the candidate that passed and are none with itself, in the order sent.
std::vector<EvaluationRecord> duels_in(const std::vector<EvaluationRecord>& evaluations) {
  std::vector<EvaluationRecord> duels;
  for (const EvaluationRecord& record : evaluations)
    if (record.duel && record.duel->verdict.is_passed && !is_null_duel(record)) duels.push_back(record);
  return duels;
}

/// The duels that the elite rule counted together when it decided by `deciding`: those of its kind up to it.
std::vector<const EvaluationRecord*> counted_with(const std::vector<EvaluationRecord>& duels,
                                                  const EvaluationRecord& deciding) {
  std::vector<const EvaluationRecord*> counted;
  for (const EvaluationRecord& record : duels) {
    if (is_confirmation(record) == is_confirmation(deciding)) counted.push_back(&record);
    if (record.request_id == deciding.request_id) break;
  }
  return counted;
}

bool is_modelled(const Duel& duel) {
  return !duel.timing.empty() && !duel.timing.begin()->second.empty() &&
         duel.timing.begin()->second.front().is_modelled;
}

/// Against `id` over those of `duels` that had it as an arm.
std::optional<Gain> gain_over(const std::vector<const EvaluationRecord*>& duels, const std::string& id,
                              const std::map<std::string, double>& weights) {
  std::vector<PairedRatio> ratios;
  for (const EvaluationRecord* record : duels)
    if (const auto ratio = pooled_ratio(*record->duel, id, weights)) ratios.push_back(*ratio);
  if (ratios.empty()) return std::nullopt;
  PairedRatio ratio = combined_ratio(ratios);
  ratio.rounds = 0;
  for (const PairedRatio& one : ratios) ratio.rounds += one.rounds;
  return gain_of(ratio, is_modelled(*duels.front()->duel), static_cast<int>(ratios.size()));
}

WorkloadTime time_at(const RunReader& run, const Workload& workload, const EvaluationRecord& deciding,
                     const std::vector<const EvaluationRecord*>& counted) {
  const Duel& duel = *deciding.duel;
  const std::vector<ArmTiming>& arms = duel.timing.at(workload.name);
  WorkloadTime time{.workload = workload.name, .own = arms.front(), .baseline = {}, .over_baseline = {}};
  for (std::size_t arm = 1; arm < duel.arms.size() && arm < arms.size(); ++arm)
    if (duel.arms[arm] == run.baseline_id) time.baseline = arms[arm];
  time.over_baseline = gain_over(counted, run.baseline_id, {{workload.name, 1.0}});
  const RooflineCounts counts = counts_on(deciding.provenance.device, run.task, workload);
  const RooflineShare share = roofline_share(counts, deciding.provenance.device, time.own.time_us_median);
  time.gb_per_s = share.gb_per_s;
  time.tflop_per_s = share.tflop_per_s;
  time.flop_per_byte = counts.bytes > 0 ? counts.flops / counts.bytes : 0;
  time.of_copy_rate = share.of_memory;
  time.floor_us = share.floor_us;
  time.of_floor = share.of_floor;
  time.limit = share.limit;
  return time;
}

std::int64_t counted_by(const StageReport& report) {
  for (const char* name : {"launches", "shapes", "kernels"})
    if (const auto found = report.counts.find(name); found != report.counts.end()) return found->second;
  return 0;
}

void add_examination(const EvaluatedCandidate& evaluated, EliteFacts& facts) {
  const Examination& examination = *evaluated.examination->examination;
  facts.descriptors = told_descriptors(examination, evaluated.duel ? evaluated.duel->duel : std::nullopt);
  facts.kernels = examination.kernels;
  facts.proof.checks = examination.checks;
  facts.proof.stages.clear();
  for (const StageReport& report : examination.stages)
    facts.proof.stages.push_back({.stage = report.stage,
                                  .outcome = report.outcome,
                                  .remark = report.remark,
                                  .counted = counted_by(report)});
  facts.proof.claims_not_executed = unexecuted_claims(facts.summary, examination.descriptors);
}

void add_duels(const RunReader& run, const std::vector<EvaluationRecord>& duels, const Elite* elite,
               EliteFacts& facts) {
  if (duels.empty()) return;
  const EvaluationRecord* deciding = &duels.back();
  for (const EvaluationRecord& record : duels)
    if (elite != nullptr && record.request_id == elite->duel_id) deciding = &record;
  auto counted = counted_with(duels, *deciding);
  // Runs of older versions decided by a single duel: what is told must be what the archive says.
  if (const auto gain = gain_over(counted, run.baseline_id, run.weights);
      elite != nullptr && gain && std::abs(gain->x - elite->speedup) > 1e-6 * gain->x)
    counted = {deciding};
  facts.is_modelled = is_modelled(*deciding->duel);
  facts.over_baseline = gain_over(counted, run.baseline_id, run.weights);
  if (facts.speedup <= 0 && facts.over_baseline) facts.speedup = facts.over_baseline->x;
  for (const Workload& workload : run.task.bench) {
    const auto timing = deciding->duel->timing.find(workload.name);
    if (timing == deciding->duel->timing.end() || timing->second.empty()) continue;
    facts.times.push_back(time_at(run, workload, *deciding, counted));
  }
  facts.proof.duels = static_cast<int>(duels.size());
  facts.proof.confirmations = static_cast<int>(std::count_if(duels.begin(), duels.end(), is_confirmation));
}

/// The newest duel that had the parent.
void add_parent(const RunReader& run, const std::vector<EvaluationRecord>& duels,
                const CandidateRecord& record, EliteFacts& facts) {
  if (record.parents.empty()) return;
  if (const auto parent = run.archive.find_candidate(record.parents.front());
      parent && parent->ordinal < record.ordinal)
    facts.parent = parent->ordinal;
  for (auto duel = duels.rbegin(); duel != duels.rend() && !facts.over_parent; ++duel)
    facts.over_parent = gain_over({&*duel}, record.parents.front(), run.weights);
}

}  // namespace

Gain gain_of(const PairedRatio& ratio, bool is_modelled, int duels) {
  // Ratios are of times: below 1 the candidate is faster.
  return {.x = std::exp(-ratio.log_ratio_median),
          .low = std::exp(-ratio.log_ratio_high),
          .high = std::exp(-ratio.log_ratio_low),
          .confidence = ratio.confidence,
          .rounds = ratio.rounds,
          .duels = duels,
          .is_modelled = is_modelled};
}

EliteFacts elite_facts(const RunReader& run, std::uint64_t ordinal, const Elite* elite) {
  const auto record = run.archive.candidate(ordinal);
  if (!record) throw Error(fmt::format("the archive has no candidate {}", ordinal));
  EliteFacts facts{.ordinal = ordinal,
                   .id = record->id,
                   .parent = {},
                   .operator_name = record->operator_name,
                   .endpoint = record->endpoint,
                   .generation = record->generation,
                   .summary = record->summary,
                   .over_baseline = {},
                   .over_parent = {}};
  if (elite != nullptr) {
    facts.cell = elite->cell;
    facts.fitness = elite->fitness;
    facts.speedup = elite->speedup;
  }
  const std::vector<EvaluationRecord> evaluations = run.archive.evaluations(ordinal);
  EvaluatedCandidate evaluated{.record = *record, .examination = {}, .duel = {}};
  for (const EvaluationRecord& evaluation : evaluations) {
    if (evaluation.examination && evaluation.examination->verdict.is_passed) ++facts.proof.examinations;
    if (evaluation.examination) evaluated.examination = evaluation;
    if (evaluation.duel && !is_null_duel(evaluation)) evaluated.duel = evaluation;
  }
  if (evaluated.examination) add_examination(evaluated, facts);
  const std::vector<EvaluationRecord> duels = duels_in(evaluations);
  add_duels(run, duels, elite, facts);
  add_parent(run, duels, *record, facts);
  if (evaluated.examination && !duels.empty())
    facts.bottleneck = std::string(bottleneck_words(
        bottleneck_of(run.task, run.device, specimen_of(evaluated, run.baseline_id, run.weights))));
  return facts;
}

}  // namespace kernelites
