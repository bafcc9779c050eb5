// SPDX-License-Identifier: Apache-2.0
// How an output is compared on the device: its layout, its gates, and what comes back.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/core/task.h"

namespace kernelites::worker {

/// One axis as `harness_compare` walks it: strides in the output (in codes) and within a row of the reference.
struct CompareAxis {
  std::int64_t extent = 1, out = 0, gold = 0;
};

/// Everything about one output, mirrored in harness/compare.cu. The addresses are filled in by the referee.
struct CompareOrder {
  std::uint64_t output = 0, gold = 0, emulated = 0, rows = 0, results = 0, marks = 0;
  std::int64_t columns = 0;  ///< of a reference row
  std::int64_t parts = 1;    ///< of a row that are gated apart
  std::int64_t tile = 1;
  std::int64_t chosen = 0;  ///< selections: indices in an output row
  CompareAxis row[6], per[6], inner[6];
  std::int32_t row_rank = 0, per_rank = 0, inner_rank = 0;
  std::int32_t dtype = 0, compare = 0, bits = 0, is_signed = 0, is_ordered = 0;
  double row_gate = 0, ulp = 0, rms_factor = 0, absolute = 0, emulated_factor = 0, distance = 0, tie = 0,
         tie_rms = 0;
};
static_assert(sizeof(CompareOrder) == 10 * 8 + 18 * 24 + 8 * 4 + 8 * 8);

/// Per gated part of a row, as compare.cu writes it.
struct RowResult {
  double row = 0;       ///< rms(e)/rms(g)
  double share = 0;     ///< that over its gate
  double element = 0;   ///< worst |e| over what is allowed
  double mismatch = 0;  ///< elements of which one is not finite and the other differs, and broken rules
};

/// Over all results of an output; NaN is worse than everything.
struct WorstResult {
  double row = 0, share = 0, element = 0, mismatch = 0;
  std::int64_t index = -1;  ///< of the result that decides
};

/// Layout and gates of `output` at `workload`. REQUIRES: `output` is an output of `task`.
CompareOrder compare_order(const Task& task, const TensorSpec& output, const Precision& gates,
                           const Workload& workload);

/// The elements of an output in the order of reference rows: all rows, then the columns of a row. REQUIRES: one code an
/// element.
std::vector<double> as_reference_rows(const CompareOrder& order, std::span<const double> values);
/// The same of some rows only. Throws Error if one of them is none.
std::vector<double> listed_rows(const CompareOrder& order, std::span<const double> values,
                                const std::vector<std::int64_t>& rows);

}  // namespace kernelites::worker
