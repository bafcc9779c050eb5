// SPDX-License-Identifier: Apache-2.0
// What outlives a run, as operators see it: typed facts, and how they are asked for.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace kernelites {

/// One lesson. Words are names from closed lists, never a model's prose (docs/architecture.md, invariant 8).
struct Lesson {
  std::string technique;     ///< "deeper cp.async ring"
  std::string state;         ///< what limited the parent: "memory latency"
  std::string architecture;  ///< "sm_90"
  std::string shape_class;   ///< "decode, long context"
  double gain_median = 1;    ///< time before / time after
  double gain_low = 1;       ///< of its 95 % interval
  double gain_high = 1;
  int helped = 0;  ///< parents that it made faster
  int tried = 0;
};

/// Which lessons an operator wants.
struct LessonQuery {
  std::string task;
  std::string architecture;
  std::size_t count_max = 6;
};

/// Lessons for a query, most useful first. Empty function: there are none.
using LessonReader = std::function<std::vector<Lesson>(const LessonQuery&)>;

}  // namespace kernelites
