// SPDX-License-Identifier: Apache-2.0
// What a kernel that spoils the first duel of `bench` is told, and that a later good day does not clear it.
#include "tools/bench_timing.h"

#include "engine/core/time_verdict.h"
#include "tests/support/catch.h"

using namespace kernelites;

namespace {

Verdict failed(const std::string& reason) { return Verdict::failed("time", reason, reason); }

BenchArm bench_arm(const std::string& name) {
  return {.seed = {name, {"// " + name + "\n", {}}}, .verdict = Verdict::passed()};
}

/// Three kernels whose duels end with `verdicts` and pass when those are used up; `timed`: labels of each duel.
struct Bench {
  explicit Bench(std::vector<Verdict> verdicts) {
    std::size_t next = 0;
    timing = time_arms(arms, [&](const std::vector<DuelArm>& kernels) {
      std::string labels;
      for (const DuelArm& kernel : kernels) labels += kernel.label;
      timed.push_back(labels);
      Duel duel;
      duel.verdict = next < verdicts.size() ? verdicts[next] : Verdict::passed();
      ++next;
      return duel;
    });
  }

  std::vector<BenchArm> arms{bench_arm("a"), bench_arm("b"), bench_arm("c")};
  std::vector<std::string> timed;
  BenchTiming timing;
};

}  // namespace

TEST_CASE("bench times once if all have a time") {
  const Bench bench({});
  CHECK(bench.timed == std::vector<std::string>{"abc"});
  CHECK(bench.timing.duel.verdict.is_passed);
  CHECK_FALSE(bench.timing.first);
}

TEST_CASE("bench does not clear a kernel that was once refused while timed") {
  for (const char* reason :
       {"timed_output_wrong", "faster_than_roofline", "uneven_blocks", "illegal_address"}) {
    INFO(reason);
    const Bench bench({failed(reason)});
    CHECK(bench.arms[0].verdict.reason == reason);
    CHECK(bench.timed == std::vector<std::string>{"abc", "b", "c", "bc"});
    REQUIRE(bench.timing.first);
    CHECK(bench.timing.first->reason == reason);
    CHECK(bench.timing.duel.verdict.is_passed);
  }
}

TEST_CASE("bench leaves out the kernel that the first duel names, though it passes alone") {
  const Verdict verdict =
      Verdict::failed("time", "arm_unusable", arm_fault_words("b", "gave a wrong output"));
  const Bench bench({verdict});
  CHECK(bench.arms[0].verdict.is_passed);
  CHECK(bench.arms[1].verdict == verdict);
  CHECK(bench.timed == std::vector<std::string>{"abc", "a", "b", "c", "ac"});
  CHECK(bench.timing.first == verdict);
}

TEST_CASE("bench tells a named kernel's own reason where it has no time alone") {
  const Bench bench({Verdict::failed("time", "arm_unusable", arm_fault_words("b", "faulted: slow")),
                     Verdict::passed(), failed("not_modelled")});
  CHECK(bench.arms[1].verdict.reason == "not_modelled");
  CHECK(bench.timed.back() == "ac");
}

TEST_CASE("bench forgives a first duel that says nothing of correctness, and keeps its verdict") {
  for (const char* reason : {"not_modelled", "deadline"}) {
    INFO(reason);
    const Bench bench({failed(reason)});
    CHECK(bench.timed == std::vector<std::string>{"abc", "a", "b", "c", "abc"});
    CHECK(bench.timing.duel.verdict.is_passed);
    REQUIRE(bench.timing.first);
    CHECK(bench.timing.first->reason == reason);
  }
}
