// SPDX-License-Identifier: Apache-2.0
// Sums and scaling of counts.
#include "evaluators/worker/vgpu/counts.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

namespace kernelites::worker::vgpu {
namespace {

u64 times(u64 value, double factor) { return static_cast<u64>(static_cast<double>(value) * factor + 0.5); }

Traffic times(const Traffic& traffic, double factor) {
  return {.requests = times(traffic.requests, factor),
          .bytes = times(traffic.bytes, factor),
          .transactions = times(traffic.transactions, factor),
          .ideal = times(traffic.ideal, factor)};
}

}  // namespace

std::string_view to_string(OpClass op_class) {
  static constexpr std::array<std::string_view, k_op_classes> k_names = {
      "integer",      "fp32",           "fp16",        "fp64",         "special",
      "conversion",   "move",           "global_load", "global_store", "shared_load",
      "shared_store", "parameter_load", "local_load",  "local_store",  "atomic",
      "shuffle",      "tensor",         "barrier",     "control",      "async_copy"};
  return k_names[static_cast<std::size_t>(op_class)];
}

std::string_view to_string(TensorType type) {
  static constexpr std::array<std::string_view, k_tensor_types> k_names = {"f16", "bf16", "tf32", "f64",
                                                                           "fp8", "int8", "int4", "binary"};
  return k_names[static_cast<std::size_t>(type)];
}

Traffic& Traffic::operator+=(const Traffic& other) {
  requests += other.requests;
  bytes += other.bytes;
  transactions += other.transactions;
  ideal += other.ideal;
  return *this;
}

u64 Counts::total_warp_instructions() const {
  return std::accumulate(warp_instructions.begin(), warp_instructions.end(), u64{0});
}

u64 Counts::total_tensor_flops() const {
  return std::accumulate(tensor_flops.begin(), tensor_flops.end(), u64{0});
}

void Counts::add(const Counts& other) {
  for (std::size_t i = 0; i < k_op_classes; ++i) warp_instructions[i] += other.warp_instructions[i];
  for (std::size_t i = 0; i < k_tensor_types; ++i) tensor_flops[i] += other.tensor_flops[i];
  lanes += other.lanes;
  divergent_branches += other.divergent_branches;
  ex2_operations += other.ex2_operations;
  special_operations += other.special_operations;
  global_load += other.global_load;
  global_store += other.global_store;
  shared_load += other.shared_load;
  shared_store += other.shared_store;
  local_bytes += other.local_bytes;
  chain_near += other.chain_near;
  chain_far += other.chain_far;
  expanded += other.expanded;
  longest_warp_instructions += other.longest_warp_instructions;
  block_instructions_max = std::max(block_instructions_max, other.block_instructions_max);
  std::map<int, LineCounts> by_line;
  for (const std::vector<LineCounts>* part : {&std::as_const(lines), &other.lines}) {
    for (const LineCounts& line : *part) {
      LineCounts& sum = by_line[line.line];
      sum.line = line.line;
      sum.warp_instructions += line.warp_instructions;
      sum.lanes += line.lanes;
      sum.global += line.global;
      sum.shared += line.shared;
    }
  }
  lines.clear();
  for (const auto& [line, sum] : by_line) lines.push_back(sum);
}

Counts scaled(const Counts& counts, u64 footprint_limit) {
  if (counts.blocks_run == 0 || counts.blocks_run >= counts.blocks_total) return counts;
  const double factor = static_cast<double>(counts.blocks_total) / static_cast<double>(counts.blocks_run);
  Counts all = counts;
  for (u64& value : all.warp_instructions) value = times(value, factor);
  for (u64& value : all.tensor_flops) value = times(value, factor);
  for (u64* value :
       {&all.longest_warp_instructions, &all.lanes, &all.divergent_branches, &all.ex2_operations,
        &all.special_operations, &all.local_bytes, &all.dram_load_bytes, &all.dram_store_bytes}) {
    *value = times(*value, factor);
  }
  for (Traffic* traffic : {&all.global_load, &all.global_store, &all.shared_load, &all.shared_store}) {
    *traffic = times(*traffic, factor);
  }
  all.chain_near *= factor;
  all.chain_far *= factor;
  all.expanded *= factor;
  if (footprint_limit > 0) {
    all.dram_load_bytes = std::min(all.dram_load_bytes, footprint_limit);
    all.dram_store_bytes = std::min(all.dram_store_bytes, footprint_limit);
  }
  for (LineCounts& line : all.lines) {
    line.warp_instructions = times(line.warp_instructions, factor);
    line.lanes = times(line.lanes, factor);
    line.global = times(line.global, factor);
    line.shared = times(line.shared, factor);
  }
  return all;
}

}  // namespace kernelites::worker::vgpu
