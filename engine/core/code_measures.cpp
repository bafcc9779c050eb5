// SPDX-License-Identifier: Apache-2.0
// Measures of compiled code that descriptors are made of: what follows from resources, plan and opcode counts alone.
#include "engine/core/code_measures.h"

#include <algorithm>

namespace kernelites {
namespace {

std::int64_t warps_max(int compute_capability) {
  if (compute_capability == 75) return 32;
  const bool is_small = compute_capability == 86 || compute_capability == 89 || compute_capability >= 120;
  return is_small ? 48 : 64;
}

std::int64_t blocks_max(int compute_capability) {
  if (compute_capability == 75 || compute_capability == 86) return 16;
  return compute_capability == 89 || compute_capability >= 120 ? 24 : 32;
}

bool has_any(const StaticCounts& counts, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(), [&](const char* name) {
    const auto found = counts.opcodes.find(name);
    return found != counts.opcodes.end() && found->second > 0;
  });
}

}  // namespace

double occupancy_of(const BlockNeeds& needs, const DeviceFacts& device) {
  constexpr std::int64_t k_reserved = 1024;
  const auto up = [](std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit * unit; };
  const std::int64_t warps = std::max<std::int64_t>(1, up(needs.threads, 32) / 32);
  const std::int64_t per_warp = up(std::max(needs.registers, 1) * std::int64_t{32}, 256);
  const std::int64_t limit = warps_max(device.compute_capability);
  const std::int64_t blocks = std::min({blocks_max(device.compute_capability), limit / warps,
                                        std::max(device.registers_per_sm, 1) / (per_warp * warps),
                                        (device.shared_bytes_per_block_max + k_reserved) /
                                            (std::max<std::int64_t>(needs.shared_bytes, 0) + k_reserved)});
  return static_cast<double>(blocks * warps) / static_cast<double>(limit);
}

bool adds_floats(const StaticCounts& counts) {
  if (counts.float_additions) return *counts.float_additions > 0;
  return std::any_of(counts.opcodes.begin(), counts.opcodes.end(), [](const auto& entry) {
    return entry.first.starts_with("atom") || entry.first.starts_with("red.");
  });
}

std::string_view scope_label(const StaticCounts& counts, bool is_across_blocks) {
  if (is_across_blocks || has_any(counts, {"barrier.cluster", "mapa", "atom.global", "red.global"}))
    return "blocks";
  if (has_any(counts, {"bar.sync", "barrier", "mbarrier.try_wait"})) return "block";
  return has_any(counts, {"shfl", "redux", "vote", "match", "mma.sync", "wmma.mma"}) ? "warp" : "thread";
}

}  // namespace kernelites
