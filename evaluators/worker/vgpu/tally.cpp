// SPDX-License-Identifier: Apache-2.0
// Summing of tallies.
#include "evaluators/worker/vgpu/tally.h"

#include <algorithm>
#include <map>

namespace kernelites::worker::vgpu {
namespace {

constexpr u64 k_sector_bytes = 32;

/// Distinct bytes of a launch, and of the whole grid if its other blocks touch as many new ones: allocation by
/// allocation, which nobody reads more than once for the first time.
struct Footprint {
  u64 bytes = 0, grid_bytes = 0;
};

Footprint footprint_of(const std::vector<Tally>& tallies, std::vector<std::vector<u64>> Tally::*which,
                       double factor) {
  Footprint sum;
  std::size_t slots = 0;
  for (const Tally& tally : tallies) slots = std::max(slots, (tally.*which).size());
  for (std::size_t slot = 0; slot < slots; ++slot) {
    std::vector<u64> united;
    for (const Tally& tally : tallies) {
      if (slot >= (tally.*which).size()) continue;
      const std::vector<u64>& bits = (tally.*which)[slot];
      united.resize(std::max(united.size(), bits.size()));
      for (std::size_t w = 0; w < bits.size(); ++w) united[w] |= bits[w];
    }
    u64 bytes = 0;
    for (u64 word : united) bytes += k_sector_bytes * static_cast<u64>(__builtin_popcountll(word));
    const double all = static_cast<double>(united.size()) * 64 * k_sector_bytes;
    sum.bytes += bytes;
    sum.grid_bytes += static_cast<u64>(std::min(factor * static_cast<double>(bytes), std::max(all, 0.0)));
  }
  return sum;
}

void add_instruction(Counts& counts, LineCounts& line, const KernelImage& image, std::size_t k,
                     const Tally& tally) {
  const OpClass op_class = image.code[k].op_class;
  const u64 executed = tally.executed[k], lanes = tally.lanes[k];
  const Traffic& traffic = tally.traffic[k];
  counts.warp_instructions[static_cast<std::size_t>(op_class)] += executed;
  counts.lanes += lanes;
  line.warp_instructions += executed;
  line.lanes += lanes;
  if (op_class == OpClass::special) {
    counts.special_operations += lanes;
    if (image.texts[k].find("ex2.") != std::string_view::npos) counts.ex2_operations += lanes;
  }
  switch (op_class) {
    case OpClass::global_load:
    case OpClass::async_copy:
      counts.global_load += traffic, line.global += traffic;
      break;
    case OpClass::global_store:
    case OpClass::atomic:
      counts.global_store += traffic, line.global += traffic;
      break;
    case OpClass::shared_load:
      counts.shared_load += traffic, line.shared += traffic;
      break;
    case OpClass::shared_store:
      counts.shared_store += traffic, line.shared += traffic;
      break;
    case OpClass::local_load:
    case OpClass::local_store:
      counts.local_bytes += traffic.bytes;
      break;
    default:
      break;
  }
}

}  // namespace

void start_tally(Tally& tally, const KernelImage& image) {
  tally.executed.assign(image.code.size(), 0);
  tally.lanes.assign(image.code.size(), 0);
  tally.traffic.assign(image.code.size(), {});
}

Counts sum_tallies(const std::vector<Tally>& tallies, const KernelImage& image, double factor) {
  Counts counts;
  std::map<u32, LineCounts> lines;
  std::vector<u64> executed(image.code.size(), 0);
  for (const Tally& tally : tallies) {
    counts.divergent_branches += tally.divergent_branches;
    counts.longest_warp_instructions += tally.longest_warp_instructions;
    counts.block_instructions_max = std::max(counts.block_instructions_max, tally.block_instructions_max);
    for (std::size_t type = 0; type < k_tensor_types; ++type)
      counts.tensor_flops[type] += tally.tensor_flops[type];
    for (std::size_t k = 0; k < image.code.size(); ++k) {
      if (tally.executed[k] == 0) continue;
      LineCounts& line = lines[image.code[k].line];
      line.line = static_cast<int>(image.code[k].line);
      executed[k] += tally.executed[k];
      add_instruction(counts, line, image, k, tally);
    }
  }
  // Whole numbers first: sums of fractions would depend on which thread ran which block.
  for (std::size_t k = 0; k < image.code.size(); ++k) {
    if (executed[k] == 0) continue;
    counts.chain_near += static_cast<double>(executed[k]) * image.chains[k].near;
    counts.chain_far += static_cast<double>(executed[k]) * image.chains[k].far;
    counts.expanded += static_cast<double>(executed[k]) * image.chains[k].more;
  }
  for (const auto& [number, line] : lines) counts.lines.push_back(line);
  const Footprint loaded = footprint_of(tallies, &Tally::loaded, factor),
                  stored = footprint_of(tallies, &Tally::stored, factor);
  counts.dram_load_bytes = loaded.bytes;
  counts.dram_store_bytes = stored.bytes;
  counts.grid_dram_load_bytes = loaded.grid_bytes;
  counts.grid_dram_store_bytes = stored.grid_bytes;
  return counts;
}

}  // namespace kernelites::worker::vgpu
