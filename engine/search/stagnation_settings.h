// SPDX-License-Identifier: Apache-2.0
// What the ladder against stagnation can be told.
#pragma once

namespace kernelites {

struct StagnationSettings {
  bool is_on = true;  ///< false: nothing changes, and nothing ends, because nothing comes out
  int patience = 50;  ///< variations without a faster elite before the first rung, and on each
  bool stops = true;  ///< false: after the last rung they begin again
  bool operator==(const StagnationSettings&) const = default;
};

}  // namespace kernelites
