// SPDX-License-Identifier: Apache-2.0
// Matrix descriptors of wgmma (PTX ISA 9.7.15.5.1): where the 16-byte chunks of an operand lie in shared memory.
#pragma once

#include "evaluators/worker/vgpu/types.h"
#include "evaluators/worker/vgpu/virtual_tensor_map.h"

namespace kernelites::worker::vgpu {

/// An operand of 16-bit elements, MN x K. A chunk holds eight neighbours: along K where K is the major axis, along MN
/// where that is. Without a swizzle a chunk is a row of a core matrix of 128 bytes.
struct MatrixDescriptor {
  u32 start = 0, leading = 0, stride = 0;  ///< bytes
  u32 swizzle_bytes = 0;                   ///< 0, 32, 64 or 128
  u32 base_offset = 0;                     ///< of the swizzle's pattern

  explicit MatrixDescriptor(u64 bits)
      : start(static_cast<u32>(bits & 0x3fff) << 4),
        leading(static_cast<u32>(bits >> 16 & 0x3fff) << 4),
        stride(static_cast<u32>(bits >> 32 & 0x3fff) << 4),
        swizzle_bytes(bits >> 62 == 0 ? 0 : 256u >> (bits >> 62)),
        base_offset(static_cast<u32>(bits >> 49 & 7)) {}

  /// The pattern of a swizzle begins base_offset rows of 128 bytes behind a multiple of its length.
  u32 placed(u32 address) const {
    const u32 pattern = 128 * base_offset;
    return swizzled(address - pattern, swizzle_bytes) + pattern;
  }
  /// Chunk `chunk` (of eight k) of row `mn`, K-major.
  u32 k_major(u32 mn, u32 chunk) const {
    const u32 row = swizzle_bytes == 0 ? 16 : swizzle_bytes, step = swizzle_bytes == 0 ? leading : 16;
    return placed(start + mn / 8 * stride + mn % 8 * row + chunk * step);
  }
  /// Chunk `chunk` (of eight mn) at `k`, MN-major.
  u32 mn_major(u32 chunk, u32 k) const {
    if (swizzle_bytes == 0) return start + chunk * stride + k / 8 * leading + k % 8 * 16;
    const u32 per_row = swizzle_bytes / 16;
    return placed(start + chunk / per_row * leading + chunk % per_row * 16 + k / 8 * stride +
                  k % 8 * swizzle_bytes);
  }
};

}  // namespace kernelites::worker::vgpu
