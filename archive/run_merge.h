// SPDX-License-Identifier: Apache-2.0
// Several runs of one task on one kind of device become one run that goes on from all of them.
//
// Candidates, evaluations, calls and events of all runs are in the new one, numbered anew; what two runs have in common
// (seeds, above all) is there once. Elites of two runs were never timed against each other: where both hold a cell or a
// workload, the one with the greater speed-up over the common baseline holds it, and the other is open again, so that
// the resumed run duels them and lets the better one have it by the elite rule. What was under way is closed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace kernelites {

struct MergeReport {
  std::int64_t candidates = 0;
  std::int64_t common = 0;     ///< candidates that several runs had
  std::int64_t elites = 0;     ///< cells held in the new run
  std::int64_t contested = 0;  ///< cells and workloads that several runs held with different candidates
  std::int64_t reopened = 0;   ///< candidates that the resumed run duels again
};

/// Makes `out` with its run.db; the sources stay as they are. Written beside it and renamed when it is whole, so that
/// there is a merged run or none. `is_dry`: makes it beside `out`, reports, and removes it again. Throws ConfigError,
/// naming the run and the field, if there are fewer than two sources, they differ in task, device, harness or axes of
/// the grid, or `out` exists. REQUIRES: the runs have the same baseline (engine/search/baseline.h), which this folder
/// cannot ask.
MergeReport merge_runs(const std::vector<std::filesystem::path>& sources, const std::filesystem::path& out,
                       bool is_dry);

}  // namespace kernelites
