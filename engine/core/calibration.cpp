// SPDX-License-Identifier: Apache-2.0
// Shares are counted on a logarithmic scale from 1e-6 to 1e2, 1 % a bin.
#include "engine/core/calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace kernelites {
namespace {

constexpr double k_least = 1e-6;
const double k_step = std::log(1.01);

}  // namespace

void ShareHistogram::add(double share) {
  ++count_;
  if (!std::isfinite(share)) {
    largest_ = std::numeric_limits<double>::infinity();
    ++bins_.back();
    return;
  }
  largest_ = std::max(largest_, share);
  const double bin = share <= k_least ? 0 : std::ceil(std::log(share / k_least) / k_step);
  ++bins_[static_cast<std::size_t>(std::clamp(bin, 0.0, static_cast<double>(k_bins - 1)))];
}

double ShareHistogram::quantile(double part) const {
  if (count_ == 0) return 0;
  const auto wanted = static_cast<std::int64_t>(std::ceil(part * static_cast<double>(count_)));
  std::int64_t seen = 0;
  for (std::size_t bin = 0; bin < bins_.size(); ++bin) {
    seen += bins_[bin];
    if (seen >= std::max<std::int64_t>(wanted, 1))
      return bin == 0 ? 0 : std::min(k_least * std::exp(static_cast<double>(bin) * k_step), largest_);
  }
  return largest_;
}

void to_json(Json& json, const CalibrationRow& row) {
  json = Json{{"family", row.family},
              {"output", row.output},
              {"gates", row.gates},
              {"gate_row", row.gate_row},
              {"trials", row.trials},
              {"rows", row.rows},
              {"row_p50", row.row_p50},
              {"row_p99", row.row_p99},
              {"row_max", real_to_json(row.row_max)},
              {"element_p50", row.element_p50},
              {"element_p99", row.element_p99},
              {"element_max", real_to_json(row.element_max)},
              {"mismatches", row.mismatches}};
}

void from_json(const Json& json, CalibrationRow& row) {
  json.at("family").get_to(row.family);
  json.at("output").get_to(row.output);
  json.at("gates").get_to(row.gates);
  json.at("gate_row").get_to(row.gate_row);
  json.at("trials").get_to(row.trials);
  json.at("rows").get_to(row.rows);
  json.at("row_p50").get_to(row.row_p50);
  json.at("row_p99").get_to(row.row_p99);
  row.row_max = real_from_json(json.at("row_max"));
  json.at("element_p50").get_to(row.element_p50);
  json.at("element_p99").get_to(row.element_p99);
  row.element_max = real_from_json(json.at("element_max"));
  json.at("mismatches").get_to(row.mismatches);
}

void to_json(Json& json, const Calibration& calibration) {
  json = Json{{"problem", calibration.problem}, {"rows", calibration.rows}};
}

void from_json(const Json& json, Calibration& calibration) {
  json.at("problem").get_to(calibration.problem);
  json.at("rows").get_to(calibration.rows);
}

}  // namespace kernelites
