// SPDX-License-Identifier: Apache-2.0
// Counts are exact, do not depend on the number of threads, and move the modelled time the right way.
#include "evaluators/worker/vgpu/time_model.h"
#include "tests/bench/model_ranking.h"
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

/// Cycles that each warp's chain of dependences takes in a kernel with this body, which holds its loads in %f1, %f2.
double chain_far_of(const std::string& body) {
  const std::string text =
      ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 p0, "
      ".param .u64 p1, .param .u64 p2, .param .u32 p3)\n{\n.reg .f32 %f<9>;\n.reg .b64 "
      "%rd<9>;\n.reg .b32 %r<9>;\nld.param.u64 %rd1, [p0];\nld.param.u64 %rd2, [p1];\n"
      "mov.u32 %r1, %tid.x;\nmul.wide.u32 %rd3, %r1, 4;\nadd.s64 %rd4, %rd1, %rd3;\n"
      "add.s64 %rd5, %rd2, %rd3;\n" +
      body + "\nret;\n}\n";
  const auto program = parse(text);
  Fixture fixture;
  const LaunchResult result =
      fixture.launch(*program, "k", {.checks = {.uninitialised = false, .races = false}, .sample = {}});
  INFO((result.fault ? describe(*result.fault) : ""));
  REQUIRE(!result.fault.has_value());
  return result.counts.chain_far /
         static_cast<double>(result.counts.blocks_total * result.counts.warps_per_block);
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
  LaunchWork work{.blocks = 1024, .warps_per_block = 8, .registers = 32};
  work.shared_load_wavefronts = 1'000'000;
  const double fast = modelled_time(work, k_h100).us;
  CHECK(fast > k_h100.launch_us);
  CHECK(resident_blocks(work, k_h100) == 8);
  work.registers = 255;
  CHECK(modelled_time(work, k_h100).us > fast);
  work.registers = 32;
  work.shared_load_wavefronts *= 8;
  CHECK(modelled_time(work, k_h100).us > 4 * fast);
  work.shared_bytes = 100 * 1024;
  CHECK(resident_blocks(work, k_h100) == 2);
}

TEST_CASE("loads that do not depend on each other wait together", "[vgpu]") {
  const double one = chain_far_of("ld.global.nc.f32 %f1, [%rd4];\nst.global.f32 [%rd5], %f1;");
  const double two = chain_far_of(
      "ld.global.nc.f32 %f1, [%rd4];\nld.global.nc.f32 %f2, [%rd4+4];\nadd.f32 %f3, %f1, %f2;\n"
      "st.global.f32 [%rd5], %f3;");
  const double after_store = chain_far_of(
      "ld.global.f32 %f1, [%rd4];\nst.global.f32 [%rd5], %f1;\nld.global.f32 %f2, [%rd4+4];\n"
      "st.global.f32 [%rd5], %f2;");
  CHECK(one > 479);
  CHECK(two < one + 20);
  CHECK(after_store > 2 * 479);
}

TEST_CASE("a division is many machine instructions and a product is one", "[vgpu]") {
  const auto program = parse(read_test_file("counted.ptx"));
  CHECK(counts_of("coalesced").expanded == 0);
  const double product =
      chain_far_of("ld.global.nc.f32 %f1, [%rd4];\nmul.rn.f32 %f2, %f1, %f1;\nst.global.f32 [%rd5], %f2;");
  const double quotient =
      chain_far_of("ld.global.nc.f32 %f1, [%rd4];\ndiv.rn.f32 %f2, %f1, %f1;\nst.global.f32 [%rd5], %f2;");
  CHECK(quotient > product + 40);
}

TEST_CASE("a sample of blocks is spread over every axis of the grid", "[vgpu]") {
  const auto program = parse(read_test_file("counted.ptx"));
  const std::string text =
      ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 p0, .param .u64 p1, "
      ".param .u64 "
      "p2, .param .u32 p3)\n{\n.reg .b32 %r<9>;\n.reg .pred %p<3>;\nmov.u32 %r1, %ctaid.x;\nmov.u32 %r2, 0;\n"
      "LOOP:\nadd.s32 %r2, %r2, 1;\nsetp.le.u32 %p1, %r2, %r1;\n@%p1 bra LOOP;\nret;\n}\n";
  const auto growing = parse(text);
  Fixture fixture;
  // Block x runs x + 1 turns: sixteen of 4096 blocks tell the whole work within a few per cent, whatever the seed.
  Launch launch{
      .kernel = "k", .grid = {64, 64, 1}, .block = {32, 1, 1}, .parameters = std::vector<std::byte>(28)};
  const auto whole = run(*growing, fixture.memory, launch, {}).counts.total_warp_instructions();
  for (u64 seed = 1; seed <= 5; ++seed) {
    LaunchOptions options;
    options.sample = BlockSample{16, seed};
    const Counts counts = run(*growing, fixture.memory, launch, options).counts;
    CHECK(static_cast<double>(scaled(counts, 0).total_warp_instructions()) ==
          Approx(static_cast<double>(whole)).epsilon(0.05));
  }
}

TEST_CASE("what the model reads of a launch survives as names and values", "[vgpu]") {
  LaunchWork work{.blocks = 7, .warps_per_block = 4, .registers = 33};
  work.warp_instructions[static_cast<std::size_t>(OpClass::shuffle)] = 12;
  work.tensor_flops[static_cast<std::size_t>(TensorType::fp8)] = 4096;
  work.chain_far = 1.5;
  CHECK(named(work_from(named(work))) == named(work));
  CHECK(named(work).at("tensor_flops_fp8") == 4096);
}

TEST_CASE("the limit of a launch is named, and a slower memory shows where memory is the limit", "[vgpu]") {
  LaunchWork copy{.blocks = 65536, .warps_per_block = 8, .registers = 32};
  copy.dram_load_bytes = copy.dram_store_bytes = 1e9;
  const ModelledTime time = modelled_time(copy, k_h100);
  CHECK(time.limit == "DRAM");
  CHECK(time.us == Approx(2e15 / k_h100.dram_bytes_per_second + k_h100.launch_us).epsilon(0.05));
  REQUIRE(modelled_devices().size() == 2);
  const ModelledDevice& consumer = modelled_devices()[1];
  CHECK(consumer.name == "RTX 4090");
  CHECK(modelled_time(copy, consumer).us > 3 * time.us);
  copy.warp_instructions[static_cast<std::size_t>(OpClass::tensor)] = 1;
  copy.tensor_flops[static_cast<std::size_t>(TensorType::bf16)] = 1e13;
  CHECK(modelled_time(copy, k_h100).limit == "tensor cores");
}

TEST_CASE("modelled times rank the kernels that an H100 measured", "[vgpu]") {
  const auto kernels =
      kernelites::bench::load_measured(KERNELITES_SOURCE_DIR "/tests/bench/time_model_h100.jsonl");
  const kernelites::bench::Ranking ranking = kernelites::bench::rank(kernels, k_h100);
  REQUIRE(ranking.tasks.size() >= 4);
  CHECK(kernels.size() >= 60);
  CHECK(ranking.median_at_workloads >= 0.6);
  CHECK(ranking.median_of_task >= 0.8);
  CHECK(ranking.pooled >= 0.95);
}

TEST_CASE("a launch that cannot work is a fault, not a crash", "[vgpu]") {
  const auto program = parse(read_test_file("counted.ptx"));
  Fixture fixture;
  CHECK(fixture.launch(*program, "no_such_kernel", {.checks = {}, .sample = {}}).fault->kind ==
        FaultKind::invalid_launch);
  CHECK(kernel_info(*program, "strided")->parameters.size() == 4);
}
