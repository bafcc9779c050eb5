// SPDX-License-Identifier: Apache-2.0
// Measures of compiled code that descriptors are made of: what follows from resources, plan and opcode counts alone.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/core/device_facts.h"
#include "engine/core/evaluation.h"

namespace kernelites {

/// What one launch takes of a multiprocessor.
struct BlockNeeds {
  int registers = 0;              ///< per thread
  std::int64_t threads = 1;       ///< per block
  std::int64_t shared_bytes = 0;  ///< per block, static and dynamic
};

/// The share of a multiprocessor's warps that can be resident, 0 to 1: limited by warps, blocks, registers (in units of
/// 256 per warp) and shared memory (1 KB of each block is the system's). CUDA C++ programming guide, compute
/// capabilities. 0: no block fits.
double occupancy_of(const BlockNeeds& needs, const DeviceFacts& device);

/// Whether code adds floating-point numbers in memory (atom, red, TMA's reductions): their order is free, and with it
/// the last bits of a sum. No other atomic makes results differ; of an examination that did not count, any may.
bool adds_floats(const StaticCounts& counts);

/// The label on axis "scope": the widest exchange of values that the code holds. `is_across_blocks`: the plan lets a
/// launch read what blocks of an earlier one wrote, or launches a grid or clusters that synchronise.
std::string_view scope_label(const StaticCounts& counts, bool is_across_blocks);

}  // namespace kernelites
