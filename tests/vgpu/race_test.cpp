// SPDX-License-Identifier: Apache-2.0
// Races between blocks, warps and lanes are found in every schedule; what orders accesses raises no alarm.
#include <algorithm>

#include "tests/support/catch.h"
#include "tests/vgpu/vgpu_fixture.h"

using namespace kernelites::worker::vgpu;

namespace {

bool is_honest(const std::string& kernel) { return kernel.find("honest__") != std::string::npos; }

LaunchResult run_kernel(Fixture& fixture, const Program& program, const TestKernel& kernel, u64 seed,
                        unsigned threads = 1) {
  return fixture.launch(program, kernel,
                        {.threads = threads,
                         .instruction_budget = 20'000'000,
                         .schedule_seed = seed,
                         .checks = {},
                         .sample = {}});
}

Fault fault_of(const std::string& kernel, u64 seed = 0, unsigned threads = 1) {
  static const auto program = parse(read_test_file("races.ptx"));
  Fixture fixture;
  const LaunchResult result = run_kernel(fixture, *program, {.name = kernel, .bug_lines = {}}, seed, threads);
  INFO(kernel);
  REQUIRE(result.fault.has_value());
  return *result.fault;
}

void check_planted(const Program& program, const TestKernel& kernel, u64 seed) {
  Fixture fixture;
  const LaunchResult result = run_kernel(fixture, program, kernel, seed);
  INFO(kernel.name << " seed " << seed << " " << (result.fault ? describe(*result.fault) : "no fault"));
  CHECK(result.fault.has_value());
  if (!result.fault) return;
  CHECK(to_string(result.fault->kind) == kernel.name.substr(0, kernel.name.find("__")));
  const auto& lines = kernel.bug_lines;
  CHECK(std::count(lines.begin(), lines.end(), result.fault->line) == 1);
}

void check_honest(const Program& program, const TestKernel& kernel, u64 seed) {
  Fixture fixture;
  const LaunchResult result = run_kernel(fixture, program, kernel, seed);
  INFO(kernel.name << " seed " << seed << " " << (result.fault ? describe(*result.fault) : "no fault"));
  CHECK(!result.fault.has_value());
  if (result.fault) return;
  int wrong = 0;
  for (std::size_t i = 0; i < fixture.o.size(); ++i) wrong += fixture.o[i] != 2 * fixture.a[i] + 1;
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("planted races are found in every schedule", "[vgpu]") {
  const auto program = parse(read_test_file("races.ptx"));
  CHECK(unsupported(*program).empty());
  for (const TestKernel& kernel : kernels_of(read_test_file("races.cu"))) {
    for (u64 seed = 0; seed < 6 && !is_honest(kernel.name); ++seed) check_planted(*program, kernel, seed);
  }
}

TEST_CASE("kernels that order their accesses raise no alarm in any schedule", "[vgpu]") {
  const auto program = parse(read_test_file("races.ptx"));
  for (const TestKernel& kernel : kernels_of(read_test_file("races.cu"))) {
    for (u64 seed = 0; seed < 12 && is_honest(kernel.name); ++seed) check_honest(*program, kernel, seed);
  }
}

TEST_CASE("a race between blocks is told by tensor, byte, both blocks and both lines", "[vgpu]") {
  const Fault fault = fault_of("race__output_written_by_all_blocks");
  CHECK(fault.message.find("block (1,0,0) writes byte 0 of 'o', which block (0,0,0) has written at line " +
                           std::to_string(fault.line)) == 0);
  CHECK(fault.block == Dim3{1, 0, 0});
}

TEST_CASE("a race between lanes of a block of several warps names both barriers", "[vgpu]") {
  const Fault fault = fault_of("race__first_lane_stores_for_all");
  CHECK(fault.message.find("lane 1 of warp 0 reads byte 0 of shared memory, which lane 0") == 0);
  CHECK(fault.message.find("__syncthreads() where other warps") != std::string::npos);
  CHECK(fault.message.find("__syncwarp() where only this warp") != std::string::npos);
  CHECK(fault.thread == Dim3{1, 0, 0});
}

TEST_CASE("a race between lanes of a block of one warp asks for __syncwarp", "[vgpu]") {
  const auto program = parse(R"(.version 8.0
.target sm_80
.address_size 64
.visible .entry turn(.param .u64 a, .param .u64 o, .param .u64 w, .param .u32 n) {
  .reg .b32 %r<9>;
  .shared .align 4 .b8 s[128];
  mov.u32 %r1, %tid.x;
  shl.b32 %r2, %r1, 2;
  mov.u32 %r3, s;
  add.s32 %r4, %r3, %r2;
  st.shared.u32 [%r4], %r1;
  xor.b32 %r5, %r2, 4;
  add.s32 %r6, %r3, %r5;
  ld.shared.u32 %r7, [%r6];
  ret;
})");
  Fixture fixture;
  const LaunchResult result =
      run_kernel(fixture, *program, {.name = "turn", .bug_lines = {}, .block = 32}, 0);
  REQUIRE(result.fault.has_value());
  CHECK(result.fault->message.find("a __syncwarp() is missing between them") != std::string::npos);
}

TEST_CASE("an unwritten byte of a word is named", "[vgpu]") {
  const Fault fault = fault_of("uninitialised__byte_of_a_word");
  CHECK(fault.message.find("byte 38 was never written") != std::string::npos);
  CHECK(fault.thread == Dim3{9, 0, 0});
}

TEST_CASE("a fault does not depend on the number of threads in any schedule", "[vgpu]") {
  for (const char* kernel : {"race__output_written_by_all_blocks", "race__last_block_without_fence",
                             "race__barrier_of_each_warp", "deadlock__flag_that_nobody_sets"}) {
    for (u64 seed = 0; seed < 3; ++seed) {
      CHECK(describe(fault_of(kernel, seed, 1)) == describe(fault_of(kernel, seed, 4)));
    }
  }
}

TEST_CASE("order-dependent results show themselves between schedules without the race check", "[vgpu]") {
  const auto program = parse(read_test_file("races.ptx"));
  const auto output = [&](u64 seed) {
    Fixture fixture;
    const LaunchResult result =
        fixture.launch(*program, "race__output_written_by_all_blocks",
                       {.schedule_seed = seed, .checks = {.races = false}, .sample = {}});
    REQUIRE(!result.fault.has_value());
    return fixture.o;
  };
  CHECK(output(1) == output(1));
  int differing = 0;
  for (u64 seed = 1; seed <= 8; ++seed) differing += output(seed) != output(0);
  CHECK(differing > 0);
}

TEST_CASE("a workspace counts as unwritten until a kernel writes it", "[vgpu]") {
  const auto program = parse(read_test_file("races.ptx"));
  Fixture fixture;
  fixture.memory.mark_initialised(fixture.w_address, 4, false);
  const LaunchResult result =
      run_kernel(fixture, *program, {.name = "honest__atomics_meet", .bug_lines = {}}, 0);
  REQUIRE(result.fault.has_value());
  CHECK(to_string(result.fault->kind) == "uninitialised");
  CHECK(result.fault->message.find("byte offset 0 of 'w': byte 0 was never written") != std::string::npos);
}
