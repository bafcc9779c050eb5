// SPDX-License-Identifier: Apache-2.0
// CUPTI around the two halves of a run.
#include "evaluators/worker/pipeline/launch_counters.h"

#include <algorithm>

#include "engine/core/error.h"
#include "engine/core/statistics.h"
#include "evaluators/worker/counters/activity_trace.h"
#include "evaluators/worker/device/cuda_library.h"

namespace kernelites::worker {
namespace {

/// The candidate is loaded into the first device's primary context, and so is what counts.
constexpr int k_device = 0;
constexpr int k_traces = 5;

void require(const SequenceOutcome& outcome, std::optional<DeviceFault>& fault) {
  if (!outcome.fault) return;
  if (!fault) fault = outcome.fault;
  throw Error(outcome.fault->message);
}

}  // namespace

std::vector<std::filesystem::path> cupti_folders(const std::filesystem::path& nvrtc_library) {
  std::vector<std::filesystem::path> folders{"/usr/local/cuda"};
  for (auto folder = nvrtc_library.parent_path(); folder.has_relative_path(); folder = folder.parent_path())
    folders.push_back(folder);
  return folders;
}

LaunchCounters::LaunchCounters(const std::vector<std::filesystem::path>& folders) {
  try {
    const CudaLibrary cuda = open_cuda();
    cuda::Context context = nullptr;
    KERNELITES_CUDA(cuda, context_get_current, &context);
    context_ = context;
    library_ = open_cupti(folders);
    problem_ = counters_problem(library_, k_device);
    // Loads what CUPTI itself opens late.
    if (problem_.empty()) problem_ = warm_up_counters(library_, context_, k_device);
  } catch (const std::exception& error) {
    problem_ = error.what();
  }
}

CounterValues LaunchCounters::count(CounterGroup group, LaunchSurroundings& surroundings, const ArmRun& arm,
                                    std::optional<DeviceFault>& fault) const {
  if (!problem_.empty()) return {.values = {}, .problem = problem_};
  return collect_counters(library_, context_, k_device, group,
                          {.before = [&] { require(surroundings.run_before(arm), fault); },
                           .timed = [&] { require(surroundings.run_timed(arm), fault); }});
}

CounterValues LaunchCounters::trace(LaunchSurroundings& surroundings, const ArmRun& arm,
                                    std::optional<DeviceFault>& fault) const {
  if (!problem_.empty()) return {.values = {}, .problem = problem_};
  std::vector<double> events_us, traces_us;
  for (int i = 0; i < k_traces; ++i) {
    SequenceOutcome ran;
    std::size_t timed = 0;
    const KernelTrace trace = trace_kernels([&] { ran = surroundings.run_whole(arm, timed); });
    if (ran.fault) {
      fault = ran.fault;
      return {};
    }
    if (!trace.problem.empty()) return {.values = {}, .problem = trace.problem};
    if (timed == 0 || trace.kernels.size() < timed) continue;  // the first records after idling may be lost
    const auto first = trace.kernels.end() - static_cast<std::ptrdiff_t>(timed);
    std::uint64_t end_ns = 0;
    for (auto kernel = first; kernel != trace.kernels.end(); ++kernel)
      end_ns = std::max(end_ns, kernel->end_ns);
    traces_us.push_back(1e-3 * static_cast<double>(end_ns - first->start_ns));
    events_us.push_back(ran.elapsed_us);
  }
  if (events_us.empty()) return {.values = {}, .problem = "CUPTI's records of kernels were incomplete"};
  return {.values = {{"event_us", median(events_us)}, {"traced_us", median(traces_us)}}, .problem = ""};
}

}  // namespace kernelites::worker
