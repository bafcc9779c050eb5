// SPDX-License-Identifier: Apache-2.0
// Told candidates to effects, imported and own effects to lessons.
#include "engine/search/lesson_book.h"

#include <algorithm>

#include "engine/search/null_duels.h"
#include "engine/search/specimens.h"
#include "engine/variation/source_change.h"

namespace kernelites {
namespace {

std::vector<const Effect*> pointers(const EffectSet& set) {
  std::vector<const Effect*> all;
  for (const auto& [id, effect] : set.effects) all.push_back(&effect);
  return all;
}

}  // namespace

RunEffects::RunEffects(const Archive& archive, const Task& task, double effect_min, bool has_minimised)
    : archive_(archive), task_(task), effect_min_(effect_min), has_minimised_(has_minimised) {}

void RunEffects::read(const EffectSet& imported) {
  for (const CandidateRecord& record : archive_.told_candidates(told_)) {
    told_ = record.told;
    const bool is_wanted = has_minimised_ || record.operator_name != "minimise";
    if (!record.parents.empty() && is_wanted) add(record, imported);
  }
}

ChangeEnd RunEffects::end_of(const CandidateRecord& record, Provenance* provenance) const {
  ChangeEnd end;
  if (const auto evaluated = archive_.evaluated(record.ordinal))
    end.specimen = specimen_of(*evaluated, "", {});
  for (const EvaluationRecord& evaluation : archive_.evaluations(record.ordinal)) {
    if (evaluation.state != "answered" || is_null_duel(evaluation)) continue;
    if (evaluation.examination && provenance != nullptr) *provenance = evaluation.provenance;
    if (evaluation.duel && evaluation.duel->verdict.is_passed)
      end.duels.push_back({record.id, *evaluation.duel});
  }
  return end;
}

void RunEffects::add(const CandidateRecord& child, const EffectSet& imported) {
  std::optional<CandidateRecord> parent = archive_.find_candidate(child.parents.front());
  ChangeFacts facts{.measured_unix_s = child.told_unix_s, .winner_id = child.id};
  // What a minimisation proposes is a smaller change of the grandparent.
  if (parent && child.operator_name == "minimise") {
    facts.winner_id = parent->id;
    const auto variation = archive_.variation(child.variation);
    facts.is_minimal = variation && variation->decision.value("submitted", std::uint64_t{0}) == child.ordinal;
    parent = parent->parents.empty() ? std::nullopt : archive_.find_candidate(parent->parents.front());
  }
  if (!parent || parent->told == 0) return;
  const ChangeEnd before = end_of(*parent, nullptr), after = end_of(child, &facts.provenance);
  facts.parts = static_cast<int>(change_parts(parent->candidate, child.candidate).size());
  // Half of a change may fail because it needs the other half: that says nothing of either.
  if (facts.winner_id != child.id && !after.specimen.verdict.is_passed) return;
  const std::vector<const Effect*> known = pointers(imported);
  for (Effect& effect : effects_between(task_, before, after, facts, effect_min_)) {
    effect.predicted_log_gain = predict_log_gain(known, effect);
    effects_.emplace_back(child.told, std::move(effect));
  }
}

EffectSet RunEffects::set() const {
  EffectSet set;
  for (const auto& [told, effect] : effects_) set.add(effect);
  return set;
}

LessonBook::LessonBook(const Archive& archive, const Task& task, double effect_min)
    : archive_(archive),
      own_(archive, task, effect_min, false),
      imported_(archive.imported_effects()),
      started_unix_s_(archive.run().started_unix_s) {}

LessonReader LessonBook::reader() {
  return [this](const LessonQuery& query) { return lessons(query); };
}

std::vector<Lesson> LessonBook::lessons(LessonQuery query) {
  own_.read(imported_);
  query.now_unix_s = started_unix_s_;
  std::vector<const Effect*> all = pointers(imported_);
  for (const auto& [told, effect] : own_.effects())
    if (told <= query.told_max && !imported_.effects.contains(effect.id)) all.push_back(&effect);
  return rank_lessons(all, query);
}

}  // namespace kernelites
