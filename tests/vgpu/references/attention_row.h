// SPDX-License-Identifier: Apache-2.0
// Attention of one row in plain float64, three passes, and what comparing a decode reference with it needs.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/vgpu/references/reference_support.h"

namespace kernelites::worker {

inline constexpr double k_infinity = std::numeric_limits<double>::infinity();

inline std::size_t dim(const Workload& workload, const char* name) {
  return static_cast<std::size_t>(workload.dims.at(name));
}

/// Whether two log-sum-exps agree, infinities included.
inline bool is_same_lse(double a, double b) { return a == b || std::abs(a - b) < 1e-11; }

/// All outputs of a task's reference, every row, in the order of the task's tensors.
inline std::vector<Bytes> reference_of(const Task& task, const Workload& workload,
                                       const std::vector<Bytes>& inputs) {
  std::vector<std::int64_t> rows;
  for (std::int64_t row = 0; row < row_count(task, workload); ++row) rows.push_back(row);
  return run_on_vgpu({task, task.reference_source, Form::reference, workload, rows}, inputs);
}

struct Row {
  std::vector<double> o;
  double lse = -k_infinity;
};

/// Attention of one row over `keys` keys: all scores first, then their maximum, the weights, the sums.
template <typename Score, typename Value>
Row attended(std::size_t keys, std::size_t channels, Score score, Value value) {
  std::vector<double> weight(keys);
  for (std::size_t j = 0; j < keys; ++j) weight[j] = score(j);
  Row row{std::vector<double>(channels)};
  if (keys == 0) return row;
  const double largest = *std::max_element(weight.begin(), weight.end());
  double sum = 0;
  for (double& w : weight) sum += w = std::exp(w - largest);
  for (std::size_t j = 0; j < keys; ++j) {
    for (std::size_t d = 0; d < channels; ++d) row.o[d] += weight[j] / sum * value(j, d);
  }
  row.lse = largest + std::log(sum);
  return row;
}

}  // namespace kernelites::worker
