// SPDX-License-Identifier: Apache-2.0
// What limits a kernel, as one word of a closed list: the state in which a technique is tried.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "engine/variation/operator.h"

namespace kernelites {

/// A stored code and what people and models read.
struct LessonTerm {
  std::string_view code;
  std::string_view words;
};

/// "memory_latency", "tensor_throughput", ...; "unknown" is one of them.
std::span<const LessonTerm> bottleneck_table();
/// The words of a code, or of "unknown".
std::string_view bottleneck_words(std::string_view code);

/// The code for a candidate that was timed: by spills, the time model's limit (virtual GPU), hardware counters, and the
/// task's roofs, whichever of them is known, in this order. "unknown" for one that was not timed.
std::string bottleneck_of(const Task& task, const DeviceFacts& device, const Specimen& specimen);

/// How long a call must take and what of: "short_memory", "long_tensor", ...; "unknown" on devices without known peaks.
std::span<const LessonTerm> shape_class_table();
std::string_view shape_class_words(std::string_view code);
/// The name of the first input's element type, which most of the data has.
std::string dtype_of(const Task& task);
std::string shape_class_of(const Task& task, const DeviceFacts& device, const Workload& workload);

}  // namespace kernelites
