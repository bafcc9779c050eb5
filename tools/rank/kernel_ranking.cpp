// SPDX-License-Identifier: Apache-2.0
// Which kernels of a trace are worth a search: by Amdahl's law, with what bounds each and the task that covers it.
#include "tools/rank/kernel_ranking.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "engine/core/device_peaks.h"
#include "tools/rank/kernel_name.h"
#include "tools/rank/operation_work.h"

namespace kernelites {
namespace {

/// Below this time a launch is bound by being launched, whatever it does.
constexpr double k_launch_us = 3;

/// Uses of one short name, with the work that is known of them.
struct Group {
  RankedKernel kernel;
  double longest_us = 0;
  double worked_us = 0;  // of the uses whose work is known
  OperationWork work;
};

std::string task_of(const KernelKind* kind, const KernelUse& use) {
  if (!kind) return "";
  return !kind->decode_task.empty() && is_decode(use.operation, use.shapes) ? kind->decode_task : kind->task;
}

KernelBound bound_of(const Group& group, const DevicePeaks* peaks, const DeviceFacts& device) {
  KernelBound bound{.resource = group.kernel.kind ? group.kernel.kind->bound : ""};
  if (bound.resource == "network") return bound;
  if (group.kernel.total_us < k_launch_us * static_cast<double>(group.kernel.launches)) {
    bound.resource = "latency";
    return bound;
  }
  if (!peaks || group.worked_us < group.kernel.total_us / 2) return bound;
  const double memory_us = group.work.bytes / (peaks->memory_gb_per_s * 1e3);
  const double compute_us =
      group.work.flops / (peaks->tensor_flops * peaks->clock_ghz * 1e3 * device.sm_count);
  const double of_peak = std::max(memory_us, compute_us) / group.worked_us;
  // More than there can be: the operation's work is that of several kernels, or a mask spares half of it.
  if (of_peak > 1) return bound;
  bound.is_by_shape = true;
  bound.resource = compute_us > memory_us ? "compute" : "memory";
  bound.of_peak = of_peak;
  return bound;
}

std::vector<RankedTask> rank_tasks(const KernelRanking& ranking) {
  std::map<std::string, RankedTask> tasks;
  for (const RankedKernel& kernel : ranking.kernels) {
    if (kernel.task.empty()) continue;
    RankedTask& task = tasks[kernel.task];
    task.task = kernel.task;
    if (task.note.empty() && kernel.task == kernel.kind->task) task.note = kernel.kind->note;
    task.kernels.push_back(kernel.name);
    task.total_us += kernel.total_us;
    task.share += kernel.share;
  }
  std::vector<RankedTask> ranked;
  for (auto& [name, task] : tasks) {
    task.speedup_if_faster = amdahl(task.share, ranking.factor);
    task.speedup_limit = amdahl(task.share, 1e12);
    ranked.push_back(std::move(task));
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const RankedTask& a, const RankedTask& b) { return a.share > b.share; });
  return ranked;
}

}  // namespace

double amdahl(double share, double factor) { return 1 / (1 - share + share / factor); }

KernelRanking rank_kernels(const KernelTrace& trace, const std::vector<KernelKind>& kinds, double factor) {
  DeviceFacts device{.kind = trace.device};
  const DevicePeaks* const peaks = peaks_of(device);
  // One short name can be of several kinds: an elementwise kernel inside an RMSNorm belongs to that.
  std::map<std::tuple<std::string, const KernelKind*, std::string>, Group> groups;
  for (const KernelUse& use : trace.kernels) {
    const std::string name = short_kernel_name(use.name);
    const KernelKind* const kind = kind_of(kinds, demangled(use.name), use.operation);
    const std::string task = task_of(kind, use);
    Group& group = groups[{name, kind, task}];
    group.kernel.task = task;
    group.kernel.name = name;
    group.kernel.kind = kind;
    group.kernel.launches += use.launches;
    group.kernel.total_us += use.total_us;
    if (use.total_us > group.longest_us) {
      group.longest_us = use.total_us;
      group.kernel.full_name = demangled(use.name);
      group.kernel.operation = use.operation;
    }
    if (const auto work = work_of(use.operation, use.shapes, use.types)) {
      group.worked_us += use.total_us;
      group.work.flops += work->flops * static_cast<double>(use.launches);
      group.work.bytes += work->bytes * static_cast<double>(use.launches);
    }
  }
  KernelRanking ranking{.kernels = {}, .tasks = {}, .factor = factor};
  for (auto& [key, group] : groups) {
    RankedKernel& kernel = group.kernel;
    kernel.share = trace.kernel_us > 0 ? kernel.total_us / trace.kernel_us : 0;
    kernel.speedup_if_faster = amdahl(kernel.share, factor);
    kernel.speedup_limit = amdahl(kernel.share, 1e12);
    kernel.bound = bound_of(group, peaks, device);
    ranking.kernels.push_back(std::move(kernel));
  }
  std::stable_sort(ranking.kernels.begin(), ranking.kernels.end(),
                   [](const RankedKernel& a, const RankedKernel& b) { return a.total_us > b.total_us; });
  ranking.tasks = rank_tasks(ranking);
  for (const RankedTask& task : ranking.tasks) ranking.covered_share += task.share;
  return ranking;
}

}  // namespace kernelites
