// SPDX-License-Identifier: Apache-2.0
// Where buffers lie in their mappings.
#include "evaluators/worker/device/device.h"
#include "tests/support/catch.h"

using namespace kernelites::worker;

namespace {

constexpr std::uint64_t k_base = std::uint64_t{7} << 30;
constexpr std::int64_t k_mapped = 2 << 20;

Buffer buffer_of(std::int64_t bytes, std::int64_t mapped = k_mapped) {
  return {.address = k_base, .bytes = bytes, .name = "b", .mapped_address = k_base, .mapped_bytes = mapped};
}

}  // namespace

TEST_CASE("placed at the end, less than one alignment remains behind a buffer") {
  for (const std::int64_t bytes : {1, 255, 256, 257, 4096, 1'000'001}) {
    for (const std::int64_t alignment : {16, 256, 65536}) {
      const Buffer result = placed(buffer_of(bytes), Placement::end, alignment);
      INFO(bytes << " bytes, aligned to " << alignment);
      const auto end = static_cast<std::int64_t>(result.address - k_base) + bytes;
      CHECK(result.address % static_cast<std::uint64_t>(alignment) == 0);
      CHECK(end <= k_mapped);
      CHECK(k_mapped - end < alignment);
    }
  }
}

TEST_CASE("placed amid, a buffer has the promised alignment and no better one") {
  for (const std::int64_t bytes : {1, 256, 4096, 1'000'001}) {
    for (const std::uint64_t alignment : {16, 256, 65536}) {
      const Buffer result = placed(buffer_of(bytes), Placement::amid, static_cast<std::int64_t>(alignment));
      CHECK(result.address % alignment == 0);
      CHECK(result.address % (2 * alignment) == alignment);
      CHECK(result.address > k_base);
      CHECK(result.address + static_cast<std::uint64_t>(bytes) <= k_base + k_mapped);
    }
  }
}

TEST_CASE("placed at the start, a buffer begins its mapping, from wherever it was") {
  const Buffer moved = placed(buffer_of(1000), Placement::end, 256);
  CHECK(placed(moved, Placement::start, 256).address == k_base);
}

TEST_CASE("a mapping without room leaves its buffer where it is") {
  for (const auto placement : {Placement::start, Placement::end, Placement::amid})
    CHECK(placed(buffer_of(1000, 1000), placement, 256).address == k_base);
}
