// SPDX-License-Identifier: Apache-2.0
// What is known of a device: what plans may use, what prompts say, what figures are compared on.
#pragma once

#include <cstdint>
#include <string>

#include "engine/core/json.h"

namespace kernelites {

struct DeviceFacts {
  std::string kind;             ///< "NVIDIA H100 80GB HBM3" or "vgpu (models H100)"
  bool is_virtual = false;      ///< times are modelled, not measured
  std::string architecture;     ///< NVRTC's target: "sm_90a"
  int compute_capability = 90;  ///< 10 * major + minor
  int sm_count = 132;
  int shared_bytes_per_block_max = 232448;  ///< opt-in limit
  int registers_per_sm = 65536;
  std::int64_t l2_bytes = 50 << 20;
  std::int64_t memory_bytes = 0;
  int driver_version = 0;      ///< as cuDriverGetVersion: 13000
  double memory_gb_per_s = 0;  ///< measured copy rate (read + write); 0: unknown
};

void to_json(Json& json, const DeviceFacts& facts);
void from_json(const Json& json, DeviceFacts& facts);

}  // namespace kernelites
