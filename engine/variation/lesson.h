// SPDX-License-Identifier: Apache-2.0
// What outlives a run, as operators see it: typed facts, and how they are asked for.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace kernelites {

/// One lesson, drawn from the effects of one technique that resemble the asker's case. Words come from closed lists of
/// the program, never from a model or a file (docs/architecture.md, invariant 8).
struct Lesson {
  std::string technique;     ///< "asynchronous copies (cp.async)"
  std::string state;         ///< what limited most of the parents: "loads are waited for"
  std::string architecture;  ///< of most of them: "sm_90"
  std::string shape_class;   ///< of most of them: "long calls that stream data"
  double gain_median = 1;    ///< time before / time after where it helped; of a warning: over all tries
  double gain_low = 1;       ///< of its 95 % interval
  double gain_high = 1;
  int helped = 0;  ///< parents that it made faster
  int tried = 0;
  int slower = 0;         ///< parents that it made slower
  int failed = 0;         ///< tries that a stage after the compile refused
  std::string code = {};  ///< of the technique
  double promise = 0;     ///< log: improvement due to it, beyond that of other changes of the same kernels
  double log_gain_bound = 0;  ///< its lower bound: what lessons are ranked by
  int predictions = 0;        ///< tries that a lesson had predicted
  double predicted_over = 1;  ///< of these: mean predicted gain over mean gain, as a ratio of times
};

/// Which lessons an operator wants, and what it asks for them from. Empty members match nothing better than anything.
struct LessonQuery {
  std::string task;
  std::string architecture;
  std::size_t count_max = 6;
  std::string family = {};
  std::string dtype = {};
  std::string state = {};                       ///< of the parent
  std::vector<std::string> shape_classes = {};  ///< of the task's timed workloads
  bool is_modelled = false;
  std::string toolkit = {};
  double now_unix_s = 0;      ///< 0: ages do not count
  std::int64_t told_max = 0;  ///< of the run's own candidates only those told up to this one count
};

/// Lessons for a query, most useful first. Empty function: there are none.
using LessonReader = std::function<std::vector<Lesson>(const LessonQuery&)>;

}  // namespace kernelites
