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
    "race__flag_without_acquire",          // no fence is asked for behind the load of a flag
    "missing_proxy_fence__mbarrier_init",  // nor behind mbarrier.init: libcu++'s memcpy_async has none
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
  CHECK(count >= 222);
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

TEST_CASE(
    "what is right only by luck shows in some schedule without any race check, and its twin never differs",
    "[vgpu]") {
  for (const char* name :
       {"race__multicast_before_the_neighbour_has_read", "race__tile_overwritten_while_the_neighbour_reads",
        "race__neighbour_read_behind_a_block_barrier", "race__both_blocks_write_one_cell"}) {
    for (const bool is_mended : {false, true}) {
      const auto program =
          parse(read_test_file(is_mended ? "planted_cluster.mended.ptx" : "planted_cluster.ptx"));
      std::set<std::string> outcomes;
      bool has_fault = false;
      for (u64 seed = 0; seed < 24; ++seed) {
        Fixture fixture;
        TestKernel kernel{.name = name, .bug_lines = {}, .cluster = 2};
        const LaunchResult result = fixture.launch(
            *program, kernel,
            {.schedule_seed = seed, .checks = {.uninitialised = false, .races = false}, .sample = {}});
        std::string outcome = result.fault ? std::string(to_string(result.fault->kind)) : "";
        for (const float value : fixture.o) outcome += " " + std::to_string(value);
        outcomes.insert(outcome);
        has_fault |= result.fault.has_value();
      }
      INFO(name << (is_mended ? " mended" : ""));
      CHECK((outcomes.size() == 1 && !has_fault) == is_mended);
    }
  }
}
