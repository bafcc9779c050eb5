// SPDX-License-Identifier: Apache-2.0
// Tables of opcode classes and tunable names, and sums over them.
#include "engine/variation/kernel_measures.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/core/axes.h"
#include "engine/variation/profile_text.h"

namespace kernelites {
namespace {

/// Occurrences of PTX instruction classes that make up one measure.
struct OpcodeRow {
  std::string_view name;
  std::vector<std::string_view> opcodes;
};

const std::vector<OpcodeRow>& opcode_rows() {
  static const std::vector<OpcodeRow> k_rows = {
      {"op_global_loads", {"ld.global", "ld"}},
      {"op_global_stores", {"st.global", "st"}},
      {"op_shared", {"ld.shared", "st.shared"}},
      {"op_async_copies", {"cp.async"}},
      {"op_bulk_copies", {"cp.async.bulk", "cp.async.bulk.tensor"}},
      {"op_mma", {"mma.sync", "wmma.mma"}},
      {"op_wgmma", {"wgmma.mma_async"}},
      {"op_matrix_loads", {"ldmatrix", "stmatrix"}},
      {"op_barriers", {"bar", "bar.sync", "barrier", "barrier.sync"}},
      {"op_shuffles", {"shfl", "redux", "vote"}},
      {"op_exponentials", {"ex2"}},
      {"op_divisions", {"div", "rem"}},
      {"op_conversions", {"cvt"}},
      {"op_fma", {"fma", "mad"}},
      {"op_branches", {"bra"}},
      {"op_atomics", {"atom", "red", "atom.global", "red.global", "atom.shared"}},
  };
  return k_rows;
}

struct TunableRow {
  std::string_view measure;
  std::vector<std::string_view> names;  ///< without a number at the end
};

const std::vector<TunableRow>& tunable_rows() {
  static const std::vector<TunableRow> k_rows = {
      {"tune_stages", {"STAGES", "DEPTH", "SLOTS", "NUM_STAGES"}},
      {"tune_warps", {"WARPS", "NUM_WARPS", "CONSUMERS", "WARPGROUPS"}},
      {"tune_threads", {"THREADS", "BLOCK", "BLOCK_SIZE"}},
      {"tune_rows", {"ROWS", "BM", "BLOCK_M", "TILE_M", "QUERIES", "BR"}},
      {"tune_keys", {"KEYS", "BN", "BLOCK_N", "TILE_N", "TOKENS", "BC"}},
      {"tune_depth", {"BK", "BLOCK_K", "TILE_K"}},
      {"tune_lanes", {"LANES", "LANES_PER_ROW"}},
      {"tune_unroll", {"UNROLL", "TURNS", "ITEMS"}},
      {"tune_bytes", {"BYTES", "VECTOR", "VEC", "WIDTH"}},
      {"tune_splits", {"SPLIT", "SPLITS", "SPLITS_WANTED", "SPLITS_PER_SM", "NUM_SPLITS"}},
      {"tune_chunk", {"CHUNK", "CHUNK_MIN", "PART"}},
      {"tune_blocks_per_sm", {"BLOCKS_PER_SM", "MIN_BLOCKS", "OCCUPANCY"}},
      {"tune_heads", {"HEADS", "GROUPS", "GROUP"}},
      {"tune_swizzle", {"SWIZZLE"}},
      {"tune_stream", {"STREAM", "EVICT_FIRST"}},
  };
  return k_rows;
}

void add_labels(const Descriptors& descriptors, KernelMeasures& measures) {
  for (const Axis& axis : k_axes) {
    const auto label = descriptors.find(std::string(axis.name));
    if (label == descriptors.end()) continue;
    const auto at = std::find(axis.labels.begin(), axis.labels.end(), label->second);
    if (at == axis.labels.end()) continue;
    for (const std::string_view one : axis.labels) measures["is_" + std::string(one)] = one == *at ? 1 : 0;
  }
}

void add_resources(const Examination& examination, KernelMeasures& measures) {
  if (examination.kernels.empty()) return;
  double registers = 0, spills = 0, code = 0;
  for (const KernelResources& kernel : examination.kernels) {
    registers = std::max(registers, static_cast<double>(kernel.registers));
    spills += kernel.spill_store_bytes + kernel.spill_load_bytes;
    code += kernel.code_bytes;
  }
  measures["registers"] = registers;
  measures["spill_bytes"] = spills;
  if (code > 0) measures["code_bytes"] = code;
}

const KernelResources* resources_of(const Examination& examination, const PlannedLaunch& launch) {
  const auto found = std::find_if(examination.kernels.begin(), examination.kernels.end(),
                                  [&](const KernelResources& one) { return one.kernel == launch.kernel; });
  return found == examination.kernels.end() ? nullptr : &*found;
}

double count_of(const std::array<std::uint32_t, 3>& extent) {
  return static_cast<double>(extent[0]) * extent[1] * extent[2];
}

/// Of the launch with the most blocks: it stands for the plan.
void add_plan(const Examination& examination, const DeviceFacts& device, const LaunchPlan& plan,
              KernelMeasures& sums) {
  const PlannedLaunch* largest = nullptr;
  double launches = 0, programmatic = 0, cluster = 1;
  for (const PlannedLaunch& launch : plan.launches) {
    if (launch.is_prepare) continue;
    ++launches;
    programmatic += launch.is_programmatic ? 1 : 0;
    cluster = std::max(cluster, count_of(launch.cluster));
    if (largest == nullptr || count_of(launch.grid) > count_of(largest->grid)) largest = &launch;
  }
  if (largest == nullptr) return;
  const KernelResources* const kernel = resources_of(examination, *largest);
  const double shared = largest->shared_bytes + (kernel != nullptr ? kernel->static_shared_bytes : 0);
  sums["launches"] += launches;
  sums["programmatic_launches"] += programmatic;
  sums["cluster"] += cluster;
  sums["shared_bytes"] += shared;
  sums["threads"] += count_of(largest->block);
  sums["log_blocks"] += std::log(std::max(1.0, count_of(largest->grid)));
  if (kernel != nullptr) sums["blocks_per_sm"] += occupancy_of(*kernel, *largest, device).blocks_per_sm;
}

}  // namespace

std::string_view tunable_measure(std::string_view tunable) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  std::string_view name = tunable;
  while (!name.empty() && is_digit(name.back())) name.remove_suffix(1);
  if (name.size() < tunable.size() && name.ends_with('_')) name.remove_suffix(1);
  for (const TunableRow& row : tunable_rows())
    if (std::find(row.names.begin(), row.names.end(), name) != row.names.end()) return row.measure;
  return {};
}

KernelMeasures measures_of(const Candidate& candidate, const Examination& examination,
                           const DeviceFacts& device, const std::vector<std::string>& workloads) {
  KernelMeasures measures;
  if (examination.counts.opcodes.empty()) return measures;
  add_labels(examination.descriptors, measures);
  for (const OpcodeRow& row : opcode_rows()) {
    double& sum = measures[std::string(row.name)];
    for (const std::string_view opcode : row.opcodes) {
      const auto found = examination.counts.opcodes.find(std::string(opcode));
      if (found != examination.counts.opcodes.end()) sum += static_cast<double>(found->second);
    }
  }
  add_resources(examination, measures);
  KernelMeasures sums;
  double plans = 0;
  for (const std::string& workload : workloads) {
    const auto plan = examination.plans.find(workload);
    if (plan == examination.plans.end() || plan->second.launches.empty()) continue;
    add_plan(examination, device, plan->second, sums);
    ++plans;
  }
  for (const auto& [name, sum] : sums) {
    if (name == "log_blocks")
      measures["blocks"] = std::round(std::exp(sum / plans));
    else
      measures[name] = sum / plans;
  }
  for (const auto& [name, value] : candidate.tuning)
    if (const std::string_view measure = tunable_measure(name); !measure.empty())
      measures[std::string(measure)] = static_cast<double>(value);
  return measures;
}

const std::vector<std::string>& measure_names() {
  static const std::vector<std::string> k_names = [] {
    std::vector<std::string> names{
        "registers", "spill_bytes",  "code_bytes", "launches", "programmatic_launches",
        "cluster",   "shared_bytes", "threads",    "blocks",   "blocks_per_sm"};
    for (const Axis& axis : k_axes)
      for (const std::string_view label : axis.labels) names.push_back("is_" + std::string(label));
    for (const OpcodeRow& row : opcode_rows()) names.emplace_back(row.name);
    for (const TunableRow& row : tunable_rows()) names.emplace_back(row.measure);
    std::sort(names.begin(), names.end());
    return names;
  }();
  return k_names;
}

}  // namespace kernelites
