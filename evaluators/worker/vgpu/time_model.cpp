// SPDX-License-Identifier: Apache-2.0
// The time model.
#include "evaluators/worker/vgpu/time_model.h"

#include <algorithm>
#include <cmath>

namespace kernelites::worker::vgpu {

namespace {

constexpr double k_sector_bytes = 32;

/// Work of one type relative to dense f16 (whitepaper: fp8 and int8 twice as fast, tf32 half).
double tensor_cost(TensorType type) {
  switch (type) {
    case TensorType::fp8:
    case TensorType::int8:
      return 0.5;
    case TensorType::tf32:
      return 2;
    case TensorType::f64:
      return 16;
    default:
      return 1;
  }
}

struct NamedField {
  std::string_view name;
  double LaunchWork::*field;
};
constexpr NamedField k_fields[] = {
    {"blocks", &LaunchWork::blocks},
    {"warps_per_block", &LaunchWork::warps_per_block},
    {"registers", &LaunchWork::registers},
    {"shared_bytes", &LaunchWork::shared_bytes},
    {"lanes", &LaunchWork::lanes},
    {"special_operations", &LaunchWork::special_operations},
    {"load_requests", &LaunchWork::load_requests},
    {"load_sectors", &LaunchWork::load_sectors},
    {"store_requests", &LaunchWork::store_requests},
    {"store_sectors", &LaunchWork::store_sectors},
    {"block_bytes", &LaunchWork::block_bytes},
    {"shared_load_wavefronts", &LaunchWork::shared_load_wavefronts},
    {"shared_store_wavefronts", &LaunchWork::shared_store_wavefronts},
    {"local_bytes", &LaunchWork::local_bytes},
    {"dram_load_bytes", &LaunchWork::dram_load_bytes},
    {"dram_store_bytes", &LaunchWork::dram_store_bytes},
    {"expanded", &LaunchWork::expanded},
    {"chain_near", &LaunchWork::chain_near},
    {"chain_far", &LaunchWork::chain_far},
    {"longest_warps", &LaunchWork::longest_warps},
    {"longest_block", &LaunchWork::longest_block},
};
constexpr std::string_view k_tensor_prefix = "tensor_flops_";

double sum_of(const LaunchWork& work, std::initializer_list<OpClass> classes) {
  double sum = 0;
  for (OpClass op_class : classes) sum += work.warp_instructions[static_cast<std::size_t>(op_class)];
  return sum;
}

/// (a^p + b^p + ...)^(1/p): the largest, and more where others come near it.
double smooth_max(std::initializer_list<double> values, double power) {
  const double most = std::max(values);
  if (most <= 0) return 0;
  double sum = 0;
  for (const double value : values) sum += std::pow(value / most, power);
  return most * std::pow(sum, 1 / power);
}

/// Cycles that one unit of an SM needs for the whole launch.
struct UnitCycles {
  std::string_view unit;
  double cycles = 0;
};

std::array<UnitCycles, 9> unit_cycles(const LaunchWork& w, const ModelledDevice& d) {
  auto lanes = [&](std::initializer_list<OpClass> classes) { return sum_of(w, classes) * k_lanes; };
  double tensor = 0, instructions = 0;
  for (std::size_t k = 0; k < k_tensor_types; ++k)
    tensor += w.tensor_flops[k] * tensor_cost(static_cast<TensorType>(k));
  for (const double count : w.warp_instructions) instructions += count;
  instructions -= (1 - d.issue_share) *
                  sum_of(w, {OpClass::integer, OpClass::move, OpClass::control, OpClass::parameter_load});
  return {
      {{"instruction issue", (instructions + w.expanded) / d.issue_per_cycle},
       {"integer arithmetic", lanes({OpClass::integer}) * d.integer_share / d.integer_lanes},
       {"float arithmetic", lanes({OpClass::fp32}) / d.fp32_lanes},
       {"half arithmetic", lanes({OpClass::fp16}) / d.fp16_lanes},
       {"double arithmetic", lanes({OpClass::fp64}) / d.fp64_lanes},
       {"special functions", lanes({OpClass::special}) / d.special_lanes},
       {"conversions", lanes({OpClass::conversion}) / d.conversion_lanes},
       {"shared memory and L1", lanes({OpClass::shuffle}) / d.shuffle_lanes + w.shared_load_wavefronts +
                                    w.shared_store_wavefronts + k_sector_bytes * w.load_sectors / d.l1_bytes},
       {"tensor cores", tensor / d.tensor_f16_flops}}};
}

/// How blocks lie on SMs.
struct Waves {
  double resident = 1;  ///< blocks together on an SM
  double exact = 1;     ///< of resident blocks, for each SM
  double counted = 1;   ///< as they take time: whole where few, and the longest block at the end
};

Waves waves_of(const LaunchWork& work, double instructions, const ModelledDevice& device) {
  constexpr double k_few = 4;  // after so many waves SMs drift apart and no longer wait for each other
  Waves waves;
  const double per_sm = std::max(work.blocks / device.sms, 1.0);
  waves.resident = std::min(resident_blocks(work, device), std::ceil(per_sm));
  waves.exact = per_sm / waves.resident;
  const double longest =
      instructions > 0 ? std::max(1.0, work.longest_block * work.blocks / instructions) : 1;
  waves.counted = waves.exact < k_few ? std::ceil(waves.exact - 1e-9) : waves.exact + 0.5;
  waves.counted = std::max(waves.counted, std::min(longest, waves.exact + longest - 1));
  return waves;
}

}  // namespace

LaunchWork work_of(const Counts& counts, const Launch& launch, u32 registers_per_thread, u32 shared_bytes) {
  const Counts all = scaled(counts, 0);
  const double factor = counts.blocks_run == 0 ? 1
                                               : static_cast<double>(counts.blocks_total) /
                                                     static_cast<double>(counts.blocks_run);
  LaunchWork work{.blocks = static_cast<double>(launch.grid.count()),
                  .warps_per_block = std::ceil(static_cast<double>(launch.block.count()) / k_lanes),
                  .registers = static_cast<double>(registers_per_thread),
                  .shared_bytes = static_cast<double>(shared_bytes)};
  for (std::size_t k = 0; k < k_op_classes; ++k)
    work.warp_instructions[k] = static_cast<double>(all.warp_instructions[k]);
  for (std::size_t k = 0; k < k_tensor_types; ++k)
    work.tensor_flops[k] = static_cast<double>(all.tensor_flops[k]);
  work.lanes = static_cast<double>(all.lanes);
  work.special_operations = static_cast<double>(all.special_operations);
  work.load_requests = static_cast<double>(all.global_load.requests);
  work.load_sectors = static_cast<double>(all.global_load.transactions);
  work.store_requests = static_cast<double>(all.global_store.requests);
  work.store_sectors = static_cast<double>(all.global_store.transactions);
  work.block_bytes = factor * static_cast<double>(counts.dram_load_bytes);
  work.shared_load_wavefronts = static_cast<double>(all.shared_load.transactions);
  work.shared_store_wavefronts = static_cast<double>(all.shared_store.transactions);
  work.local_bytes = static_cast<double>(all.local_bytes);
  work.dram_load_bytes = static_cast<double>(all.grid_dram_load_bytes);
  work.dram_store_bytes = static_cast<double>(all.grid_dram_store_bytes);
  work.expanded = all.expanded;
  work.chain_near = all.chain_near;
  work.chain_far = all.chain_far;
  work.longest_warps = static_cast<double>(all.longest_warp_instructions);
  work.longest_block = static_cast<double>(all.block_instructions_max);
  return work;
}

std::map<std::string, double> named(const LaunchWork& work) {
  std::map<std::string, double> values;
  for (const NamedField& row : k_fields) values.emplace(row.name, work.*row.field);
  for (std::size_t k = 0; k < k_op_classes; ++k)
    values.emplace(to_string(static_cast<OpClass>(k)), work.warp_instructions[k]);
  for (std::size_t k = 0; k < k_tensor_types; ++k)
    values.emplace(std::string(k_tensor_prefix) += to_string(static_cast<TensorType>(k)),
                   work.tensor_flops[k]);
  std::erase_if(values, [](const auto& entry) { return entry.second == 0; });
  return values;
}

LaunchWork work_from(const std::map<std::string, double>& values) {
  const auto value = [&](const std::string& name) {
    const auto found = values.find(name);
    return found == values.end() ? 0 : found->second;
  };
  LaunchWork work;
  for (const NamedField& row : k_fields) work.*row.field = value(std::string(row.name));
  for (std::size_t k = 0; k < k_op_classes; ++k)
    work.warp_instructions[k] = value(std::string(to_string(static_cast<OpClass>(k))));
  for (std::size_t k = 0; k < k_tensor_types; ++k)
    work.tensor_flops[k] = value(std::string(k_tensor_prefix) += to_string(static_cast<TensorType>(k)));
  return work;
}

double resident_blocks(const LaunchWork& work, const ModelledDevice& device) {
  const double registers = std::ceil(std::max(work.registers, 16.0) / 8.0) * 8 * k_lanes *
                           work.warps_per_block;     // allocated per warp in units of 256
  const double shared = work.shared_bytes + 1024.0;  // 1 KiB is reserved per block
  const double blocks =
      std::min({device.max_blocks, std::floor(device.max_warps / work.warps_per_block),
                std::floor(device.registers / registers), std::floor(device.shared_bytes / shared)});
  return std::max(blocks, 1.0);
}

ModelledTime modelled_time(const LaunchWork& work, const ModelledDevice& device) {
  double instructions = 0;
  for (const double count : work.warp_instructions) instructions += count;
  const Waves waves = waves_of(work, instructions, device);
  const double blocks = std::max(work.blocks, 1.0), warps = blocks * std::max(work.warps_per_block, 1.0);

  double busiest = 0, all = 0;
  std::string_view unit;
  for (const UnitCycles& row : unit_cycles(work, device)) {
    all += row.cycles / blocks;
    if (row.cycles / blocks <= busiest) continue;
    busiest = row.cycles / blocks;
    unit = row.unit;
  }
  const double throughput = waves.resident * busiest + device.phase_share * (all - busiest);

  // What a block reads again comes from the L1 mostly.
  const double read = k_sector_bytes * work.load_sectors, first = std::min(read, work.block_bytes);
  const double new_share = read > 0 ? first / read : 1;
  const double far = std::pow(new_share, device.reuse_power);
  const double uneven =
      instructions > 0 ? std::max(1.0, work.longest_warps * work.warps_per_block / instructions) : 1;
  const double chain =
      uneven * device.latency_share * (work.chain_near + (work.chain_far - work.chain_near) * far) / warps;

  const double cycles_per_us = device.clock_ghz * 1e3;
  const double set = smooth_max({throughput, chain}, device.hiding_power);
  const double sm_us = waves.counted * set / cycles_per_us;
  const double l2_us = 1e6 *
                       (first + (read - first) * (1 - device.l1_hit_share) +
                        k_sector_bytes * work.store_sectors + work.local_bytes / 2) /
                       device.l2_bytes_per_second;
  const double dram_us = 1e6 * (work.dram_load_bytes + work.dram_store_bytes) / device.dram_bytes_per_second;

  ModelledTime time{.us = device.launch_us + smooth_max({sm_us, l2_us, dram_us}, device.memory_power),
                    .occupancy = std::min(1.0, waves.resident * work.warps_per_block / device.max_warps),
                    .waves = waves.exact};
  time.limit = chain > throughput ? "latency" : unit;
  if (l2_us > std::max(sm_us, dram_us)) time.limit = "L2";
  if (dram_us > std::max(sm_us, l2_us)) time.limit = "DRAM";
  if (device.launch_us > time.us / 2) time.limit = "launch";
  return time;
}

}  // namespace kernelites::worker::vgpu
