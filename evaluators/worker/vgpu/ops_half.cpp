// SPDX-License-Identifier: Apache-2.0
// Arithmetic on f16, bf16 and their pairs.
//
// A pair register is an array of 64 halves. Sums and products of two halves are exact enough in float that rounding
// once more gives the right half; a fused multiply-add goes through double and round-to-odd. NaN results are canonical.
#include <cmath>

#include "evaluators/worker/vgpu/half.h"
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

struct Add {
  float operator()(float a, float b) const { return a + b; }
};
struct Subtract {
  float operator()(float a, float b) const { return a - b; }
};
struct Multiply {
  float operator()(float a, float b) const { return a * b; }
};
struct Minimum {
  float operator()(float a, float b) const {
    float r = a < b ? a : b;
    r = a == b ? bits_as<float>(bits_as<u32>(a) | bits_as<u32>(b)) : r;
    r = a != a ? b : r;
    return b != b ? a : r;
  }
};
struct Maximum {
  float operator()(float a, float b) const {
    float r = a > b ? a : b;
    r = a == b ? bits_as<float>(bits_as<u32>(a) & bits_as<u32>(b)) : r;
    r = a != a ? b : r;
    return b != b ? a : r;
  }
};
template <class F>
struct NanWins {
  float operator()(float a, float b) const {
    return a != a || b != b ? bits_as<float>(0x7fffffffu) : F{}(a, b);
  }
};
template <class F>
struct XorSign {  // .xorsign.abs: of the magnitudes, with the product's sign
  float operator()(float a, float b) const {
    const u32 sign = (bits_as<u32>(a) ^ bits_as<u32>(b)) & 0x80000000u;
    const float r = F{}(std::fabs(a), std::fabs(b));
    return bits_as<float>(bits_as<u32>(r) | sign);
  }
};
struct FusedMultiplyAdd {
  float operator()(float a, float b, float c) const {
    const double product = static_cast<double>(a) * static_cast<double>(b), addend = static_cast<double>(c);
    double sum = product + addend;
    const double part = sum - product;
    const double error =
        (product - (sum - part)) + (addend - part);  // what the sum lost: bf16 spans 500 binades
    const u64 bits = bits_as<u64>(sum);
    if (error != 0.0 && (bits & 1) == 0 && std::isfinite(sum)) {
      sum = bits_as<double>((error > 0) == (sum > 0) ? bits + 1 : bits - 1);
    }
    return round_to_odd(sum);
  }
};
template <class F>
struct Clamped {  // .sat
  template <class... T>
  float operator()(T... v) const {
    const float r = F{}(v...);
    return r > 0.0f ? (r < 1.0f ? r : 1.0f) : 0.0f;
  }
};
template <class F>
struct Rectified {  // .relu
  template <class... T>
  float operator()(T... v) const {
    const float r = F{}(v...);
    return r != r ? bits_as<float>(0x7fffffffu) : r > 0.0f ? r : 0.0f;
  }
};
struct Exp2 {
  float operator()(float a) const { return std::exp2(a); }
};
struct Tanh {
  float operator()(float a) const { return std::tanh(a); }
};

/// Instruction::flags: .ftz: denormals become zeros with their sign.
constexpr u8 k_flushes = 4;

template <class Format, u32 Count>
void read_halves(Warp& warp, const Instruction& i, u32 offset, float* values) {
  Format::to_floats(lanes_of<u16>(warp, offset), values, Count);
  if ((i.flags & k_flushes) == 0) return;
  for (u32 k = 0; k < Count; ++k)
    values[k] = std::fabs(values[k]) < Format::k_least_normal ? std::copysign(0.0f, values[k]) : values[k];
}

template <class Format, u32 Count>
void write_halves(Warp& warp, const Instruction& i, const float* values, Mask mask) {
  u16 halves[Count];
  Format::from_floats(values, halves, Count);
  if ((i.flags & k_flushes) != 0) {
    for (u32 k = 0; k < Count; ++k)
      halves[k] = static_cast<u16>((halves[k] & Format::k_exponent) == 0 ? halves[k] & 0x8000u : halves[k]);
  }
  if constexpr (Count == 32) {
    write_lanes(lanes_of<u16>(warp, i.d), halves, mask);
  } else {
    u32 pairs[k_lanes];
    std::memcpy(pairs, halves, sizeof pairs);
    write_lanes(lanes_of<u32>(warp, i.d), pairs, mask);
  }
}

template <class Format, u32 Count, class F>
void half_unary(Warp& warp, const Instruction& i, Mask mask) {
  float a[Count];
  read_halves<Format, Count>(warp, i, i.a, a);
  for (u32 k = 0; k < Count; ++k) a[k] = F{}(a[k]);
  write_halves<Format, Count>(warp, i, a, mask);
}

template <class Format, u32 Count, class F>
void half_binary(Warp& warp, const Instruction& i, Mask mask) {
  float a[Count], b[Count];
  read_halves<Format, Count>(warp, i, i.a, a);
  read_halves<Format, Count>(warp, i, i.b, b);
  for (u32 k = 0; k < Count; ++k) a[k] = F{}(a[k], b[k]);
  write_halves<Format, Count>(warp, i, a, mask);
}

template <class Format, u32 Count, class F>
void half_ternary(Warp& warp, const Instruction& i, Mask mask) {
  float a[Count], b[Count], c[Count];
  read_halves<Format, Count>(warp, i, i.a, a);
  read_halves<Format, Count>(warp, i, i.b, b);
  read_halves<Format, Count>(warp, i, i.c, c);
  for (u32 k = 0; k < Count; ++k) a[k] = F{}(a[k], b[k], c[k]);
  write_halves<Format, Count>(warp, i, a, mask);
}

template <class F>
Handler unary_handler(const PtxType& type) {
  switch (type.kind) {
    case PtxType::Kind::f:
      return half_unary<F16, 32, F>;
    case PtxType::Kind::bf:
      return half_unary<BF16, 32, F>;
    case PtxType::Kind::f16x2:
      return half_unary<F16, 64, F>;
    case PtxType::Kind::bf16x2:
      return half_unary<BF16, 64, F>;
    default:
      return nullptr;
  }
}
template <class F>
Handler binary_handler(const PtxType& type) {
  switch (type.kind) {
    case PtxType::Kind::f:
      return half_binary<F16, 32, F>;
    case PtxType::Kind::bf:
      return half_binary<BF16, 32, F>;
    case PtxType::Kind::f16x2:
      return half_binary<F16, 64, F>;
    case PtxType::Kind::bf16x2:
      return half_binary<BF16, 64, F>;
    default:
      return nullptr;
  }
}
template <class F>
Handler ternary_handler(const PtxType& type) {
  switch (type.kind) {
    case PtxType::Kind::f:
      return half_ternary<F16, 32, F>;
    case PtxType::Kind::bf:
      return half_ternary<BF16, 32, F>;
    case PtxType::Kind::f16x2:
      return half_ternary<F16, 64, F>;
    case PtxType::Kind::bf16x2:
      return half_ternary<BF16, 64, F>;
    default:
      return nullptr;
  }
}

template <class F>
Handler arithmetic(const Statement& s, const PtxType& type) {
  return s.has("sat") ? binary_handler<Clamped<F>>(type) : binary_handler<F>(type);
}
template <class F>
Handler extremum(const Statement& s, const PtxType& type) {
  if (s.has("xorsign") != s.has("abs")) return nullptr;
  if (s.has("xorsign"))
    return s.has("NaN") ? binary_handler<NanWins<XorSign<F>>>(type) : binary_handler<XorSign<F>>(type);
  return s.has("NaN") ? binary_handler<NanWins<F>>(type) : binary_handler<F>(type);
}
Handler fma_handler(const Statement& s, const PtxType& type) {
  if (s.has("relu") && s.has("sat")) return nullptr;
  if (s.has("relu")) return ternary_handler<Rectified<FusedMultiplyAdd>>(type);
  return s.has("sat") ? ternary_handler<Clamped<FusedMultiplyAdd>>(type)
                      : ternary_handler<FusedMultiplyAdd>(type);
}

struct Negate {
  float operator()(float a) const { return -a; }
};
struct Absolute {
  float operator()(float a) const { return std::fabs(a); }
};

}  // namespace

bool decode_half(Decoder& d, const Statement& s, Instruction& i) {
  const PtxType type = last_type(s);
  const bool is_half = (type.kind == PtxType::Kind::f && type.bytes == 2) || type.kind == PtxType::Kind::bf ||
                       type.kind == PtxType::Kind::f16x2 || type.kind == PtxType::Kind::bf16x2;
  if (!is_half || s.has("rz") || s.has("rm") || s.has("rp")) return false;
  i.flags = s.has("ftz") ? k_flushes : 0;
  auto placed = [&](Handler handler, u32 sources, OpClass op_class = OpClass::fp16) {
    return place(d, s, i, handler, op_class, sources, type.bytes);
  };
  if (s.is("add")) return placed(arithmetic<Add>(s, type), 2);
  if (s.is("sub")) return placed(arithmetic<Subtract>(s, type), 2);
  if (s.is("mul")) return placed(arithmetic<Multiply>(s, type), 2);
  if (s.is("fma")) return placed(fma_handler(s, type), 3);
  if (s.is("min")) return placed(extremum<Minimum>(s, type), 2);
  if (s.is("max")) return placed(extremum<Maximum>(s, type), 2);
  if (s.is("ex2")) return placed(unary_handler<Exp2>(type), 1, OpClass::special);
  if (s.is("tanh")) return placed(unary_handler<Tanh>(type), 1, OpClass::special);
  if (s.is("neg")) return placed(unary_handler<Negate>(type), 1);
  if (s.is("abs")) return placed(unary_handler<Absolute>(type), 1);
  return false;
}

}  // namespace kernelites::worker::vgpu
