// SPDX-License-Identifier: Apache-2.0
// Counting of memory requests: 32-byte sectors of global memory, wavefronts (bank conflicts) of shared memory.
#pragma once

#include "evaluators/worker/vgpu/access.h"

#pragma GCC push_options
#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {

/// Counts a global request of `bytes` per active lane and adds its sectors to the launch's footprint.
void count_global(Warp& warp, const Instruction& i, const Region& region, const Access& access, Mask mask,
                  u32 bytes, Use use);
/// Counts a shared request.
void count_shared(Warp& warp, const Instruction& i, const Access& access, Mask mask, u32 bytes);

}  // namespace kernelites::worker::vgpu

#pragma GCC pop_options
