// SPDX-License-Identifier: Apache-2.0
// When kernels began and ended by CUPTI's activity records: a second clock to hold the events against.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace kernelites::worker {

/// One kernel on the device.
struct TracedKernel {
  std::uint64_t start_ns = 0, end_ns = 0;
};

/// Kernels in the order of their start; `problem` says why there are none.
struct KernelTrace {
  std::vector<TracedKernel> kernels;
  std::string problem;
};

/// Runs `launches`, which is complete when it returns, and tells its kernels. REQUIRES: CUPTI is open in this process
/// and no range profiler is enabled; one trace at a time.
KernelTrace trace_kernels(const std::function<void()>& launches);

}  // namespace kernelites::worker
