// SPDX-License-Identifier: Apache-2.0
// Encoding of tensor maps, and the walk over a box.
#include "evaluators/worker/vgpu/virtual_tensor_map.h"

#include <algorithm>
#include <cstring>

namespace kernelites::worker::vgpu {
namespace {

constexpr u64 k_magic = 0x70616d5f746c6b00;
constexpr u32 k_chunk_bytes = 16;

struct Encoded {
  u64 magic = 0;
  VirtualTensorMap map;
};
static_assert(sizeof(Encoded) <= k_tensor_map_bytes);

u32 elements_of(const VirtualTensorMap& map, u32 axis) {
  return (map.box[axis] + map.steps[axis] - 1u) / map.steps[axis];
}

}  // namespace

std::array<std::byte, k_tensor_map_bytes> encode(const VirtualTensorMap& map) {
  const Encoded encoded{.magic = k_magic, .map = map};
  std::array<std::byte, k_tensor_map_bytes> bytes{};
  std::memcpy(bytes.data(), &encoded, sizeof encoded);
  return bytes;
}

std::optional<VirtualTensorMap> decode_tensor_map(std::span<const std::byte> bytes) {
  Encoded encoded;
  std::memcpy(&encoded, bytes.data(), sizeof encoded);
  if (encoded.magic != k_magic) return std::nullopt;
  return encoded.map;
}

u32 box_bytes(const VirtualTensorMap& map) {
  u64 bytes = map.strides[0];
  for (u32 axis = 0; axis < map.rank; ++axis) bytes *= elements_of(map, axis);
  return static_cast<u32>(bytes);
}

std::vector<BoxChunk> box_chunks(const VirtualTensorMap& map, std::span<const i32> coordinates, u32 shared) {
  const i64 element = static_cast<i64>(map.strides[0]);
  const u32 row_bytes = elements_of(map, 0) * static_cast<u32>(element);
  // Bytes of a row that lie in the tensor, counted from the row's first byte.
  const i64 begin = std::max<i64>(0, -i64{coordinates[0]}) * element;
  const i64 end = (static_cast<i64>(map.extents[0]) - coordinates[0]) * element;
  std::array<u32, k_max_map_rank> at{};
  std::vector<BoxChunk> chunks;
  chunks.reserve(box_bytes(map) / k_chunk_bytes);
  for (u32 offset = 0, bytes = box_bytes(map); offset < bytes; offset += row_bytes) {
    bool is_inside = true;
    i64 row = coordinates[0] * element;
    for (u32 axis = 1; axis < map.rank; ++axis) {
      const i64 index = coordinates[axis] + i64{at[axis]} * map.steps[axis];
      is_inside &= index >= 0 && static_cast<u64>(index) < map.extents[axis];
      row += index * static_cast<i64>(map.strides[axis]);
    }
    for (u32 within = 0; within < row_bytes; within += k_chunk_bytes) {
      const i64 first = std::max<i64>(begin, within), last = std::min<i64>(end, within + k_chunk_bytes);
      BoxChunk chunk{.shared = swizzled(shared + offset + within, map.swizzle_bytes)};
      if (is_inside && first < last) {
        chunk.first = static_cast<u8>(first - within);
        chunk.bytes = static_cast<u8>(last - first);
        chunk.address = map.address + static_cast<u64>(row + first);
      }
      chunks.push_back(chunk);
    }
    for (u32 axis = 1; axis < map.rank && ++at[axis] == elements_of(map, axis); ++axis) at[axis] = 0;
  }
  return chunks;
}

}  // namespace kernelites::worker::vgpu
