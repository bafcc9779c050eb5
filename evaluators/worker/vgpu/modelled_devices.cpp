// SPDX-License-Identifier: Apache-2.0
// Profiles of devices for the time model.
//
// Per cycle and SM: CUDA programming guide, "throughput of native arithmetic instructions", for compute capability 9.0
// and 8.9; limits of residency: the same guide, "technical specifications per compute capability". Tensor rates follow
// from the white papers' TFLOP/s, boost clock and number of SMs: H100 SXM 989 TFLOP/s (GH100, 2022), RTX 4090 165.2
// TFLOP/s with float accumulation (AD102, 2022). DRAM: what is reached of the data sheets' 3352 and 1008 GB/s (the
// copy rate measured on an H100, the same share for the other card). L2 of the H100: fitted, between the 5.5 TB/s that
// microbenchmarks reach and the ports' 64 bytes per cycle and SM; of the RTX 4090: Chips and Cheese, 2022.
#include "evaluators/worker/vgpu/time_model.h"

namespace kernelites::worker::vgpu {

const ModelledDevice k_h100 = {.name = "H100 SXM",
                               .sms = 132,
                               .clock_ghz = 1.755,
                               .l2_bytes_per_second = 8.0e12,
                               .dram_bytes_per_second = 3.1e12};

namespace {

const ModelledDevice k_devices[] = {k_h100,
                                    {.name = "RTX 4090",
                                     .sms = 128,
                                     .clock_ghz = 2.52,
                                     .fp16_lanes = 128,
                                     .fp64_lanes = 2,
                                     .tensor_f16_flops = 512,
                                     .l2_bytes_per_second = 5.0e12,
                                     .dram_bytes_per_second = 0.93e12,
                                     .max_warps = 48,
                                     .max_blocks = 24,
                                     .shared_bytes = 100 * 1024}};

}  // namespace

std::span<const ModelledDevice> modelled_devices() { return k_devices; }

}  // namespace kernelites::worker::vgpu
