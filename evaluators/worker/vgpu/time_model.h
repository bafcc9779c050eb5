// SPDX-License-Identifier: Apache-2.0
// A modelled time of a launch from its exact counts: a roofline with occupancy. Never to be mixed with measured times.
//
//   t = overhead + max(issue, fp32, special, conversions, tensor, shared, L2, DRAM) / (fill x latency hiding)
// Each term is the time that one resource of the device needs if it works without a pause; `fill` is the share of
// the SMs that have a block in the average wave, `latency hiding` grows with the warps that an SM holds.
// The counts are at PTX level: ptxas removes some moves and address arithmetic, memory and tensor counts are exact.
#pragma once

#include <string_view>

#include "evaluators/worker/vgpu/machine.h"

namespace kernelites::worker::vgpu {

/// What the model knows of a device. Rates are per SM and clock cycle unless said.
struct ModelledDevice {
  std::string_view name;
  double sms = 0;
  double clock_ghz = 0;
  double issue_per_cycle = 4;  ///< warp instructions
  double fp32_lanes = 128, fp16_lanes = 256, fp64_lanes = 64, integer_lanes = 64, special_lanes = 16,
         conversion_lanes = 64;
  double shuffle_lanes = 32;
  double tensor_f16_flops = 4096;  ///< dense, per cycle and SM
  double shared_wavefronts = 1;    ///< of 128 bytes
  double l2_bytes_per_second = 0, dram_bytes_per_second = 0;
  double launch_us = 0;
  double max_warps = 64, max_blocks = 32, max_threads = 2048, registers = 65536, shared_bytes = 228 * 1024;
  double hiding_half_warps = 0;  ///< resident warps per SM at which half of the latency is hidden
};

/// H100 SXM: 132 SMs at 1.755 GHz, 3.0 TB/s achievable (whitepaper; CUDA programming guide, throughput table).
extern const ModelledDevice k_h100;

/// Blocks that fit on one SM together; at least 1.
u32 resident_blocks(const Launch& launch, u32 registers_per_thread, u32 shared_bytes,
                    const ModelledDevice& device);

/// Microseconds of one launch. `shared_bytes` is static plus dynamic. Counts of a block sample are scaled to the grid.
double modelled_us(const Counts& counts, const Launch& launch, u32 registers_per_thread, u32 shared_bytes,
                   const ModelledDevice& device);

}  // namespace kernelites::worker::vgpu
