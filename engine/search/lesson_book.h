// SPDX-License-Identifier: Apache-2.0
// The lessons of a run: effects of earlier runs as they were at its start, and its own as they come in.
//
// Both are read from the archive, so that a prompt that was made with them can be made again. The run's own effects
// count at once: what contradicts an imported lesson puts it back in the same run.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "archive/archive.h"
#include "engine/core/effect.h"
#include "engine/core/task.h"
#include "engine/search/measured_change.h"
#include "engine/variation/lesson_ranking.h"

namespace kernelites {

/// What all told candidates of a run say, whatever was imported.
class RunEffects {
 public:
  /// Borrows both. `has_minimised`: with what minimisations found, which is final only when the run is over.
  RunEffects(const Archive& archive, const Task& task, double effect_min, bool has_minimised);
  /// What was told up to this number is passed over: a view of a long run reads its newest changes only.
  void skip(std::int64_t told) { told_ = told; }
  /// Reads what was told since the last time. Predictions come from `imported`.
  void read(const EffectSet& imported);
  /// With the number under which each change was told, in this order.
  const std::vector<std::pair<std::int64_t, Effect>>& effects() const { return effects_; }
  EffectSet set() const;

 private:
  void add(const CandidateRecord& child, const EffectSet& imported);
  ChangeEnd end_of(const CandidateRecord& record, Provenance* provenance) const;

  const Archive& archive_;
  const Task& task_;
  double effect_min_;
  bool has_minimised_;
  std::int64_t told_ = 0;
  std::vector<std::pair<std::int64_t, Effect>> effects_;
};

/// Lessons for a run that was given a knowledge file.
class LessonBook {
 public:
  /// Borrows both.
  LessonBook(const Archive& archive, const Task& task, double effect_min);
  /// For VariationInput::lessons. Borrows the book.
  LessonReader reader();
  std::vector<Lesson> lessons(LessonQuery query);

 private:
  const Archive& archive_;
  RunEffects own_;
  EffectSet imported_;
  double started_unix_s_;
};

}  // namespace kernelites
