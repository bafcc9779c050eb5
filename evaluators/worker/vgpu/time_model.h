// SPDX-License-Identifier: Apache-2.0
// A modelled time of a launch from its exact counts: an SM-level roofline with latency. Never to be mixed with measured
// times.
//
// The blocks that are together on an SM take as long as the busiest of its units needs for them, and a part of what the
// other units need, since warps of a block march in step; or as long as a warp's chain of dependences, whichever is
// longer (a smooth maximum). That times the waves of blocks, and beside it what the L2 and DRAM need for all SMs:
//
//   t_set = |resident x busiest + phase_share x others, latency_share x chain|_hiding_power
//   t = launch + |waves x t_set, bytes / L2, bytes / DRAM|_memory_power
//
// The counts are at PTX level: ptxas removes moves and address arithmetic, memory and tensor counts are exact. What
// parameters mean and how well the model ranks kernels: docs/measurement.md; `time_model_bench` recomputes it.
#pragma once

#include <array>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "evaluators/worker/vgpu/machine.h"

namespace kernelites::worker::vgpu {

/// What the model knows of a device: its profile. Rates are per SM and clock cycle unless said.
struct ModelledDevice {
  std::string_view name;
  double sms = 0;
  double clock_ghz = 0;
  double issue_per_cycle = 4;  ///< warp instructions
  double fp32_lanes = 128, fp16_lanes = 256, fp64_lanes = 64, integer_lanes = 64, special_lanes = 16,
         conversion_lanes = 64;
  double shuffle_lanes = 32;
  double tensor_f16_flops = 4096;                             ///< dense
  double l1_bytes = 128;                                      ///< shared memory and L1 together
  double l2_bytes_per_second = 0, dram_bytes_per_second = 0;  ///< of the device
  double max_warps = 64, max_blocks = 32, registers = 65536, shared_bytes = 228 * 1024;

  // Fitted to measured times; the same for all devices until others are measured.
  double launch_us = 3.68;  ///< from one kernel of a sequence to the next, with the events
  double issue_share =
      0.985;  ///< of integer, move and control instructions of the PTX that are left to issue
  double integer_share =
      0.426;  ///< of integer instructions that the integer pipe executes: the rest folds away
  double phase_share = 0.421;  ///< of the work of units that are not the busiest one: not overlapped
  double latency_share =
      0.666;  ///< of the chains of dependences: ptxas orders instructions across basic blocks
  double hiding_power = 1.82;   ///< how sharply latency hides behind throughput
  double memory_power = 4.33;   ///< how sharply SMs, L2 and DRAM overlap
  double l1_hit_share = 0.784;  ///< of what a block reads again
  double reuse_power = 0.3;     ///< how fast the latency of loads falls as more of them are repeated
};

/// H100 SXM and RTX 4090 (modelled_devices.cpp says from where the figures are).
std::span<const ModelledDevice> modelled_devices();
/// The profile of the virtual GPU.
extern const ModelledDevice k_h100;

/// Everything that the model reads of a launch, of the whole grid unless said.
struct LaunchWork {
  double blocks = 0, warps_per_block = 0, registers = 0, shared_bytes = 0;
  std::array<double, k_op_classes> warp_instructions{};
  std::array<double, k_tensor_types> tensor_flops{};
  double lanes = 0, special_operations = 0;
  double load_requests = 0, load_sectors = 0, store_requests = 0, store_sectors = 0;  ///< of global memory
  double block_bytes = 0;  ///< distinct bytes that each block reads, summed over blocks
  double shared_load_wavefronts = 0, shared_store_wavefronts = 0;
  double local_bytes = 0, dram_load_bytes = 0, dram_store_bytes = 0;
  double expanded = 0;                   ///< machine instructions beyond those of the PTX
  double chain_near = 0, chain_far = 0;  ///< cycles of dependences, summed over warps
  double longest_warps = 0;              ///< instructions of the busiest warp of each block, summed
  double longest_block = 0;              ///< instructions of the block that executed most
};

/// `shared_bytes` is static plus dynamic. Counts of a block sample are scaled to the grid.
LaunchWork work_of(const Counts& counts, const Launch& launch, u32 registers_per_thread, u32 shared_bytes);
/// The same by name, as it is stored and shown, and its inverse. Zeros are left out.
std::map<std::string, double> named(const LaunchWork& work);
LaunchWork work_from(const std::map<std::string, double>& values);

struct ModelledTime {
  double us = 0;
  std::string_view limit;  ///< what sets it
  double occupancy = 0;    ///< share of an SM's warps that are resident
  double waves = 0;        ///< of blocks over the device
};

/// Blocks that fit on one SM together; at least 1.
double resident_blocks(const LaunchWork& work, const ModelledDevice& device);
/// One launch.
ModelledTime modelled_time(const LaunchWork& work, const ModelledDevice& device);

}  // namespace kernelites::worker::vgpu
