// SPDX-License-Identifier: Apache-2.0
// Addresses of allocations cannot be reckoned from one another, stale ones miss, and the space does not run out.
#include <set>

#include "tests/support/catch.h"
#include "tests/vgpu/vgpu_fixture.h"

using namespace kernelites::worker::vgpu;

namespace {

/// Launches honest__all_write_the_same of races.cu with `o` in the place of the output.
LaunchResult write_through(Fixture& fixture, u64 o) {
  static const auto program = parse(read_test_file("races.ptx"));
  const u64 own = std::exchange(fixture.o_address, o);
  const LaunchResult result =
      fixture.launch(*program, "honest__all_write_the_same", {.checks = {}, .sample = {}});
  fixture.o_address = own;
  return result;
}

}  // namespace

TEST_CASE("the next slot, the same index and another seed's address are no allocation", "[vgpu]") {
  Fixture fixture;
  std::vector<u64> wrong;
  for (u64 step = 1; step <= 8; ++step) {
    wrong.push_back(fixture.o_address + (step << 32));
    wrong.push_back(fixture.o_address - (step << 32));
    wrong.push_back(fixture.a_address + (step << (32 + k_index_bits)));
  }
  Memory other(1);
  wrong.push_back(other.add(fixture.o.data(), 1024, "a"));
  for (const u64 address : wrong) {
    const LaunchResult result = write_through(fixture, address);
    REQUIRE(result.fault.has_value());
    CHECK(to_string(result.fault->kind) == "out_of_bounds");
  }
}

TEST_CASE("a stale pointer names the tensor that it pointed to, also when its index serves again", "[vgpu]") {
  Fixture fixture;
  std::vector<float> values(256);
  const u64 stale = fixture.memory.add(values.data(), 1024, "gone");
  fixture.memory.remove(stale);
  std::vector<u64> fresh;
  for (int k = 0; k < 200; ++k) {
    fresh.push_back(fixture.memory.add(values.data(), 1024, "fresh"));
    fixture.memory.remove(fresh.back());
  }
  std::set<u64> indices;
  for (const u64 address : fresh) indices.insert((address >> 32) % k_max_allocations);
  CHECK(indices.contains((stale >> 32) % k_max_allocations));
  const LaunchResult result = write_through(fixture, stale);
  REQUIRE(result.fault.has_value());
  CHECK(result.fault->message.find("'gone', which is no longer allocated") != std::string::npos);
}

TEST_CASE("a hundred thousand allocations need no more than a few indices", "[vgpu]") {
  Memory memory;
  float value = 0;
  for (int k = 0; k < 100'000; ++k) memory.remove(memory.add(&value, 4, "x"));
  CHECK(memory.allocations().size() < 100);
}

TEST_CASE("addresses repeat with their seed and differ with another", "[vgpu]") {
  float value = 0;
  Memory one(7), same(7), other(8);
  const u64 address = one.add(&value, 4, "x");
  CHECK(same.add(&value, 4, "x") == address);
  CHECK(other.add(&value, 4, "x") != address);
}
