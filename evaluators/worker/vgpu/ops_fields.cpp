// SPDX-License-Identifier: Apache-2.0
// Parts of registers: bit fields, sign extension, byte permutes, the n-th set bit.
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/lanes.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {

namespace {

struct ExtractField {
  template <class T>
  T operator()(T a, u32 position, u32 length) const {
    constexpr u32 k_bits = 8 * sizeof(T);
    position &= 255;
    length &= 255;
    if (length == 0) return 0;
    const T shifted = position >= k_bits ? static_cast<T>(std::is_signed_v<T> ? a >> (k_bits - 1) : T{0})
                                         : static_cast<T>(a >> position);
    const u32 end = position + length;
    if (length >= k_bits) return shifted;
    // Beyond the top a signed field is filled with the sign bit of the highest bit that exists.
    const bool is_negative =
        std::is_signed_v<T> &&
        (std::make_unsigned_t<T>(a) >> (end - 1 < k_bits ? end - 1 : k_bits - 1) & 1) != 0;
    const u64 mask = (u64{1} << length) - 1;
    const u64 field = static_cast<u64>(shifted) & mask;
    return static_cast<T>(is_negative ? field | ~mask : field);
  }
};
struct InsertField {
  template <class T>
  T operator()(T a, T b, u32 position, u32 length) const {
    position &= 255;
    length &= 255;
    if (position >= 8 * sizeof(T) || length == 0) return b;
    const u64 mask = (length >= 64 ? ~u64{0} : (u64{1} << length) - 1) << position;
    return static_cast<T>((u64{b} & ~mask) | ((u64{a} << position) & mask));
  }
};
struct FieldMask {
  u32 operator()(u32 position, u32 length) const {
    if (position > 31 || length == 0) return 0;
    return static_cast<u32>((length > 31 ? ~u64{0} : (u64{1} << length) - 1) << position);
  }
};
struct FieldMaskWrap {
  u32 operator()(u32 position, u32 length) const { return FieldMask{}(position & 31, length & 31); }
};
/// szext: the low `length` bits, sign- or zero-extended.
template <bool IsWrapped>
struct ExtendField {
  template <class T>
  T operator()(T a, T length) const {
    const u32 n = IsWrapped ? static_cast<u32>(length) & 31 : static_cast<u32>(length);
    if (n >= 32) return a;
    return n == 0 ? T{0} : static_cast<T>(static_cast<T>(static_cast<u32>(a) << (32 - n)) >> (32 - n));
  }
};
struct IsZero {  // cnot
  template <class T>
  T operator()(T a) const {
    return a == 0 ? T{1} : T{0};
  }
};
/// fns: the position of the |offset|-th set bit at or above (offset > 0) or below `base`; offset 0: base itself.
struct FindNthSet {
  u32 operator()(u32 mask, u32 base, i32 offset) const {
    if (base > 31) return ~0u;
    if (offset == 0) return (mask >> base & 1) != 0 ? base : ~0u;
    const i32 step = offset > 0 ? 1 : -1;
    i32 left = offset > 0 ? offset : -offset;
    for (i32 at = static_cast<i32>(base); at >= 0 && at < 32; at += step) {
      if ((mask >> at & 1) != 0 && --left == 0) return static_cast<u32>(at);
    }
    return ~0u;
  }
};
struct PermuteBytes {
  u32 operator()(u32 a, u32 b, u32 selector) const {
    const u64 bytes = u64{b} << 32 | a;
    u32 result = 0;
    for (u32 k = 0; k < 4; ++k) {
      const u32 choice = selector >> (4 * k) & 15;
      u32 byte = static_cast<u32>(bytes >> (8 * (choice & 7)) & 255);
      if ((choice & 8) != 0) byte = (byte & 128) != 0 ? 255 : 0;
      result |= byte << (8 * k);
    }
    return result;
  }
};
/// prmt.f4e and its kin: the two low bits of c choose one of four selectors.
template <u32 S0, u32 S1, u32 S2, u32 S3>
struct PermuteBy {
  u32 operator()(u32 a, u32 b, u32 c) const {
    constexpr u32 k_selectors[] = {S0, S1, S2, S3};
    return PermuteBytes{}(a, b, k_selectors[c & 3]);
  }
};

bool decode_bfe(Decoder& d, const Statement& s, Instruction& i) {
  const PtxType type = last_type(s);
  const Handler handler = type.bytes == 8
                              ? (type.is_signed() ? Handler{ternary<i64, i64, u32, u32, ExtractField>}
                                                  : Handler{ternary<u64, u64, u32, u32, ExtractField>})
                              : (type.is_signed() ? Handler{ternary<i32, i32, u32, u32, ExtractField>}
                                                  : Handler{ternary<u32, u32, u32, u32, ExtractField>});
  return place_mixed(d, s, i, handler, type.bytes, {type.bytes, 4, 4});
}

bool decode_bfi(Decoder& d, const Statement& s, Instruction& i) {
  const u32 bytes = last_type(s).bytes;
  const Handler handler = bytes == 8 ? Handler{quaternary<u64, u64, u64, u32, u32, InsertField>}
                                     : Handler{quaternary<u32, u32, u32, u32, u32, InsertField>};
  return place_mixed(d, s, i, handler, bytes, {bytes, bytes, 4, 4});
}

bool decode_bmsk(Decoder& d, const Statement& s, Instruction& i) {
  const Handler handler = s.has("clamp")  ? Handler{binary<u32, u32, u32, FieldMask>}
                          : s.has("wrap") ? Handler{binary<u32, u32, u32, FieldMaskWrap>}
                                          : nullptr;
  return place(d, s, i, handler, OpClass::integer, 2, 4);
}

bool decode_szext(Decoder& d, const Statement& s, Instruction& i) {
  const bool is_signed = last_type(s).is_signed();
  const Handler handler = s.has("clamp")  ? (is_signed ? Handler{binary<i32, i32, i32, ExtendField<false>>}
                                                       : Handler{binary<u32, u32, u32, ExtendField<false>>})
                          : s.has("wrap") ? (is_signed ? Handler{binary<i32, i32, i32, ExtendField<true>>}
                                                       : Handler{binary<u32, u32, u32, ExtendField<true>>})
                                          : nullptr;
  return place(d, s, i, handler, OpClass::integer, 2, 4);
}

bool decode_cnot(Decoder& d, const Statement& s, Instruction& i) {
  const u32 bytes = last_type(s).bytes;
  return place(d, s, i, unary_by_size<IsZero>(bytes, false), OpClass::integer, 1, bytes);
}

bool decode_fns(Decoder& d, const Statement& s, Instruction& i) {
  return place(d, s, i, ternary<u32, u32, u32, i32, FindNthSet>, OpClass::integer, 3, 4);
}

Handler permute_handler(std::string_view mode) {
  if (mode == "f4e") return ternary<u32, u32, u32, u32, PermuteBy<0x3210, 0x4321, 0x5432, 0x6543>>;
  if (mode == "b4e") return ternary<u32, u32, u32, u32, PermuteBy<0x5670, 0x6701, 0x7012, 0x0123>>;
  if (mode == "rc8") return ternary<u32, u32, u32, u32, PermuteBy<0x0000, 0x1111, 0x2222, 0x3333>>;
  if (mode == "ecl") return ternary<u32, u32, u32, u32, PermuteBy<0x3210, 0x3211, 0x3222, 0x3333>>;
  if (mode == "ecr") return ternary<u32, u32, u32, u32, PermuteBy<0x0000, 0x1110, 0x2210, 0x3210>>;
  if (mode == "rc16") return ternary<u32, u32, u32, u32, PermuteBy<0x1010, 0x3232, 0x1010, 0x3232>>;
  return nullptr;
}

bool decode_prmt(Decoder& d, const Statement& s, Instruction& i) {
  const Handler handler =
      s.parts.size() == 2 ? Handler{ternary<u32, u32, u32, u32, PermuteBytes>} : permute_handler(s.parts[2]);
  return place(d, s, i, handler, OpClass::integer, 3, 4);
}

constexpr InstructionRow k_rows[] = {
    {"bfe", "u32 u64 s32 s64", "", decode_bfe},
    {"bfi", "b32 b64", "", decode_bfi},
    {"bmsk", "b32", "clamp wrap", decode_bmsk},
    {"szext", "u32 s32", "clamp wrap", decode_szext},
    {"cnot", k_bit_types, "", decode_cnot},
    {"fns", "b32", "", decode_fns},
    {"prmt", "b32", "f4e b4e rc8 ecl ecr rc16", decode_prmt},
};

}  // namespace

std::span<const InstructionRow> field_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
