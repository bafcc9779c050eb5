// SPDX-License-Identifier: Apache-2.0
// How far two runs of one launch lie apart, measured by the gates of the task.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/core/task.h"

namespace kernelites::worker {

/// What lies between two outputs.
struct OutputSpread {
  bool is_equal = true;  ///< byte for byte
  double share = 0;      ///< of the gates
};

/// The largest difference between two outputs as a share of the gates of `precision`, rows of `columns` elements:
/// above 1 the gates themselves would fail. What is less than one unit in the last place of an element, or one code of
/// quantised outputs, has no share: a sum that differs in its last bits may round either way. Infinite where one value
/// is finite and the other is not, and for types that are no floating-point values (packed codes, indices) if any byte
/// differs. REQUIRES: both have whole rows, as many.
OutputSpread output_spread(Dtype dtype, std::int64_t columns, const Precision& precision,
                           std::span<const std::byte> first, std::span<const std::byte> second);

/// The largest of all outputs of a task, by the gates of one input family. REQUIRES: both hold the outputs in the
/// task's order (WorkloadSession::outputs).
OutputSpread outputs_spread(const Task& task, const Workload& workload, const InputFamily& family,
                            const std::vector<std::vector<std::byte>>& first,
                            const std::vector<std::vector<std::byte>>& second);

}  // namespace kernelites::worker
