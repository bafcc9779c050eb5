// SPDX-License-Identifier: Apache-2.0
// Roofs and shares of them.
#include "engine/core/roofline.h"

#include <algorithm>

#include "engine/core/device_peaks.h"
#include "engine/core/formula.h"

namespace kernelites {

std::vector<Roof> roofs(const RooflineCounts& counts, const DeviceFacts& device) {
  const DevicePeaks* const peaks = peaks_of(device);
  if (!peaks) return {};
  const double cycles_per_us = peaks->clock_ghz * 1e3 * device.sm_count;  // of all SMs together
  std::vector<Roof> roofs{
      {"memory", counts.bytes / (peaks->memory_gb_per_s * 1e3)},
      {"tensor cores", counts.flops / (peaks->tensor_flops * cycles_per_us)},
      {"special functions", counts.exponentials / (peaks->special_operations * cycles_per_us)}};
  std::stable_sort(roofs.begin(), roofs.end(),
                   [](const Roof& a, const Roof& b) { return a.time_us > b.time_us; });
  return roofs;
}

Floor floor_of(const RooflineCounts& counts, const DeviceFacts& device) {
  const std::vector<Roof> all = roofs(counts, device);
  if (all.empty()) return {};
  const double launch_us = peaks_of(device)->launch_us;
  return {.us = std::max(launch_us, all.front().time_us),
          .launch_us = launch_us,
          .limit = launch_us > all.front().time_us ? "launch" : all.front().resource};
}

int passes_of(const Task& task) {
  // A task that was not read from a document has none.
  return task.document.contains("roofline") ? task.document.at("roofline").value("passes", 1) : 1;
}

double reloaded_bytes(const Task& task, const Workload& workload, const DeviceFacts& device) {
  const int passes = passes_of(task);
  if (passes < 2) return 0;
  const Json& roofline = task.document.at("roofline");
  std::map<std::string, double> names;
  for (const auto& [name, value] : workload.dims) names[name] = static_cast<double>(value);
  const double piece = evaluate_formula(roofline.at("pass_bytes").get<std::string>(), names),
               pieces = evaluate_formula(roofline.at("pass_pieces").get<std::string>(), names);
  constexpr double k_register_bytes = 4;
  const double of_sm =
      k_register_bytes * device.registers_per_sm + static_cast<double>(device.shared_bytes_per_block_max);
  const double chip = static_cast<double>(device.l2_bytes) + device.sm_count * of_sm;
  return (passes - 1) * pieces * std::max(0.0, piece - chip);
}

RooflineCounts counts_on(const DeviceFacts& device, const Task& task, const Workload& workload,
                         const std::map<std::string, double>& sums) {
  RooflineCounts counts = roofline_counts(task, workload, sums);
  counts.bytes += reloaded_bytes(task, workload, device);
  return counts;
}

double impossible_below_us(const Task& task, const Workload& workload, const DeviceFacts& device,
                           const std::map<std::string, double>& sums) {
  // A polynomial of degree 3 with its range reduction takes about six instructions (as FlashAttention-4 has it).
  constexpr double k_float_lanes = 128, k_polynomial_instructions = 6;
  // The clock of the events and rounding in formulas; pure reading is up to a tenth faster than copying.
  constexpr double k_of_peak = 0.98, k_of_copy = 0.8;
  const RooflineCounts counts = counts_on(device, task, workload, sums);
  double written = 0;
  bool has_narrow_inputs = false;
  for (const TensorSpec& tensor : task.tensors) {
    const std::size_t element = dtype_bytes(tensor.dtype);
    if (tensor.role == Role::output || tensor.role == Role::inout)
      written += static_cast<double>(element) * static_cast<double>(element_count(tensor, workload));
    has_narrow_inputs = has_narrow_inputs || (tensor.role == Role::input && element == 1);
  }
  const double moved = counts.bytes - std::min(written, static_cast<double>(device.l2_bytes));
  const DevicePeaks* const peaks = peaks_of(device);
  if (!peaks) return device.memory_gb_per_s > 0 ? k_of_copy * moved / (device.memory_gb_per_s * 1e3) : 0;
  const double cycles_per_us = peaks->clock_ghz * 1e3 * device.sm_count;
  const double flops = peaks->tensor_flops * (has_narrow_inputs ? 2 : 1);
  const double exponentials = peaks->special_operations + k_float_lanes / k_polynomial_instructions;
  return k_of_peak * std::max({moved / (peaks->memory_gb_per_s * 1e3), counts.flops / (flops * cycles_per_us),
                               counts.exponentials / (exponentials * cycles_per_us)});
}

RooflineShare roofline_share(const RooflineCounts& counts, const DeviceFacts& device, double time_us) {
  RooflineShare share;
  if (time_us <= 0) return share;
  share.gb_per_s = counts.bytes / time_us * 1e-3;
  share.tflop_per_s = counts.flops / time_us * 1e-6;
  if (device.memory_gb_per_s > 0) share.of_memory = share.gb_per_s / device.memory_gb_per_s;
  const Floor floor = floor_of(counts, device);
  share.floor_us = floor.us;
  share.launch_us = floor.launch_us;
  share.of_floor = floor.us / time_us;
  share.limit = floor.limit;
  return share;
}

}  // namespace kernelites
