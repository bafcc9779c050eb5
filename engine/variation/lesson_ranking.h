// SPDX-License-Identifier: Apache-2.0
// From effects to lessons: which techniques promise most in a case like the asker's, and how sure that is.
//
// Every effect counts by how much its case resembles the asker's (state, architecture, family, shape class, dtype,
// freshness). A search keeps what is faster and drops the rest, so a change is worth its improvement: its log gain, or
// 0 where it was slower or refused; what the other changes of the same kernel brought on the average is taken off,
// since easy kernels make every technique look good. The improvement is divided among the techniques of a change by
// ridge regression. Lessons are ranked by the lower bound of a technique's part: few or contradictory effects put it
// back.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "engine/core/effect.h"
#include "engine/variation/lesson.h"
#include "engine/variation/operator.h"

namespace kernelites {

/// How much other cases count, and how sure a lesson must be. A factor of 1 switches a similarity off.
struct LessonRules {
  double other_state = 0.4;
  double unknown_state = 0.6;
  double other_architecture = 0.4;
  double other_family = 0.5;
  double related_family = 0.8;  ///< decode and compressed decode, prefill and masked prefill, ...
  double other_shape_class = 0.5;
  double related_shape_class = 0.8;  ///< the same resource, or the same length
  double other_dtype = 0.8;
  double other_clock = 0.3;     ///< modelled where measured is asked for, and the reverse
  double other_harness = 0.5;   ///< the version before or after; older ones do not count
  double other_toolkit = 0.7;   ///< another major version
  double half_life_days = 270;  ///< of an effect's weight
  double days_max = 730;        ///< older effects have expired
  double ridge = 5;             ///< weight of "no part in it", in effects
  double prior_weight = 1;      ///< the same for predictions, which expect losses too
  double prior_deviation = 0.15;
  double part_deviation = 0.05;  ///< of a technique's part, before anything is known
  double bound = 0.5;            ///< standard errors below the part
  double weight_min = 0.15;      ///< less evidence is none
  std::size_t warnings_max = 2;  ///< techniques that do worse than others, told last
};

/// How much `effect` counts for `query`, 0 to 1. 0: it has expired.
double relevance(const Effect& effect, const LessonQuery& query, const LessonRules& rules = {});

/// At most `query.count_max` lessons of techniques that do better than other changes of the same kernels, the surest
/// first, then warnings: techniques that do worse with the same sureness. Where a change was minimised, what it was
/// minimised to counts and not the change. Techniques that this program does not know are passed over.
std::vector<Lesson> rank_lessons(std::span<const Effect* const> effects, const LessonQuery& query,
                                 const LessonRules& rules = {});

/// The log gain that `effects` let expect of a change like `change` (its techniques in its case); empty if they tell
/// nothing of it.
std::optional<double> predict_log_gain(std::span<const Effect* const> effects, const Effect& change,
                                       const LessonRules& rules = {});

/// What the operator's input asks for.
LessonQuery lesson_query(const VariationInput& input);

}  // namespace kernelites
