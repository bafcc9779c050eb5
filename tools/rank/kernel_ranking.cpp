// SPDX-License-Identifier: Apache-2.0
// Which kernels of a trace are worth a search: by Amdahl's law, with what bounds each and the task that covers it.
#include "tools/rank/kernel_ranking.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "engine/core/device_peaks.h"
#include "tools/rank/busy_time.h"
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

/// By what the whole gains if it took no time at all, then by its own time.
template <typename Ranked>
void put_first_what_gains(std::vector<Ranked>& ranked) {
  std::stable_sort(ranked.begin(), ranked.end(), [](const Ranked& a, const Ranked& b) {
    return a.alone_us != b.alone_us ? a.alone_us > b.alone_us : a.total_us > b.total_us;
  });
}

template <typename Ranked>
void set_gain(const GroupTime& time, double whole_us, Ranked& ranked) {
  ranked.alone_us = time.alone_us;
  ranked.speedup_if_faster = whole_speedup(whole_us, time.saved_us);
  ranked.speedup_limit = whole_speedup(whole_us, time.alone_us);
}

/// `task_of_use`: of each use of the trace; empty: none.
std::vector<RankedTask> rank_tasks(const KernelTrace& trace, const KernelRanking& ranking,
                                   const std::vector<std::string>& task_of_use) {
  std::map<std::string, std::uint32_t> places{{"", 0}};  // all that no task covers is one group
  for (const std::string& task : task_of_use)
    places.try_emplace(task, static_cast<std::uint32_t>(places.size()));
  std::vector<std::uint32_t> groups;
  for (const std::string& task : task_of_use) groups.push_back(places.at(task));
  const std::vector<GroupTime> times = group_times(trace, groups, places.size(), ranking.factor);
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
    set_gain(times[places.at(name)], trace.span_us, task);
    ranked.push_back(std::move(task));
  }
  put_first_what_gains(ranked);
  return ranked;
}

}  // namespace

KernelRanking rank_kernels(const KernelTrace& trace, const std::vector<KernelKind>& kinds, double factor) {
  DeviceFacts device{.kind = trace.device};
  const DevicePeaks* const peaks = peaks_of(device);
  // One short name can be of several kinds: an elementwise kernel inside an RMSNorm belongs to that.
  std::map<std::tuple<std::string, const KernelKind*, std::string>, std::uint32_t> places;
  std::vector<Group> groups;
  std::vector<std::uint32_t> group_of_use;
  std::vector<std::string> task_of_use;
  for (const KernelUse& use : trace.kernels) {
    const std::string name = short_kernel_name(use.name);
    const KernelKind* const kind = kind_of(kinds, demangled(use.name), use.operation);
    const std::string task = task_of(kind, use);
    const auto [place, is_new] =
        places.try_emplace({name, kind, task}, static_cast<std::uint32_t>(groups.size()));
    if (is_new) groups.push_back({.kernel = {.name = name, .kind = kind, .task = task}});
    group_of_use.push_back(place->second);
    task_of_use.push_back(task);
    Group& group = groups[place->second];
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
  const std::vector<GroupTime> times = group_times(trace, group_of_use, groups.size(), factor);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    RankedKernel& kernel = groups[i].kernel;
    kernel.share = trace.kernel_us > 0 ? kernel.total_us / trace.kernel_us : 0;
    kernel.bound = bound_of(groups[i], peaks, device);
    set_gain(times[i], trace.span_us, kernel);
    ranking.kernels.push_back(std::move(kernel));
  }
  put_first_what_gains(ranking.kernels);
  ranking.tasks = rank_tasks(trace, ranking, task_of_use);
  for (const RankedTask& task : ranking.tasks) ranking.covered_share += task.share;
  return ranking;
}

}  // namespace kernelites
