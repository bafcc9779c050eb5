// SPDX-License-Identifier: Apache-2.0
// Reading an operator's input out of the archive.
#include "engine/search/variation_inputs.h"

#include <cmath>

#include "archive/elite_rule.h"
#include "engine/core/error.h"
#include "engine/search/placement.h"
#include "engine/search/prompt_evolution.h"
#include "engine/search/specimens.h"
#include "engine/variation/tuning.h"

namespace kernelites {
namespace {

constexpr int k_failures_shown = 3;
constexpr int k_rejections_shown = 3;
constexpr std::size_t k_ancestors_max = 12;
constexpr int k_tunings_max = 64;

std::vector<Ancestor> lineage_of(const InputSource& source, const std::string& parent_id,
                                 const std::map<std::string, double>& weights) {
  std::vector<Ancestor> lineage;
  auto step = source.archive.find_candidate(parent_id);
  // Step by step: a line may be thousands long.
  while (step && !step->parents.empty() && lineage.size() < k_ancestors_max) {
    step = source.archive.find_candidate(step->parents.front());
    const auto evaluated = step ? source.archive.evaluated(step->ordinal) : std::nullopt;
    if (evaluated)
      lineage.push_back(
          {specimen_of(*evaluated, source.baseline_id, weights), step->summary, step->generation});
  }
  return lineage;
}

}  // namespace

Json feedback_decision(const Archive& archive, const std::string& parent_id) {
  Json failures = Json::array();
  for (const EvaluatedCandidate& failure : archive.recent_failures(parent_id, k_failures_shown))
    failures.push_back(failure.record.ordinal);
  Json rejections = Json::array();
  for (const RejectionRecord& rejection : archive.recent_rejections(parent_id, k_rejections_shown))
    rejections.push_back(rejection.ordinal);
  return {{"failures", failures}, {"rejections", rejections}};
}

std::string furthest_workload(const Archive& archive, const std::string& candidate_id,
                              const std::string& baseline_id) {
  const auto record = archive.find_candidate(candidate_id);
  const auto evaluated = record ? archive.evaluated(record->ordinal) : std::nullopt;
  if (!evaluated || !evaluated->duel || !evaluated->duel->duel) return "";
  const Duel& duel = *evaluated->duel->duel;
  std::string furthest;
  double most_lag = 0, least_gain = 0;
  for (const Champion& champion : archive.champions()) {
    const auto arms = duel.timing.find(champion.workload);
    if (arms == duel.timing.end() || arms->second.empty() || champion.timing.time_us_median <= 0) continue;
    const bool is_own = champion.candidate_id == candidate_id;
    const double lag =
        is_own ? 0 : std::log(arms->second.front().time_us_median / champion.timing.time_us_median);
    const double gain = speedup_over(duel, baseline_id, {{champion.workload, 1.0}});
    if (!furthest.empty() && (lag < most_lag || (lag == most_lag && gain >= least_gain))) continue;
    furthest = champion.workload;
    most_lag = lag;
    least_gain = gain;
  }
  return furthest;
}

/// As of `told`, so that a variation that is taken up again proposes the same.
std::vector<TunedPoint> tuned_points(const InputSource& source, const VariationInput& input,
                                     std::int64_t told) {
  std::vector<TunedPoint> points;
  for (const EvaluatedCandidate& tried :
       source.archive.tunings(input.parent.candidate.source, told, k_tunings_max)) {
    TunedPoint point{.tuning = with_full_tuning(tried.record.candidate).tuning};
    const bool is_timed = tried.duel && tried.duel->duel && tried.duel->duel->verdict.is_passed;
    point.is_passed = tried.examination && tried.examination->examination &&
                      tried.examination->examination->verdict.is_passed && (!tried.duel || is_timed);
    for (const Workload& workload : source.task.bench) {
      if (!is_timed) continue;
      const double speedup =
          tried.record.id == source.baseline_id
              ? 1
              : speedup_over(*tried.duel->duel, source.baseline_id, {{workload.name, 1.0}});
      if (speedup > 0) point.log_speedup[workload.name] = std::log(speedup);
    }
    points.push_back(std::move(point));
  }
  return points;
}

VariationInput variation_input(const InputSource& source, const VariationRecord& record) {
  const auto weights = workload_weights(source.task);
  VariationInput input{.task = source.task};
  input.device = source.device;
  if (record.operator_name == "meta")
    input.study = study_from(record.decision.at("study"));
  else
    input.parent = specimen_of(source.archive, record.parents.at(0), source.baseline_id, weights);
  if (record.parents.size() > 1)
    input.second_parent = specimen_of(source.archive, record.parents[1], source.baseline_id, weights);
  input.target_cell = record.decision.value("target_cell", std::string());
  input.hints = record.decision.value("hints", std::vector<std::string>());
  input.target_workload = record.decision.value("target_workload", std::string());
  for (const std::string& id : record.inspirations)
    input.inspirations.push_back(specimen_of(source.archive, id, source.baseline_id, weights));
  for (const Json& ordinal : record.decision.value("failures", Json::array()))
    if (const auto failure = source.archive.evaluated(ordinal.get<std::uint64_t>()))
      input.failures.push_back(specimen_of(*failure, source.baseline_id, weights));
  const Json wanted = record.decision.value("rejections", Json::array());
  for (const Json& ordinal : wanted)
    if (const auto rejection = source.archive.rejection(ordinal.get<std::uint64_t>()))
      input.rejections.push_back(rejection->message);
  if (record.operator_name == "agent" || record.operator_name == "minimise")
    input.lineage = lineage_of(source, record.parents.at(0), weights);
  if (record.operator_name == "tune")
    input.tuned = tuned_points(source, input, record.decision.value("told", std::int64_t{0}));
  // The run's own effects as far as they were known when the variation was asked, so that its prompt can be repeated.
  if (source.lessons)
    input.lessons = [reader = source.lessons,
                     told = record.decision.value("lessons_told", std::int64_t{0})](LessonQuery query) {
      query.told_max = told;
      return reader(query);
    };
  input.prompt_tokens_max = source.config.prompt_tokens_max;
  input.output_tokens_max = source.config.output_tokens_max;
  input.agent = source.config.agent;
  // Measured seconds would make the prompts of two golden runs differ.
  if (source.config.is_deterministic) input.agent.device_s = 0;
  return input;
}

InsideResult inner_result(const InputSource& source, const CandidateRecord& record, InsideStep step) {
  const auto weights = workload_weights(source.task);
  const auto evaluated = source.archive.evaluated(record.ordinal);
  KERNELITES_ASSERT(evaluated.has_value());
  InsideResult result{.specimen = specimen_of(*evaluated, source.baseline_id, weights)};
  Specimen& specimen = result.specimen;
  if (step != InsideStep::time && specimen.verdict.is_passed) specimen.duel.reset();
  if (specimen.duel && !record.parents.empty())
    specimen.over_parent = pooled_ratio(*specimen.duel, record.parents.front(), weights);
  for (const EvaluationRecord& evaluation : source.archive.evaluations(record.ordinal)) {
    result.device_s += evaluation.device_s;
    if (evaluation.state == "failed") result.refusal = "the worker gave no result: " + evaluation.error;
    if (!evaluation.examination || evaluation.examination->verdict.reason != k_stopped_as_asked) continue;
    if (step != InsideStep::compile) continue;
    specimen.examination = *evaluation.examination;
    specimen.examination.verdict = specimen.verdict = Verdict::passed();  // as far as was asked
  }
  return result;
}

}  // namespace kernelites
