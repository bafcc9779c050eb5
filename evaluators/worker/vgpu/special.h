// SPDX-License-Identifier: Apache-2.0
// The special registers of PTX, each 32 lanes of 32 bits at the front of every warp's arena.
#pragma once

#include <optional>
#include <string_view>

#include "evaluators/worker/vgpu/types.h"

namespace kernelites::worker::vgpu {

/// Index of a special register in the arena.
enum class Special : u32 {
  tid_x,
  tid_y,
  tid_z,
  ntid_x,
  ntid_y,
  ntid_z,
  ctaid_x,
  ctaid_y,
  ctaid_z,
  nctaid_x,
  nctaid_y,
  nctaid_z,
  laneid,
  warpid,
  nwarpid,
  smid,
  nsmid,
  gridid,
  lanemask_eq,
  lanemask_lt,
  lanemask_le,
  lanemask_gt,
  lanemask_ge,
  dynamic_smem_size,
  total_smem_size,
  cluster_ctaid_x,
  cluster_ctaid_y,
  cluster_ctaid_z,
  cluster_nctaid_x,
  cluster_nctaid_y,
  cluster_nctaid_z,
  clusterid_x,
  clusterid_y,
  clusterid_z,
  nclusterid_x,
  nclusterid_y,
  nclusterid_z,
  cluster_ctarank,
  cluster_nctarank,
  is_explicit_cluster,
  envreg1,
  envreg2,
  zero,
  count_
};

/// "%tid.x" to its index; empty for names that are no constant of the warp (%clock) or unknown.
std::optional<Special> find_special(std::string_view name);

struct Block;
struct Warp;
/// Writes all special registers of a warp of a block.
void fill_specials(Warp& warp, const Block& block);

/// Predicates that no code names: true, false, two of scratch, carry.
inline constexpr u32 k_fixed_predicates_bytes = 20;

}  // namespace kernelites::worker::vgpu
