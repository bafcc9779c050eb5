// SPDX-License-Identifier: Apache-2.0
// Integers in parts of a register: 16-bit pairs (sm_90), dot products of bytes, 24-bit products.
#include <algorithm>

#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/lanes.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a + b);
  }
};
struct Minimum {
  template <class T>
  T operator()(T a, T b) const {
    return std::min(a, b);
  }
};
struct Maximum {
  template <class T>
  T operator()(T a, T b) const {
    return std::max(a, b);
  }
};
template <class F>
struct Rectified {  // .relu
  template <class T>
  T operator()(T a, T b) const {
    return std::max(F{}(a, b), T{0});
  }
};

template <class T, class F>
struct OnPair {
  u32 operator()(u32 a, u32 b) const {
    const T low = F{}(static_cast<T>(a), static_cast<T>(b));
    const T high = F{}(static_cast<T>(a >> 16), static_cast<T>(b >> 16));
    return static_cast<u32>(static_cast<u16>(high)) << 16 | static_cast<u16>(low);
  }
};

template <class F>
Handler pair_handler(bool is_signed) {
  return is_signed ? Handler{binary<u32, u32, u32, OnPair<i16, F>>}
                   : Handler{binary<u32, u32, u32, OnPair<u16, F>>};
}

template <class F>
Handler extremum(std::string_view type, bool is_rectified) {
  if (!is_rectified) return pair_handler<F>(type == "s16x2");
  if (type == "s16x2") return pair_handler<Rectified<F>>(true);
  return type == "s32" ? Handler{binary<i32, i32, i32, Rectified<F>>} : nullptr;
}

template <bool IsSignedA, bool IsSignedB>
struct DotProduct4 {
  u32 operator()(u32 a, u32 b, u32 c) const {
    for (u32 k = 0; k < 32; k += 8) {
      const i32 x = IsSignedA ? i32{static_cast<i8>(a >> k)} : i32{static_cast<u8>(a >> k)};
      const i32 y = IsSignedB ? i32{static_cast<i8>(b >> k)} : i32{static_cast<u8>(b >> k)};
      c += static_cast<u32>(x * y);
    }
    return c;
  }
};
/// Two 16-bit numbers of a by two bytes of b: the low ones, or the high ones.
template <bool IsSignedA, bool IsSignedB, u32 FirstBit>
struct DotProduct2 {
  u32 operator()(u32 a, u32 b, u32 c) const {
    for (u32 k = 0; k < 2; ++k) {
      const i32 x = IsSignedA ? i32{static_cast<i16>(a >> 16 * k)} : i32{static_cast<u16>(a >> 16 * k)};
      const u32 byte = b >> (FirstBit + 8 * k);
      const i32 y = IsSignedB ? i32{static_cast<i8>(byte)} : i32{static_cast<u8>(byte)};
      c += static_cast<u32>(x * y);
    }
    return c;
  }
};

template <bool IsSignedA, bool IsSignedB>
Handler dot_handler(const Statement& s) {
  if (s.is("dp4a")) return ternary<u32, u32, u32, u32, DotProduct4<IsSignedA, IsSignedB>>;
  return s.has("hi") ? Handler{ternary<u32, u32, u32, u32, DotProduct2<IsSignedA, IsSignedB, 16>>}
                     : Handler{ternary<u32, u32, u32, u32, DotProduct2<IsSignedA, IsSignedB, 0>>};
}

bool decode_dot(Decoder& d, const Statement& s, Instruction& i) {
  if (s.parts.size() < (s.is("dp2a") ? 4u : 3u)) return false;
  const bool is_signed_a = s.parts[s.parts.size() - 2] == "s32", is_signed_b = s.parts.back() == "s32";
  const Handler handler = is_signed_a
                              ? (is_signed_b ? dot_handler<true, true>(s) : dot_handler<true, false>(s))
                              : (is_signed_b ? dot_handler<false, true>(s) : dot_handler<false, false>(s));
  return place(d, s, i, handler, OpClass::integer, 3, 4);
}

/// The product of the low 24 bits: its low 32 bits, or bits 16 to 47.
template <bool IsSigned, bool IsHigh>
struct Multiply24 {
  u32 operator()(u32 a, u32 b) const {
    const i64 x = IsSigned ? i64{static_cast<i32>(a << 8) >> 8} : i64{a & 0xffffff};
    const i64 y = IsSigned ? i64{static_cast<i32>(b << 8) >> 8} : i64{b & 0xffffff};
    return static_cast<u32>((x * y) >> (IsHigh ? 16 : 0));
  }
};
template <bool IsSigned, bool IsHigh>
struct MultiplyAdd24 {
  u32 operator()(u32 a, u32 b, u32 c) const { return Multiply24<IsSigned, IsHigh>{}(a, b) + c; }
};
struct MultiplyAdd24Saturated {  // mad24.hi.sat.s32
  u32 operator()(u32 a, u32 b, u32 c) const {
    const i64 sum = i64{static_cast<i32>(Multiply24<true, true>{}(a, b))} + static_cast<i32>(c);
    return static_cast<u32>(std::clamp<i64>(sum, INT32_MIN, INT32_MAX));
  }
};

template <bool IsSigned, bool IsHigh>
bool place_product(Decoder& d, const Statement& s, Instruction& i) {
  if (s.is("mul24"))
    return place(d, s, i, binary<u32, u32, u32, Multiply24<IsSigned, IsHigh>>, OpClass::integer, 2, 4);
  const Handler handler = s.has("sat")
                              ? Handler{ternary<u32, u32, u32, u32, MultiplyAdd24Saturated>}
                              : Handler{ternary<u32, u32, u32, u32, MultiplyAdd24<IsSigned, IsHigh>>};
  return place(d, s, i, handler, OpClass::integer, 3, 4);
}

bool decode_24_bits(Decoder& d, const Statement& s, Instruction& i) {
  const bool is_signed = last_type(s).is_signed(), is_high = s.has("hi");
  if (s.has("sat") && !(is_signed && is_high)) return false;
  if (is_high) return is_signed ? place_product<true, true>(d, s, i) : place_product<false, true>(d, s, i);
  return is_signed ? place_product<true, false>(d, s, i) : place_product<false, false>(d, s, i);
}

/// vabsdiff2, vabsdiff4: |a - b| of each part; .add: their sum added to c.
template <class T, bool IsSum>
struct PartDifferences {
  u32 operator()(u32 a, u32 b, u32 c) const {
    constexpr u32 k_bits = 8 * sizeof(T);
    u32 sum = c, parts = 0;
    for (u32 k = 0; k < 32; k += k_bits) {
      const i32 difference = i32{static_cast<T>(a >> k)} - i32{static_cast<T>(b >> k)};
      const u32 magnitude = static_cast<u32>(difference < 0 ? -difference : difference);
      sum += magnitude;
      parts |= (magnitude & ((u32{1} << k_bits) - 1)) << k;
    }
    return IsSum ? sum : parts;
  }
};

template <class Unsigned, class Signed>
bool decode_differences(Decoder& d, const Statement& s, Instruction& i) {
  const bool is_sum = s.parts.size() == 5 && s.parts[4] == "add";
  if (s.parts.size() < 4 || (s.parts.size() > 4 && !is_sum) || s.parts[2] != s.parts[3]) return false;
  const bool is_signed = s.parts[2] == "s32";
  const Handler handler =
      is_signed ? (is_sum ? Handler{ternary<u32, u32, u32, u32, PartDifferences<Signed, true>>}
                          : Handler{ternary<u32, u32, u32, u32, PartDifferences<Signed, false>>})
                : (is_sum ? Handler{ternary<u32, u32, u32, u32, PartDifferences<Unsigned, true>>}
                          : Handler{ternary<u32, u32, u32, u32, PartDifferences<Unsigned, false>>});
  return place(d, s, i, handler, OpClass::integer, 3, 4);
}

constexpr InstructionRow k_rows[] = {
    {"vabsdiff2", "u32 s32", "add", decode_differences<u16, i16>},
    {"vabsdiff4", "u32 s32", "add", decode_differences<u8, i8>},
    {"dp4a", "u32 s32", "", decode_dot},
    {"dp2a", "u32 s32", "lo hi", decode_dot},
    {"mul24", "u32 s32", "lo hi", decode_24_bits},
    {"mad24", "u32 s32", "lo hi sat", decode_24_bits},
};

}  // namespace

bool decode_packed(Decoder& d, const Statement& s, Instruction& i) {
  const bool is_type_last = s.parts.back() != "relu";  // max.relu.s32 and max.s32.relu are the same
  const std::string_view type = s.parts[s.parts.size() - (is_type_last ? 1 : 2)];
  const bool is_pair = type == "s16x2" || type == "u16x2", is_rectified = s.has("relu");
  if (!is_pair && !is_rectified) return false;
  Handler handler = nullptr;
  if (s.is("add") && is_pair && s.parts.size() == 2) handler = pair_handler<Add>(false);
  if (s.is("min")) handler = extremum<Minimum>(type, is_rectified);
  if (s.is("max")) handler = extremum<Maximum>(type, is_rectified);
  return place(d, s, i, handler, OpClass::integer, 2, 4);
}

std::span<const InstructionRow> packed_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
