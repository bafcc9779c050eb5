// SPDX-License-Identifier: Apache-2.0
// What the whole gains by a faster kernel, of traces with waiting and with kernels side by side.
#include "tools/rank/busy_time.h"

#include "tests/support/catch.h"
#include "tests/unit/rank/rank_traces.h"
#include "tools/rank/rank_text.h"

using namespace kernelites;

TEST_CASE("Amdahl: half of a serial trace that becomes twice as fast makes the whole 4/3 as fast") {
  const KernelTrace trace = one_after_the_other({.kernels = {{.name = "a", .launches = 1, .total_us = 50},
                                                             {.name = "b", .launches = 1, .total_us = 50}}});
  const KernelRanking ranking = rank_kernels(trace, known_kernel_kinds(), 2);
  CHECK(kernel_named(ranking, "a").speedup_if_faster == Approx(4.0 / 3));
  CHECK(kernel_named(ranking, "a").speedup_limit == Approx(2));
  CHECK(whole_speedup(100, 0) == 1);
  CHECK(whole_speedup(100, 100) == k_speedup_max);
}

TEST_CASE("what the GPU waits for no faster kernel helps: of a GPU that is busy a tenth little is gained") {
  const TemporaryFolder folder;
  std::vector<std::string> events;
  for (int i = 0; i < 100; ++i) events.push_back(kernel_event("flash_fwd_splitkv_kernel", 100 * i, 10));
  const KernelTrace trace = read_trace(write(folder, "idle.json", chrome_trace(events)));
  const KernelRanking ranking = rank_kernels(trace, known_kernel_kinds(), 2);
  CHECK(ranking.kernels.at(0).share == Approx(1));
  CHECK(ranking.kernels.at(0).alone_us == Approx(1000));
  CHECK(ranking.kernels.at(0).speedup_if_faster == Approx(9910.0 / 9410));
  CHECK(ranking.kernels.at(0).speedup_limit == Approx(9910.0 / 8910));
  CHECK(ranking.tasks.at(0).speedup_if_faster == Approx(9910.0 / 9410));
  CHECK(rank_text(trace, ranking, 5).find("1.053x   1.112x") != std::string::npos);
}

TEST_CASE("a kernel that another stream hides gains nothing, and its run is not advised") {
  const TemporaryFolder folder;
  std::vector<std::string> events;
  for (int i = 0; i < 100; ++i) {
    events.push_back(kernel_event("flash_fwd_splitkv_kernel", 10 * i, 10));
    events.push_back(kernel_event("nvjet_gemm", 10 * i, 10));
  }
  const KernelTrace trace = read_trace(write(folder, "overlap.json", chrome_trace(events)));
  const KernelRanking ranking = rank_kernels(trace, known_kernel_kinds(), 2);
  for (const RankedKernel& kernel : ranking.kernels) {
    CHECK(kernel.share == Approx(0.5));
    CHECK(kernel.alone_us == Approx(0).margin(1e-9));
    CHECK(kernel.speedup_limit == Approx(1));
  }
  const std::string text = rank_text(trace, ranking, 5);
  CHECK(text.find("Not worth a run") != std::string::npos);
  CHECK(text.find("kernelites run") == std::string::npos);
  CHECK_FALSE(rank_json(trace, ranking, 5).at("tasks").at(0).at("is_worth_a_run").get<bool>());
}

TEST_CASE("of a kernel that is hidden in part at most what it runs alone is gained") {
  const TemporaryFolder folder;
  // a: 0 to 10, b: 6 to 12; then a alone again, twice at once.
  const KernelTrace trace =
      read_trace(write(folder, "t.json",
                       chrome_trace({kernel_event("a", 0, 10), kernel_event("b", 6, 6),
                                     kernel_event("a", 20, 8), kernel_event("a", 22, 4)})));
  const std::vector<GroupTime> times = group_times(trace, {0, 1}, 2, 4);
  REQUIRE(trace.kernels.at(0).name == "a");
  CHECK(times[0].alone_us == Approx(6 + 8));
  CHECK(times[0].saved_us ==
        Approx(6 + 6));  // all of the 6, as the other 4 shrink too; three quarters of the 8
  CHECK(times[1].alone_us == Approx(2));
  CHECK(times[1].saved_us == Approx(2));
}

TEST_CASE("of several GPUs the whole gains the mean of what each does") {
  const TemporaryFolder folder;
  const KernelTrace trace = read_trace(write_nsight(
      folder,
      "INSERT INTO StringIds VALUES (1, 'a'), (2, 'b');"
      "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (0, 10000, 0, 7, 1, 1), (0, 10000, 1, 7, 1, 1), "
      "(10000, 20000, 0, 7, 2, 2), (10000, 20000, 1, 7, 2, 2);"));
  const KernelRanking ranking = rank_kernels(trace, known_kernel_kinds(), 2);
  CHECK(kernel_named(ranking, "a").alone_us == Approx(10));
  CHECK(kernel_named(ranking, "a").speedup_limit == Approx(2));
}
