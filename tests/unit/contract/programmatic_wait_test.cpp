// SPDX-License-Identifier: Apache-2.0
// Kernels that start early must hold the instruction that waits.
#include "evaluators/worker/contract/programmatic_wait.h"

#include "evaluators/worker/contract/counted_barrier.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

/// The kernel that does not wait, of a plan that launches "first" and then, early, "second".
std::string unwaited(const std::string& ptx) {
  CompiledCandidate candidate;
  candidate.ptx = ptx;
  candidate.lowered = {{"first", "first"}, {"second<64>", "_Z6second"}};
  LaunchPlan plan;
  plan.launches.resize(2);
  plan.launches[0].kernel = "first";
  plan.launches[1].kernel = "second<64>";
  plan.launches[1].is_programmatic = true;
  candidate.plans = {plan};
  return find_unwaited_kernel(candidate, tokenize_ptx(candidate.ptx)).value_or("none");
}

const std::string k_first = ".visible .entry first()\n{\n ret;\n}\n";

}  // namespace

TEST_CASE("a kernel that is launched early holds a wait of its own, or calls a function that does") {
  CHECK(unwaited(k_first + ".visible .entry _Z6second()\n{\n{\n griddepcontrol.wait;\n}\n ret;\n}\n") ==
        "none");
  CHECK(unwaited(".func helper()\n{\n griddepcontrol.wait;\n ret;\n}\n" + k_first +
                 ".visible .entry _Z6second()\n{\n call helper;\n ret;\n}\n") == "none");
}

TEST_CASE("a wait in another kernel, or the other half of the instruction, is none") {
  CHECK(unwaited(".visible .entry first()\n{\n griddepcontrol.wait;\n ret;\n}\n" +
                 std::string(".visible .entry _Z6second()\n{\n ret;\n}\n")) == "second<64>");
  CHECK(
      unwaited(k_first + ".visible .entry _Z6second()\n{\n griddepcontrol.launch_dependents;\n ret;\n}\n") ==
      "second<64>");
}

TEST_CASE("a barrier for a count of threads is told from one for all, for lanes and for a cluster") {
  const auto has_one = [](const std::string& statement) {
    return has_counted_barrier(tokenize_ptx(".visible .entry k()\n{\n " + statement + "\n ret;\n}\n"));
  };
  CHECK(has_one("bar.sync 1, 128;"));
  CHECK(has_one("@%p1 barrier.sync.aligned %r1, %r2;"));
  CHECK(has_one("bar.arrive 2, 64;"));
  CHECK(has_one("bar.red.popc.u32 %r1, 1, 64, %p1;"));
  CHECK(has_one("barrier.cta.sync 1, 128;"));
  CHECK_FALSE(has_one("bar.red.popc.u32 %r1, 0, %p1;"));  // __syncthreads_count
  CHECK_FALSE(has_one("barrier.cta.red.or.pred.aligned.all.sync %p1, 0, %p2;"));
  CHECK_FALSE(has_one("bar.sync 0;"));
  CHECK_FALSE(has_one("bar.sync 0;\n add.s32 %r1, %r2, %r3;"));
  CHECK_FALSE(has_one("bar.warp.sync 0xffffffff;\n mov.u32 %r1, %r2;"));
  CHECK_FALSE(has_one("barrier.cluster.arrive;"));
}
