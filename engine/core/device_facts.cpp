// SPDX-License-Identifier: Apache-2.0
// JSON of device facts.
#include "engine/core/device_facts.h"

namespace kernelites {

void to_json(Json& json, const DeviceFacts& facts) {
  json = Json{{"kind", facts.kind},
              {"is_virtual", facts.is_virtual},
              {"architecture", facts.architecture},
              {"compute_capability", facts.compute_capability},
              {"sm_count", facts.sm_count},
              {"shared_bytes_per_block_max", facts.shared_bytes_per_block_max},
              {"registers_per_sm", facts.registers_per_sm},
              {"l2_bytes", facts.l2_bytes},
              {"memory_bytes", facts.memory_bytes},
              {"driver_version", facts.driver_version},
              {"memory_gb_per_s", facts.memory_gb_per_s}};
}

void from_json(const Json& json, DeviceFacts& facts) {
  json.at("kind").get_to(facts.kind);
  json.at("is_virtual").get_to(facts.is_virtual);
  json.at("architecture").get_to(facts.architecture);
  json.at("compute_capability").get_to(facts.compute_capability);
  json.at("sm_count").get_to(facts.sm_count);
  json.at("shared_bytes_per_block_max").get_to(facts.shared_bytes_per_block_max);
  json.at("registers_per_sm").get_to(facts.registers_per_sm);
  json.at("l2_bytes").get_to(facts.l2_bytes);
  json.at("memory_bytes").get_to(facts.memory_bytes);
  json.at("driver_version").get_to(facts.driver_version);
  json.at("memory_gb_per_s").get_to(facts.memory_gb_per_s);
}

}  // namespace kernelites
