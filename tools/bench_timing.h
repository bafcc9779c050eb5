// SPDX-License-Identifier: Apache-2.0
// Which kernels of `bench` are timed together, where one of them spoils the duel of all.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "engine/search/seeds.h"
#include "evaluators/protocol/protocol.h"

namespace kernelites {

/// A kernel that `bench` was asked for. `verdict`: of its examination, else why it is left out of the timing.
struct BenchArm {
  Seed seed;
  Verdict verdict;
};

struct BenchTiming {
  Duel duel;                     ///< of all that are not left out
  std::optional<Verdict> first;  ///< of the duel before it, where that one failed
};

/// Those that are not left out.
std::vector<DuelArm> duel_arms(const std::vector<BenchArm>& arms);

/// All that passed, in one duel. If it fails, each is timed alone and those that have a time together once more. Only a
/// kernel without a time gets another try: one that was refused in the first duel, for a wrong output or a fault, is
/// left out by that verdict, however it does later.
BenchTiming time_arms(std::vector<BenchArm>& arms,
                      const std::function<Duel(const std::vector<DuelArm>&)>& time_all);

}  // namespace kernelites
