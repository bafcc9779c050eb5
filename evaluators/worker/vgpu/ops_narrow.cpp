// SPDX-License-Identifier: Apache-2.0
// cvt into and out of narrow formats: pairs of f16, bf16 and fp8, tf32, and packed integers.
#include <algorithm>
#include <cmath>
#include <limits>

#include "evaluators/worker/vgpu/fp8.h"
#include "evaluators/worker/vgpu/half.h"
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

// Instruction::mode of all handlers here.
constexpr u8 k_rectified = 1, k_toward_zero = 2, k_finite = 4, k_ties_away = 8;

inline float rectify(const Instruction& i, float x) {
  return (i.mode & k_rectified) != 0 && x <= 0 ? 0.0f : x;
}

/// cvt.rn.f16x2.f32 d, a, b: a becomes the upper half.
template <class Format>
void narrow_pair(Warp& warp, const Instruction& i, Mask mask) {
  const float *high = lanes_of<float>(warp, i.a), *low = lanes_of<float>(warp, i.b);
  u16 halves[2][k_lanes];
  if (i.mode == 0) {
    Format::from_floats(high, halves[0], k_lanes);
    Format::from_floats(low, halves[1], k_lanes);
  } else {
    const Rounding rounding = (i.mode & k_toward_zero) != 0 ? Rounding::zero : Rounding::nearest;
    auto convert = [&](float x) {
      x = rectify(i, x);
      return (i.mode & k_finite) != 0 ? narrow_finite<Format>(x, rounding) : narrow<Format>(x, rounding);
    };
    KERNELITES_LANES(l) {
      halves[0][l] = convert(high[l]);
      halves[1][l] = convert(low[l]);
    }
  }
  u32 out[k_lanes];
  KERNELITES_LANES(l) out[l] = u32{halves[0][l]} << 16 | halves[1][l];
  write_lanes(lanes_of<u32>(warp, i.d), out, mask);
}

template <int ExponentBits>
void fp8_from_floats(Warp& warp, const Instruction& i, Mask mask) {
  const float *high = lanes_of<float>(warp, i.a), *low = lanes_of<float>(warp, i.b);
  u16 out[k_lanes];
  auto encode = [&](float x) { return u16{fp8_from_float<ExponentBits>(rectify(i, x))}; };
  KERNELITES_LANES(l) out[l] = static_cast<u16>(encode(high[l]) << 8 | encode(low[l]));
  write_lanes(lanes_of<u16>(warp, i.d), out, mask);
}

template <int ExponentBits>
void fp8_from_halves(Warp& warp, const Instruction& i, Mask mask) {
  const u32* a = lanes_of<u32>(warp, i.a);
  u16 out[k_lanes];
  auto encode = [&](u32 half) {
    return u16{fp8_from_float<ExponentBits>(rectify(i, F16::to_float(static_cast<u16>(half))))};
  };
  KERNELITES_LANES(l) out[l] = static_cast<u16>(encode(a[l] >> 16) << 8 | encode(a[l]));
  write_lanes(lanes_of<u16>(warp, i.d), out, mask);
}

template <int ExponentBits>
void fp8_to_halves(Warp& warp, const Instruction& i, Mask mask) {
  const u16* a = lanes_of<u16>(warp, i.a);
  u32 out[k_lanes];
  auto decode = [&](u32 bits) {
    return u32{F16::from_float(rectify(i, fp8_to_float<ExponentBits>(static_cast<u8>(bits))))};
  };
  KERNELITES_LANES(l) out[l] = decode(a[l] >> 8) << 16 | decode(a[l] & 255);
  write_lanes(lanes_of<u32>(warp, i.d), out, mask);
}

/// f32 to tf32, which has 10 mantissa bits: the other 13 become zero.
void round_to_tf32(Warp& warp, const Instruction& i, Mask mask) {
  const u32* a = lanes_of<u32>(warp, i.a);
  u32 out[k_lanes];
  KERNELITES_LANES(l) {
    u32 bits = bits_as<u32>(rectify(i, bits_as<float>(a[l])));
    const u32 step = (i.mode & k_ties_away) != 0     ? 0x1000u
                     : (i.mode & k_toward_zero) != 0 ? 0u
                                                     : 0xfffu + (bits >> 13 & 1);
    const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u, is_finite = (bits & 0x7f800000u) != 0x7f800000u;
    bits = (is_finite ? bits + step : bits) & ~0x1fffu;
    if ((i.mode & k_finite) != 0 && (bits & 0x7f800000u) == 0x7f800000u)
      bits = (bits & 0x80000000u) | 0x7f7fe000u;
    out[l] = is_nan && (i.mode & k_ties_away) == 0 ? 0x7fffe000u : bits;  // .rna cuts a NaN off like a number
  }
  write_lanes(lanes_of<u32>(warp, i.d), out, mask);
}

/// cvt.pack.sat: a and b saturated to T; b in the low end; 8-bit results push c up by 16 bits.
template <class T>
void pack_saturated(Warp& warp, const Instruction& i, Mask mask) {
  constexpr u32 k_bits = 8 * sizeof(T);
  const i32 *a = lanes_of<i32>(warp, i.a), *b = lanes_of<i32>(warp, i.b);
  const u32* c = lanes_of<u32>(warp, i.c);
  auto saturate = [](i32 x) {
    const i32 bottom = std::numeric_limits<T>::min(), top = std::numeric_limits<T>::max();
    return static_cast<u32>(std::clamp(x, bottom, top)) & ((u32{1} << k_bits) - 1);
  };
  u32 out[k_lanes];
  KERNELITES_LANES(l) {
    out[l] = saturate(a[l]) << k_bits | saturate(b[l]);
    if (k_bits == 8) out[l] |= c[l] << 16;
  }
  write_lanes(lanes_of<u32>(warp, i.d), out, mask);
}

bool decode_pack(Decoder& d, const Statement& s, Instruction& i) {
  if (s.parts.size() < 5 || !s.has("sat") || s.parts[4] != "s32") return false;
  const std::string_view to = s.parts[3];
  const bool has_addend = s.operands.size() == 4;
  if (to == "s16") i.handler = pack_saturated<i16>;
  if (to == "u16") i.handler = pack_saturated<u16>;
  if (to == "s8" && has_addend) i.handler = pack_saturated<i8>;
  if (to == "u8" && has_addend) i.handler = pack_saturated<u8>;
  return place(d, s, i, i.handler, OpClass::conversion, has_addend ? 3 : 2, 4);
}

bool decode_from_floats(Decoder& d, const Statement& s, Instruction& i, std::string_view to) {
  if (s.operands.size() != 3) return false;
  i.a = d.source(s.operands[1], 4);
  i.b = d.source(s.operands[2], 4);
  if (to == "f16x2") i.handler = narrow_pair<F16>;
  if (to == "bf16x2") i.handler = narrow_pair<BF16>;
  if (to == "e4m3x2") i.handler = fp8_from_floats<4>;
  if (to == "e5m2x2") i.handler = fp8_from_floats<5>;
  i.d = d.destination(s.operands[0], to.starts_with('e') ? 2 : 4);
  return i.handler != nullptr;
}

}  // namespace

bool decode_narrow(Decoder& d, const Statement& s, Instruction& i) {
  i.op_class = OpClass::conversion;
  if (s.has("pack")) return decode_pack(d, s, i);
  const std::string_view to = s.parts[s.parts.size() - 2], from = s.parts.back();
  const bool is_fp8 = to == "e4m3x2" || to == "e5m2x2";
  if (s.has("rm") || s.has("rp") || s.has("sat") || s.has("ftz") || s.has("rni")) return false;
  if (is_fp8 && (!s.has("satfinite") || !s.has("rn"))) return false;
  if (to != "tf32" && s.has("rna")) return false;
  i.mode = static_cast<u8>((s.has("relu") ? k_rectified : 0) | (s.has("rz") ? k_toward_zero : 0) |
                           (s.has("satfinite") ? k_finite : 0) | (s.has("rna") ? k_ties_away : 0));
  if (to == "tf32") return from == "f32" && place(d, s, i, round_to_tf32, OpClass::conversion, 1, 4);
  if (from == "f32") return decode_from_floats(d, s, i, to);
  if (s.operands.size() != 2) return false;
  if (from == "f16x2" && is_fp8) {
    i.handler = to == "e4m3x2" ? fp8_from_halves<4> : fp8_from_halves<5>;
    i.d = d.destination(s.operands[0], 2);
    i.a = d.source(s.operands[1], 4);
    return true;
  }
  if (to == "f16x2" && (from == "e4m3x2" || from == "e5m2x2")) {
    i.handler = from == "e4m3x2" ? fp8_to_halves<4> : fp8_to_halves<5>;
    i.d = d.destination(s.operands[0], 4);
    i.a = d.source(s.operands[1], 2);
    return true;
  }
  return false;
}

}  // namespace kernelites::worker::vgpu
