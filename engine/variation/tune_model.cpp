// SPDX-License-Identifier: Apache-2.0
// Normal equations, their Cholesky factor, and a draw from the posterior.
#include "engine/variation/tune_model.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/core/error.h"

namespace kernelites {
namespace {

/// Standard deviations beforehand, in log speed-up: of the constant, of one value's effect, and of what is no sum of
/// effects (interactions more than noise of measurement).
constexpr double k_constant_sd = 1, k_effect_sd = 0.3, k_residual_sd = 0.05;

double normal_draw(Rng& rng) {
  const double radius = std::sqrt(-2 * std::log(1 - rng.uniform()));
  return radius * std::cos(2 * std::numbers::pi * rng.uniform());
}

/// The lower factor of a positive definite matrix, in place of it.
void factorise(std::vector<double>& matrix, std::size_t n) {
  for (std::size_t j = 0; j < n; ++j) {
    for (std::size_t k = 0; k < j; ++k)
      for (std::size_t i = j; i < n; ++i) matrix[i * n + j] -= matrix[i * n + k] * matrix[j * n + k];
    const double pivot = std::sqrt(std::max(matrix[j * n + j], 1e-12));
    for (std::size_t i = j; i < n; ++i) matrix[i * n + j] /= pivot;
  }
}

}  // namespace

TuneModel::TuneModel(const std::vector<Tunable>& tunables) : tunables_(tunables) {
  for (const Tunable& tunable : tunables_) {
    first_column_.push_back(column_count_);
    column_count_ += tunable.values.size();
  }
  normal_.assign(column_count_ * column_count_, 0);
  right_.assign(column_count_, 0);
}

/// The constant's column, and of each tunable that of the value; a value that is not declared has none.
std::vector<std::size_t> TuneModel::columns(const Tuning& tuning) const {
  std::vector<std::size_t> columns{0};
  for (std::size_t i = 0; i < tunables_.size(); ++i) {
    const auto& values = tunables_[i].values;
    const auto chosen = tuning.find(tunables_[i].name);
    if (chosen == tuning.end()) continue;
    const auto at = std::find(values.begin(), values.end(), chosen->second);
    if (at != values.end())
      columns.push_back(first_column_[i] + static_cast<std::size_t>(at - values.begin()));
  }
  return columns;
}

void TuneModel::add(const Tuning& tuning, bool is_passed) {
  const auto used = columns(tuning);
  for (std::size_t i = 1; i < used.size(); ++i)
    for (std::size_t j = i + 1; j < used.size(); ++j) {
      Count& count = pairs_[{used[i], used[j]}];
      ++count.tried;
      count.passed += is_passed ? 1 : 0;
    }
}

void TuneModel::add(const Tuning& tuning, double log_speedup) {
  const auto used = columns(tuning);
  for (const std::size_t i : used) {
    right_[i] += log_speedup;
    for (const std::size_t j : used) normal_[i * column_count_ + j] += 1;
  }
}

TuneModel::Draw TuneModel::draw(Rng& rng) const {
  // Precision matrix P = X^T X / residual^2 + 1 / prior^2 = L L^T; mean m solves P m = X^T y / residual^2; a draw is
  // m + L^-T z. Both are one forward and one backward substitution.
  const std::size_t n = column_count_;
  const double weight = 1 / (k_residual_sd * k_residual_sd);
  std::vector<double> factor = normal_;
  for (double& value : factor) value *= weight;
  for (std::size_t i = 0; i < n; ++i) {
    const double sd = i == 0 ? k_constant_sd : k_effect_sd;
    factor[i * n + i] += 1 / (sd * sd);
  }
  factorise(factor, n);
  Draw draw{.effects = right_};
  std::vector<double>& x = draw.effects;
  for (std::size_t i = 0; i < n; ++i) {
    x[i] *= weight;
    for (std::size_t k = 0; k < i; ++k) x[i] -= factor[i * n + k] * x[k];
    x[i] /= factor[i * n + i];
  }
  for (double& value : x) value += normal_draw(rng);
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) x[i] -= factor[k * n + i] * x[k];
    x[i] /= factor[i * n + i];
  }
  return draw;
}

double TuneModel::log_speedup(const Draw& draw, const Tuning& tuning) const {
  KERNELITES_ASSERT(draw.effects.size() == column_count_);
  double sum = 0;
  for (const std::size_t column : columns(tuning)) sum += draw.effects[column];
  return sum;
}

double TuneModel::pass_probability(const Tuning& tuning) const {
  const auto used = columns(tuning);
  double worst = 1;
  for (std::size_t i = 1; i < used.size(); ++i)
    for (std::size_t j = i + 1; j < used.size(); ++j) {
      const auto count = pairs_.find({used[i], used[j]});
      if (count != pairs_.end())
        worst = std::min(worst, (count->second.passed + 1.0) / (count->second.tried + 1.25));
    }
  return worst;
}

}  // namespace kernelites
