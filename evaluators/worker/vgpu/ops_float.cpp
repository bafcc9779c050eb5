// SPDX-License-Identifier: Apache-2.0
// Arithmetic on f32 and f64, and the approximate functions of the MUFU unit.
//
// Exact operations round as IEEE and PTX say; .ftz flushes denormal inputs and results of f32. Approximate functions
// are computed more exactly than the device does (its documented error is 1-2 ulp or 2^-21 and so on), but with its
// flushes, its fixed-point phase of sine and cosine, and its 32-bit results for f64. NaNs of f32 are canonical, those
// of f64 keep their payload: what an H100 does (tests/vgpu/recorded).
#include <cmath>

#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/lanes.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return a + b;
  }
};
struct Subtract {
  template <class T>
  T operator()(T a, T b) const {
    return a - b;
  }
};
struct Multiply {
  template <class T>
  T operator()(T a, T b) const {
    return a * b;
  }
};
struct Divide {
  template <class T>
  T operator()(T a, T b) const {
    return a / b;
  }
};
struct FusedMultiplyAdd {
  float operator()(float a, float b, float c) const { return __builtin_fmaf(a, b, c); }
  double operator()(double a, double b, double c) const { return fused_multiply_add(a, b, c); }
};
template <class T>
using BitsOf = std::conditional_t<sizeof(T) == 4, u32, u64>;
// The number wins over a NaN, and -0 is less than +0.
struct Minimum {
  template <class T>
  T operator()(T a, T b) const {
    T r = a < b ? a : b;
    r = a == b ? bits_as<T>(BitsOf<T>(bits_as<BitsOf<T>>(a) | bits_as<BitsOf<T>>(b))) : r;
    r = a != a ? b : r;
    return b != b ? a : r;
  }
};
struct Maximum {
  template <class T>
  T operator()(T a, T b) const {
    T r = a > b ? a : b;
    r = a == b ? bits_as<T>(BitsOf<T>(bits_as<BitsOf<T>>(a) & bits_as<BitsOf<T>>(b))) : r;
    r = a != a ? b : r;
    return b != b ? a : r;
  }
};
template <class F>
struct NanWins {
  template <class T>
  T operator()(T a, T b) const {
    return a != a || b != b ? bits_as<T>(BitsOf<T>(sizeof(T) == 4 ? 0x7fffffffu : 0x7fffffffffffffffull))
                            : F{}(a, b);
  }
};
template <class F>
struct XorSign {  // .xorsign.abs: of the magnitudes, with the product's sign
  float operator()(float a, float b) const {
    const u32 sign = (bits_as<u32>(a) ^ bits_as<u32>(b)) & 0x80000000u;
    return bits_as<float>(bits_as<u32>(F{}(std::fabs(a), std::fabs(b))) | sign);
  }
};
template <class F>
struct Canonical {  // f32 results do not keep NaN payloads
  template <class... T>
  auto operator()(T... values) const {
    const auto r = F{}(values...);
    if constexpr (sizeof(r) == 4) {
      return r != r ? bits_as<float>(0x7fffffffu) : r;
    } else {
      return r;
    }
  }
};
// A NaN has no sign to change: f64 keeps it, made quiet.
struct Negate {
  float operator()(float a) const { return -a; }
  double operator()(double a) const { return a != a ? a + a : -a; }
};
struct Absolute {
  float operator()(float a) const { return bits_as<float>(bits_as<u32>(a) & 0x7fffffffu); }
  double operator()(double a) const {
    return a != a ? a + a : bits_as<double>(bits_as<u64>(a) & ~(1ull << 63));
  }
};
struct Reciprocal {
  template <class T>
  T operator()(T a) const {
    return T{1} / a;
  }
};
struct SquareRoot {
  float operator()(float a) const { return __builtin_sqrtf(a); }
  double operator()(double a) const { return __builtin_sqrt(a); }
};
struct ReciprocalSquareRoot {
  float operator()(float a) const { return 1.0f / __builtin_sqrtf(a); }
  double operator()(double a) const { return 1.0 / __builtin_sqrt(a); }
};
struct Log2 {
  float operator()(float a) const { return std::log2(a); }
};
/// The phase of sine and cosine: turns, cut to float and then to fixed point with 25 bits.
inline double phase_of(float a) {
  const double exact = static_cast<double>(a) * static_cast<double>(0.15915494f);
  float turns = static_cast<float>(exact);
  if (std::fabs(static_cast<double>(turns)) > std::fabs(exact)) turns = std::nextafter(turns, 0.0f);
  const double steps = std::trunc(static_cast<double>(turns) * 0x1p25);
  return std::isfinite(steps) ? std::fmod(steps, 0x1p25) * (2 * M_PI * 0x1p-25) : NAN;
}
struct Sine {
  float operator()(float a) const { return static_cast<float>(std::sin(phase_of(a))); }
};
struct Cosine {
  float operator()(float a) const { return static_cast<float>(std::cos(phase_of(a))); }
};
struct Tanh {
  float operator()(float a) const { return std::tanh(a); }
};
// 2^x: a polynomial on [-0.5, 0.5] (below 1 ulp) scaled in two steps, so that denormal results come out.
struct Exp2 {
  float operator()(float x) const {
    const float clamped = x > -151.0f ? (x < 129.0f ? x : 129.0f) : -151.0f;  // also of NaN
    const float whole = __builtin_floorf(clamped + 0.5f);
    const float f = clamped - whole;
    float p = 1.535336188319500e-4f;
    p = __builtin_fmaf(p, f, 1.339887440266574e-3f);
    p = __builtin_fmaf(p, f, 9.618437357674640e-3f);
    p = __builtin_fmaf(p, f, 5.550332471162809e-2f);
    p = __builtin_fmaf(p, f, 2.402264791363012e-1f);
    p = __builtin_fmaf(p, f, 6.931472028550421e-1f);
    p = __builtin_fmaf(p, f, 1.0f);
    const i32 n = static_cast<i32>(whole), half = n >> 1;
    const float r = p * bits_as<float>((half + 127) << 23) * bits_as<float>((n - half + 127) << 23);
    return x != x ? x : r;
  }
};

inline float flush(float x) {
  const u32 bits = bits_as<u32>(x);
  return bits_as<float>((bits & 0x7f800000u) == 0 ? bits & 0x80000000u : bits);
}
template <class F>
struct Flushed {
  float operator()(float a) const { return flush(F{}(flush(a))); }
  float operator()(float a, float b) const { return flush(F{}(flush(a), flush(b))); }
  float operator()(float a, float b, float c) const { return flush(F{}(flush(a), flush(b), flush(c))); }
};
template <class F>
struct Saturated {
  template <class... T>
  auto operator()(T... values) const {
    const auto r = F{}(values...);
    using R = decltype(r + r);
    return r > R{0} ? (r < R{1} ? R(r) : R{1}) : R{0};  // NaN becomes +0
  }
};

/// Runs a handler in another rounding mode (.rz, .rm, .rp).
template <Handler H, u32 Mode>
void in_rounding_mode(Warp& warp, const Instruction& i, Mask mask) {
  const Handler volatile handler = H;  // opaque, so that nothing of it moves across the changes of mode
  const u32 control = _mm_getcsr();
  _mm_setcsr((control & ~u32{_MM_ROUND_MASK}) | Mode);
  handler(warp, i, mask);
  _mm_setcsr(control);
}

template <Handler H>
Handler rounded(const Statement& s) {
  if (s.has("rz")) return in_rounding_mode<H, _MM_ROUND_TOWARD_ZERO>;
  if (s.has("rm")) return in_rounding_mode<H, _MM_ROUND_DOWN>;
  if (s.has("rp")) return in_rounding_mode<H, _MM_ROUND_UP>;
  return H;
}

template <class Plain>
Handler two_sources(const Statement& s, u32 bytes) {
  using F = Canonical<Plain>;
  if (bytes == 8) return rounded<binary<double, double, double, F>>(s);
  const bool is_saturated = s.has("sat");
  if (s.has("ftz")) {
    return is_saturated ? rounded<binary<float, float, float, Saturated<Flushed<F>>>>(s)
                        : rounded<binary<float, float, float, Flushed<F>>>(s);
  }
  return is_saturated ? rounded<binary<float, float, float, Saturated<F>>>(s)
                      : rounded<binary<float, float, float, F>>(s);
}

Handler fma_handler(const Statement& s, u32 bytes) {
  using F = Canonical<FusedMultiplyAdd>;
  if (bytes == 8) return rounded<ternary<double, double, double, double, F>>(s);
  const bool is_saturated = s.has("sat");
  if (s.has("ftz")) {
    return is_saturated ? rounded<ternary<float, float, float, float, Saturated<Flushed<F>>>>(s)
                        : rounded<ternary<float, float, float, float, Flushed<F>>>(s);
  }
  return is_saturated ? rounded<ternary<float, float, float, float, Saturated<F>>>(s)
                      : rounded<ternary<float, float, float, float, F>>(s);
}

/// The approximations of f64 work on the upper 32 bits and give as many.
inline double flush_double(double a) { return std::fabs(a) < 0x1p-1022 ? std::copysign(0.0, a) : a; }
template <class F>
struct UpperHalf {
  double operator()(double a) const {
    const double upper = bits_as<double>(bits_as<u64>(flush_double(a)) & ~0xffffffffull);
    const double result = flush_double(F{}(upper));
    if (result != result) return bits_as<double>(0x7fffffff00000000ull);
    return bits_as<double>((bits_as<u64>(result) + 0x80000000ull) & ~0xffffffffull);
  }
};

template <class Plain>
Handler one_source(const Statement& s, u32 bytes) {
  using F = Canonical<Plain>;
  if (bytes == 8) return rounded<unary<double, double, F>>(s);
  return s.has("ftz") ? rounded<unary<float, float, Flushed<F>>>(s) : rounded<unary<float, float, F>>(s);
}

template <class F>
Handler extremum(const Statement& s, u32 bytes) {
  if (s.has("xorsign") != s.has("abs")) return nullptr;
  if (s.has("xorsign")) {
    if (bytes != 4) return nullptr;
    const bool nan_wins = s.has("NaN");
    if (s.has("ftz"))
      return nan_wins ? Handler{binary<float, float, float, Canonical<Flushed<NanWins<XorSign<F>>>>>}
                      : Handler{binary<float, float, float, Canonical<Flushed<XorSign<F>>>>};
    return nan_wins ? Handler{binary<float, float, float, Canonical<NanWins<XorSign<F>>>>}
                    : Handler{binary<float, float, float, Canonical<XorSign<F>>>};
  }
  return s.has("NaN") ? two_sources<NanWins<F>>(s, bytes) : two_sources<F>(s, bytes);
}

OpClass class_of(u32 bytes) { return bytes == 8 ? OpClass::fp64 : OpClass::fp32; }

/// Functions of the MUFU unit on f32; tanh and ex2 on halves are in ops_half.cpp.
template <class F>
bool decode_special(Decoder& d, const Statement& s, Instruction& i) {
  const PtxType type = last_type(s);
  if (!type.is_f32()) return decode_half(d, s, i);
  return place(d, s, i,
               s.has("ftz") ? Handler{unary<float, float, Canonical<Flushed<F>>>}
                            : Handler{unary<float, float, Canonical<F>>},
               OpClass::special, 1, 4);
}

template <class F>
bool decode_root(Decoder& d, const Statement& s, Instruction& i) {
  const PtxType type = last_type(s);
  if (!type.is_f32() && !type.is_f64()) return false;
  if (type.is_f64() && s.has("ftz")) {
    return s.has("approx") && place(d, s, i, unary<double, double, UpperHalf<F>>, OpClass::special, 1, 8);
  }
  return place(d, s, i, one_source<F>(s, type.bytes), OpClass::special, 1, type.bytes);
}

bool decode_fma(Decoder& d, const Statement& s, Instruction& i) { return decode_float(d, s, i); }

/// testp.<class>: sets a predicate by the class of a number.
void test_property(Warp& warp, const Instruction& i, Mask mask) {
  Mask bits = 0;
  KERNELITES_LANES(l) {
    const double x =
        i.size == 8 ? lanes_of<double>(warp, i.a)[l] : static_cast<double>(lanes_of<float>(warp, i.a)[l]);
    const int kind = i.size == 8 ? std::fpclassify(x) : std::fpclassify(lanes_of<float>(warp, i.a)[l]);
    const bool holds = i.mode == 0   ? std::isfinite(x)
                       : i.mode == 1 ? std::isinf(x)
                       : i.mode == 2 ? !std::isnan(x)
                       : i.mode == 3 ? std::isnan(x)
                       : i.mode == 4 ? kind == FP_NORMAL || kind == FP_ZERO
                                     : kind == FP_SUBNORMAL;
    bits |= static_cast<Mask>(holds) << l;
  }
  write_predicate(warp, i.d, bits, mask);
}

bool decode_testp(Decoder& d, const Statement& s, Instruction& i) {
  static constexpr std::string_view k_names[] = {"finite",     "infinite", "number",
                                                 "notanumber", "normal",   "subnormal"};
  if (s.operands.size() < 2 || s.parts.size() < 3) return false;
  for (u8 mode = 0; mode < 6; ++mode) {
    if (s.parts[1] == k_names[mode]) i.mode = mode, i.handler = test_property;
  }
  i.size = static_cast<u8>(last_type(s).bytes);
  i.d = d.predicate_destination(s.operands[0]);
  i.a = d.source(s.operands[1], i.size);
  return i.handler != nullptr;
}

}  // namespace

bool decode_float(Decoder& d, const Statement& s, Instruction& i) {
  const PtxType type = last_type(s);
  if (!type.is_f32() && !type.is_f64()) return decode_half(d, s, i);
  if (s.parts.size() < 2) return false;
  const u32 bytes = type.bytes;
  const OpClass op_class = class_of(bytes);
  if (s.has("relu") || (bytes == 8 && (s.has("ftz") || s.has("sat")))) return false;
  if (s.is("add")) return place(d, s, i, two_sources<Add>(s, bytes), op_class, 2, bytes);
  if (s.is("sub")) return place(d, s, i, two_sources<Subtract>(s, bytes), op_class, 2, bytes);
  if (s.is("mul")) return place(d, s, i, two_sources<Multiply>(s, bytes), op_class, 2, bytes);
  if (s.is("fma") || s.is("mad")) return place(d, s, i, fma_handler(s, bytes), op_class, 3, bytes);
  if (s.is("div")) return place(d, s, i, two_sources<Divide>(s, bytes), OpClass::special, 2, bytes);
  if ((s.is("min") || s.is("max")) && s.operands.size() > 3) return false;  // three inputs: sm_100
  if (s.is("min")) return place(d, s, i, extremum<Minimum>(s, bytes), op_class, 2, bytes);
  if (s.is("max")) return place(d, s, i, extremum<Maximum>(s, bytes), op_class, 2, bytes);
  if (s.is("neg")) return place(d, s, i, one_source<Negate>(s, bytes), op_class, 1, bytes);
  if (s.is("abs")) return place(d, s, i, one_source<Absolute>(s, bytes), op_class, 1, bytes);
  return false;
}

namespace {

constexpr InstructionRow k_rows[] = {
    {"fma", k_float_types, "rn rz rm rp ftz sat relu", decode_fma},
    {"rcp", "f32 f64", "approx rn rz rm rp ftz", decode_root<Reciprocal>},
    {"sqrt", "f32 f64", "approx rn rz rm rp ftz", decode_root<SquareRoot>},
    {"rsqrt", "f32 f64", "approx ftz", decode_root<ReciprocalSquareRoot>},
    {"ex2", k_float_types, "approx ftz", decode_special<Exp2>},
    {"lg2", "f32", "approx ftz", decode_special<Log2>},
    {"sin", "f32", "approx ftz", decode_special<Sine>},
    {"cos", "f32", "approx ftz", decode_special<Cosine>},
    {"tanh", k_float_types, "approx", decode_special<Tanh>},
    {"testp", "f32 f64", "finite infinite number notanumber normal subnormal", decode_testp},
};

}  // namespace

std::span<const InstructionRow> float_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
