// SPDX-License-Identifier: Apache-2.0
// Comparisons and selections: setp, set, selp, slct.
#include <algorithm>
#include <cmath>
#include <iterator>

#include "evaluators/worker/vgpu/half.h"
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

struct Equal {
  template <class T>
  bool operator()(T a, T b) const {
    return a == b;
  }
};
struct NotEqual {  // ordered: false for NaN
  template <class T>
  bool operator()(T a, T b) const {
    return a < b || a > b;
  }
};
struct Less {
  template <class T>
  bool operator()(T a, T b) const {
    return a < b;
  }
};
struct LessEqual {
  template <class T>
  bool operator()(T a, T b) const {
    return a <= b;
  }
};
struct Greater {
  template <class T>
  bool operator()(T a, T b) const {
    return a > b;
  }
};
struct GreaterEqual {
  template <class T>
  bool operator()(T a, T b) const {
    return a >= b;
  }
};
struct Ordered {
  template <class T>
  bool operator()(T a, T b) const {
    return a == a && b == b;
  }
};
template <class F>
struct Negated {  // the unordered comparisons are negations of ordered ones
  template <class T>
  bool operator()(T a, T b) const {
    return !F{}(a, b);
  }
};

template <class F>
struct Flushed {  // .ftz: denormals count as zero
  bool operator()(float a, float b) const { return F{}(flushed(a), flushed(b)); }
  static float flushed(float x) {
    const u32 bits = bits_as<u32>(x);
    return bits_as<float>((bits & 0x7f800000u) == 0 ? bits & 0x80000000u : bits);
  }
};

/// setp's second half: combine with a third predicate (and, or, xor), write p and q.
constexpr u8 k_combine_none = 0, k_combine_and = 1, k_combine_or = 2, k_combine_xor = 3;

void write_comparison(Warp& warp, const Instruction& i, Mask result, Mask mask) {
  Mask complement = ~result;
  if (i.mode != k_combine_none) {
    const Mask other = read_predicate(warp, i.c) ^ (i.extra != 0 ? k_all_lanes : 0);
    auto combined = [&](Mask value) {
      return i.mode == k_combine_and ? value & other : i.mode == k_combine_or ? value | other : value ^ other;
    };
    result = combined(result);
    complement = combined(complement);
  }
  write_predicate(warp, i.e, complement, mask);
  write_predicate(warp, i.d, result, mask);
}

template <class T, class F>
void compare(Warp& warp, const Instruction& i, Mask mask) {
  const T *a = lanes_of<T>(warp, i.a), *b = lanes_of<T>(warp, i.b);
  Mask result = 0;
  KERNELITES_LANES(l) result |= static_cast<Mask>(F{}(a[l], b[l])) << l;
  write_comparison(warp, i, result, mask);
}

template <class F>
struct FlushedHalf {  // .ftz of f16
  bool operator()(float a, float b) const { return F{}(flushed(a), flushed(b)); }
  static float flushed(float x) { return std::fabs(x) < F16::k_least_normal ? 0.0f : x; }
};

template <class Format, class F>
void compare_halves(Warp& warp, const Instruction& i, Mask mask) {
  float a[k_lanes], b[k_lanes];
  Format::to_floats(lanes_of<u16>(warp, i.a), a, k_lanes);
  Format::to_floats(lanes_of<u16>(warp, i.b), b, k_lanes);
  Mask result = 0;
  KERNELITES_LANES(l) result |= static_cast<Mask>(F{}(a[l], b[l])) << l;
  write_comparison(warp, i, result, mask);
}

/// setp on pairs: p is the low half's comparison, q the high half's.
template <class Format, class F>
void compare_pairs(Warp& warp, const Instruction& i, Mask mask) {
  float a[64], b[64];
  Format::to_floats(lanes_of<u16>(warp, i.a), a, 64);
  Format::to_floats(lanes_of<u16>(warp, i.b), b, 64);
  Mask low = 0, high = 0;
  KERNELITES_LANES(l) {
    low |= static_cast<Mask>(F{}(a[2 * l], b[2 * l])) << l;
    high |= static_cast<Mask>(F{}(a[2 * l + 1], b[2 * l + 1])) << l;
  }
  write_predicate(warp, i.e, high, mask);
  write_predicate(warp, i.d, low, mask);
}

template <class F>
Handler compare_by_type(const PtxType& type, bool flushes) {
  using Kind = PtxType::Kind;
  if (flushes && type.is_f32()) return compare<float, Flushed<F>>;
  if (flushes && type.is_f16()) return compare_halves<F16, FlushedHalf<F>>;
  if (flushes && type.kind == Kind::f16x2) return compare_pairs<F16, FlushedHalf<F>>;
  switch (type.kind) {
    case Kind::signed_:
      return type.bytes == 2   ? Handler{compare<i16, F>}
             : type.bytes == 4 ? Handler{compare<i32, F>}
                               : Handler{compare<i64, F>};
    case Kind::unsigned_:
    case Kind::bits:
      return type.bytes == 2   ? Handler{compare<u16, F>}
             : type.bytes == 4 ? Handler{compare<u32, F>}
                               : Handler{compare<u64, F>};
    case Kind::f:
      return type.bytes == 2   ? Handler{compare_halves<F16, F>}
             : type.bytes == 4 ? Handler{compare<float, F>}
                               : Handler{compare<double, F>};
    case Kind::bf:
      return compare_halves<BF16, F>;
    case Kind::f16x2:
      return compare_pairs<F16, F>;
    case Kind::bf16x2:
      return compare_pairs<BF16, F>;
    default:
      return nullptr;
  }
}

Handler comparison_handler(std::string_view name, PtxType type, bool flushes) {
  if (name == "lo" || name == "ls" || name == "hi" || name == "hs") type.kind = PtxType::Kind::unsigned_;
  if (name == "eq") return compare_by_type<Equal>(type, flushes);
  if (name == "ne") return compare_by_type<NotEqual>(type, flushes);
  if (name == "lt" || name == "lo") return compare_by_type<Less>(type, flushes);
  if (name == "le" || name == "ls") return compare_by_type<LessEqual>(type, flushes);
  if (name == "gt" || name == "hi") return compare_by_type<Greater>(type, flushes);
  if (name == "ge" || name == "hs") return compare_by_type<GreaterEqual>(type, flushes);
  if (name == "equ") return compare_by_type<Negated<NotEqual>>(type, flushes);
  if (name == "neu") return compare_by_type<Negated<Equal>>(type, flushes);
  if (name == "ltu") return compare_by_type<Negated<GreaterEqual>>(type, flushes);
  if (name == "leu") return compare_by_type<Negated<Greater>>(type, flushes);
  if (name == "gtu") return compare_by_type<Negated<LessEqual>>(type, flushes);
  if (name == "geu") return compare_by_type<Negated<Less>>(type, flushes);
  if (name == "num") return compare_by_type<Ordered>(type, flushes);
  if (name == "nan") return compare_by_type<Negated<Ordered>>(type, flushes);
  return nullptr;
}

OpClass class_of(const PtxType& type) {
  if (type.is_integer()) return OpClass::integer;
  return type.is_f32() ? OpClass::fp32 : type.is_f64() ? OpClass::fp64 : OpClass::fp16;
}

bool decode_setp(Decoder& d, const Statement& s, Instruction& i) {
  if (s.parts.size() < 3 || s.operands.size() < 3) return false;
  const PtxType type = last_type(s);
  i.handler = comparison_handler(s.parts[1], type, s.has("ftz"));
  i.op_class = class_of(type);
  i.d = d.predicate_destination(s.operands[0]);
  i.e = d.second_predicate(s.operands[0]);
  i.a = d.source(s.operands[1], type.bytes);
  i.b = d.source(s.operands[2], type.bytes);
  if (s.operands.size() > 3) {
    i.mode = s.has("and") ? k_combine_and : s.has("or") ? k_combine_or : k_combine_xor;
    i.c = d.negatable_predicate(s.operands[3]);
    i.extra = s.operands[3].is_negated;
    if (type.kind == PtxType::Kind::f16x2 || type.kind == PtxType::Kind::bf16x2) return false;
  }
  return i.handler != nullptr;
}

constexpr std::string_view k_comparisons[] = {"eq",  "ne",  "lt",  "le",  "gt",  "ge",  "equ",
                                              "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};

// How `set` keeps its parts in an instruction: extra: comparison; mode and size: type compared; count: bytes of the
// result, k_pair_result for two halves; offset: the result's one; target: scratch predicates; flags: how c combines.
constexpr u8 k_pair_result = 5, k_combine_mask = 3, k_negates = 4, k_flushes = 8;

/// set.<cmp>.<dtype>.<stype>: a comparison whose result is a number: all ones for integers, 1.0 for floats.
void set_number(Warp& warp, const Instruction& i, Mask mask) {
  Instruction comparison = i;
  comparison.d = i.target;
  comparison.e = i.target + 4;
  comparison.mode = i.flags & k_combine_mask;
  comparison.extra = (i.flags & k_negates) != 0;
  const Handler handler = comparison_handler(
      k_comparisons[i.extra], {static_cast<PtxType::Kind>(i.mode), i.size}, (i.flags & k_flushes) != 0);
  handler(warp, comparison, mask);
  const Mask low = read_predicate(warp, comparison.d), high = read_predicate(warp, comparison.e);
  u32* d32 = lanes_of<u32>(warp, i.d);
  u16* d16 = lanes_of<u16>(warp, i.d);
  const u32 one = static_cast<u32>(i.offset);
  KERNELITES_LANES(l) {
    if (!is_active(mask, l)) continue;
    if (i.count == 2) d16[l] = is_active(low, l) ? static_cast<u16>(one) : u16{0};
    if (i.count == 4) d32[l] = is_active(low, l) ? one : 0;
    if (i.count == k_pair_result)
      d32[l] = (is_active(low, l) ? one & 0xffffu : 0) | (is_active(high, l) ? one << 16 : 0);
  }
}

bool decode_set(Decoder& d, const Statement& s, Instruction& i) {
  if (s.parts.size() < 4 || s.operands.size() < 3) return false;
  const PtxType to = type_of(s.parts[s.parts.size() - 2]), from = last_type(s);
  const auto* name = std::find(std::begin(k_comparisons), std::end(k_comparisons), s.parts[1]);
  i.extra = static_cast<u16>(name - std::begin(k_comparisons));
  const bool flushes = s.has("ftz");
  if (name == std::end(k_comparisons) || comparison_handler(s.parts[1], from, flushes) == nullptr ||
      to.bytes > 4)
    return false;
  const bool is_pair = from.kind == PtxType::Kind::f16x2 || from.kind == PtxType::Kind::bf16x2;
  if (is_pair && (to.bytes != 4 || to.is_f32() || s.operands.size() > 3)) return false;
  i.handler = set_number;
  i.op_class = class_of(from);
  i.mode = static_cast<u8>(from.kind);
  i.size = static_cast<u8>(from.bytes);
  i.count = is_pair ? k_pair_result : static_cast<u8>(to.bytes);
  const u32 one = to.is_integer()                                                    ? ~0u
                  : to.is_f32()                                                      ? 0x3f800000u
                  : to.kind == PtxType::Kind::bf || to.kind == PtxType::Kind::bf16x2 ? 0x3f80u
                                                                                     : 0x3c00u;
  i.offset = static_cast<i32>(one);
  i.d = d.destination(s.operands[0], to.bytes);
  i.target = d.scratch_predicate();
  i.flags = flushes ? k_flushes : 0;
  if (s.operands.size() > 3) {
    i.flags |= s.has("and") ? k_combine_and : s.has("or") ? k_combine_or : k_combine_xor;
    i.flags |= s.operands[3].is_negated ? k_negates : 0;
    i.c = d.negatable_predicate(s.operands[3]);
  }
  i.a = d.source(s.operands[1], from.bytes);
  i.b = d.source(s.operands[2], from.bytes);
  return true;
}

template <class T>
void select(Warp& warp, const Instruction& i, Mask mask) {
  const T *a = lanes_of<T>(warp, i.a), *b = lanes_of<T>(warp, i.b);
  const Mask chosen = read_predicate(warp, i.c);
  T out[k_lanes];
  KERNELITES_LANES(l) out[l] = is_active(chosen, l) ? a[l] : b[l];
  write_lanes(lanes_of<T>(warp, i.d), out, mask);
}

bool decode_selp(Decoder& d, const Statement& s, Instruction& i) {
  const u32 bytes = last_type(s).bytes;
  if (s.operands.size() != 4) return false;
  i.c = d.predicate(s.operands[3]);
  const Handler handler = bytes == 2   ? Handler{select<u16>}
                          : bytes == 4 ? Handler{select<u32>}
                                       : Handler{select<u64>};
  return place(d, s, i, handler, OpClass::integer, 2, bytes);
}

template <class T, class C>
void select_by_sign(Warp& warp, const Instruction& i, Mask mask) {
  const T *a = lanes_of<T>(warp, i.a), *b = lanes_of<T>(warp, i.b);
  const C* c = lanes_of<C>(warp, i.c);
  T out[k_lanes];
  KERNELITES_LANES(l) {
    C sign = c[l];
    if constexpr (std::is_same_v<C, float>) sign = i.mode != 0 && std::fabs(sign) < 0x1p-126f ? 0.0f : sign;
    out[l] = sign >= C{0} ? a[l] : b[l];
  }
  write_lanes(lanes_of<T>(warp, i.d), out, mask);
}

bool decode_slct(Decoder& d, const Statement& s, Instruction& i) {
  if (s.parts.size() < 3 || s.operands.size() != 4) return false;
  const PtxType type = type_of(s.parts[s.parts.size() - 2]);
  const bool by_float = s.parts.back() == "f32";
  i.mode = s.has("ftz");
  i.c = d.source(s.operands[3], 4);
  const Handler handler =
      type.bytes == 2 ? (by_float ? Handler{select_by_sign<u16, float>} : Handler{select_by_sign<u16, i32>})
      : type.bytes == 8
          ? (by_float ? Handler{select_by_sign<u64, float>} : Handler{select_by_sign<u64, i32>})
          : (by_float ? Handler{select_by_sign<u32, float>} : Handler{select_by_sign<u32, i32>});
  return place(d, s, i, handler, OpClass::integer, 2, type.bytes);
}

constexpr std::string_view k_setp_modifiers =
    "eq ne lt le gt ge lo ls hi hs equ neu ltu leu gtu geu num nan and or xor ftz";

constexpr InstructionRow k_rows[] = {
    {"setp", k_all_types, k_setp_modifiers, decode_setp},
    {"set", k_all_types, k_setp_modifiers, decode_set},
    {"selp", k_all_types, "", decode_selp},
    {"slct", k_all_types, "ftz", decode_slct},
};

}  // namespace

std::span<const InstructionRow> predicate_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
