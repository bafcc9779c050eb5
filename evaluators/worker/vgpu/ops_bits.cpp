// SPDX-License-Identifier: Apache-2.0
// Bit operations: logic, shifts, counts.
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/lanes.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

struct And {
  template <class T>
  T operator()(T a, T b) const {
    return a & b;
  }
};
struct Or {
  template <class T>
  T operator()(T a, T b) const {
    return a | b;
  }
};
struct Xor {
  template <class T>
  T operator()(T a, T b) const {
    return a ^ b;
  }
};
struct Not {
  template <class T>
  T operator()(T a) const {
    return static_cast<T>(~a);
  }
};
struct ShiftLeft {
  template <class T>
  T operator()(T a, u32 b) const {
    return b >= 8 * sizeof(T) ? T{0} : static_cast<T>(std::make_unsigned_t<T>(a) << b);
  }
};
struct ShiftRight {
  template <class T>
  T operator()(T a, u32 b) const {
    constexpr u32 k_bits = 8 * sizeof(T);
    if constexpr (std::is_signed_v<T>) return static_cast<T>(a >> (b >= k_bits ? k_bits - 1 : b));
    return b >= k_bits ? T{0} : static_cast<T>(a >> b);
  }
};
struct FunnelLeft {  // shf.l.clamp: the high word of b:a << min(c, 32)
  u32 operator()(u32 a, u32 b, u32 c) const {
    const u32 n = c > 32 ? 32 : c;
    return static_cast<u32>((((u64{b} << 32) | a) << n) >> 32);
  }
};
struct FunnelRight {  // the low word of b:a >> min(c, 32)
  u32 operator()(u32 a, u32 b, u32 c) const {
    const u32 n = c > 32 ? 32 : c;
    return static_cast<u32>(((u64{b} << 32) | a) >> n);
  }
};
struct FunnelLeftWrap {
  u32 operator()(u32 a, u32 b, u32 c) const { return FunnelLeft{}(a, b, c & 31); }
};
struct FunnelRightWrap {
  u32 operator()(u32 a, u32 b, u32 c) const { return FunnelRight{}(a, b, c & 31); }
};
struct PopulationCount {
  u32 operator()(u32 a) const { return static_cast<u32>(__builtin_popcount(a)); }
  u32 operator()(u64 a) const { return static_cast<u32>(__builtin_popcountll(a)); }
};
struct LeadingZeros {
  u32 operator()(u32 a) const { return a == 0 ? 32 : static_cast<u32>(__builtin_clz(a)); }
  u32 operator()(u64 a) const { return a == 0 ? 64 : static_cast<u32>(__builtin_clzll(a)); }
};
struct ReverseBits {
  template <class T>
  T operator()(T a) const {
    T reversed = 0;
    for (u32 k = 0; k < 8 * sizeof(T); ++k) reversed = static_cast<T>(reversed << 1 | (a >> k & 1));
    return reversed;
  }
};
struct FindLeading {
  template <class T>
  u32 operator()(T a) const {
    if (std::is_signed_v<T> && a < 0) a = static_cast<T>(~a);
    if (a == 0) return ~0u;
    return 63 - static_cast<u32>(__builtin_clzll(static_cast<u64>(std::make_unsigned_t<T>(a))));
  }
};
template <class F>
struct AsShiftAmount {  // .shiftamt: the shift that would bring the bit found to the top
  template <class T>
  u32 operator()(T a) const {
    const u32 found = F{}(a);
    return found == ~0u ? ~0u : 8 * static_cast<u32>(sizeof(T)) - 1 - found;
  }
};
struct CopySign32 {
  u32 operator()(u32 a, u32 b) const { return (b & 0x7fffffffu) | (a & 0x80000000u); }
};
struct CopySign64 {
  u64 operator()(u64 a, u64 b) const { return (b & ~(1ull << 63)) | (a & (1ull << 63)); }
};

void three_input_logic(Warp& warp, const Instruction& i, Mask mask) {
  const u32 *a = lanes_of<u32>(warp, i.a), *b = lanes_of<u32>(warp, i.b), *c = lanes_of<u32>(warp, i.c);
  u32 out[k_lanes] = {};
  for (u32 row = 0; row < 8; ++row) {
    if ((i.extra >> row & 1) == 0) continue;
    const u32 flip_a = (row & 4) != 0 ? 0 : ~0u, flip_b = (row & 2) != 0 ? 0 : ~0u,
              flip_c = (row & 1) != 0 ? 0 : ~0u;
    KERNELITES_LANES(l) out[l] |= (a[l] ^ flip_a) & (b[l] ^ flip_b) & (c[l] ^ flip_c);
  }
  write_lanes(lanes_of<u32>(warp, i.d), out, mask);
}

/// lop3.or, lop3.and: the second result says whether the first is not zero, combined with a predicate.
void three_input_logic_with_predicate(Warp& warp, const Instruction& i, Mask mask) {
  const Mask other = read_predicate(warp, i.target) ^ ((i.mode & 2) != 0 ? k_all_lanes : 0);
  three_input_logic(warp, i, mask);
  const u32* d = lanes_of<u32>(warp, i.d);
  Mask nonzero = 0;
  KERNELITES_LANES(l) nonzero |= static_cast<Mask>(d[l] != 0) << l;
  write_predicate(warp, i.e, (i.mode & 1) != 0 ? nonzero & other : nonzero | other, mask);
}

template <int Operation>  // 0 and, 1 or, 2 xor, 3 not
void predicate_logic(Warp& warp, const Instruction& i, Mask mask) {
  const Mask a = read_predicate(warp, i.a), b = read_predicate(warp, i.b);
  write_predicate(warp, i.d,
                  Operation == 0   ? a & b
                  : Operation == 1 ? a | b
                  : Operation == 2 ? a ^ b
                                   : ~a,
                  mask);
}

template <class F, int Operation>
bool decode_logic(Decoder& d, const Statement& s, Instruction& i) {
  const PtxType type = last_type(s);
  if (type.kind != PtxType::Kind::predicate) {
    return place(d, s, i, binary_by_size<F>(type.bytes, false), OpClass::integer, 2, type.bytes);
  }
  if (s.operands.size() < 3) return false;
  i.handler = predicate_logic<Operation>;
  i.d = d.predicate_destination(s.operands[0]);
  i.a = d.predicate(s.operands[1]);
  i.b = d.predicate(s.operands[2]);
  return true;
}

bool decode_not(Decoder& d, const Statement& s, Instruction& i) {
  const PtxType type = last_type(s);
  if (type.kind != PtxType::Kind::predicate) {
    return place(d, s, i, unary_by_size<Not>(type.bytes, false), OpClass::integer, 1, type.bytes);
  }
  if (s.operands.size() < 2) return false;
  i.handler = predicate_logic<3>;
  i.d = d.predicate_destination(s.operands[0]);
  i.a = i.b = d.predicate(s.operands[1]);
  return true;
}

template <class F>
Handler shift_handler(const PtxType& type) {
  const bool is_signed = type.is_signed();
  switch (type.bytes) {
    case 2:
      return is_signed ? Handler{binary<i16, i16, u32, F>} : Handler{binary<u16, u16, u32, F>};
    case 4:
      return is_signed ? Handler{binary<i32, i32, u32, F>} : Handler{binary<u32, u32, u32, F>};
    case 8:
      return is_signed ? Handler{binary<i64, i64, u32, F>} : Handler{binary<u64, u64, u32, F>};
    default:
      return nullptr;
  }
}

template <class F>
bool decode_shift(Decoder& d, const Statement& s, Instruction& i) {
  const PtxType type = last_type(s);
  return place_mixed(d, s, i, shift_handler<F>(type), type.bytes, {type.bytes, 4});
}

bool decode_shf(Decoder& d, const Statement& s, Instruction& i) {
  const bool is_right = s.has("r"), is_wrapped = s.has("wrap");
  const Handler handler = is_right ? (is_wrapped ? Handler{ternary<u32, u32, u32, u32, FunnelRightWrap>}
                                                 : Handler{ternary<u32, u32, u32, u32, FunnelRight>})
                                   : (is_wrapped ? Handler{ternary<u32, u32, u32, u32, FunnelLeftWrap>}
                                                 : Handler{ternary<u32, u32, u32, u32, FunnelLeft>});
  return place(d, s, i, handler, OpClass::integer, 3, 4);
}

bool decode_lop3(Decoder& d, const Statement& s, Instruction& i) {
  if (s.operands.size() < 5 || s.operands[4].kind != Operand::Kind::immediate) return false;
  i.extra = static_cast<u16>(s.operands[4].immediate & 255);
  if (s.operands.size() == 6) {
    if (!s.has("or") && !s.has("and")) return false;
    i.e = d.second_predicate(s.operands[0]);
    i.target = d.negatable_predicate(s.operands[5]);
    i.mode = static_cast<u8>((s.has("and") ? 1 : 0) | (s.operands[5].is_negated ? 2 : 0));
    return place(d, s, i, three_input_logic_with_predicate, OpClass::integer, 3, 4);
  }
  return place(d, s, i, three_input_logic, OpClass::integer, 3, 4);
}

template <class F>
bool decode_count(Decoder& d, const Statement& s, Instruction& i) {
  const u32 bytes = last_type(s).bytes;
  return place_mixed(d, s, i, bytes == 8 ? Handler{unary<u32, u64, F>} : Handler{unary<u32, u32, F>}, 4,
                     {bytes});
}

template <class F>
Handler find_handler(const PtxType& type) {
  if (type.bytes == 8) return type.is_signed() ? Handler{unary<u32, i64, F>} : Handler{unary<u32, u64, F>};
  return type.is_signed() ? Handler{unary<u32, i32, F>} : Handler{unary<u32, u32, F>};
}

bool decode_bfind(Decoder& d, const Statement& s, Instruction& i) {
  const PtxType type = last_type(s);
  const Handler handler =
      s.has("shiftamt") ? find_handler<AsShiftAmount<FindLeading>>(type) : find_handler<FindLeading>(type);
  return place_mixed(d, s, i, handler, 4, {type.bytes});
}

bool decode_brev(Decoder& d, const Statement& s, Instruction& i) {
  const u32 bytes = last_type(s).bytes;
  return place(d, s, i,
               bytes == 8 ? Handler{unary<u64, u64, ReverseBits>} : Handler{unary<u32, u32, ReverseBits>},
               OpClass::integer, 1, bytes);
}

bool decode_copysign(Decoder& d, const Statement& s, Instruction& i) {
  const u32 bytes = last_type(s).bytes;
  return place(
      d, s, i,
      bytes == 8 ? Handler{binary<u64, u64, u64, CopySign64>} : Handler{binary<u32, u32, u32, CopySign32>},
      OpClass::fp32, 2, bytes);
}

constexpr InstructionRow k_rows[] = {
    {"and", k_bit_types, "pred", decode_logic<And, 0>},
    {"or", k_bit_types, "pred", decode_logic<Or, 1>},
    {"xor", k_bit_types, "pred", decode_logic<Xor, 2>},
    {"not", k_bit_types, "pred", decode_not},
    {"shl", k_bit_types, "", decode_shift<ShiftLeft>},
    {"shr", k_bit_types, k_integer_types, decode_shift<ShiftRight>},
    {"shf", "b32", "l r clamp wrap", decode_shf},
    {"lop3", "b32", "or and", decode_lop3},
    {"popc", "b32 b64", "", decode_count<PopulationCount>},
    {"clz", "b32 b64", "", decode_count<LeadingZeros>},
    {"bfind", "u32 u64 s32 s64", "shiftamt", decode_bfind},
    {"brev", "b32 b64", "", decode_brev},
    {"copysign", "f32 f64", "", decode_copysign},
};

}  // namespace

std::span<const InstructionRow> bit_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
