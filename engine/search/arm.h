// SPDX-License-Identifier: Apache-2.0
// Who proposes: operator, endpoint and prompt version together, what they brought and what they cost.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace kernelites {

/// What costs are summed by and the bandit chooses among.
struct Arm {
  std::string operator_name;
  std::string endpoint;        ///< empty: no model
  std::string prompt_version;  ///< empty: no prompt
  auto operator<=>(const Arm&) const = default;
};

/// An arm that can work now.
struct ArmWeight {
  Arm arm;
  double weight = 1;  ///< share in the configuration, times what steering makes of it; 0: never
};

/// The arms that a run may ask, in the order of the table of operators, with the operators' shares: each is divided
/// among the `endpoints` (if the operator needs one) in proportion to their `factors` (1 if not named).
/// `prompt_version` may be empty.
std::vector<ArmWeight> arm_weights(const std::map<std::string, double>& operators,
                                   const std::vector<std::string>& endpoints,
                                   const std::map<std::string, double>& factors = {},
                                   const std::function<std::string(const std::string&)>& prompt_version = {});

/// Sums over an arm's variations. Whole numbers, so that any order of adding gives the same sums.
struct ArmSums {
  std::int64_t variations = 0;  ///< over
  std::int64_t elites = 0;      ///< candidates that entered a cell
  std::int64_t gain_ubits = 0;  ///< millionths of a bit: `EliteGains`
  std::int64_t cost_uusd = 0;   ///< millionths of a dollar: calls, and the device at its price
  std::int64_t device_ms = 0;   ///< the device alone
  ArmSums& operator+=(const ArmSums& other) {
    variations += other.variations;
    elites += other.elites;
    gain_ubits += other.gain_ubits;
    cost_uusd += other.cost_uusd;
    device_ms += other.device_ms;
    return *this;
  }
  bool operator==(const ArmSums&) const = default;
};

}  // namespace kernelites
