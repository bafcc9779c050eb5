// SPDX-License-Identifier: Apache-2.0
// When a run ends because nothing comes out any more.
#pragma once

namespace kernelites {

struct StagnationSettings {
  bool is_on = true;   ///< false: nothing ends because nothing comes out
  int patience = 250;  ///< variations without a faster elite that end the run
  bool operator==(const StagnationSettings&) const = default;
};

}  // namespace kernelites
