// SPDX-License-Identifier: Apache-2.0
// Which kernels of a trace are worth a search: by Amdahl's law, with what bounds each and the task that covers it.
//
// Shares are of the summed time of all kernels: of the GPU's work. What the whole gains is of a clock on the wall, from
// the first kernel to the last: what a GPU waits for no faster kernel helps, and one that another hides gains nothing
// (tools/rank/busy_time.h has the model).
#pragma once

#include <string>
#include <vector>

#include "tools/rank/kernel_kinds.h"
#include "tools/rank/kernel_trace.h"

namespace kernelites {

/// What bounds a kernel, and how that is known.
struct KernelBound {
  std::string resource;      ///< memory, compute, latency, network; empty: unknown
  bool is_by_shape = false;  ///< by the shapes' work and the device's peaks; else by what its kind usually is
  double of_peak = 0;        ///< share of that resource's peak that it reached; 0: unknown
};

/// All launches of one short name.
struct RankedKernel {
  std::string name;       ///< short
  std::string full_name;  ///< demangled, of the use that took longest
  std::string operation;
  const KernelKind* kind = nullptr;  ///< null: no row of the table knows it
  std::string task;                  ///< that covers it; empty: none
  std::int64_t launches = 0;
  double total_us = 0;
  double share = 0;              ///< of the summed time of all kernels
  double alone_us = 0;           ///< no other kernel ran on its GPU
  double speedup_if_faster = 1;  ///< of the whole at most, if this were `factor` times as fast
  double speedup_limit = 1;      ///< of the whole at most, if this took no time
  KernelBound bound;
};

/// All kernels that one task covers.
struct RankedTask {
  std::string task;
  std::vector<std::string> kernels;
  double total_us = 0;
  double share = 0;
  double alone_us = 0;
  double speedup_if_faster = 1;
  double speedup_limit = 1;
  std::string note;
};

struct KernelRanking {
  std::vector<RankedKernel> kernels;  ///< by what the whole gains, then by time
  std::vector<RankedTask> tasks;      ///< likewise
  double covered_share = 0;           ///< by the tasks
  double factor = 2;
};

/// Gains of the whole below this are not worth a run.
inline constexpr double k_worth_a_run = 1.01;

/// `kinds` outlives the ranking. REQUIRES: factor > 1.
KernelRanking rank_kernels(const KernelTrace& trace, const std::vector<KernelKind>& kinds, double factor);

}  // namespace kernelites
