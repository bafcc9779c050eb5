// SPDX-License-Identifier: Apache-2.0
// Every planted bug is found, with the right kind at the right line, in every schedule.
#include <set>

#include "tests/support/catch.h"
#include "tests/vgpu/planted_corpus.h"

using namespace kernelites::worker::vgpu;

namespace {

// What the checks let pass on purpose (docs/vgpu.md). A kernel of this list that is found fails the test, so that the
// list cannot rot.
const std::set<std::string> k_let_pass = {
    "race__flag_without_acquire",  // no fence is asked for behind the load of a flag
};

}  // namespace

TEST_CASE("planted bugs are found with kind and line", "[vgpu]") {
  std::size_t count = 0;
  for (const char* file : k_planted_files) {
    const auto program = parse(read_test_file(std::string(file) + ".ptx"));
    CHECK(unsupported(*program).empty());
    for (const TestKernel& kernel : kernels_of(read_test_file(std::string(file) + ".cu"))) {
      ++count;
      for (u64 seed = 0; seed < 4; ++seed) {
        const PlantedResult result = run_planted(*program, kernel, seed);
        INFO(kernel.name << " seed " << seed << " line " << result.line << ": " << result.text);
        CHECK(result.is_right != k_let_pass.contains(kernel.name));
      }
    }
  }
  CHECK(count >= 237);
}

TEST_CASE("an overrun is described by tensor and distance", "[vgpu]") {
  const auto program = parse(read_test_file("planted_bugs.ptx"));
  Fixture fixture;
  const LaunchResult result =
      fixture.launch(*program, "out_of_bounds__off_by_one", {.checks = {}, .sample = {}});
  REQUIRE(result.fault.has_value());
  CHECK(result.fault->message.find("4 bytes past the end of 'a'") != std::string::npos);
  CHECK(result.fault->block == Dim3{3, 0, 0});
  CHECK(result.fault->thread == Dim3{63, 0, 0});
}

TEST_CASE("the first fault does not depend on the number of threads", "[vgpu]") {
  const auto program = parse(read_test_file("planted_bugs.ptx"));
  for (const char* kernel :
       {"out_of_bounds__store_past_end", "race__missing_barrier", "divergent_barrier__odd_lanes"}) {
    Fixture one, four;
    const LaunchResult serial = one.launch(*program, kernel, {.threads = 1, .checks = {}, .sample = {}});
    const LaunchResult parallel = four.launch(*program, kernel, {.threads = 4, .checks = {}, .sample = {}});
    REQUIRE((serial.fault && parallel.fault));
    CHECK(describe(*serial.fault) == describe(*parallel.fault));
  }
}

namespace {

/// Results and faults of a kernel in 24 schedules.
std::set<std::string> outcomes_of(const Program& program, const TestKernel& kernel, Checks checks) {
  std::set<std::string> outcomes;
  for (u64 seed = 0; seed < 24; ++seed) {
    Fixture fixture;
    const LaunchResult result =
        fixture.launch(program, kernel, {.schedule_seed = seed, .checks = checks, .sample = {}});
    std::string outcome = result.fault ? std::string(to_string(result.fault->kind)) : "done";
    for (const float value : fixture.o) outcome += " " + std::to_string(value);
    outcomes.insert(outcome);
  }
  return outcomes;
}

/// Do the bugs come out differently from their twins in some schedule, and the twins never?
void check_luck(const std::string& file, std::initializer_list<TestKernel> kernels, Checks checks) {
  const auto planted = parse(read_test_file(file + ".ptx"));
  const auto mended = parse(read_test_file(file + ".mended.ptx"));
  for (const TestKernel& kernel : kernels) {
    INFO(kernel.name);
    const auto right = outcomes_of(*mended, kernel, checks);
    CHECK(right.size() == 1);
    CHECK(right.begin()->starts_with("done"));
    CHECK(outcomes_of(*planted, kernel, checks) != right);
  }
}

}  // namespace

TEST_CASE(
    "what is right only by luck shows in some schedule without any race check, and its twin never differs",
    "[vgpu]") {
  const auto in_cluster = [](const char* name) {
    return TestKernel{.name = name, .bug_lines = {}, .cluster = 2};
  };
  check_luck("planted_cluster",
             {in_cluster("race__multicast_before_the_neighbour_has_read"),
              in_cluster("race__tile_overwritten_while_the_neighbour_reads"),
              in_cluster("race__neighbour_read_behind_a_block_barrier"),
              in_cluster("race__both_blocks_write_one_cell")},
             {.uninitialised = false, .races = false});
}

TEST_CASE("a wgmma reads its operands and accumulates at a drawn moment before its wait", "[vgpu]") {
  const auto warpgroup = [](const char* name) {
    return TestKernel{.name = name, .bug_lines = {}, .grid = 1, .block = 128};
  };
  check_luck("planted_wgmma",
             {warpgroup("async_in_flight__operand_overwritten"),
              warpgroup("async_in_flight__accumulator_read_before_the_wait"),
              warpgroup("async_in_flight__waits_for_too_few_groups")},
             {.uninitialised = false, .races = false, .flights = false});
}

TEST_CASE("an mbarrier that nobody fences is told, and the kernel passes", "[vgpu]") {
  const auto program = parse(read_test_file("planted_bulk.ptx"));
  Fixture fixture;
  const LaunchResult result = fixture.launch(*program, "unfenced_mbarrier_init__copy_completes_there",
                                             {.threads = 3, .checks = {}, .sample = {}});
  CHECK(!result.fault.has_value());
  REQUIRE(result.remarks.size() == 1);
  CHECK(result.remarks[0].block == Dim3{0, 0, 0});
  CHECK(result.remarks[0].message.find("fence.mbarrier_init.release.cluster") != std::string::npos);
}

TEST_CASE("a load of what no launch writes into an accumulator that is in flight is told as any other touch",
          "[vgpu]") {
  std::string text = read_test_file("planted_wgmma.ptx");
  const std::size_t kernel = text.find("entry async_in_flight__accumulator_read_before_the_wait");
  const std::string store = "st.global.f32 \t[%rd10], %f7;";
  const std::size_t at = text.find(store, kernel);
  REQUIRE(at != std::string::npos);
  text.replace(at, store.size(), "ld.global.nc.f32 %f7, [%rd10];");
  Fixture fixture;
  const LaunchResult result = fixture.launch(
      *parse(text),
      {.name = "async_in_flight__accumulator_read_before_the_wait", .bug_lines = {}, .grid = 1, .block = 128},
      {.checks = {}, .sample = {}});
  REQUIRE(result.fault.has_value());
  CHECK(to_string(result.fault->kind) == "async_in_flight");
}
