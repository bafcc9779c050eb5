// SPDX-License-Identifier: Apache-2.0
// How much sooner a trace would be over if some of its kernels were faster: by what they run alone.
//
// The model: whatever else runs stays as long as it was, and so does the time in which a GPU runs nothing: a trace
// does not say what waits for what. Then the time in which only these kernels run is all that they can save, and a
// stretch of them that becomes N times as fast saves no more than 1 - 1/N of itself. It is an upper bound: what ran
// beside them may have waited for them, but cannot have ended sooner than it did.
#pragma once

#include <cstdint>
#include <vector>

#include "tools/rank/kernel_trace.h"

namespace kernelites {

/// Of one group of kernels; of several GPUs the mean over them.
struct GroupTime {
  double alone_us = 0;  ///< only kernels of this group ran
  double saved_us = 0;  ///< at most, if each of them were `factor` times as fast
};

/// `group_of_use[i]`, below `groups`, is that of `trace.kernels[i]`. REQUIRES: factor > 1.
std::vector<GroupTime> group_times(const KernelTrace& trace, const std::vector<std::uint32_t>& group_of_use,
                                   std::size_t groups, double factor);

/// How many times as fast the whole is that takes `whole_us` and then `saved_us` less: at most k_speedup_max.
double whole_speedup(double whole_us, double saved_us);
inline constexpr double k_speedup_max = 1e12;

}  // namespace kernelites
