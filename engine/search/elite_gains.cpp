// SPDX-License-Identifier: Apache-2.0
// Logarithms of ratios of fitness.
#include "engine/search/elite_gains.h"

#include <algorithm>
#include <cmath>

namespace kernelites {
namespace {

/// What a new cell is worth whose founder is as fast as the fastest: as a gain of 7 %.
constexpr double k_new_cell_bits = 0.1;

}  // namespace

EliteGain EliteGains::take(const std::string& status, const std::string& cell, double fitness) {
  if (status == "withdrawn") {
    fitness_of_.erase(cell);
    return {};
  }
  const auto before = fitness_of_.find(cell);
  const double replaced = before == fitness_of_.end() ? 0 : before->second;
  fitness_of_[cell] = fitness;
  if ((status != "added" && status != "improved") || fitness <= 0) return {};
  EliteGain gain;
  if (replaced > 0)
    gain.bits = std::max(0.0, std::log2(fitness / replaced));
  else
    gain.bits = k_new_cell_bits * (best_ > 0 ? std::min(1.0, fitness / best_) : 1.0);
  gain.is_best = fitness > best_;
  if (gain.is_best && best_ > 0) gain.bits += std::log2(fitness / best_);
  best_ = std::max(best_, fitness);
  return gain;
}

}  // namespace kernelites
