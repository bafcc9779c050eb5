// SPDX-License-Identifier: Apache-2.0
// Extended precision: add.cc, addc, sub.cc, subc, mad.cc, madc over a carry bit per lane.
//
// The carry lives in a predicate of its own in the warp's arena: written by .cc, read by addc, subc and madc.
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/lanes.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

/// What is added to the last operand.
enum class Term : u8 { first, low_product, high_product };

constexpr u8 k_carry_in = 1, k_carry_out = 2;

template <class T, Term Kind, bool IsSigned>
T term_of(T a, T b) {
  if constexpr (Kind == Term::first) return a;
  if constexpr (Kind == Term::low_product) return static_cast<T>(a * b);
  if constexpr (sizeof(T) == 8) {
    return IsSigned ? static_cast<T>((i128{static_cast<i64>(a)} * static_cast<i64>(b)) >> 64)
                    : static_cast<T>((u128{a} * b) >> 64);
  } else {
    return IsSigned ? static_cast<T>((i64{static_cast<i32>(a)} * static_cast<i32>(b)) >> 32)
                    : static_cast<T>((u64{a} * b) >> 32);
  }
}

/// d = term(a, b) + c + carry, or a - (c + carry) with a borrow for a carry. mode: k_carry_in, k_carry_out; e: carry.
template <class T, Term Kind, bool IsSigned, bool Subtracts>
void carry_chain(Warp& warp, const Instruction& i, Mask mask) {
  using Wide = std::conditional_t<sizeof(T) == 8, u128, u64>;
  const T *a = lanes_of<T>(warp, i.a), *b = lanes_of<T>(warp, i.b), *c = lanes_of<T>(warp, i.c);
  const Mask in = (i.mode & k_carry_in) != 0 ? read_predicate(warp, i.e) : 0;
  T out[k_lanes];
  Mask carry = 0;
  KERNELITES_LANES(l) {
    const Wide x = term_of<T, Kind, IsSigned>(a[l], b[l]), y = Wide{c[l]} + (in >> l & 1);
    const Wide result = Subtracts ? x - y : x + y;
    out[l] = static_cast<T>(result);
    carry |= static_cast<Mask>(result >> (8 * sizeof(T)) & 1) << l;
  }
  write_lanes(lanes_of<T>(warp, i.d), out, mask);
  if ((i.mode & k_carry_out) != 0) write_predicate(warp, i.e, carry, mask);
}

template <Term Kind, bool IsSigned, bool Subtracts>
Handler chain_by_size(u32 bytes) {
  return bytes == 8   ? Handler{carry_chain<u64, Kind, IsSigned, Subtracts>}
         : bytes == 4 ? Handler{carry_chain<u32, Kind, IsSigned, Subtracts>}
                      : nullptr;
}

Handler chain_handler(const Statement& s, const PtxType& type) {
  if (s.is("sub") || s.is("subc")) return chain_by_size<Term::first, false, true>(type.bytes);
  if (s.is("add") || s.is("addc")) return chain_by_size<Term::first, false, false>(type.bytes);
  if (s.has("lo")) return chain_by_size<Term::low_product, false, false>(type.bytes);
  if (!s.has("hi")) return nullptr;
  return type.is_signed() ? chain_by_size<Term::high_product, true, false>(type.bytes)
                          : chain_by_size<Term::high_product, false, false>(type.bytes);
}

}  // namespace

bool decode_carry(Decoder& d, const Statement& s, Instruction& i) {
  const PtxType type = last_type(s);
  const bool is_product = s.is("mad") || s.is("madc");
  if (!type.is_integer() || s.operands.size() != (is_product ? 4u : 3u)) return false;
  i.handler = chain_handler(s, type);
  i.op_class = OpClass::integer;
  i.mode = static_cast<u8>((s.parts[0].ends_with("c") ? k_carry_in : 0) | (s.has("cc") ? k_carry_out : 0));
  i.d = d.destination(s.operands[0], type.bytes);
  i.a = d.source(s.operands[1], type.bytes);
  i.b = d.source(s.operands[2], type.bytes);
  i.c = is_product ? d.source(s.operands[3], type.bytes) : i.b;
  i.e = d.carry_predicate();
  return i.handler != nullptr;
}

namespace {

constexpr InstructionRow k_rows[] = {
    {"addc", k_integer_types, "cc", decode_carry},
    {"subc", k_integer_types, "cc", decode_carry},
    {"madc", k_integer_types, "lo hi cc", decode_carry},
};

}  // namespace

std::span<const InstructionRow> carry_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
