// SPDX-License-Identifier: Apache-2.0
// How far an honest kernel's errors lie from their gates, over many draws of every input family.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/json.h"

namespace kernelites {

/// Distribution of shares (error over gate; above 1 fails), from counts in bins of 1 %.
class ShareHistogram {
 public:
  void add(double share);
  std::int64_t count() const { return count_; }
  /// The least share that so many of all reach at most, rounded up to its bin. 0 if there is none.
  double quantile(double part) const;
  /// Exact; infinite once a share was not finite.
  double largest() const { return largest_; }

 private:
  static constexpr int k_bins = 2048;
  std::array<std::int64_t, k_bins> bins_{};
  std::int64_t count_ = 0;
  double largest_ = 0;
};

/// One output under one family.
struct CalibrationRow {
  std::string family;
  std::string output;
  std::string gates;  ///< name of the precision class
  double gate_row = 0;
  std::int64_t trials = 0, rows = 0;
  double row_p50 = 0, row_p99 = 0, row_max = 0;              ///< rms(e)/rms(g) over its gate
  double element_p50 = 0, element_p99 = 0, element_max = 0;  ///< worst element of a row over what is allowed
  std::int64_t mismatches = 0;
  bool operator==(const CalibrationRow&) const = default;
};

/// The reply to `calibrate`: one row per family and output. `problem`: why there are none, or fewer.
struct Calibration {
  std::string problem;
  std::vector<CalibrationRow> rows;
};

void to_json(Json& json, const CalibrationRow& row);
void from_json(const Json& json, CalibrationRow& row);
void to_json(Json& json, const Calibration& calibration);
void from_json(const Json& json, Calibration& calibration);

}  // namespace kernelites
