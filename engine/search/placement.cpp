// SPDX-License-Identifier: Apache-2.0
// What a candidate needs next: an examination, a duel and against whom, a confirmation, or its end.
#include "engine/search/placement.h"

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"
#include "engine/search/null_duels.h"

namespace kernelites {
namespace {

bool is_confirmation(const EvaluationRecord& duel) { return duel.request.value("is_confirmation", false); }

bool asks_thorough(const EvaluationRecord& examination) {
  return examination.request.value("is_thorough", false);
}

/// Duels of one candidate that are evidence against one opponent: first ones, and those that confirm.
struct Looks {
  std::vector<const EvaluationRecord*> duels, confirmations;
};

Looks looks_at(const Course& course, const std::string& opponent_id, const std::string& baseline_id) {
  Looks looks;
  for (const EvaluationRecord& record : course.duels) {
    const std::vector<std::string>& arms = record.duel->arms;
    const auto has_arm = [&](const std::string& id) {
      return std::find(arms.begin(), arms.end(), id) != arms.end();
    };
    if (!has_arm(baseline_id) || (!opponent_id.empty() && !has_arm(opponent_id))) continue;
    (is_confirmation(record) ? looks.confirmations : looks.duels).push_back(&record);
  }
  // Against another opponent only the newest counts: the elite rule says that its incumbent has changed.
  if (looks.duels.empty() && !opponent_id.empty()) {
    const Looks others = looks_at(course, "", baseline_id);
    if (!others.duels.empty()) looks.duels = {others.duels.back()};
    looks.confirmations.clear();
  }
  return looks;
}

/// Against arm `id`, over those duels that have it and are valid there.
std::optional<PairedRatio> ratio_against(const std::vector<const EvaluationRecord*>& duels,
                                         const std::string& id,
                                         const std::map<std::string, double>& weights) {
  std::vector<PairedRatio> ratios;
  for (const EvaluationRecord* record : duels)
    if (const auto ratio = pooled_ratio(*record->duel, id, weights)) ratios.push_back(*ratio);
  if (ratios.empty()) return std::nullopt;
  return combined_ratio(ratios);
}

bool is_passed(const std::vector<const EvaluationRecord*>& duels) {
  return std::all_of(duels.begin(), duels.end(),
                     [](const EvaluationRecord* record) { return record->duel->verdict.is_passed; });
}

DuelEvidence evidence_of(const std::vector<const EvaluationRecord*>& duels, const std::string& incumbent_id,
                         const PlacementContext& context) {
  DuelEvidence evidence{.duel_id = duels.back()->request_id, .is_passed = is_passed(duels)};
  if (const auto baseline = ratio_against(duels, context.baseline_id, context.weights))
    evidence.speedup = std::exp(-baseline->log_ratio_median);
  if (incumbent_id.empty()) return evidence;
  evidence.ratio = ratio_against(duels, incumbent_id, context.weights);
  if (!evidence.ratio) return evidence;
  evidence.incumbent_id = incumbent_id;
  evidence.worst_log_ratio = -HUGE_VAL;
  for (const auto& [workload, weight] : context.weights) {
    if (weight <= 0) continue;
    const auto ratio = ratio_against(duels, incumbent_id, {{workload, 1.0}});
    evidence.worst_log_ratio = std::max(evidence.worst_log_ratio, ratio ? ratio->log_ratio_median : HUGE_VAL);
  }
  return evidence;
}

Champion champion_from(const Course& course, const EvaluationRecord& duel, const std::string& workload,
                       const std::string& baseline_id) {
  return {.workload = workload,
          .ordinal = course.record.ordinal,
          .candidate_id = course.record.id,
          .speedup = speedup_over(*duel.duel, baseline_id, {{workload, 1.0}}),
          .timing = duel.duel->timing.at(workload).front(),
          .duel_id = duel.request_id};
}

/// Workloads where the candidate is faster than the champion. `needs_confirmation` is set if one of them awaits it.
/// Modelled times are the same in any company: there the champion is the fastest that was told.
std::vector<Champion> championships(const Course& course, const Looks& looks, const PlacementContext& context,
                                    bool* needs_confirmation) {
  std::vector<Champion> won;
  if (!is_passed(looks.duels)) return won;
  const EvaluationRecord& newest = *looks.duels.back();
  for (const auto& [workload, weight] : context.weights) {
    if (newest.duel->timing.count(workload) == 0) continue;
    const auto holder = std::find_if(context.champions.begin(), context.champions.end(),
                                     [&](const Champion& champion) { return champion.workload == workload; });
    const auto gains = [&](const std::vector<const EvaluationRecord*>& duels, auto is_gain) {
      const auto ratio = ratio_against(duels, holder->candidate_id, {{workload, 1.0}});
      return ratio && is_gain(*ratio, context.rule);
    };
    const bool is_modelled = !newest.duel->timing.at(workload).empty() &&
                             newest.duel->timing.at(workload).front().is_modelled &&
                             holder != context.champions.end() && holder->timing.is_modelled;
    if (is_modelled) {
      if (newest.duel->timing.at(workload).front().time_us_median < holder->timing.time_us_median)
        won.push_back(champion_from(course, newest, workload, context.baseline_id));
    } else if (holder == context.champions.end()) {
      won.push_back(champion_from(course, newest, workload, context.baseline_id));
    } else if (gains(looks.duels, is_significant_gain)) {
      if (!context.rule.needs_confirmation) {
        won.push_back(champion_from(course, newest, workload, context.baseline_id));
      } else if (looks.confirmations.size() < looks.duels.size()) {
        *needs_confirmation = true;
      } else if (is_passed(looks.confirmations) && gains(looks.confirmations, is_confirmed_gain)) {
        won.push_back(champion_from(course, *looks.confirmations.back(), workload, context.baseline_id));
      }
    }
  }
  return won;
}

NeedsDuel duel_against_all(const Course& course, const Elite* incumbent, const PlacementContext& context) {
  NeedsDuel need;
  const auto add = [&](const std::string& id) {
    // The baseline meets itself too: a duel without it is evidence of nothing.
    const bool is_itself = id == course.record.id && id != context.baseline_id;
    if (is_itself || need.arms.size() >= k_opponents_max) return;
    if (std::find(need.arms.begin(), need.arms.end(), id) == need.arms.end()) need.arms.push_back(id);
  };
  add(context.baseline_id);
  if (incumbent != nullptr) add(incumbent->candidate_id);
  // An agent wants to know how its kernel stands to what it started from.
  const bool is_inner = course.record.ordinal != course.record.variation;
  if (is_inner && !course.record.parents.empty()) add(course.record.parents.front());
  for (const Champion& champion : context.champions) add(champion.candidate_id);
  need.wants_confirmation_at_once = context.confirms_eagerly && context.rule.needs_confirmation;
  return need;
}

NextStep ends(const Course& course, const std::string& status) {
  return Ends{{.ordinal = course.record.ordinal, .status = status, .elite = {}, .champions = {}}};
}

/// Its cell has a faster elite by now. Modelled times tell all the same where it is champion.
NextStep too_late(const Course& course, const Looks& looks, const PlacementContext& context) {
  Ends end{{.ordinal = course.record.ordinal,
            .status = insert_status_name(InsertStatus::tie),
            .elite = {},
            .champions = {}}};
  bool is_unsure = false;
  if (!context.rule.needs_confirmation)
    end.outcome.champions = championships(course, looks, context, &is_unsure);
  return end;
}

/// The model puts it far behind, and it was not drawn to show how well the model knows. What an agent asked to have
/// timed is timed.
bool is_left_out(const Course& course, const PlacementContext& context) {
  return context.standing && context.standing->is_far_behind && !context.standing->is_sample &&
         course.duels_sent == 0 && !course.is_inside;
}

/// How many of its duels count against `k_duels_max`: those against an elite that has been replaced since do not. Each
/// elite of a cell is faster than the one before, so that there is an end to them.
int duels_spent(const Course& course, const std::string& incumbent_id) {
  if (incumbent_id.empty()) return course.duels_sent;
  const auto is_against_another = [&](const EvaluationRecord& record) {
    const std::vector<std::string>& arms = record.duel->arms;
    return std::find(arms.begin(), arms.end(), incumbent_id) == arms.end();
  };
  const auto others = std::count_if(course.duels.begin(), course.duels.end(), is_against_another);
  return course.duels_sent - static_cast<int>(others);
}

NextStep place(const Course& course, const PlacementContext& context) {
  const std::string cell = cell_name(course.examination->descriptors, context.grid.axes()).value_or("");
  const Elite* incumbent = cell.empty() ? nullptr : context.grid.find(cell);
  const std::string incumbent_id = incumbent != nullptr ? incumbent->candidate_id : "";
  const Looks looks = looks_at(course, incumbent_id, context.baseline_id);

  Evidence evidence{.ordinal = course.record.ordinal,
                    .candidate_id = course.record.id,
                    .is_passed = true,
                    .descriptors = course.examination->descriptors,
                    .provenance = course.provenance,
                    .duel = {},
                    .confirmation = {}};
  if (!looks.duels.empty()) evidence.duel = evidence_of(looks.duels, incumbent_id, context);
  // As many confirmations as it took duels: fixed before the first of them is made.
  if (!looks.duels.empty() && looks.confirmations.size() >= looks.duels.size())
    evidence.confirmation = evidence_of(looks.confirmations, incumbent_id, context);
  const Decision decision = decide_insert(context.grid, evidence, context.rule);
  const std::string status = insert_status_name(decision.status);
  const bool can_duel = duels_spent(course, incumbent_id) < k_duels_max;

  switch (decision.status) {
    case InsertStatus::untimed:
      if (is_left_out(course, context)) return ends(course, k_modelled_slow);
      if (looks.duels.empty() && can_duel) return duel_against_all(course, incumbent, context);
      return ends(course, status);
    case InsertStatus::incumbent_changed:
      // Slower than the new incumbent by the common baseline: not worth a second duel.
      if (evidence.duel->speedup <= incumbent->speedup) return too_late(course, looks, context);
      if (can_duel) return duel_against_all(course, incumbent, context);
      return ends(course, status);
    case InsertStatus::unconfirmed: {
      if (!can_duel) return ends(course, insert_status_name(InsertStatus::not_confirmed));
      NeedsDuel need = duel_against_all(course, incumbent, context);
      need.is_confirmation = true;
      return need;
    }
    case InsertStatus::incomparable:
    case InsertStatus::failed:
    case InsertStatus::unplaced:
      return ends(course, status);
    default:
      break;
  }
  // What looks faster and may be so by chance is not lost for ever: equal code is never timed again.
  const bool is_open = decision.status == InsertStatus::tie && context.rule.needs_confirmation &&
                       evidence.duel->ratio && looks_like_gain(*evidence.duel->ratio, context.rule);
  if (is_open && can_duel && static_cast<int>(looks.duels.size()) < context.rule.looks_max)
    return duel_against_all(course, incumbent, context);

  bool needs_confirmation = false;
  std::vector<Champion> won = championships(course, looks, context, &needs_confirmation);
  if (needs_confirmation && can_duel) {
    NeedsDuel need = duel_against_all(course, incumbent, context);
    need.is_confirmation = true;
    return need;
  }
  const bool would_enter = decision.elite.has_value() || !won.empty();
  if (would_enter && context.wants_thorough && !course.has_thorough)
    return NeedsExamination{.is_thorough = true};
  return Ends{{.ordinal = course.record.ordinal,
               .status = status,
               .elite = decision.elite,
               .champions = std::move(won)}};
}

}  // namespace

Course course_of(const CandidateRecord& record, const std::vector<EvaluationRecord>& evaluations) {
  Course course{.record = record};
  course.is_seed = record.operator_name == "seed";
  for (const EvaluationRecord& evaluation : evaluations) {
    if (is_null_duel(evaluation)) continue;
    if (evaluation.verb == "duel") ++course.duels_sent;
    if (evaluation.state == "sent") course.waiting_for.push_back(evaluation.request_id);
    if (evaluation.state == "failed") course.error = evaluation.error;
    if (evaluation.state != "answered") continue;
    if (evaluation.examination && evaluation.examination->verdict.reason == k_stopped_as_asked) {
      course.compiled = evaluation.examination;
    } else if (evaluation.examination) {
      course.examination = evaluation.examination;
      course.has_thorough = course.has_thorough || asks_thorough(evaluation);
      course.provenance = evaluation.provenance;
    }
    if (!evaluation.duel) continue;
    if (course.is_seed && is_spoilt(course)) course.duels.pop_back();  // it was dueled again without that arm
    course.duels.push_back(evaluation);
    if (course.is_seed && is_spoilt(course) && course.duels.size() == 1)
      course.accusations.push_back(evaluation.duel->verdict);
  }
  return course;
}

bool is_spoilt(const Course& course) {
  return !course.duels.empty() && course.duels.front().duel->verdict.reason == k_arm_unusable;
}

/// An agent wants counters of an inner candidate that has none.
bool wants_profile(const Course& course) {
  return course.is_inside && course.wish == InsideStep::profile && !course.has_thorough;
}

bool has_wish(const Course& course) {
  if (!course.wish || !course.waiting_for.empty()) return false;
  const bool is_proven = course.examination && course.examination->verdict.is_passed;
  if (*course.wish == InsideStep::compile) return course.compiled.has_value() || is_proven;
  if (*course.wish == InsideStep::profile)
    return is_proven && (course.has_thorough || course.provenance.device.is_virtual);
  return *course.wish == InsideStep::check && is_proven;  // `time` ends with the telling, as failures do
}

NextStep next_step(const Course& course, const PlacementContext& context) {
  if (!course.waiting_for.empty()) return Waits{};
  if (!course.error.empty()) return ends(course, "evaluation_failed");
  const bool has_failed = course.examination && !course.examination->verdict.is_passed;
  if (course.is_left && !has_failed) return ends(course, "unfinished");
  if (!course.examination) {
    const bool is_compile = course.is_inside && course.wish == InsideStep::compile;
    // A batch is a round trip that somebody makes: one that asks too much costs less than a second one.
    return NeedsExamination{
        .is_thorough = wants_profile(course) || (context.confirms_eagerly && context.wants_thorough),
        .last_stage = is_compile ? "compile" : ""};
  }
  if (!course.examination->verdict.is_passed) return ends(course, insert_status_name(InsertStatus::failed));
  // Counters are read by the thorough examination, which its way into the archive asks for anyhow.
  if (wants_profile(course)) return NeedsExamination{.is_thorough = true};
  KERNELITES_ASSERT(!context.baseline_id.empty());
  return place(course, context);
}

std::string fastest_seed(const std::vector<const Course*>& courses,
                         const std::map<std::string, double>& weights) {
  KERNELITES_ASSERT(!courses.empty());
  std::string best = courses.front()->record.id;
  double gain = 0;  // log(time of the first / time of the arm)
  for (const Course* course : courses) {
    if (courses.front()->duels.empty()) break;
    const auto ratio = pooled_ratio(*courses.front()->duels.front().duel, course->record.id, weights);
    if (course == courses.front() || !ratio || ratio->log_ratio_median <= gain) continue;
    gain = ratio->log_ratio_median;
    best = course->record.id;
  }
  return best;
}

Duel with_role(Duel duel, const std::string& id, const std::string& label) {
  const auto found = std::find(duel.arms.begin() + (duel.arms.empty() ? 0 : 1), duel.arms.end(), id);
  if (found == duel.arms.end()) return duel;
  const auto arm = static_cast<std::size_t>(found - duel.arms.begin());
  duel.arms.push_back(label);
  for (auto& [workload, timings] : duel.timing)
    if (arm < timings.size()) timings.push_back(ArmTiming(timings[arm]));
  for (auto& [workload, ratios] : duel.ratio)
    if (arm - 1 < ratios.size()) ratios.push_back(PairedRatio(ratios[arm - 1]));
  return duel;
}

double speedup_over(const Duel& duel, const std::string& baseline_id,
                    const std::map<std::string, double>& weights) {
  const auto ratio = pooled_ratio(duel, baseline_id, weights);
  return ratio ? std::exp(-ratio->log_ratio_median) : 0;
}

std::map<std::string, double> workload_weights(const Task& task) {
  std::map<std::string, double> weights;
  for (const Workload& workload : task.bench) weights[workload.name] = workload.weight;
  return weights;
}

}  // namespace kernelites
