// SPDX-License-Identifier: Apache-2.0
// The bandit over arms: who brings most per dollar is asked most, and nobody is forgotten.
//
// An arm's gain is taken for a stream of events whose rate per dollar is unknown: after gains that sum up to S (in
// units of the mean gain of all arms' elites) for a cost C it has the distribution Gamma(a0 + S, b0 + C), where the
// prior's mean is the rate of all arms together. A draw takes the arm with the highest sampled rate (Thompson 1933;
// with budgets: Xia et al., IJCAI 2015), except for a share `floor` that goes by the weights alone. Old results fade:
// arms that are good at the beginning are not those that are good at the end. Since gains are compared with the mean
// gain of late, it does not matter that all of them shrink as a search comes to its end.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "engine/core/rng.h"
#include "engine/search/arm.h"
#include "engine/search/bandit_settings.h"

namespace kernelites {

/// A value: what was added, and nothing else, decides what it says.
class Bandit {
 public:
  explicit Bandit(const BanditSettings& settings = {}) : settings_(settings) {}

  /// Counts what the variation `ordinal` brought or cost; in any number of parts, in any order.
  void add(const Arm& arm, std::uint64_t ordinal, const ArmSums& sums);

  /// Index of an arm of `arms`. REQUIRES: some weight is positive.
  std::size_t draw(std::span<const ArmWeight> arms, Rng& rng) const;
  /// What share of the draws each gets, by simulation: good to about 0.01. All 0 if no weight is positive.
  std::vector<double> shares(std::span<const ArmWeight> arms) const;

  /// Bits per dollar, recent results counting most; 0: nothing was spent.
  double recent_gain(const Arm& arm) const;
  /// All arms that anything was added for, with their sums.
  std::map<Arm, ArmSums> totals() const;

  const BanditSettings& settings() const { return settings_; }

 private:
  struct Faded {
    double elites = 0, gain = 0, cost = 0;
  };
  struct Posterior {
    double shape = 1, rate = 1;
  };
  struct Record {
    ArmSums total;
    std::map<std::uint64_t, ArmSums> epochs;  // by ordinal / k_epoch
  };
  Faded faded(const Record& record) const;
  std::vector<Posterior> posteriors(std::span<const ArmWeight> arms) const;
  std::size_t draw(std::span<const ArmWeight> arms, const std::vector<Posterior>& believed, Rng& rng) const;

  BanditSettings settings_;
  std::map<Arm, Record> records_;
  std::uint64_t newest_epoch_ = 0;
};

/// The shares that go out where no bandit is asked: the weights, normalised. All 0 if none is positive.
std::vector<double> weight_shares(std::span<const ArmWeight> arms);

}  // namespace kernelites
