// SPDX-License-Identifier: Apache-2.0
// Instructions of clusters (PTX ISA 9.7.13.4, 9.7.9.23): the cluster's barrier, mapa, getctarank.
#include <fmt/core.h>

#include "evaluators/worker/vgpu/access.h"
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

void barrier_is_control(Warp&, const Instruction&, Mask) {}  // Flow::cluster_barrier does it

/// mapa d, a, rank: the address of the same place in another block. T: u32, or u64 for generic addresses too.
template <class T>
void map_address(Warp& warp, const Instruction& i, Mask mask) {
  const T* a = lanes_of<T>(warp, i.a);
  const u32* ranks = lanes_of<u32>(warp, i.b);
  const std::size_t blocks = warp.block->cluster->blocks.size();
  T out[k_lanes];
  KERNELITES_LANES(l) {
    out[l] =
        (a[l] & ~static_cast<T>(~u32{0})) | peer_address(static_cast<u32>(a[l]), ranks[l] % k_max_cluster);
  }
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 lane = lowest_lane(rest);
    if (ranks[lane] < blocks) continue;
    raise(FaultKind::out_of_bounds, lane,
          fmt::format("mapa for block {} of a cluster of {}: ranks go from 0 to {}", ranks[lane], blocks,
                      blocks - 1));
  }
  write_lanes(lanes_of<T>(warp, i.d), out, mask);
}

template <class T>
void rank_of_address(Warp& warp, const Instruction& i, Mask mask) {
  const T* a = lanes_of<T>(warp, i.a);
  u32 out[k_lanes] = {};
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 lane = lowest_lane(rest);
    out[lane] = block_of_address(warp, static_cast<u32>(a[lane]), lane).rank;
  }
  write_lanes(lanes_of<u32>(warp, i.d), out, mask);
}

/// The type's bytes: 4 or 8; without a state space only the latter holds a generic address.
u32 address_bytes(const Statement& s) {
  const u32 bytes = last_type(s).bytes;
  return bytes == 4 && !s.has("shared::cluster") ? 0 : bytes;
}

bool decode_mapa(Decoder& d, const Statement& s, Instruction& i) {
  const u32 bytes = address_bytes(s);
  if (s.operands.size() != 3 || bytes == 0) return false;
  i.handler = bytes == 4 ? map_address<u32> : map_address<u64>;
  i.d = d.destination(s.operands[0], bytes);
  i.a = d.source(s.operands[1], bytes);
  i.b = d.source(s.operands[2], 4);
  return true;
}

bool decode_getctarank(Decoder& d, const Statement& s, Instruction& i) {
  const u32 bytes = address_bytes(s);
  if (s.operands.size() != 2 || bytes == 0) return false;
  i.handler = bytes == 4 ? rank_of_address<u32> : rank_of_address<u64>;
  i.d = d.destination(s.operands[0], 4);
  i.a = d.source(s.operands[1], bytes);
  return true;
}

constexpr InstructionRow k_rows[] = {
    {"mapa", "u32 u64", "shared::cluster", decode_mapa},
    {"getctarank", "u32 u64", "shared::cluster", decode_getctarank},
};

}  // namespace

bool decode_cluster_barrier(const Statement& s, Instruction& i) {
  const bool is_wait = s.has("wait");
  if (is_wait == s.has("arrive") || !s.operands.empty()) return false;
  if (is_wait ? s.has("release") || s.has("relaxed") : s.has("acquire")) return false;
  i.handler = barrier_is_control;
  i.flow = Flow::cluster_barrier;
  i.mode = is_wait ? k_cluster_wait : s.has("relaxed") ? k_cluster_arrive_relaxed : k_cluster_arrive;
  i.flags = s.has("aligned") ? k_aligned_barrier : 0;
  return true;
}

std::span<const InstructionRow> cluster_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
