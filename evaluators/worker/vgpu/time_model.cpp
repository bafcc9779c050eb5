// SPDX-License-Identifier: Apache-2.0
// The time model.
#include "evaluators/worker/vgpu/time_model.h"

#include <algorithm>
#include <cmath>

namespace kernelites::worker::vgpu {

const ModelledDevice k_h100 = {.name = "H100 SXM (modelled)",
                               .sms = 132,
                               .clock_ghz = 1.755,
                               .tensor_f16_flops = 4096,
                               .l2_bytes_per_second = 5.5e12,
                               .dram_bytes_per_second = 3.0e12,
                               .launch_us = 2.2,
                               .hiding_half_warps = 4};

namespace {

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

/// Cycles that the busiest unit of one SM needs for its share of the launch.
double sm_cycles(const Counts& c, const ModelledDevice& d) {
  auto lanes = [&](std::initializer_list<OpClass> classes) {
    double sum = 0;
    for (OpClass op_class : classes) sum += static_cast<double>(c.of(op_class)) * k_lanes;
    return sum;
  };
  double tensor = 0;
  for (std::size_t k = 0; k < k_tensor_types; ++k)
    tensor += static_cast<double>(c.tensor_flops[k]) * tensor_cost(static_cast<TensorType>(k));
  const double busiest = std::max(
      {static_cast<double>(c.total_warp_instructions()) / d.issue_per_cycle,
       lanes({OpClass::fp32}) / d.fp32_lanes, lanes({OpClass::fp16}) / d.fp16_lanes,
       lanes({OpClass::fp64}) / d.fp64_lanes, lanes({OpClass::integer}) / d.integer_lanes,
       lanes({OpClass::special}) / d.special_lanes, lanes({OpClass::conversion}) / d.conversion_lanes,
       lanes({OpClass::shuffle}) / d.shuffle_lanes +
           static_cast<double>(c.shared_load.transactions + c.shared_store.transactions) /
               d.shared_wavefronts,
       tensor / d.tensor_f16_flops});
  return busiest / d.sms;
}

}  // namespace

u32 resident_blocks(const Launch& launch, u32 registers_per_thread, u32 shared_bytes,
                    const ModelledDevice& device) {
  const double warps = std::ceil(static_cast<double>(launch.block.count()) / k_lanes);
  const double registers = std::ceil(std::max(registers_per_thread, 16u) / 8.0) * 8 * k_lanes *
                           warps;               // allocated per warp in units of 256
  const double shared = shared_bytes + 1024.0;  // 1 KiB is reserved per block
  const double blocks =
      std::min({device.max_blocks, std::floor(device.max_warps / warps),
                std::floor(device.registers / registers), std::floor(device.shared_bytes / shared)});
  return static_cast<u32>(std::max(blocks, 1.0));
}

double modelled_us(const Counts& counts, const Launch& launch, u32 registers_per_thread, u32 shared_bytes,
                   const ModelledDevice& device) {
  const Counts all = scaled(counts, 0);
  const double resident = resident_blocks(launch, registers_per_thread, shared_bytes, device);
  const double blocks = static_cast<double>(launch.grid.count());
  // A partly filled last wave costs as much as a full one.
  const double waves = std::ceil(blocks / (device.sms * resident));
  const double fill = std::min(
      1.0, blocks / (waves * device.sms * std::min(resident, std::ceil(blocks / device.sms / waves))));
  const double warps = std::ceil(static_cast<double>(launch.block.count()) / k_lanes) *
                       std::min(resident, std::max(1.0, blocks / device.sms));
  const double hiding = warps / (warps + device.hiding_half_warps);
  const double sectors =
      32.0 * static_cast<double>(all.global_load.transactions + all.global_store.transactions);
  const double seconds = std::max(
      {sm_cycles(all, device) / (device.clock_ghz * 1e9),
       (sectors + static_cast<double>(all.local_bytes)) / device.l2_bytes_per_second,
       static_cast<double>(all.dram_load_bytes + all.dram_store_bytes) / device.dram_bytes_per_second});
  return device.launch_us + 1e6 * seconds / (fill * hiding);
}

}  // namespace kernelites::worker::vgpu
