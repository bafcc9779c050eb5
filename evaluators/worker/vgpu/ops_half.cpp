// SPDX-License-Identifier: Apache-2.0
// Arithmetic on f16, bf16 and their pairs.
//
// A pair register is an array of 64 halves. Sums and products of two halves are exact enough in float that rounding
// once more gives the right half; a fused multiply-add goes through double and round-to-odd.
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
struct FusedMultiplyAdd {
  float operator()(float a, float b, float c) const {
    return round_to_odd(static_cast<double>(a) * static_cast<double>(b) + static_cast<double>(c));
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

template <u32 Count>
void write_halves(Warp& warp, u32 offset, const u16* values, Mask mask) {
  if constexpr (Count == 32) {
    write_lanes(lanes_of<u16>(warp, offset), values, mask);
  } else {
    u32 pairs[k_lanes];
    std::memcpy(pairs, values, sizeof pairs);
    write_lanes(lanes_of<u32>(warp, offset), pairs, mask);
  }
}

template <class Format, u32 Count, class F>
void half_unary(Warp& warp, const Instruction& i, Mask mask) {
  float a[Count];
  u16 out[Count];
  Format::to_floats(lanes_of<u16>(warp, i.a), a, Count);
  for (u32 k = 0; k < Count; ++k) a[k] = F{}(a[k]);
  Format::from_floats(a, out, Count);
  write_halves<Count>(warp, i.d, out, mask);
}

template <class Format, u32 Count, class F>
void half_binary(Warp& warp, const Instruction& i, Mask mask) {
  float a[Count], b[Count];
  u16 out[Count];
  Format::to_floats(lanes_of<u16>(warp, i.a), a, Count);
  Format::to_floats(lanes_of<u16>(warp, i.b), b, Count);
  for (u32 k = 0; k < Count; ++k) a[k] = F{}(a[k], b[k]);
  Format::from_floats(a, out, Count);
  write_halves<Count>(warp, i.d, out, mask);
}

template <class Format, u32 Count, class F>
void half_ternary(Warp& warp, const Instruction& i, Mask mask) {
  float a[Count], b[Count], c[Count];
  u16 out[Count];
  Format::to_floats(lanes_of<u16>(warp, i.a), a, Count);
  Format::to_floats(lanes_of<u16>(warp, i.b), b, Count);
  Format::to_floats(lanes_of<u16>(warp, i.c), c, Count);
  for (u32 k = 0; k < Count; ++k) a[k] = F{}(a[k], b[k], c[k]);
  Format::from_floats(a, out, Count);
  write_halves<Count>(warp, i.d, out, mask);
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
  return s.has("NaN") ? binary_handler<NanWins<F>>(type) : binary_handler<F>(type);
}
Handler fma_handler(const Statement& s, const PtxType& type) {
  if (s.has("relu")) return ternary_handler<Rectified<FusedMultiplyAdd>>(type);
  return s.has("sat") ? ternary_handler<Clamped<FusedMultiplyAdd>>(type)
                      : ternary_handler<FusedMultiplyAdd>(type);
}

/// neg and abs change only sign bits: d = (a & keep) ^ flip on both halves.
template <class T>
void change_signs(Warp& warp, const Instruction& i, Mask mask) {
  const T sign = static_cast<T>(0x80008000u);
  const T* a = lanes_of<T>(warp, i.a);
  T out[k_lanes];
  KERNELITES_LANES(l) out[l] = static_cast<T>(i.mode != 0 ? a[l] & ~sign : a[l] ^ sign);
  write_lanes(lanes_of<T>(warp, i.d), out, mask);
}

}  // namespace

bool decode_half(Decoder& d, const Statement& s, Instruction& i) {
  const PtxType type = last_type(s);
  const bool is_half = (type.kind == PtxType::Kind::f && type.bytes == 2) || type.kind == PtxType::Kind::bf ||
                       type.kind == PtxType::Kind::f16x2 || type.kind == PtxType::Kind::bf16x2;
  if (!is_half || s.has("xorsign")) return false;
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
  if (s.is("neg") || s.is("abs")) {
    i.mode = s.is("abs");
    return placed(type.bytes == 4 ? Handler{change_signs<u32>} : Handler{change_signs<u16>}, 1);
  }
  return false;
}

}  // namespace kernelites::worker::vgpu
