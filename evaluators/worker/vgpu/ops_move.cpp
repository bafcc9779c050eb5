// SPDX-License-Identifier: Apache-2.0
// Data movement between registers: mov with packing, cvta, isspacep, szext.
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/lanes.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

struct Same {
  template <class T>
  T operator()(T a) const {
    return a;
  }
};

void move_predicate(Warp& warp, const Instruction& i, Mask mask) {
  write_predicate(warp, i.d, read_predicate(warp, i.a), mask);
}

void test_special(Warp& warp, const Instruction& i, Mask mask) {
  const u32* a = lanes_of<u32>(warp, i.a);
  Mask result = 0;
  KERNELITES_LANES(l) result |= static_cast<Mask>(a[l] != 0) << l;
  write_predicate(warp, i.d, result, mask);
}

/// mov.b32 {lo, hi} <- register: `count` parts of `size / count` bytes.
template <class Whole, class Part>
void unpack(Warp& warp, const Instruction& i, Mask mask) {
  Whole whole[k_lanes];
  std::memcpy(whole, lanes_of<Whole>(warp, i.a), sizeof whole);
  for (u32 k = 0; k < i.count; ++k) {
    Part part[k_lanes];
    KERNELITES_LANES(l) part[l] = static_cast<Part>(whole[l] >> (8 * sizeof(Part) * k));
    write_lanes(lanes_of<Part>(warp, warp.context->image->lists[i.list + k]), part, mask);
  }
}

template <class Whole, class Part>
void pack(Warp& warp, const Instruction& i, Mask mask) {
  Whole whole[k_lanes] = {};
  for (u32 k = 0; k < i.count; ++k) {
    const Part* part = lanes_of<Part>(warp, warp.context->image->lists[i.list + k]);
    KERNELITES_LANES(l) whole[l] |= static_cast<Whole>(static_cast<Whole>(part[l]) << (8 * sizeof(Part) * k));
  }
  write_lanes(lanes_of<Whole>(warp, i.d), whole, mask);
}

bool decode_unpack(Decoder& d, const Statement& s, Instruction& i, u32 bytes) {
  const u32 parts = static_cast<u32>(s.operands[0].elements.size());
  const u32 part = parts == 0 ? 0 : bytes / parts;
  if (bytes == 4 && part == 2) i.handler = unpack<u32, u16>;
  if (bytes == 8 && part == 4) i.handler = unpack<u64, u32>;
  if (bytes == 8 && part == 2) i.handler = unpack<u64, u16>;
  if (bytes == 16 && part == 8) i.handler = unpack<u128, u64>;
  if (i.handler == nullptr) return false;
  d.destinations(s.operands[0], part, i);
  i.a = d.source(s.operands[1], bytes);
  return true;
}

bool decode_pack(Decoder& d, const Statement& s, Instruction& i, u32 bytes) {
  const u32 parts = static_cast<u32>(s.operands[1].elements.size());
  const u32 part = parts == 0 ? 0 : bytes / parts;
  if (bytes == 4 && part == 2) i.handler = pack<u32, u16>;
  if (bytes == 8 && part == 4) i.handler = pack<u64, u32>;
  if (bytes == 8 && part == 2) i.handler = pack<u64, u16>;
  if (bytes == 16 && part == 8) i.handler = pack<u128, u64>;
  if (i.handler == nullptr) return false;
  d.sources(s.operands[1], part, i);
  i.d = d.destination(s.operands[0], bytes);
  return true;
}

/// Clocks tell the number of instructions that the warp has executed; c: how far it is shifted down.
template <class T>
void read_clock(Warp& warp, const Instruction& i, Mask mask) {
  T now[k_lanes];
  KERNELITES_LANES(l) now[l] = static_cast<T>(warp.executed >> i.c);
  write_lanes(lanes_of<T>(warp, i.d), now, mask);
}

constexpr std::string_view k_clocks = "%clock %clock64 %globaltimer %globaltimer_lo",
                           k_upper_clocks = "%clock_hi %globaltimer_hi";

bool decode_clock(Decoder& d, const Statement& s, Instruction& i) {
  const u32 bytes = last_type(s).bytes;
  i.handler = bytes == 8 ? Handler{read_clock<u64>} : Handler{read_clock<u32>};
  i.c = has_word(k_upper_clocks, s.operands[1].name) ? 32 : 0;
  i.d = d.destination(s.operands[0], bytes);
  return bytes == 4 || bytes == 8;
}

/// The address in local memory of a recursive function's variable: it lies in the running frame of each lane.
void stack_address(Warp& warp, const Instruction& i, Mask mask) {
  u64 out[k_lanes];
  KERNELITES_LANES(l) out[l] = u64{warp.context->image->stack_offset} + warp.stack_top[l] + i.c;
  write_lanes(lanes_of<u64>(warp, i.d), out, mask);
}

bool decode_mov(Decoder& d, const Statement& s, Instruction& i) {
  if (s.operands.size() != 2) return false;
  i.op_class = OpClass::move;
  const PtxType type = last_type(s);
  if (type.kind == PtxType::Kind::predicate) {
    i.d = d.predicate_destination(s.operands[0]);
    if (s.operands[1].kind == Operand::Kind::special) {  // %is_explicit_cluster
      i.handler = test_special;
      i.a = d.source(s.operands[1], 4);
      return true;
    }
    i.handler = move_predicate;
    i.a = d.predicate(s.operands[1]);
    return true;
  }
  if (s.operands[0].kind == Operand::Kind::vector) return decode_unpack(d, s, i, type.bytes);
  if (s.operands[1].kind == Operand::Kind::vector) return decode_pack(d, s, i, type.bytes);
  if (s.operands[1].kind == Operand::Kind::symbol && d.is_on_stack(s.operands[1])) {
    i.handler = stack_address;
    i.c = d.variable_offset(s.operands[1].local) + static_cast<u32>(s.operands[1].immediate);
    i.d = d.destination(s.operands[0], 8);
    return true;
  }
  const bool is_special = s.operands[1].kind == Operand::Kind::special;
  if (is_special && (has_word(k_clocks, s.operands[1].name) || has_word(k_upper_clocks, s.operands[1].name)))
    return decode_clock(d, s, i);
  if (type.bytes == 16) return place(d, s, i, unary<u128, u128, Same>, OpClass::move, 1, 16);
  if (type.bytes == 8 && is_special) {  // %gridid
    i.handler = unary<u64, u32, Same>;
    i.d = d.destination(s.operands[0], 8);
    i.a = d.source(s.operands[1], 4);
    return true;
  }
  return place(d, s, i, unary_by_size<Same>(type.bytes, false), OpClass::move, 1, type.bytes);
}

template <class T>
void add_window(Warp& warp, const Instruction& i, Mask mask) {
  const T* a = lanes_of<T>(warp, i.a);
  const u64 window = static_cast<u64>(i.extra) << 32;
  u64 out[k_lanes];
  KERNELITES_LANES(l) out[l] = a[l] + window;
  write_lanes(lanes_of<u64>(warp, i.d), out, mask);
}

template <class T>
void subtract_window(Warp& warp, const Instruction& i, Mask mask) {
  const u64* a = lanes_of<u64>(warp, i.a);
  const u64 window = static_cast<u64>(i.extra) << 32;
  T out[k_lanes];
  KERNELITES_LANES(l) out[l] = static_cast<T>(a[l] - window);
  write_lanes(lanes_of<T>(warp, i.d), out, mask);
}

/// Generic addresses of shared and local memory are windows; global, constant and parameter addresses are generic.
bool decode_cvta(Decoder& d, const Statement& s, Instruction& i) {
  if (s.operands.size() != 2) return false;
  const bool is_shared = s.has("shared") || s.has("shared::cta") || s.has("shared::cluster");
  const bool is_windowed = is_shared || s.has("local");
  i.extra = static_cast<u16>(is_shared ? k_shared_slot : k_local_slot);
  const u32 narrow = last_type(s).bytes;
  if (!is_windowed) return place(d, s, i, unary_by_size<Same>(narrow, false), OpClass::move, 1, narrow);
  i.op_class = OpClass::integer;
  if (narrow != 8) return false;
  i.d = d.destination(s.operands[0], 8);
  i.a = d.source(s.operands[1], 8);
  i.handler = s.has("to") ? subtract_window<u64> : add_window<u64>;
  return true;
}

/// The state space that a generic address lies in.
Space space_at(const Warp& warp, u64 address) {
  const u64 slot = address >> 32;
  if (slot == k_shared_slot) {
    const u32 number = static_cast<u32>(address) >> k_peer_shift;
    return number == 0 || number == warp.block->rank + 1 ? Space::shared : Space::cluster;
  }
  if (slot == k_local_slot) return Space::local;
  if (slot == k_parameter_slot) return Space::parameter;
  const Region* region = slot < k_first_slot ? warp.context->region(address) : nullptr;
  return region != nullptr && !region->writable ? Space::constant : Space::global;
}

void test_space(Warp& warp, const Instruction& i, Mask mask) {
  const u64* a = lanes_of<u64>(warp, i.a);
  Mask result = 0;
  KERNELITES_LANES(l) {
    const Space space = space_at(warp, a[l]), wanted = static_cast<Space>(i.mode);
    const bool is_there = space == wanted || (wanted == Space::cluster && space == Space::shared);
    result |= static_cast<Mask>(is_there) << l;
  }
  write_predicate(warp, i.d, result, mask);
}

bool decode_isspacep(Decoder& d, const Statement& s, Instruction& i) {
  if (s.operands.size() != 2 || s.parts.size() < 2) return false;
  i.handler = test_space;
  i.mode = static_cast<u8>(s.has("shared::cluster")           ? Space::cluster
                           : s.parts[1].starts_with("shared") ? Space::shared
                           : s.parts[1].starts_with("param")  ? Space::parameter
                           : s.has("local")                   ? Space::local
                           : s.has("const")                   ? Space::constant
                                                              : Space::global);
  i.d = d.predicate_destination(s.operands[0]);
  i.a = d.source(s.operands[1], 8);
  return true;
}

constexpr InstructionRow k_rows[] = {
    {"mov", k_all_types, "b128 pred", decode_mov},
    {"cvta", "u32 u64", "to global shared shared::cta shared::cluster local const param param::entry",
     decode_cvta},
    {"isspacep", "", "global shared shared::cta shared::cluster local const param param::entry",
     decode_isspacep},
};

}  // namespace

std::span<const InstructionRow> move_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
