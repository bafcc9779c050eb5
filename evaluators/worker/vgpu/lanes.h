// SPDX-License-Identifier: Apache-2.0
// How handlers touch registers: templates over "for all 32 lanes" that the compiler turns into AVX2.
//
// For handler files. They, and the headers that are for them, switch AVX2, FMA and F16C on by a pragma behind their
// includes, so that nothing of the standard library is compiled with them: parse() refuses a CPU without them before a
// handler can run, and the rest of the program stays plain x86-64.
#pragma once

#include <immintrin.h>

#include "evaluators/worker/vgpu/warp.h"

#pragma GCC push_options
#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {

#define KERNELITES_LANES(lane) for (u32 lane = 0; lane < k_lanes; ++lane)

/// fma of f64: exact as IEEE says; of several NaNs the device hands on b, then c, then a, made quiet.
inline double fused_multiply_add(double a, double b, double c) {
  const double result = __builtin_fma(a, b, c);
  if (result == result) return result;
  return b != b ? b + b : c != c ? c + c : result;
}

/// A register of type T at an arena offset.
template <class T>
inline T* lanes_of(Warp& warp, u32 offset) {
  return reinterpret_cast<T*>(warp.registers + offset);
}

inline bool is_active(Mask mask, u32 lane) { return (mask >> lane & 1) != 0; }

/// Writes the active lanes of `values` to a register.
template <class T>
inline void write_lanes(T* __restrict destination, const T* __restrict values, Mask mask) {
  if (mask == k_all_lanes) {
    std::memcpy(destination, values, k_lanes * sizeof(T));
  } else {
    KERNELITES_LANES(l) destination[l] = is_active(mask, l) ? values[l] : destination[l];
  }
}

/// Writes the active bits of a predicate.
inline void write_predicate(Warp& warp, u32 offset, Mask bits, Mask mask) {
  Mask& predicate = *lanes_of<Mask>(warp, offset);
  predicate = (predicate & ~mask) | (bits & mask);
}

inline Mask read_predicate(Warp& warp, u32 offset) { return *lanes_of<Mask>(warp, offset); }

/// d = F(a): handler of an instruction with one source.
template <class D, class A, class F>
void unary(Warp& warp, const Instruction& i, Mask mask) {
  const A* a = lanes_of<A>(warp, i.a);
  D out[k_lanes];
  KERNELITES_LANES(l) out[l] = static_cast<D>(F{}(a[l]));
  write_lanes(lanes_of<D>(warp, i.d), out, mask);
}

/// d = F(a, b).
template <class D, class A, class B, class F>
void binary(Warp& warp, const Instruction& i, Mask mask) {
  const A* a = lanes_of<A>(warp, i.a);
  const B* b = lanes_of<B>(warp, i.b);
  D out[k_lanes];
  KERNELITES_LANES(l) out[l] = static_cast<D>(F{}(a[l], b[l]));
  write_lanes(lanes_of<D>(warp, i.d), out, mask);
}

/// d = F(a, b, c).
template <class D, class A, class B, class C, class F>
void ternary(Warp& warp, const Instruction& i, Mask mask) {
  const A* a = lanes_of<A>(warp, i.a);
  const B* b = lanes_of<B>(warp, i.b);
  const C* c = lanes_of<C>(warp, i.c);
  D out[k_lanes];
  KERNELITES_LANES(l) out[l] = static_cast<D>(F{}(a[l], b[l], c[l]));
  write_lanes(lanes_of<D>(warp, i.d), out, mask);
}

/// d = F(a, b, c, e).
template <class D, class A, class B, class C, class E, class F>
void quaternary(Warp& warp, const Instruction& i, Mask mask) {
  const A* a = lanes_of<A>(warp, i.a);
  const B* b = lanes_of<B>(warp, i.b);
  const C* c = lanes_of<C>(warp, i.c);
  const E* e = lanes_of<E>(warp, i.e);
  D out[k_lanes];
  KERNELITES_LANES(l) out[l] = static_cast<D>(F{}(a[l], b[l], c[l], e[l]));
  write_lanes(lanes_of<D>(warp, i.d), out, mask);
}

/// The handler of F for unsigned or signed integers of `bytes`; null for other sizes.
template <class F>
Handler unary_by_size(u32 bytes, bool is_signed) {
  switch (bytes) {
    case 2:
      return is_signed ? Handler{unary<i16, i16, F>} : Handler{unary<u16, u16, F>};
    case 4:
      return is_signed ? Handler{unary<i32, i32, F>} : Handler{unary<u32, u32, F>};
    case 8:
      return is_signed ? Handler{unary<i64, i64, F>} : Handler{unary<u64, u64, F>};
    default:
      return nullptr;
  }
}
template <class F>
Handler binary_by_size(u32 bytes, bool is_signed) {
  switch (bytes) {
    case 2:
      return is_signed ? Handler{binary<i16, i16, i16, F>} : Handler{binary<u16, u16, u16, F>};
    case 4:
      return is_signed ? Handler{binary<i32, i32, i32, F>} : Handler{binary<u32, u32, u32, F>};
    case 8:
      return is_signed ? Handler{binary<i64, i64, i64, F>} : Handler{binary<u64, u64, u64, F>};
    default:
      return nullptr;
  }
}
template <class F>
Handler ternary_by_size(u32 bytes, bool is_signed) {
  switch (bytes) {
    case 2:
      return is_signed ? Handler{ternary<i16, i16, i16, i16, F>} : Handler{ternary<u16, u16, u16, u16, F>};
    case 4:
      return is_signed ? Handler{ternary<i32, i32, i32, i32, F>} : Handler{ternary<u32, u32, u32, u32, F>};
    case 8:
      return is_signed ? Handler{ternary<i64, i64, i64, i64, F>} : Handler{ternary<u64, u64, u64, u64, F>};
    default:
      return nullptr;
  }
}

}  // namespace kernelites::worker::vgpu

#pragma GCC pop_options
