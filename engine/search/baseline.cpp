// SPDX-License-Identifier: Apache-2.0
// The baseline of a run: the fastest of its seeds, and what chance alone does on this device.
#include "engine/search/baseline.h"

#include <algorithm>
#include <cmath>

#include "archive/elite_rule.h"
#include "engine/search/placement.h"

namespace kernelites {
namespace {

/// Why the seed cannot be a baseline; empty if it can, or is not through yet.
std::string failure_of(const Course& course) {
  if (!course.error.empty()) return course.error;
  if (course.examination && !course.examination->verdict.is_passed)
    return course.examination->verdict.message;
  if (!course.duels.empty() && !course.duels.back().duel->verdict.is_passed)
    return course.duels.back().duel->verdict.message;
  return "";
}

}  // namespace

Baseline baseline_of(const Archive& archive, const std::map<std::string, double>& weights) {
  Baseline baseline{.is_pending = false};
  std::vector<Course> passed;
  for (const CandidateRecord& record : archive.seeds()) {
    Course course = course_of(record, archive.evaluations(record.ordinal));
    const std::string failure = failure_of(course);
    if (!failure.empty()) {
      if (baseline.failure.empty()) baseline.failure = failure;
    } else if (!course.examination || course.duels.empty()) {
      baseline.is_pending = true;
    } else {
      passed.push_back(std::move(course));
    }
  }
  if (baseline.is_pending || passed.empty()) return baseline;
  std::vector<const Course*> courses;
  for (const Course& course : passed) courses.push_back(&course);
  baseline.id = fastest_seed(courses, weights);
  for (const Course& course : passed) {
    if (course.record.id != baseline.id) continue;
    baseline.ordinal = course.record.ordinal;
    if (const auto self = pooled_ratio(*course.duels.front().duel, baseline.id, weights))
      baseline.null_half_width = std::max(std::abs(self->log_ratio_low), std::abs(self->log_ratio_high));
  }
  return baseline;
}

}  // namespace kernelites
