// SPDX-License-Identifier: Apache-2.0
// Which kernel of a portfolio runs at which shape: ranges over dims, made from times at the bench workloads.
//
// One arm, the best over all workloads, is the default. A workload at which another arm is faster by more than a
// threshold gets a rule: a box around it. Workloads of the same wish share a box while it holds none of another wish;
// the box then grows in every dim up to half the way (in the logarithm) to the nearest workload of another wish, and
// without end where there is none. Shapes are known when a launch is captured; lengths on the device play no part.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace kernelites {

/// As an arm: the caller's own function, for shapes at which something outside the portfolio is faster.
inline constexpr int k_fallback_arm = -1;

/// How long every arm takes at one workload.
struct ShapeTimes {
  std::string workload;
  std::map<std::string, std::int64_t> dims;
  std::vector<double> time_us;  ///< by arm; 0: it does not run here, or nobody measured
  double fallback_us = 0;       ///< of the caller's own function; 0: unknown
  double weight = 1;
};

/// Inclusive.
struct DimRange {
  std::string dim;
  std::int64_t low = 1;
  std::int64_t high = std::numeric_limits<std::int64_t>::max();
  bool operator==(const DimRange&) const = default;
};

/// The arm for shapes within all ranges; dims that are not named do not matter.
struct DispatchRule {
  std::vector<DimRange> ranges;
  int arm = 0;
  std::vector<std::string> workloads;  ///< those that it was made for
  bool operator==(const DispatchRule&) const = default;
};

/// The first rule that holds decides.
struct Dispatch {
  int default_arm = 0;
  std::vector<DispatchRule> rules;
  bool operator==(const Dispatch&) const = default;
};

/// The arm at `dims`, or k_fallback_arm.
int arm_at(const Dispatch& dispatch, const std::map<std::string, std::int64_t>& dims);

/// `gain_min`: a workload leaves the default only for an arm that is faster by more than this share. `dims`: those that
/// ranges may name. An arm without a time at some workload is no default unless no arm has them all. Throws Error if no
/// arm has any time.
Dispatch choose_dispatch(const std::vector<ShapeTimes>& shapes, const std::vector<std::string>& dims,
                         double gain_min);

/// time(default) / time(chosen) by workload, where both are known: what the rules are worth.
std::map<std::string, double> dispatch_gains(const Dispatch& dispatch, const std::vector<ShapeTimes>& shapes);

/// "B 1..4, S 2048.. -> arm_1" for people; without ranges "everywhere".
std::string rule_words(const DispatchRule& rule, const std::vector<std::string>& labels);

}  // namespace kernelites
