// SPDX-License-Identifier: Apache-2.0
// What one launch did, counted exactly: feedback for the model, descriptors for the grid, input of the time model.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "evaluators/worker/vgpu/types.h"

namespace kernelites::worker::vgpu {

/// Which unit of an SM an instruction occupies. Stored; append only.
enum class OpClass : u8 {
  integer,
  fp32,
  fp16,
  fp64,
  special,  ///< MUFU: ex2, lg2, rcp, rsqrt, sqrt, sin, cos, tanh
  conversion,
  move,
  global_load,
  global_store,
  shared_load,
  shared_store,
  parameter_load,
  local_load,
  local_store,
  atomic,
  shuffle,  ///< shuffles, votes, matches, warp reductions
  tensor,
  barrier,
  control,
  async_copy,
  count_
};
inline constexpr std::size_t k_op_classes = static_cast<std::size_t>(OpClass::count_);
std::string_view to_string(OpClass op_class);

/// Element type of a tensor instruction. Stored; append only.
enum class TensorType : u8 { f16, bf16, tf32, f64, fp8, int8, int4, binary, count_ };
inline constexpr std::size_t k_tensor_types = static_cast<std::size_t>(TensorType::count_);
std::string_view to_string(TensorType type);

/// Requests of warps to one kind of memory. `ideal` is the least number of transactions that the bytes asked for
/// could have taken: 32-byte sectors for global memory, wavefronts (128 bytes) for shared memory.
struct Traffic {
  u64 requests = 0, bytes = 0, transactions = 0, ideal = 0;
  Traffic& operator+=(const Traffic& other);
};

/// Totals of one line of the .cu.
struct LineCounts {
  int line = 0;
  u64 warp_instructions = 0;
  u64 lanes = 0;  ///< sum over warp instructions of active lanes
  Traffic global, shared;
};

/// Counts of one launch. When a sample of the blocks ran, they are the sample's: see `scaled`.
struct Counts {
  std::array<u64, k_op_classes> warp_instructions{};  ///< by OpClass
  std::array<u64, k_tensor_types> tensor_flops{};     ///< multiply-adds times two, by TensorType
  u64 lanes = 0;                                      ///< sum over all warp instructions of active lanes
  u64 divergent_branches = 0;
  u64 ex2_operations = 0;      ///< per lane
  u64 special_operations = 0;  ///< per lane, ex2 included
  Traffic global_load, global_store, shared_load, shared_store;
  u64 local_bytes = 0;            ///< local memory traffic, both ways
  u64 dram_load_bytes = 0;        ///< distinct 32-byte sectors read by the launch
  u64 dram_store_bytes = 0;       ///< distinct 32-byte sectors written by the launch
  u64 grid_dram_load_bytes = 0;   ///< the same of the whole grid: a sample's share of each allocation, scaled
  u64 grid_dram_store_bytes = 0;  ///< up to the size of the allocation
  double chain_near = 0;  ///< cycles of the warps' chains of dependences, if all loads hit the L1, summed
  double expanded = 0;    ///< machine instructions beyond those of the PTX: divisions, square roots
  double chain_far = 0;   ///< and if all come from DRAM
  u64 block_instructions_max = 0;     ///< of warps, of the block that executed most
  u64 longest_warp_instructions = 0;  ///< of the busiest warp of each block, summed
  u64 blocks_total = 0, blocks_run = 0;
  u32 warps_per_block = 0;
  std::vector<LineCounts> lines;  ///< ascending by line

  u64 total_warp_instructions() const;
  u64 of(OpClass op_class) const { return warp_instructions[static_cast<std::size_t>(op_class)]; }
  u64 total_tensor_flops() const;
  /// Adds the work of another share of the same launch; footprints and block totals are not touched.
  void add(const Counts& other);
};

/// The counts of the whole grid, extrapolated from a block sample (unchanged when all blocks ran). Footprints grow
/// linearly too, which over-estimates them where blocks share data; `footprint_limit` caps each of them (0: none).
Counts scaled(const Counts& counts, u64 footprint_limit);

}  // namespace kernelites::worker::vgpu
