// SPDX-License-Identifier: Apache-2.0
// What a step of the elites' history is worth: the reward of whoever proposed it.
#pragma once

#include <map>
#include <string>

namespace kernelites {

/// One step's worth.
struct EliteGain {
  double bits = 0;       ///< 0: nothing entered a cell
  bool is_best = false;  ///< faster than every elite before it
};

/// Follows the history of the cells, step by step. An improved elite is worth the logarithm of its gain over the one
/// that it replaces; one that founds a cell a little, the more the nearer it is to the fastest of all; and one that
/// becomes the fastest of all the logarithm of that gain as well. In bits: twice as fast is 1.
class EliteGains {
 public:
  /// `status` as in elite_history: added, improved, renewed or withdrawn (the last two are worth nothing).
  EliteGain take(const std::string& status, const std::string& cell, double fitness);

 private:
  std::map<std::string, double> fitness_of_;
  double best_ = 0;
};

}  // namespace kernelites
