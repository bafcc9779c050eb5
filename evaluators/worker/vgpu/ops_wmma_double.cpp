// SPDX-License-Identifier: Apache-2.0
// wmma of doubles, m8n8k4: lane l holds A[l / 4][l % 4], B[l % 4][l / 4], and of row l / 4 of C the columns 2 (l % 4)
// and the next.
#include <algorithm>

#include "evaluators/worker/vgpu/access.h"
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

enum class Role : u8 { a, b, accumulator };

/// Calls body(element, access, lanes) for the one or two elements of each lane. extra: role; size: 1 for column-major;
/// c: stride.
template <class Body>
void for_each_element(Warp& warp, const Instruction& i, Use use, Body body) {
  const Role role = static_cast<Role>(i.extra);
  u64 base[k_lanes], addresses[k_lanes];
  read_addresses(warp, i, base);
  const u64 stride = lanes_of<u32>(warp, i.c)[0];
  for (u32 q = 0; q < i.count; ++q) {
    KERNELITES_LANES(l) {
      u64 row = l / 4, column = l % 4;
      if (role == Role::b) std::swap(row, column);
      if (role == Role::accumulator) column = 2 * column + q;
      addresses[l] = base[l] + 8 * (i.size == 1 ? column * stride + row : row * stride + column);
    }
    for (Mask rest = k_all_lanes; rest != 0;) {
      Access access;
      const Mask part = resolve_part(warp, i, static_cast<Space>(i.mode), addresses, rest, 8, use, access);
      body(q, access, part);
      if (use == Use::store) settle_store(warp);
      rest &= ~part;
    }
  }
}

void load_doubles(Warp& warp, const Instruction& i, Mask mask) {
  require_whole_warp(warp, mask, "a wmma operation");
  const u32* registers = warp.context->image->lists.data() + i.list;
  u64 loaded[2][k_lanes];  // first into a copy: an address register may share its slot with a result
  for_each_element(warp, i, Use::load, [&](u32 q, const Access& access, Mask part) {
    u64 values[k_lanes];
    gather(access, 0, values);
    write_lanes(loaded[q], values, part);
  });
  for (u32 q = 0; q < i.count; ++q)
    std::memcpy(lanes_of<u64>(warp, registers[q]), loaded[q], sizeof loaded[q]);
}

void store_doubles(Warp& warp, const Instruction& i, Mask mask) {
  require_whole_warp(warp, mask, "a wmma operation");
  const u32* registers = warp.context->image->lists.data() + i.list;
  for_each_element(warp, i, Use::store, [&](u32 q, const Access& access, Mask part) {
    scatter(access, 0, lanes_of<u64>(warp, registers[q]), part);
  });
}

/// list: d (2), a, b, c (2). A chain of fused multiply-adds in order of k, as mma.sync.
void multiply_doubles(Warp& warp, const Instruction& i, Mask mask) {
  require_whole_warp(warp, mask, "wmma.mma");
  const u32* list = warp.context->image->lists.data() + i.list;
  const double *a = lanes_of<double>(warp, list[2]), *b = lanes_of<double>(warp, list[3]);
  double out[2][k_lanes];
  for (u32 q = 0; q < 2; ++q) {
    const double* c = lanes_of<double>(warp, list[4 + q]);
    KERNELITES_LANES(l) {
      double sum = c[l];
      for (u32 k = 0; k < 4; ++k) sum = __builtin_fma(a[l / 4 * 4 + k], b[(2 * (l % 4) + q) * 4 + k], sum);
      out[q][l] = sum;
    }
  }
  for (u32 q = 0; q < 2; ++q) std::memcpy(lanes_of<double>(warp, list[q]), out[q], sizeof out[q]);
  if (warp.tally != nullptr) warp.tally->tensor_flops[static_cast<u32>(TensorType::f64)] += 2 * 8 * 8 * 4;
}

bool decode_product(Decoder& d, const Statement& s, Instruction& i) {
  if (s.operands.size() != 4 || (!s.has("rn") && s.parts.back() != "f64")) return false;
  std::vector<u32> list;
  for (u32 k = 0; k < 4; ++k) {
    const std::vector<Operand>& elements = s.operands[k].elements;
    if (elements.size() != (k == 0 || k == 3 ? 2u : 1u)) return false;
    for (const Operand& element : elements)
      list.push_back(k == 0 ? d.destination(element, 8) : d.source(element, 8));
  }
  i.list = d.add_list(list);
  i.handler = multiply_doubles;
  i.op_class = OpClass::tensor;
  return true;
}

}  // namespace

bool decode_wmma_double(Decoder& d, const Statement& s, Instruction& i) {
  i.flow = Flow::warp_sync;
  if (s.parts[1] == "mma") return decode_product(d, s, i);
  const bool is_store = s.parts[1] == "store";
  if (s.operands.size() < 2 || s.parts.back() != "f64") return false;
  const Operand& fragment = s.operands[is_store ? 1 : 0];
  if (is_store)
    d.sources(fragment, 8, i);
  else
    d.destinations(fragment, 8, i);
  const Role role = s.parts[2] == "a" ? Role::a : s.parts[2] == "b" ? Role::b : Role::accumulator;
  if (i.count != (role == Role::accumulator ? 2 : 1)) return false;
  const bool is_shared = s.has("shared") || s.has("shared::cta");
  i.mode = static_cast<u8>(is_shared ? Space::shared : s.has("global") ? Space::global : Space::generic);
  i.handler = is_store ? store_doubles : load_doubles;
  i.op_class = is_store ? (is_shared ? OpClass::shared_store : OpClass::global_store)
                        : (is_shared ? OpClass::shared_load : OpClass::global_load);
  i.size = s.has("col");
  i.extra = static_cast<u16>(role);
  const u32 packed = (role == Role::a) == (i.size == 0) && role != Role::accumulator ? 4 : 8;
  i.c = s.operands.size() > 2 ? d.source(s.operands[2], 4) : d.constant(packed, 4);
  return d.address(s.operands[is_store ? 0 : 1], i);
}

}  // namespace kernelites::worker::vgpu
