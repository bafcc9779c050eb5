// SPDX-License-Identifier: Apache-2.0
// The baseline of a run: the fastest of its seeds, and what chance alone does on this device.
#include "engine/search/baseline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "archive/elite_rule.h"
#include "engine/search/placement.h"

namespace kernelites {
namespace {

/// "line 12: ..." where the verdict is of a line.
std::string placed_message(const Verdict& verdict) {
  const int line = verdict.diagnostics.empty() ? 0 : verdict.diagnostics.front().line;
  const bool is_placed = verdict.message.starts_with("line ");  // most stages say it themselves
  const bool is_of_compiler = verdict.reason == "compile_error" || verdict.reason == "plan_not_constant";
  const std::string place = is_placed        ? ""
                            : line > 0       ? fmt::format("line {}: ", line)
                            : is_of_compiler ? "no line (something may be left open at its end): "
                                             : "";
  return fmt::format("stage {}, {}: {}{}", verdict.stage, verdict.reason, place, verdict.message);
}

/// Why the seed cannot be a baseline, with its file; empty if it can, or is not through yet.
std::string failure_of(const Course& course) {
  std::string why;
  if (!course.error.empty())
    why = course.error;
  else if (course.examination && !course.examination->verdict.is_passed)
    why = placed_message(course.examination->verdict);
  else if (!course.duels.empty() && !course.duels.back().duel->verdict.is_passed)
    why = placed_message(course.duels.back().duel->verdict);
  return why.empty() ? why : fmt::format("#{} {}: {}", course.record.ordinal, course.record.summary, why);
}

}  // namespace

Baseline baseline_of(const Archive& archive, const std::map<std::string, double>& weights) {
  Baseline baseline{.is_pending = false};
  std::vector<Course> passed;
  for (const CandidateRecord& record : archive.seeds()) {
    Course course = course_of(record, archive.evaluations(record.ordinal));
    const std::string failure = failure_of(course);
    if (!failure.empty()) {
      if (baseline.failed == 0) {
        baseline.failed = record.ordinal;
        baseline.failure = failure;
      }
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
