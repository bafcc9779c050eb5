// SPDX-License-Identifier: Apache-2.0
// The baseline of a run: the fastest of its seeds, and what chance alone does on this device.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "archive/archive.h"

namespace kernelites {

struct Baseline {
  std::string id;  ///< candidate id; empty: not known
  std::uint64_t ordinal = 0;
  double null_half_width = 0;  ///< of its A/A duel: how far from zero the interval of equal arms reaches
  bool is_pending = true;      ///< some seed still has to be examined or dueled
  std::uint64_t failed = 0;    ///< the number of the first seed that failed; 0: none did
  std::string failure;         ///< why no seed can be it: the first failed seed, its stage and message
};

/// What the archive says. Every seed that passed duels all others and itself, so that any of them can be the
/// baseline.
Baseline baseline_of(const Archive& archive, const std::map<std::string, double>& weights);

}  // namespace kernelites
