// SPDX-License-Identifier: Apache-2.0
// Integer arithmetic. Opcodes that exist for floats too hand those to ops_float.cpp.
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/lanes.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {

namespace {

template <class T>
using Unsigned = std::make_unsigned_t<T>;

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(Unsigned<T>(a) + Unsigned<T>(b));
  }
};
struct Subtract {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(Unsigned<T>(a) - Unsigned<T>(b));
  }
};
struct MultiplyLow {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(u64(Unsigned<T>(a)) * u64(Unsigned<T>(b)));
  }
};
struct MultiplyLow32 {  // 32-bit lanes: no detour through 64 bits, so that it vectorises
  u32 operator()(u32 a, u32 b) const { return a * b; }
};
struct MultiplyHigh {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (sizeof(T) == 8) {
      using Wide = std::conditional_t<std::is_signed_v<T>, i128, u128>;
      return static_cast<T>((Wide(a) * Wide(b)) >> 64);
    } else {
      using Wide = std::conditional_t<std::is_signed_v<T>, i64, u64>;
      return static_cast<T>((Wide(a) * Wide(b)) >> (8 * sizeof(T)));
    }
  }
};
template <class Wide>
struct MultiplyWide {
  template <class T>
  Wide operator()(T a, T b) const {
    return static_cast<Wide>(Wide(a) * Wide(b));
  }
};
struct MultiplyAddLow {
  template <class T>
  T operator()(T a, T b, T c) const {
    return static_cast<T>(u64(Unsigned<T>(a)) * u64(Unsigned<T>(b)) + u64(Unsigned<T>(c)));
  }
};
struct MultiplyAddLow32 {
  u32 operator()(u32 a, u32 b, u32 c) const { return a * b + c; }
};
struct MultiplyAddHigh {
  template <class T>
  T operator()(T a, T b, T c) const {
    return Add{}(MultiplyHigh{}(a, b), c);
  }
};
template <class Wide>
struct MultiplyAddWide {
  template <class T>
  Wide operator()(T a, T b, Wide c) const {
    return static_cast<Wide>(Unsigned<Wide>(Wide(a) * Wide(b)) + Unsigned<Wide>(c));
  }
};
// Division by zero gives all ones on NVIDIA devices, as quotient and as remainder.
struct Divide {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0) return static_cast<T>(~T{0});
    if (std::is_signed_v<T> && b == static_cast<T>(-1))
      return static_cast<T>(Unsigned<T>(0) - Unsigned<T>(a));
    return static_cast<T>(a / b);
  }
};
struct Remainder {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0) return static_cast<T>(~T{0});
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
    return static_cast<T>(a % b);
  }
};
struct Minimum {
  template <class T>
  T operator()(T a, T b) const {
    return a < b ? a : b;
  }
};
struct Maximum {
  template <class T>
  T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};
struct Negate {
  template <class T>
  T operator()(T a) const {
    return static_cast<T>(Unsigned<T>(0) - Unsigned<T>(a));
  }
};
struct Absolute {
  template <class T>
  T operator()(T a) const {
    return a < 0 ? Negate{}(a) : a;
  }
};
struct AddSaturated {
  i32 operator()(i32 a, i32 b) const {
    const i64 sum = i64{a} + b;
    return static_cast<i32>(sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum);
  }
};
struct SubtractSaturated {
  i32 operator()(i32 a, i32 b) const {
    const i64 difference = i64{a} - b;
    return static_cast<i32>(difference > INT32_MAX   ? INT32_MAX
                            : difference < INT32_MIN ? INT32_MIN
                                                     : difference);
  }
};
struct MultiplyAddHighSaturated {
  i32 operator()(i32 a, i32 b, i32 c) const { return AddSaturated{}(MultiplyHigh{}(a, b), c); }
};
struct AbsoluteDifferenceAdd {
  template <class T>
  T operator()(T a, T b, T c) const {
    return Add{}(a > b ? Subtract{}(a, b) : Subtract{}(b, a), c);
  }
};

template <class F>
bool decode_two(Decoder& d, const Statement& s, Instruction& i) {
  const PtxType type = last_type(s);
  const std::string_view last = s.parts.back();
  const bool is_rectified_integer = s.has("relu") && (type.is_integer() || last == "relu");
  if (last == "s16x2" || last == "u16x2" || is_rectified_integer) return decode_packed(d, s, i);
  if (!type.is_integer()) return !s.has("cc") && !s.has("relu") && decode_float(d, s, i);
  if (s.has("cc")) return decode_carry(d, s, i);
  return place(d, s, i, binary_by_size<F>(type.bytes, type.is_signed()), OpClass::integer, 2, type.bytes);
}

template <class F>
bool decode_one(Decoder& d, const Statement& s, Instruction& i) {
  const PtxType type = last_type(s);
  if (!type.is_integer()) return decode_float(d, s, i);
  return place(d, s, i, unary_by_size<F>(type.bytes, true), OpClass::integer, 1, type.bytes);
}

bool is_saturated_integer(const Statement& s) { return last_type(s).is_integer() && s.has("sat"); }

bool decode_add(Decoder& d, const Statement& s, Instruction& i) {
  if (is_saturated_integer(s))
    return s.parts.back() == "s32" &&
           place(d, s, i, binary<i32, i32, i32, AddSaturated>, OpClass::integer, 2, 4);
  return decode_two<Add>(d, s, i);
}

bool decode_sub(Decoder& d, const Statement& s, Instruction& i) {
  if (is_saturated_integer(s))
    return s.parts.back() == "s32" &&
           place(d, s, i, binary<i32, i32, i32, SubtractSaturated>, OpClass::integer, 2, 4);
  return decode_two<Subtract>(d, s, i);
}

bool place_wide(Decoder& d, const Statement& s, Instruction& i, Handler handler, u32 bytes) {
  if (s.operands.size() < 3) return false;
  i.handler = handler;
  i.d = d.destination(s.operands[0], 2 * bytes);
  i.a = d.source(s.operands[1], bytes);
  i.b = d.source(s.operands[2], bytes);
  if (s.operands.size() > 3) i.c = d.source(s.operands[3], 2 * bytes);
  return true;
}

bool decode_mul(Decoder& d, const Statement& s, Instruction& i) {
  const PtxType type = last_type(s);
  if (!type.is_integer()) return decode_float(d, s, i);
  if (s.has("sat")) return false;
  if (s.has("wide")) {
    if (type.bytes == 2) {
      return place_wide(d, s, i,
                        type.is_signed() ? Handler{binary<i32, i16, i16, MultiplyWide<i32>>}
                                         : Handler{binary<u32, u16, u16, MultiplyWide<u32>>},
                        2);
    }
    return type.bytes == 4 && place_wide(d, s, i,
                                         type.is_signed() ? Handler{binary<i64, i32, i32, MultiplyWide<i64>>}
                                                          : Handler{binary<u64, u32, u32, MultiplyWide<u64>>},
                                         4);
  }
  if (s.has("hi")) return decode_two<MultiplyHigh>(d, s, i);
  if (type.bytes == 4) return place(d, s, i, binary<u32, u32, u32, MultiplyLow32>, OpClass::integer, 2, 4);
  return decode_two<MultiplyLow>(d, s, i);
}

bool decode_mad(Decoder& d, const Statement& s, Instruction& i) {
  const PtxType type = last_type(s);
  if (!type.is_integer()) return decode_float(d, s, i);
  if (s.has("cc")) return decode_carry(d, s, i);
  if (s.has("sat")) {
    return s.has("hi") && s.parts.back() == "s32" &&
           place(d, s, i, ternary<i32, i32, i32, i32, MultiplyAddHighSaturated>, OpClass::integer, 3, 4);
  }
  if (s.has("wide")) {
    if (type.bytes == 2) {
      return place_wide(d, s, i,
                        type.is_signed() ? Handler{ternary<i32, i16, i16, i32, MultiplyAddWide<i32>>}
                                         : Handler{ternary<u32, u16, u16, u32, MultiplyAddWide<u32>>},
                        2);
    }
    return type.bytes == 4 &&
           place_wide(d, s, i,
                      type.is_signed() ? Handler{ternary<i64, i32, i32, i64, MultiplyAddWide<i64>>}
                                       : Handler{ternary<u64, u32, u32, u64, MultiplyAddWide<u64>>},
                      4);
  }
  const Handler handler = s.has("hi")       ? ternary_by_size<MultiplyAddHigh>(type.bytes, type.is_signed())
                          : type.bytes == 4 ? Handler{ternary<u32, u32, u32, u32, MultiplyAddLow32>}
                                            : ternary_by_size<MultiplyAddLow>(type.bytes, type.is_signed());
  return place(d, s, i, handler, OpClass::integer, 3, type.bytes);
}

bool decode_sad(Decoder& d, const Statement& s, Instruction& i) {
  const PtxType type = last_type(s);
  return place(d, s, i, ternary_by_size<AbsoluteDifferenceAdd>(type.bytes, type.is_signed()),
               OpClass::integer, 3, type.bytes);
}

constexpr InstructionRow k_rows[] = {
    {"add", k_number_types, "s16x2 u16x2 sat cc rn rz rm rp ftz", decode_add},
    {"sub", k_number_types, "sat cc rn rz rm rp ftz", decode_sub},
    {"mul", k_number_types, "lo hi wide sat rn rz rm rp ftz", decode_mul},
    {"mad", k_integer_types, "f32 f64 lo hi wide sat cc rn rz rm rp ftz", decode_mad},
    {"div", k_integer_types, "f32 f64 full approx rn rz rm rp ftz", decode_two<Divide>},
    {"rem", k_integer_types, "", decode_two<Remainder>},
    {"min", k_number_types, "s16x2 u16x2 relu NaN xorsign abs ftz", decode_two<Minimum>},
    {"max", k_number_types, "s16x2 u16x2 relu NaN xorsign abs ftz", decode_two<Maximum>},
    {"neg", k_number_types, "ftz", decode_one<Negate>},
    {"abs", k_number_types, "ftz", decode_one<Absolute>},
    {"sad", k_integer_types, "", decode_sad},
};

}  // namespace

std::span<const InstructionRow> integer_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
