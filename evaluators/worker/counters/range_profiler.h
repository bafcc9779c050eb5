// SPDX-License-Identifier: Apache-2.0
// Reads hardware counters around launches that the caller repeats.
//
// User replay: CUPTI collects what one replay can, and the caller launches again until all is collected. Unlike kernel
// replay it saves and restores no memory, and the caller's relaunch is preceded by the same poison and the same flush.
// While a profiler exists its process times nothing: counters slow the calls of the driver down.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "evaluators/worker/counters/counter_host.h"
#include "evaluators/worker/counters/counter_table.h"

namespace kernelites::worker {

/// Values by our names; `problem` says why there are none ("unchecked" is a value, not a failure).
struct CounterValues {
  std::map<std::string, double> values;
  std::string problem;
};

/// What a launch does while its counters run: everything between the two calls is counted.
struct CountedLaunch {
  std::function<void()> before;  ///< poison, flush: not counted, complete when it returns
  std::function<void()> timed;   ///< counted, complete when it returns
};

/// Whether the device lets counters be read at all; empty: it does. Throws nothing.
std::string counters_problem(const CuptiLibrary& library, int device);

/// Configures a group without collecting it, so that everything that CUPTI loads is loaded. What went wrong, or empty.
std::string warm_up_counters(const CuptiLibrary& library, cupti::Context context, int device);

/// Collects one group on the current context of device `device`. Trouble becomes `problem`.
CounterValues collect_counters(const CuptiLibrary& library, cupti::Context context, int device,
                               CounterGroup group, const CountedLaunch& launch);

}  // namespace kernelites::worker
