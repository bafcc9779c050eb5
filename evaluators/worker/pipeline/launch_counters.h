// SPDX-License-Identifier: Apache-2.0
// Hardware counters in an executor that profiles: CUPTI is opened before the jail, launches are those of every stage.
//
// Such a process times nothing. What it cannot count is a problem in words, never a failure of the candidate.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "evaluators/worker/counters/range_profiler.h"
#include "evaluators/worker/pipeline/launch_surroundings.h"

namespace kernelites::worker {

/// Folders in which CUPTI may lie, given where the compiler's library was found.
std::vector<std::filesystem::path> cupti_folders(const std::filesystem::path& nvrtc_library);

class LaunchCounters {
 public:
  /// Opens CUPTI, on the context that is current. Before the jail: CUPTI opens further libraries and devices.
  explicit LaunchCounters(const std::vector<std::filesystem::path>& folders);

  /// Why nothing can be counted; empty: something can.
  const std::string& problem() const { return problem_; }
  /// Runs the plan as often as the group takes, with all that belongs before it each time. A fault of the launches goes
  /// to `fault`.
  CounterValues count(CounterGroup group, LaunchSurroundings& surroundings, const ArmRun& arm,
                      std::optional<DeviceFault>& fault) const;

  /// The same launches by two clocks, the median of a few runs: "event_us" by the events that every time is taken by,
  /// "traced_us" by CUPTI's records of the kernels.
  CounterValues trace(LaunchSurroundings& surroundings, const ArmRun& arm,
                      std::optional<DeviceFault>& fault) const;

 private:
  CuptiLibrary library_;
  cupti::Context context_ = nullptr;
  std::string problem_;
};

}  // namespace kernelites::worker
