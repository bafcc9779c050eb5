// SPDX-License-Identifier: Apache-2.0
// What the bandit over arms can be told.
#pragma once

namespace kernelites {

struct BanditSettings {
  bool is_on = true;       ///< false: draws go by the operators' shares alone
  double floor = 0.2;      ///< share of the draws that goes by the operators' shares, whatever was learned
  double half_life = 100;  ///< variations after which a result counts half
  double usd_per_device_hour = 3;    ///< what the device is worth, to compare it with calls
  double usd_per_variation = 0.001;  ///< what a variation costs besides: nothing is free
  bool operator==(const BanditSettings&) const = default;
};

}  // namespace kernelites
