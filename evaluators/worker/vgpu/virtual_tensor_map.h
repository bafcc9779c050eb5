// SPDX-License-Identifier: Apache-2.0
// A tensor map (CUtensorMap) as the virtual GPU keeps it in the 128 bytes of its kernel parameter, and how TMA lays a
// box of it out in shared memory.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "evaluators/worker/vgpu/types.h"

namespace kernelites::worker::vgpu {

inline constexpr std::size_t k_tensor_map_bytes = 128;
inline constexpr u32 k_max_map_rank = 5;

/// What a tensor reduction needs to know of the elements.
enum class MapElement : u8 { bytes, f16, bf16, f32, f64, int32, int64 };

/// Innermost dimension first. Elements are never interleaved; what lies outside the tensor is read as zeros.
struct VirtualTensorMap {
  u64 address = 0;
  std::array<u64, k_max_map_rank> extents{};  ///< elements
  std::array<u64, k_max_map_rank> strides{};  ///< bytes; [0] is the size of an element
  std::array<u16, k_max_map_rank> box{};      ///< elements
  std::array<u8, k_max_map_rank> steps{};     ///< from one element of the box to the next
  u8 rank = 0;
  u8 swizzle_bytes = 0;  ///< 0, 32, 64 or 128
  MapElement element = MapElement::bytes;
};

std::array<std::byte, k_tensor_map_bytes> encode(const VirtualTensorMap& map);
/// Empty if the bytes are no encoded map. REQUIRES: k_tensor_map_bytes bytes.
std::optional<VirtualTensorMap> decode_tensor_map(std::span<const std::byte> bytes);

/// Where the 16-byte chunk at shared address `address` really lies: bits 4 to 6 are exclusive-ored with bits 7 to 9
/// (PTX ISA, swizzling modes). `swizzle_bytes`: 0 (nothing happens), 32, 64 or 128.
constexpr u32 swizzled(u32 address, u32 swizzle_bytes) {
  return swizzle_bytes == 0 ? address : address ^ (address >> 3 & (swizzle_bytes - 16));
}

/// 16 bytes of a box: their place in shared memory, and the part of them that lies in the tensor.
struct BoxChunk {
  u32 shared = 0;           ///< offset from the first byte of shared memory, swizzled
  u8 first = 0, bytes = 0;  /// of the 16 bytes; the others are outside the tensor
  u64 address = 0;          ///< of byte `first` in device memory
};

/// The box whose first element has these coordinates (one per dimension), at offset `shared` of shared memory.
std::vector<BoxChunk> box_chunks(const VirtualTensorMap& map, std::span<const i32> coordinates, u32 shared);
/// Bytes of a box, those outside the tensor included: what a copy of it brings to its mbarrier.
u32 box_bytes(const VirtualTensorMap& map);

}  // namespace kernelites::worker::vgpu
