// SPDX-License-Identifier: Apache-2.0
// Closed tables of states and shape classes, and the rules that choose from them.
#include "engine/variation/bottleneck.h"

#include <algorithm>

#include "engine/core/roofline.h"
#include "engine/variation/feedback_table.h"
#include "engine/variation/profile_text.h"

namespace kernelites {
namespace {

constexpr LessonTerm k_states[] = {
    {"unknown", "the limit is not known"},
    {"memory_bandwidth", "memory bandwidth is nearly used up"},
    {"memory_latency", "loads are waited for"},
    {"l2_bandwidth", "the L2 cache is the limit"},
    {"tensor_throughput", "tensor cores are nearly busy"},
    {"tensor_latency", "tensor cores wait for operands"},
    {"plain_arithmetic", "products run without tensor cores"},
    {"special_functions", "exponentials are the limit"},
    {"instruction_issue", "too many instructions are issued"},
    {"shared_memory", "shared memory is the limit"},
    {"synchronisation", "barriers are waited for"},
    {"too_few_blocks", "blocks do not fill the device"},
    {"launch_overhead", "launches take most of the time"},
    {"register_spills", "registers spill"},
};

/// Limits as the time model names them (evaluators/worker/vgpu/time_model.cpp).
constexpr LessonTerm k_modelled_limits[] = {
    {"memory_bandwidth", "DRAM"},
    {"l2_bandwidth", "L2"},
    {"memory_latency", "latency"},
    {"launch_overhead", "launch"},
    {"tensor_throughput", "tensor cores"},
    {"special_functions", "special functions"},
    {"shared_memory", "shared memory and L1"},
    {"instruction_issue", "instruction issue"},
    {"instruction_issue", "integer arithmetic"},
    {"instruction_issue", "conversions"},
    {"plain_arithmetic", "float arithmetic"},
    {"plain_arithmetic", "half arithmetic"},
    {"plain_arithmetic", "double arithmetic"},
};

constexpr LessonTerm k_shape_classes[] = {
    {"unknown", "shapes of any kind"},
    {"short_memory", "short calls that move little data"},
    {"medium_memory", "calls of middling length that stream data"},
    {"long_memory", "long calls that stream data"},
    {"short_tensor", "short calls of matrix products"},
    {"medium_tensor", "calls of middling length of matrix products"},
    {"long_tensor", "long calls of matrix products"},
    {"short_special", "short calls of exponentials"},
    {"medium_special", "calls of middling length of exponentials"},
    {"long_special", "long calls of exponentials"},
};

// Shares from which on a resource counts as used up, and times that launches alone take.
constexpr double k_memory_used = 0.75, k_tensor_used = 0.6, k_issue_used = 75, k_conflicts = 0.2;
constexpr double k_launch_us = 4, k_short_us = 8, k_long_us = 100, k_stall = 1;

std::string_view words_of(std::span<const LessonTerm> table, std::string_view code) {
  for (const LessonTerm& term : table)
    if (term.code == code) return term.words;
  return table.front().words;
}

bool spills(const Examination& examination) {
  constexpr int k_spill_bytes_min = 16;
  return std::any_of(examination.kernels.begin(), examination.kernels.end(),
                     [](const KernelResources& kernel) {
                       return kernel.spill_load_bytes + kernel.spill_store_bytes >= k_spill_bytes_min;
                     });
}

/// Of the launch with the most blocks; 0: not known.
double waves_of(const Specimen& specimen, const Workload& workload, const DeviceFacts& device) {
  const auto plan = specimen.examination.plans.find(workload.name);
  if (plan == specimen.examination.plans.end()) return 0;
  double waves = 0;
  for (const PlannedLaunch& launch : plan->second.launches)
    for (const KernelResources& kernel : specimen.examination.kernels) {
      if (kernel.kernel != launch.kernel || device.sm_count <= 0) continue;
      const int resident = occupancy_of(kernel, launch, device).blocks_per_sm;
      const double blocks = static_cast<double>(launch.grid[0]) * launch.grid[1] * launch.grid[2];
      if (resident > 0) waves = std::max(waves, blocks / (device.sm_count * resident));
    }
  return waves;
}

std::string modelled_state(const Specimen& specimen, const Workload& workload) {
  const auto launches = specimen.duel->modelled.find(workload.name);
  if (launches == specimen.duel->modelled.end() || launches->second.empty()) return "";
  const auto longest = std::max_element(
      launches->second.begin(), launches->second.end(),
      [](const ModelledLaunch& a, const ModelledLaunch& b) { return a.time_us < b.time_us; });
  for (const LessonTerm& row : k_modelled_limits) {
    if (row.words != longest->limit) continue;
    const bool is_thin = row.code == "memory_latency" && longest->waves > 0 && longest->waves < 1;
    return std::string(is_thin ? "too_few_blocks" : row.code);
  }
  return "";
}

std::string counted_state(const Specimen& specimen, const Workload& workload, const RooflineShare& share,
                          const DeviceFacts& device) {
  const auto report = specimen.examination.counters.find(workload.name);
  if (report == specimen.examination.counters.end()) return "";
  const auto value = [&](const char* name) {
    const CounterReading* const reading = find_reading(report->second, name);
    return reading ? reading->value : 0.0;
  };
  if (value("issue_active_percent") <= 0) return "";
  const double cycles = value("sm_cycles") * device.sm_count;
  if (cycles > 0 && value("shared_bank_conflicts") >= k_conflicts * cycles) return "shared_memory";
  if (value("tensor_active_percent") >= 100 * k_tensor_used) return "tensor_throughput";
  if (share.of_memory >= k_memory_used) return "memory_bandwidth";
  if (value("issue_active_percent") >= k_issue_used) return "instruction_issue";
  constexpr LessonTerm k_stalls[] = {{"memory_latency", "stall_long_scoreboard"},
                                     {"shared_memory", "stall_short_scoreboard"},
                                     {"synchronisation", "stall_barrier"},
                                     {"tensor_throughput", "stall_gmma"},
                                     {"plain_arithmetic", "stall_math_pipe"}};
  const LessonTerm* most = nullptr;
  for (const LessonTerm& stall : k_stalls) {
    const double warps = value(std::string(stall.words).c_str());
    if (warps >= k_stall && (!most || warps > value(std::string(most->words).c_str()))) most = &stall;
  }
  return most ? std::string(most->code) : "";
}

std::string roofline_state(const Specimen& specimen, const RooflineShare& share, double waves) {
  if (share.floor_us <= 0) return "unknown";
  const double time_us = share.floor_us / share.of_floor;
  if (share.floor_us < k_launch_us && time_us < 2 * k_launch_us) return "launch_overhead";
  if (share.limit == "memory" && share.of_floor >= k_memory_used) return "memory_bandwidth";
  if (waves > 0 && waves < 1) return "too_few_blocks";
  const auto compute = specimen.examination.descriptors.find("compute");
  const bool is_plain = compute != specimen.examination.descriptors.end() && compute->second == "fma";
  if (share.limit == "tensor cores") {
    if (is_plain) return "plain_arithmetic";
    return share.of_floor >= k_tensor_used ? "tensor_throughput" : "tensor_latency";
  }
  if (share.limit == "special functions") return "special_functions";
  return "memory_latency";
}

}  // namespace

std::span<const LessonTerm> bottleneck_table() { return k_states; }
std::string_view bottleneck_words(std::string_view code) { return words_of(k_states, code); }
std::span<const LessonTerm> shape_class_table() { return k_shape_classes; }
std::string_view shape_class_words(std::string_view code) { return words_of(k_shape_classes, code); }

std::string bottleneck_of(const Task& task, const DeviceFacts& device, const Specimen& specimen) {
  const Workload* const workload = explained_workload(task, device, specimen);
  if (!workload) return "unknown";
  if (spills(specimen.examination)) return "register_spills";
  if (std::string state = modelled_state(specimen, *workload); !state.empty()) return state;
  const double time_us = specimen.duel->timing.at(workload->name).front().time_us_median;
  const RooflineShare share = roofline_share(counts_on(device, task, *workload), device, time_us);
  if (std::string state = counted_state(specimen, *workload, share, device); !state.empty()) return state;
  return roofline_state(specimen, share, waves_of(specimen, *workload, device));
}

std::string dtype_of(const Task& task) {
  for (const TensorSpec& tensor : task.tensors)
    if (tensor.role == Role::input) return dtype_name(tensor.dtype);
  return "other";
}

std::string shape_class_of(const Task& task, const DeviceFacts& device, const Workload& workload) {
  const std::vector<Roof> all = roofs(counts_on(device, task, workload), device);
  if (all.empty()) return "unknown";
  const double floor_us = all.front().time_us;
  const char* const length = floor_us < k_short_us ? "short" : floor_us < k_long_us ? "medium" : "long";
  const std::string_view resource = all.front().resource;
  const char* const kind = resource == "memory"         ? "_memory"
                           : resource == "tensor cores" ? "_tensor"
                                                        : "_special";
  return std::string(length) + kind;
}

}  // namespace kernelites
