// SPDX-License-Identifier: Apache-2.0
// What the tests of references share: inputs, rows, errors, and where seeds are.
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "engine/core/rng.h"
#include "tests/support/oracle.h"
#include "tests/vgpu/references/task_on_vgpu.h"

namespace kernelites::worker {

inline const std::filesystem::path k_root = KERNELITES_SOURCE_DIR;
/// Standard normal draws, rounded to bf16.
inline oracle::Bf16 draws(std::int64_t count, float factor, std::uint64_t seed) {
  Rng rng(seed);
  const auto unit = [&] { return (static_cast<double>(rng.bits() >> 11) + 0.5) * 0x1p-53; };
  oracle::Bf16 values(static_cast<std::size_t>(count));
  for (auto& value : values) {
    const double radius = std::sqrt(-2 * std::log(unit()));
    value = oracle::to_bf16(factor * static_cast<float>(radius * std::cos(2 * 3.14159265358979 * unit())));
  }
  return values;
}

/// Rows in an order of their own, some of them twice: a reference must not assume that it gets all.
inline std::vector<std::int64_t> some_rows(std::int64_t count) {
  std::vector<std::int64_t> rows{count - 1, 0, count - 1};
  for (std::int64_t row = 1; row < count; row += 2) rows.push_back(row);
  return rows;
}

/// Worst |e| / rms(g) over the row, or infinity where one of them is not finite and they differ.
inline double row_error(const double* gold, const double* value, std::size_t count) {
  double squares = 0, worst = 0;
  for (std::size_t i = 0; i < count; ++i) squares += gold[i] * gold[i];
  const double rms = std::sqrt(squares / static_cast<double>(count));
  for (std::size_t i = 0; i < count; ++i) {
    if (gold[i] == value[i]) continue;
    const double error = std::abs(gold[i] - value[i]) / rms;
    worst = error <= std::numeric_limits<double>::max() ? std::max(worst, error) : INFINITY;
  }
  return worst;
}

inline std::vector<double> doubles_of(const oracle::Bf16& values) {
  std::vector<double> result;
  for (const auto value : values) result.push_back(oracle::to_double(value));
  return result;
}

inline std::vector<std::string> seeds_of(const std::string& task) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(k_root / "kernels_seed" / task)) {
    files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace kernelites::worker
