// SPDX-License-Identifier: Apache-2.0
// Moves of 8 x 8 matrices of 16-bit elements: ldmatrix, stmatrix, movmatrix.
//
// A register of lane l holds row l / 4, columns 2 (l % 4) and the next; transposed: the same of the transposed matrix.
#include "evaluators/worker/vgpu/access.h"
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

/// Matrix k of ldmatrix has its eight rows (16 bytes) at the addresses of lanes 8k .. 8k + 7.
void load_matrix(Warp& warp, const Instruction& i, Mask mask) {
  require_whole_warp(warp, mask, "ldmatrix");
  const u32* registers = warp.context->image->lists.data() + i.list;
  const u32 lanes = 8u * i.count;
  const Mask addressing = lanes == 32 ? k_all_lanes : (Mask{1} << lanes) - 1;
  u64 addresses[k_lanes];
  read_addresses(warp, i, addresses);
  Access access;
  KERNELITES_LANES(l) access.offsets[l] = static_cast<u32>(addresses[l]);
  resolve_shared(warp, i, addressing, 16, Use::load, access);
  for (u32 k = 0; k < i.count; ++k) {
    alignas(16) u16 matrix[8][8];
    for (u32 row = 0; row < 8; ++row) std::memcpy(matrix[row], access.base + access.offsets[8 * k + row], 16);
    u32* d = lanes_of<u32>(warp, registers[k]);
    if (i.extra == 0) {
      std::memcpy(d, matrix, sizeof matrix);
    } else {
      KERNELITES_LANES(l) d[l] = u32{matrix[2 * (l % 4)][l / 4]} | u32{matrix[2 * (l % 4) + 1][l / 4]} << 16;
    }
  }
}

void store_matrix(Warp& warp, const Instruction& i, Mask mask) {
  require_whole_warp(warp, mask, "stmatrix");
  const u32* registers = warp.context->image->lists.data() + i.list;
  const u32 lanes = 8u * i.count;
  const Mask addressing = lanes == 32 ? k_all_lanes : (Mask{1} << lanes) - 1;
  u64 addresses[k_lanes];
  read_addresses(warp, i, addresses);
  Access access;
  KERNELITES_LANES(l) access.offsets[l] = static_cast<u32>(addresses[l]);
  resolve_shared(warp, i, addressing, 16, Use::store, access);
  for (u32 k = 0; k < i.count; ++k) {
    const u32* values = lanes_of<u32>(warp, registers[k]);
    alignas(16) u16 matrix[8][8];
    KERNELITES_LANES(l) {
      const u32 g = l / 4, t = 2 * (l % 4);
      (i.extra == 0 ? matrix[g][t] : matrix[t][g]) = static_cast<u16>(values[l]);
      (i.extra == 0 ? matrix[g][t + 1] : matrix[t + 1][g]) = static_cast<u16>(values[l] >> 16);
    }
    for (u32 row = 0; row < 8; ++row) std::memcpy(access.base + access.offsets[8 * k + row], matrix[row], 16);
  }
  settle_store(warp);
}

void transpose_matrix(Warp& warp, const Instruction& i, Mask mask) {
  require_whole_warp(warp, mask, "movmatrix");
  alignas(16) u16 matrix[8][8];
  std::memcpy(matrix, lanes_of<u32>(warp, i.a), sizeof matrix);
  u32* d = lanes_of<u32>(warp, i.d);
  KERNELITES_LANES(l) d[l] = u32{matrix[2 * (l % 4)][l / 4]} | u32{matrix[2 * (l % 4) + 1][l / 4]} << 16;
}

bool decode_matrix_access(Decoder& d, const Statement& s, Instruction& i) {
  const bool is_store = s.is("stmatrix");
  if (s.operands.size() != 2 || !s.has("m8n8") || s.parts.back() != "b16") return false;
  if (is_store)
    d.sources(s.operands[1], 4, i);
  else
    d.destinations(s.operands[0], 4, i);
  if (i.count != (s.has("x1") ? 1 : s.has("x2") ? 2 : s.has("x4") ? 4 : 0)) return false;
  i.handler = is_store ? store_matrix : load_matrix;
  i.op_class = is_store ? OpClass::shared_store : OpClass::shared_load;
  i.flow = Flow::warp_sync;
  i.extra = s.has("trans");
  return d.address(s.operands[is_store ? 0 : 1], i);
}

bool decode_movmatrix(Decoder& d, const Statement& s, Instruction& i) {
  i.flow = Flow::warp_sync;
  return s.has("m8n8") && s.has("trans") && place(d, s, i, transpose_matrix, OpClass::shuffle, 1, 4);
}

constexpr InstructionRow k_rows[] = {
    {"ldmatrix", "b16", "sync aligned m8n8 x1 x2 x4 trans shared shared::cta", decode_matrix_access},
    {"stmatrix", "b16", "sync aligned m8n8 x1 x2 x4 trans shared shared::cta", decode_matrix_access,
     ResultKind::none},
    {"movmatrix", "b16", "sync aligned m8n8 trans", decode_movmatrix},
};

}  // namespace

std::span<const InstructionRow> matrix_move_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
