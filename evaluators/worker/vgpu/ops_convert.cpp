// SPDX-License-Identifier: Apache-2.0
// cvt: numeric conversions one by one. Hot ones have their own handlers; the rest goes through one general handler.
// Conversions of pairs and to tf32 are in ops_narrow.cpp.
//
// Integers narrower than their register are sign- or zero-extended to it; registers may be wider than the type.
#include <cmath>
#include <limits>

#include "evaluators/worker/vgpu/half.h"
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

/// A value on its way: integers in `integer` (two's complement), floats in `real`.
struct Value {
  bool is_integer = true;
  bool is_signed = false;
  u64 integer = 0;
  double real = 0;
};

double round_to_integer(double value, Rounding rounding) {
  switch (rounding) {
    case Rounding::nearest:
      return std::nearbyint(value);
    case Rounding::zero:
      return std::trunc(value);
    case Rounding::down:
      return std::floor(value);
    case Rounding::up:
      return std::ceil(value);
    case Rounding::away:
      return std::round(value);
  }
  return value;
}

/// Float to integer of `bits`: rounds, clamps to the range. NaN becomes 0 or, where 64 bits are involved, the top bit.
u64 to_integer(double value, u32 bits, bool is_signed, bool is_from_double, Rounding rounding) {
  if (std::isnan(value)) return bits == 64 || is_from_double ? u64{1} << (bits - 1) : 0;
  const double rounded = round_to_integer(value, rounding);
  if (is_signed) {
    const double limit = std::ldexp(1.0, static_cast<int>(bits) - 1);
    if (rounded >= limit) return (u64{1} << (bits - 1)) - 1;
    if (rounded < -limit) return static_cast<u64>(-(i64{1} << (bits - 2)) * 2);
    return static_cast<u64>(static_cast<i64>(rounded));
  }
  if (rounded <= 0) return 0;
  if (rounded >= std::ldexp(1.0, static_cast<int>(bits))) return bits == 64 ? ~u64{0} : (u64{1} << bits) - 1;
  return static_cast<u64>(rounded);
}

u64 saturate_integer(const Value& value, u32 bits, bool is_signed) {
  const u64 top = is_signed ? (u64{1} << (bits - 1)) - 1 : bits == 64 ? ~u64{0} : (u64{1} << bits) - 1;
  const i64 bottom = is_signed ? -static_cast<i64>(top) - 1 : 0;
  if (value.is_signed) {
    const i64 v = static_cast<i64>(value.integer);
    if (v < bottom) return static_cast<u64>(bottom);
    return v > 0 && static_cast<u64>(v) > top ? top : value.integer;
  }
  return value.integer > top ? top : value.integer;
}

u64 read_register(Warp& warp, u32 offset, u32 width, u32 lane) {
  u64 bits = 0;
  std::memcpy(&bits, warp.registers + offset + lane * width, width);
  return bits;
}

float directed(double value, Rounding rounding) {  // double to float in a rounding mode
  const float nearest = static_cast<float>(value);
  if (rounding == Rounding::nearest || static_cast<double>(nearest) == value || std::isnan(value))
    return nearest;
  const bool is_above = static_cast<double>(nearest) > value;
  if (rounding == Rounding::down || (rounding == Rounding::zero && value > 0)) {
    return is_above ? std::nextafter(nearest, -INFINITY) : nearest;
  }
  return is_above ? nearest : std::nextafter(nearest, INFINITY);
}

// How the general handler finds its types: packed into Instruction fields.
//   size: source bytes, mode: source kind, count: destination bytes, extra: flags and destination kind.
struct Types {
  PtxType from, to;
  u32 from_width, to_width;
  Rounding rounding;
  bool is_saturated, rounds_to_integer, flushes, is_rectified, is_finite;
};
constexpr u32 k_saturated = 1, k_to_integer = 2, k_flushes = 4, k_rectified = 8, k_finite = 16;

Types unpack_types(const Instruction& i) {
  return {.from = {static_cast<PtxType::Kind>(i.mode), i.size},
          .to = {static_cast<PtxType::Kind>(i.extra >> 8), i.count},
          .from_width = i.target & 255,
          .to_width = i.target >> 8,
          .rounding = static_cast<Rounding>(i.b),
          .is_saturated = (i.extra & k_saturated) != 0,
          .rounds_to_integer = (i.extra & k_to_integer) != 0,
          .flushes = (i.extra & k_flushes) != 0,
          .is_rectified = (i.extra & k_rectified) != 0,
          .is_finite = (i.extra & k_finite) != 0};
}

Value read_value(u64 bits, const Types& t) {
  Value value;
  value.is_integer = t.from.is_integer();
  if (value.is_integer) {
    const u32 unused = 64 - 8 * t.from.bytes;
    value.is_signed = t.from.is_signed();
    value.integer = value.is_signed ? static_cast<u64>(static_cast<i64>(bits << unused) >> unused)
                                    : bits << unused >> unused;
    value.real = value.is_signed ? static_cast<double>(static_cast<i64>(value.integer))
                                 : static_cast<double>(value.integer);
  } else if (t.from.is_bf16()) {
    value.real = BF16::to_float(static_cast<u16>(bits));
  } else if (t.from.bytes == 2) {
    value.real = F16::to_float(static_cast<u16>(bits));
  } else if (t.from.bytes == 4) {
    value.real = bits_as<float>(static_cast<u32>(bits));
    if (t.flushes && std::fabs(value.real) < 0x1p-126) value.real = std::copysign(0.0, value.real);
  } else {
    value.real = bits_as<double>(bits);
  }
  return value;
}

/// A 64-bit integer to float or double directly: by way of another format it would be rounded twice.
template <class T>
T integer_to(const Value& value, Rounding rounding) {
  const i128 exact = value.is_signed ? i128{static_cast<i64>(value.integer)} : i128{value.integer};
  const T nearest = static_cast<T>(exact);
  const i128 found = static_cast<i128>(nearest);
  const bool wants_down = rounding == Rounding::down || (rounding == Rounding::zero && exact > 0);
  const bool wants_up = rounding == Rounding::up || (rounding == Rounding::zero && exact < 0);
  if (found > exact && wants_down) return std::nextafter(nearest, -std::numeric_limits<T>::infinity());
  if (found < exact && wants_up) return std::nextafter(nearest, std::numeric_limits<T>::infinity());
  return nearest;
}

/// A NaN from f64 keeps its sign and the upper part of its payload.
u16 narrow_nan(double nan, bool is_bf16) {
  const u64 bits = bits_as<u64>(nan);
  const u32 payload = static_cast<u32>(bits >> (is_bf16 ? 45 : 42)) & (is_bf16 ? 0x7fu : 0x3ffu);
  return static_cast<u16>((bits >> 48 & 0x8000u) | (is_bf16 ? 0x7fc0u : 0x7e00u) | payload);
}

u64 write_value(const Value& value, const Types& t) {
  const u32 bits = 8 * t.to.bytes;
  if (t.to.is_integer()) {
    u64 result = value.integer;
    if (!value.is_integer)
      result = to_integer(value.real, bits, t.to.is_signed(), t.from.bytes == 8, t.rounding);
    if (value.is_integer && t.is_saturated) result = saturate_integer(value, bits, t.to.is_signed());
    const u32 unused = 64 - bits;
    return t.to.is_signed() ? static_cast<u64>(static_cast<i64>(result << unused) >> unused)
                            : result << unused >> unused;
  }
  if (value.is_integer && t.from.bytes == 8 && t.to.bytes == 8)
    return bits_as<u64>(integer_to<double>(value, t.rounding));
  if (value.is_integer && t.from.bytes == 8 && t.to.is_f32())
    return bits_as<u32>(integer_to<float>(value, t.rounding));
  if (t.from.is_f64() && t.to.bytes == 2 && std::isnan(value.real) && !t.is_rectified)
    return narrow_nan(value.real, t.to.is_bf16());
  double real = value.real;
  if (t.rounds_to_integer) real = round_to_integer(real, t.rounding);
  if (t.is_saturated) real = real > 0 ? std::min(real, 1.0) : 0.0;
  if (t.is_rectified && real <= 0) real = 0.0;
  if (t.to.is_bf16())
    return t.is_finite ? narrow_finite<BF16>(real, t.rounding) : narrow<BF16>(real, t.rounding);
  if (t.to.bytes == 2)
    return t.is_finite ? narrow_finite<F16>(real, t.rounding) : narrow<F16>(real, t.rounding);
  if (t.to.bytes == 8)
    return bits_as<u64>(std::isnan(real) && t.flushes ? bits_as<double>(0x7fffffffe0000000ull) : real);
  float single = directed(real, t.rounding);
  if (std::isnan(single) && !t.from.is_f64()) return 0x7fffffffu;
  if (t.flushes && std::fabs(single) < 0x1p-126f) single = std::copysign(0.0f, single);
  return bits_as<u32>(single);
}

void convert_any(Warp& warp, const Instruction& i, Mask mask) {
  const Types types = unpack_types(i);
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 lane = lowest_lane(rest);
    const u64 bits = read_register(warp, i.a, types.from_width, lane);
    const u64 result = write_value(read_value(bits, types), types);
    std::memcpy(warp.registers + i.d + lane * types.to_width, &result, types.to_width);
  }
}

// Hot conversions.
template <class To>
struct Cast {
  template <class T>
  To operator()(T a) const {
    return static_cast<To>(a);
  }
};
template <class To, class Narrow>
struct CastLow {  // through the narrow source type
  template <class T>
  To operator()(T a) const {
    return static_cast<To>(static_cast<Narrow>(a));
  }
};
struct TruncateToInt {
  i32 operator()(float a) const {  // clamps, NaN becomes 0
    const float clamped = a < -2147483648.0f ? -2147483648.0f : a;
    const i32 v = _mm_cvttss_si32(_mm_set_ss(clamped));
    return a != a ? 0 : a >= 2147483648.0f ? INT32_MAX : v;
  }
};
template <class Format>
void widen_half(Warp& warp, const Instruction& i, Mask mask) {
  float out[k_lanes];
  Format::to_floats(lanes_of<u16>(warp, i.a), out, k_lanes);
  if constexpr (std::is_same_v<Format, F16>) {  // bf16 is shifted up, NaN or not
    KERNELITES_LANES(l) out[l] = out[l] != out[l] ? bits_as<float>(0x7fffffffu) : out[l];
  }
  write_lanes(lanes_of<float>(warp, i.d), out, mask);
}
template <class Format>
void narrow_float(Warp& warp, const Instruction& i, Mask mask) {
  u16 out[k_lanes];
  Format::from_floats(lanes_of<float>(warp, i.a), out, k_lanes);
  write_lanes(lanes_of<u16>(warp, i.d), out, mask);
}
Rounding rounding_of(const Statement& s, const PtxType& from, const PtxType& to) {
  if (s.has("rz") || s.has("rzi")) return Rounding::zero;
  if (s.has("rm") || s.has("rmi")) return Rounding::down;
  if (s.has("rp") || s.has("rpi")) return Rounding::up;
  if (s.has("rna")) return Rounding::away;
  const bool to_int_without_mode = !from.is_integer() && to.is_integer() && !s.has("rni") && !s.has("rn");
  return to_int_without_mode ? Rounding::zero : Rounding::nearest;
}

/// A handler for the conversions that kernels are full of; null if the general one must do it.
Handler hot_handler(const Statement& s, std::string_view to, std::string_view from, u32 to_width,
                    u32 from_width) {
  if (s.has("sat") || s.has("relu") || s.has("ftz") || s.has("satfinite")) return nullptr;
  const bool is_plain = s.parts.size() == 3, is_rn = s.parts.size() == 4 && s.parts[1] == "rn";
  if (to == "f32" && from == "f16" && is_plain) return widen_half<F16>;
  if (to == "f32" && from == "bf16" && is_plain) return widen_half<BF16>;
  if (to == "f16" && from == "f32" && is_rn) return narrow_float<F16>;
  if (to == "bf16" && from == "f32" && is_rn) return narrow_float<BF16>;
  if (to == "f64" && from == "f32" && is_plain) return unary<double, float, Cast<double>>;
  if (to == "f32" && from == "f64" && is_rn) return unary<float, double, Cast<float>>;
  if (to == "f32" && from == "s32" && is_rn) return unary<float, i32, Cast<float>>;
  if (to == "f64" && from == "s32" && is_rn) return unary<double, i32, Cast<double>>;
  if (to == "s32" && from == "f32" && s.parts.size() == 4 && s.parts[1] == "rzi")
    return unary<i32, float, TruncateToInt>;
  if (!is_plain) return nullptr;
  if (to_width == 8 && from_width == 4 && from == "s32" && (to == "s64" || to == "u64"))
    return unary<i64, i32, Cast<i64>>;
  if (to_width == 8 && from_width == 4 && from == "u32" && (to == "s64" || to == "u64"))
    return unary<u64, u32, Cast<u64>>;
  // The lower half of a 64-bit register, as every index of type int into memory ends.
  if (to_width == 8 && from_width == 8 && from == "s32" && (to == "s64" || to == "u64"))
    return unary<i64, u64, CastLow<i64, i32>>;
  if (to_width == 8 && from_width == 8 && from == "u32" && (to == "s64" || to == "u64"))
    return unary<u64, u64, CastLow<u64, u32>>;
  if (to_width == 4 && from_width == 8 && (to == "u32" || to == "s32") && from.ends_with("64"))
    return unary<u32, u64, Cast<u32>>;
  if (to_width == 4 && from_width == 2 && (to == "u32" || to == "s32") && from == "u16")
    return unary<u32, u16, Cast<u32>>;
  if (to_width == 4 && from_width == 2 && (to == "u32" || to == "s32") && from == "s16")
    return unary<i32, i16, Cast<i32>>;
  if (to_width == 2 && from_width == 4 && (to == "u16" || to == "s16") && from.ends_with("32"))
    return unary<u16, u32, Cast<u16>>;
  if (to_width == 4 && from_width == 2 && (to == "u32" || to == "s32") && from == "u8")
    return unary<u32, u16, CastLow<u32, u8>>;
  if (to_width == 4 && from_width == 2 && (to == "u32" || to == "s32") && from == "s8")
    return unary<u32, u16, CastLow<u32, i8>>;
  return nullptr;
}

bool decode_cvt(Decoder& d, const Statement& s, Instruction& i) {
  if (s.parts.size() < 3 || s.operands.size() < 2) return false;
  i.op_class = OpClass::conversion;
  const std::string_view to_name = s.parts[s.parts.size() - 2], from_name = s.parts.back();
  if (to_name == "tf32" || to_name.ends_with("x2") || from_name.ends_with("x2") || s.has("pack"))
    return decode_narrow(d, s, i);
  const PtxType to = type_of(to_name), from = type_of(from_name);
  if (to.kind >= PtxType::Kind::f16x2 || from.kind >= PtxType::Kind::f16x2 || s.operands.size() != 2)
    return false;
  const u32 to_width = d.register_width(s.operands[0], 0);
  const u32 from_width = d.register_width(s.operands[1], std::max<u32>(2, from.bytes));
  if (to_width < to.bytes || from_width < from.bytes || (!to.is_integer() && to_width != to.bytes) ||
      (!from.is_integer() && from_width != from.bytes)) {
    return false;
  }
  i.d = d.destination(s.operands[0], to_width);
  i.a = d.source(s.operands[1], from_width);
  i.handler = hot_handler(s, to_name, from_name, to_width, from_width);
  if (i.handler != nullptr) return true;
  const bool rounds = s.has("rni") || s.has("rzi") || s.has("rmi") || s.has("rpi");
  i.handler = convert_any;
  i.size = static_cast<u8>(from.bytes);
  i.mode = static_cast<u8>(from.kind);
  i.count = static_cast<u8>(to.bytes);
  i.b = static_cast<u32>(rounding_of(s, from, to));
  i.target = from_width | to_width << 8;
  i.extra = static_cast<u16>(static_cast<u32>(to.kind) << 8 | (s.has("sat") ? k_saturated : 0) |
                             (rounds ? k_to_integer : 0) | (s.has("ftz") ? k_flushes : 0) |
                             (s.has("relu") ? k_rectified : 0) | (s.has("satfinite") ? k_finite : 0));
  return true;
}

constexpr std::string_view k_cvt_modifiers =
    "u8 s8 tf32 e4m3x2 e5m2x2 rn rz rm rp rna rni rzi rmi rpi ftz sat satfinite relu pack";

constexpr InstructionRow k_rows[] = {
    {"cvt", k_all_types, k_cvt_modifiers, decode_cvt},
};

}  // namespace

std::span<const InstructionRow> convert_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
