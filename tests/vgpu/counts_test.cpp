// SPDX-License-Identifier: Apache-2.0
// Counts are exact, do not depend on the number of threads, and move the modelled time the right way.
#include "evaluators/worker/vgpu/time_model.h"
#include "tests/support/catch.h"
#include "tests/vgpu/vgpu_fixture.h"

using namespace kernelites::worker::vgpu;

namespace {

Counts counts_of(const std::string& kernel, LaunchOptions options = {}) {
  const auto program = parse(read_test_file("counted.ptx"));
  Fixture fixture;
  const LaunchResult result = fixture.launch(*program, kernel, options);
  INFO(kernel << (result.fault ? describe(*result.fault) : ""));
  REQUIRE(!result.fault.has_value());
  return result.counts;
}

}  // namespace

TEST_CASE("a coalesced copy needs four sectors per request", "[vgpu]") {
  const Counts counts = counts_of("coalesced");
  CHECK(counts.global_load.requests == 8);
  CHECK(counts.global_load.transactions == 32);
  CHECK(counts.global_load.ideal == 32);
  CHECK(counts.dram_load_bytes == 1024);
  CHECK(counts.dram_store_bytes == 1024);
  CHECK(counts.blocks_total == 4);
}

TEST_CASE("a strided load needs a sector per lane but few DRAM bytes", "[vgpu]") {
  const Counts counts = counts_of("strided");
  CHECK(counts.global_load.transactions == 8 * 32);
  CHECK(counts.global_load.ideal == 32);
  CHECK(counts.dram_load_bytes == 1024);
}

TEST_CASE("bank conflicts are wavefronts beyond the ideal", "[vgpu]") {
  CHECK(counts_of("conflict_free").shared_load.transactions == 8);
  const Counts counts = counts_of("conflicts_of_eight");
  CHECK(counts.shared_load.requests == 8);
  CHECK(counts.shared_load.transactions == 64);
  CHECK(counts.shared_load.ideal == 8);
}

TEST_CASE("special operations, divergence and lines are counted", "[vgpu]") {
  const Counts counts = counts_of("exponential");
  CHECK(counts.ex2_operations == 256);
  CHECK(counts.divergent_branches == 8);
  CHECK(!counts.lines.empty());
  u64 instructions = 0;
  for (const LineCounts& line : counts.lines) instructions += line.warp_instructions;
  CHECK(instructions == counts.total_warp_instructions());
}

TEST_CASE("counts do not depend on the number of threads", "[vgpu]") {
  const Counts one = counts_of("strided"),
               four = counts_of("strided", {.threads = 4, .checks = {}, .sample = {}});
  CHECK(one.total_warp_instructions() == four.total_warp_instructions());
  CHECK(one.global_load.transactions == four.global_load.transactions);
  CHECK(one.dram_load_bytes == four.dram_load_bytes);
}

TEST_CASE("a block sample is scaled to the grid", "[vgpu]") {
  const Counts all = counts_of("coalesced"),
               half = counts_of("coalesced", {.checks = {}, .sample = BlockSample{2}});
  CHECK(half.blocks_run == 2);
  CHECK(scaled(half, 0).total_warp_instructions() == all.total_warp_instructions());
  CHECK(scaled(half, 0).dram_load_bytes == all.dram_load_bytes);
}

TEST_CASE("the modelled time grows with bank conflicts and falls with occupancy", "[vgpu]") {
  Launch launch{.kernel = "k",
                .grid = {1024, 1, 1},
                .block = {256, 1, 1},
                .cluster = {},
                .dynamic_shared_bytes = 0,
                .parameters = {},
                .cooperative = false};
  Counts counts;
  counts.blocks_total = counts.blocks_run = 1024;
  counts.shared_load = {
      .requests = 1'000'000, .bytes = 128'000'000, .transactions = 1'000'000, .ideal = 1'000'000};
  const double fast = modelled_us(counts, launch, 32, 0, k_h100);
  CHECK(fast > k_h100.launch_us);
  CHECK(modelled_us(counts, launch, 255, 0, k_h100) > fast);
  counts.shared_load.transactions *= 8;
  CHECK(modelled_us(counts, launch, 32, 0, k_h100) > 4 * fast);
  CHECK(resident_blocks(launch, 32, 0, k_h100) == 8);
  CHECK(resident_blocks(launch, 32, 100 * 1024, k_h100) == 2);
}

TEST_CASE("a launch that cannot work is a fault, not a crash", "[vgpu]") {
  const auto program = parse(read_test_file("counted.ptx"));
  Fixture fixture;
  CHECK(fixture.launch(*program, "no_such_kernel", {.checks = {}, .sample = {}}).fault->kind ==
        FaultKind::invalid_launch);
  CHECK(kernel_info(*program, "strided")->parameters.size() == 4);
}
