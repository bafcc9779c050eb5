// SPDX-License-Identifier: Apache-2.0
// From the suffixes of a memory instruction to its part in the order of accesses.
#pragma once

#include "evaluators/worker/vgpu/order.h"
#include "evaluators/worker/vgpu/syntax.h"

namespace kernelites::worker::vgpu {

/// Bits of order.h for a load, a store or an atomic. Loads that bypass the first-level cache (.cg, .cv) count as
/// strong, because kernels wait with them for flags; data that was stored weakly still needs to be ordered.
inline u8 memory_order(const Statement& statement) {
  const bool is_atomic = statement.is("atom") || statement.is("red");
  const bool is_acquire = statement.has("acquire") || statement.has("acq_rel");
  const bool is_release = statement.has("release") || statement.has("acq_rel");
  bool is_strong = is_atomic || is_acquire || is_release || statement.has("volatile") ||
                   statement.has("relaxed") || statement.has("mmio");
  if (statement.is("ld")) is_strong |= statement.has("cg") || statement.has("cv");
  if (statement.is("st")) is_strong |= statement.has("wt");
  u8 flags = is_strong ? k_strong_access : 0;
  if (is_acquire) flags |= k_acquire_access;
  if (is_release) flags |= k_release_access;
  if (statement.has("cta")) flags |= k_block_access;
  if (statement.has("nc") || statement.is("ldu")) flags |= k_constant_access;
  return flags;
}

}  // namespace kernelites::worker::vgpu
