// SPDX-License-Identifier: Apache-2.0
// Occupancy by the published limits, waves from the plan, shares of the roofline from the task's formulas.
#include "engine/variation/profile_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "engine/core/roofline.h"
#include "engine/variation/feedback_table.h"
#include "engine/variation/prompt_values.h"

namespace kernelites {
namespace {

constexpr int k_warp = 32;
constexpr int k_registers_per_warp_unit = 256;  // registers are given out in these steps
constexpr int k_shared_reserved_bytes = 1024;   // by the system, of each block
constexpr std::size_t k_opcodes_shown = 24;

int threads_per_sm(int compute_capability) {
  const bool is_small = compute_capability == 86 || compute_capability == 87 || compute_capability == 89;
  return is_small ? 1536 : 2048;
}

int blocks_per_sm_max(int compute_capability) {
  if (compute_capability == 86 || compute_capability == 87) return 16;
  return compute_capability == 89 ? 24 : 32;
}

std::string opcode_lines(const Examination& examination) {
  std::vector<std::pair<std::string, std::int64_t>> counts(examination.counts.opcodes.begin(),
                                                           examination.counts.opcodes.end());
  std::stable_sort(counts.begin(), counts.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string text;
  for (std::size_t i = 0; i < counts.size() && i < k_opcodes_shown; ++i)
    text += fmt::format("{}{} {}", i == 0 ? "" : ", ", counts[i].first, counts[i].second);
  return text;
}

std::string launch_line(const Specimen& specimen, const PlannedLaunch& launch, const DeviceFacts& device) {
  const auto& kernels = specimen.examination.kernels;
  const auto kernel = std::find_if(kernels.begin(), kernels.end(), [&](const KernelResources& known) {
    return known.kernel == launch.kernel;
  });
  const std::int64_t blocks =
      std::int64_t{launch.grid[0]} * std::int64_t{launch.grid[1]} * std::int64_t{launch.grid[2]};
  std::string text =
      fmt::format("  - `{}`: {} blocks of {} threads, {} B dynamic shared memory", launch.kernel, blocks,
                  launch.block[0] * launch.block[1] * launch.block[2], launch.shared_bytes);
  if (kernel == kernels.end()) return text + "\n";
  const Occupancy occupancy = occupancy_of(*kernel, launch, device);
  if (occupancy.blocks_per_sm == 0) return text + "\n";
  const double waves = static_cast<double>(blocks) / (device.sm_count * occupancy.blocks_per_sm);
  return text + fmt::format("; {} blocks per SM (limit: {}), {:.2f} waves\n", occupancy.blocks_per_sm,
                            occupancy.limit, waves);
}

std::string workload_lines(const Task& task, const DeviceFacts& device, const Specimen& specimen) {
  std::string text;
  for (const Workload& workload : task.bench) {
    const auto plan = specimen.examination.plans.find(workload.name);
    if (plan == specimen.examination.plans.end()) continue;
    text += fmt::format("- `{}`", workload.name);
    const RooflineCounts counts = roofline_counts(task, workload);
    if (device.memory_gb_per_s > 0)
      text += fmt::format(", memory alone: {:.1f} us", counts.bytes / device.memory_gb_per_s * 1e-3);
    const auto modelled = specimen.examination.modelled_us.find(workload.name);
    if (modelled != specimen.examination.modelled_us.end())
      text += fmt::format(", modelled by the virtual GPU: {:.1f} us", modelled->second);
    text += "\n";
    for (const PlannedLaunch& launch : plan->second.launches) text += launch_line(specimen, launch, device);
  }
  return text;
}

/// Counters of a specimen that was not timed, whose table has no rows yet; or why there are none.
std::string counter_text(const Task& task, const DeviceFacts& device, const Specimen& specimen) {
  if (device.is_virtual) return "The virtual GPU has no hardware counters.\n";
  std::string text;
  for (const auto& [name, report] : specimen.examination.counters) {
    const Workload* const workload = task.find_workload(name);
    if (!report.problem.empty())
      text += fmt::format("Counters at `{}` unchecked: {}\n", name, report.problem);
    if (!workload || specimen.duel) continue;
    text += fmt::format("Counters at `{}`:\n", name);
    for (const FeedbackRow& row : counter_rows(report, roofline_counts(task, *workload), device, 0))
      text += fmt::format("- {}: {} ({})\n", row.name, row.value, row.meaning);
  }
  return text.empty() ? "Hardware counters have not been read.\n" : text;
}

}  // namespace

Occupancy occupancy_of(const KernelResources& kernel, const PlannedLaunch& launch,
                       const DeviceFacts& device) {
  const int threads = static_cast<int>(launch.block[0] * launch.block[1] * launch.block[2]);
  if (threads <= 0) return {};
  const int warps = (threads + k_warp - 1) / k_warp;
  Occupancy occupancy{.blocks_per_sm = blocks_per_sm_max(device.compute_capability), .limit = "blocks"};
  const auto bound = [&](int blocks, const char* limit) {
    if (blocks < occupancy.blocks_per_sm) occupancy = {blocks, limit};
  };
  bound(threads_per_sm(device.compute_capability) / (warps * k_warp), "threads");
  if (kernel.registers > 0) {
    const int per_warp = (kernel.registers * k_warp + k_registers_per_warp_unit - 1) /
                         k_registers_per_warp_unit * k_registers_per_warp_unit;
    bound(device.registers_per_sm / per_warp / warps, "registers");
  }
  const int shared =
      kernel.static_shared_bytes + static_cast<int>(launch.shared_bytes) + k_shared_reserved_bytes;
  bound((device.shared_bytes_per_block_max + k_shared_reserved_bytes) / shared, "shared memory");
  return occupancy;
}

std::string profile_text(const Task& task, const DeviceFacts& device, const Specimen& specimen) {
  std::string text = "Compiled kernels:\n" + describe_resources(specimen.examination);
  if (const std::string opcodes = opcode_lines(specimen.examination); !opcodes.empty())
    text += "Instructions in the PTX, counted once each (not executed): " + opcodes + "\n";
  if (const std::string lines = workload_lines(task, device, specimen); !lines.empty())
    text += "Launches at the timed workloads:\n" + lines;
  if (const std::string timing = describe_timing(task, device, specimen); !timing.empty())
    text += "Times:\n" + timing + feedback_text(task, device, specimen);
  for (const std::string& note : specimen.examination.notes) text += "Remark: " + note + "\n";
  return text + counter_text(task, device, specimen);
}

}  // namespace kernelites
