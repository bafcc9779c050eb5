// SPDX-License-Identifier: Apache-2.0
// Where TMA puts the bytes of a box, and where wgmma looks for those of an operand.
#include <set>

#include "evaluators/worker/vgpu/matrix_descriptor.h"
#include "evaluators/worker/vgpu/virtual_tensor_map.h"
#include "tests/support/catch.h"

using namespace kernelites::worker::vgpu;

namespace {

/// A matrix of 10 x 100 halves at address 4096, in boxes of 4 x 64.
VirtualTensorMap matrix_map(u8 swizzle_bytes) {
  VirtualTensorMap map{.address = 4096};
  map.extents = {100, 10};
  map.strides = {2, 200};
  map.box = {64, 4};
  map.steps = {1, 1};
  map.rank = 2;
  map.swizzle_bytes = swizzle_bytes;
  return map;
}

}  // namespace

TEST_CASE("a tensor map survives its encoding, other bytes are none", "[vgpu]") {
  const auto bytes = encode(matrix_map(64));
  const auto map = decode_tensor_map(bytes);
  REQUIRE(map.has_value());
  CHECK(map->address == 4096);
  CHECK(map->swizzle_bytes == 64);
  CHECK(box_bytes(*map) == 4 * 64 * 2);
  CHECK_FALSE(decode_tensor_map(std::array<std::byte, k_tensor_map_bytes>{}).has_value());
}

TEST_CASE("a box is cut where it leaves the tensor on either side", "[vgpu]") {
  const auto inside = box_chunks(matrix_map(0), std::array<i32, 2>{0, 2}, 1024);
  REQUIRE(inside.size() == 32);
  CHECK(inside[9].shared == 1024 + 9 * 16);
  CHECK(inside[9].address == 4096 + 3 * 200 + 16);
  CHECK(inside[9].bytes == 16);
  const auto right = box_chunks(matrix_map(0), std::array<i32, 2>{90, 8}, 0);
  CHECK(right[0].bytes == 16);                          // columns 90 to 97
  CHECK((right[1].first == 0 && right[1].bytes == 4));  // 98 and 99
  CHECK(right[2].bytes == 0);
  CHECK(right[16].bytes == 0);  // row 10
  const auto left = box_chunks(matrix_map(0), std::array<i32, 2>{-3, -1}, 0);
  CHECK(left[0].bytes == 0);                           // row -1
  CHECK((left[8].first == 6 && left[8].bytes == 10));  // columns -3 to 4
  CHECK(left[8].address == 4096);
}

TEST_CASE("a swizzle permutes the chunks of its span, by row", "[vgpu]") {
  CHECK(swizzled(0x400 + 3 * 128 + 0x20, 128) == 0x400 + 3 * 128 + 0x10);
  CHECK(swizzled(5 * 64 + 0x10, 64) == 5 * 64 + (0x10 ^ 0x20));
  CHECK(swizzled(4 * 32, 32) == 4 * 32 + 0x10);
  CHECK(swizzled(0x7f0, 0) == 0x7f0);
  for (const u32 span : {32u, 64u, 128u}) {
    std::set<u32> places;
    for (u32 address = 0; address < 1024; address += 16) places.insert(swizzled(address, span));
    CHECK(places.size() == 64);
  }
}

TEST_CASE("TMA and wgmma agree on where a tile of 64 channels lies", "[vgpu]") {
  // 64 keys of 64 channels with 128-byte swizzle at 2048, as TMA writes them.
  VirtualTensorMap map{.address = 1 << 20};
  map.extents = {64, 64};
  map.strides = {2, 128};
  map.box = {64, 64};
  map.steps = {1, 1};
  map.rank = 2;
  map.swizzle_bytes = 128;
  const auto chunks = box_chunks(map, std::array<i32, 2>{0, 0}, 2048);
  auto descriptor = [](u32 start, u32 leading) {
    return MatrixDescriptor(u64{start >> 4} | u64{leading >> 4} << 16 | u64{1024 >> 4} << 32 | u64{1} << 62);
  };
  for (u32 key = 0; key < 64; ++key) {
    for (u32 chunk = 0; chunk < 8; ++chunk) {
      const u32 place = chunks[key * 8 + chunk].shared;
      // As K, 16 channels at a time; as V, 16 keys at a time.
      CHECK(descriptor(2048 + chunk / 2 * 32, 0).k_major(key, chunk % 2) == place);
      CHECK(descriptor(2048 + key / 16 * 2048, 8192).mn_major(chunk, key % 16) == place);
    }
  }
}

TEST_CASE("without a swizzle an operand is core matrices of 128 bytes", "[vgpu]") {
  const MatrixDescriptor k_major(u64{64} | u64{8} << 16 | u64{16} << 32);
  CHECK(k_major.swizzle_bytes == 0);
  CHECK(k_major.k_major(0, 0) == 1024);
  CHECK(k_major.k_major(1, 0) == 1024 + 16);
  CHECK(k_major.k_major(8, 0) == 1024 + 256);
  CHECK(k_major.k_major(9, 1) == 1024 + 256 + 128 + 16);
}
