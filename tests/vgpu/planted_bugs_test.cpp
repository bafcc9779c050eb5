// SPDX-License-Identifier: Apache-2.0
// Every planted bug is found, with the right kind at the right line, in every schedule.
#include <set>

#include "tests/support/catch.h"
#include "tests/vgpu/planted_corpus.h"

using namespace kernelites::worker::vgpu;

namespace {

// What the checks do not see yet. A kernel of this list that is found fails the test, so that the list cannot rot.
const std::set<std::string> k_not_found_yet = {
    "deadlock__waits_for_nobody",
    "race__counter_read_without_barrier",
    "race__named_barrier_of_the_wrong_pair",
    "race__named_barrier_of_one_warp",
    "race__buffer_given_back_before_it_is_read",
    "race__consumer_does_not_wait",
    "race__warp_synchronous_reduction",
    "race__warp_sums_without_syncwarp",
    "race__warp_tile_without_syncwarp",
    "race__warp_lanes_write_one_slot",
    "race__overlapping_row_blocks",
    "race__splits_write_the_output",
    "race__last_block_without_fence",
    "race__ticket_before_the_block_is_done",
    "race__flag_without_release",
    "race__flag_without_acquire",
    "race__one_thread_acquires",
    "race__stale_row_of_another_block",
    "race__missing_grid_sync",
    "race__grid_sync_missing_at_the_end_of_the_step",
    "race__grid_barrier_without_fence",
    "race__counter_without_atomic",
    "race__global_histogram_without_atomic",
    "race__warps_exchange_through_global",
    "race__halo_of_the_neighbour",
    "race__atomic_of_block_scope",
    "race__plain_read_of_an_atomic_sum",
    "race__result_written_by_every_block",
    "deadlock__grid_barrier_without_residency",
    "deadlock__blocks_wait_for_each_other",
    "deadlock__lock_not_released",
    "deadlock__flag_of_a_block_that_is_not_there",
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
        CHECK(result.is_right != k_not_found_yet.contains(kernel.name));
      }
    }
  }
  CHECK(count >= 160);
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
