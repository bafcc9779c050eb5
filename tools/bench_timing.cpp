// SPDX-License-Identifier: Apache-2.0
// Which kernels of `bench` are timed together, where one of them spoils the duel of all.
#include "tools/bench_timing.h"

#include "engine/core/time_verdict.h"

namespace kernelites {

std::vector<DuelArm> duel_arms(const std::vector<BenchArm>& arms) {
  std::vector<DuelArm> passed;
  for (const BenchArm& arm : arms)
    if (arm.verdict.is_passed) passed.push_back({arm.seed.name, arm.seed.candidate});
  return passed;
}

BenchTiming time_arms(std::vector<BenchArm>& arms,
                      const std::function<Duel(const std::vector<DuelArm>&)>& time_all) {
  BenchTiming timing;
  timing.duel.verdict = Verdict::failed("time", "no_arm", "no kernel passed");
  std::vector<DuelArm> passed = duel_arms(arms);
  if (!passed.empty()) timing.duel = time_all(passed);
  if (passed.size() < 2 || timing.duel.verdict.is_passed) return timing;
  const Verdict first = timing.duel.verdict;
  timing.first = first;
  bool is_first_arm = true;  // a verdict that accuses nobody else is its own
  for (BenchArm& arm : arms) {
    if (!arm.verdict.is_passed) continue;
    const bool is_own = is_first_arm && first.reason != "arm_unusable" && !is_without_time(first);
    is_first_arm = false;
    if (!is_own) arm.verdict = time_all({{arm.seed.name, arm.seed.candidate}}).verdict;
    // Of another arm the first duel does not tell whether it only had no time: alone it would say so.
    if (is_own || (arm.verdict.is_passed && accuses(first, arm.seed.name))) arm.verdict = first;
  }
  passed = duel_arms(arms);
  if (!passed.empty()) timing.duel = time_all(passed);
  return timing;
}

}  // namespace kernelites
