// SPDX-License-Identifier: Apache-2.0
// What the harness's kernels share: integer words, the counter-based generator, reading and writing of elements.
//
// The harness is one module: its files are joined in the order of harness_launch.cpp. Kernel names start with
// `harness_` and are refused in candidates, so that no launch can be mistaken for one of these. No headers: the module
// compiles with any toolkit in a few milliseconds.

using u32 = unsigned int;
using u64 = unsigned long long;
using i64 = long long;

// Values of kernelites::Dtype, in its order.
enum Dtype : int { f16, bf16, f32, f64, e4m3, e5m2, i8, u8, i32, i64_ };

__device__ __forceinline__ u64 mix(u64 x) {  // splitmix64's finaliser (Steele et al. 2014)
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

__device__ __forceinline__ float unit(u32 bits) { return (float)(bits >> 8) * 0x1p-24f; }  // [0, 1)

__device__ __forceinline__ float normal(u64 bits) {  // Box-Muller; u1 in (0, 1]
  const float u1 = 1.0f - unit((u32)bits), u2 = unit((u32)(bits >> 32));
  return sqrtf(-2.0f * __logf(u1)) * __cosf(6.2831853f * u2);
}

__device__ __forceinline__ void store(void* base, int dtype, i64 index, float value) {
  switch (dtype) {
    case f32: ((float*)base)[index] = value; break;
    case f64: ((double*)base)[index] = value; break;
    case bf16: {
      const u32 bits = __float_as_uint(value);  // round to nearest even; fills are finite
      ((unsigned short*)base)[index] = (unsigned short)((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
      break;
    }
    case f16: {
      unsigned short half;
      asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
      ((unsigned short*)base)[index] = half;
      break;
    }
    case e4m3:
    case e5m2: {
      unsigned short pair;
      if (dtype == e4m3) asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(value));
      else asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(value));
      ((unsigned char*)base)[index] = (unsigned char)pair;
      break;
    }
    case i8: ((signed char*)base)[index] = (signed char)__float2int_rn(value); break;
    case u8: ((unsigned char*)base)[index] = (unsigned char)__float2int_rn(value); break;
    case i32: ((int*)base)[index] = __float2int_rn(value); break;
    default: ((i64*)base)[index] = (i64)value; break;
  }
}

__device__ __forceinline__ double load(const void* base, int dtype, i64 index) {
  switch (dtype) {
    case f32: return ((const float*)base)[index];
    case f64: return ((const double*)base)[index];
    case bf16: return __uint_as_float((u32)((const unsigned short*)base)[index] << 16);
    case f16: {
      float value;
      asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(((const unsigned short*)base)[index]));
      return value;
    }
    case e4m3:
    case e5m2: {
      const unsigned short pair = ((const unsigned char*)base)[index];
      u32 halves;
      if (dtype == e4m3) asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(pair));
      else asm("cvt.rn.f16x2.e5m2x2 %0, %1;" : "=r"(halves) : "h"(pair));
      float value;
      asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"((unsigned short)halves));
      return value;
    }
    case i8: return ((const signed char*)base)[index];
    case u8: return ((const unsigned char*)base)[index];
    case i32: return ((const int*)base)[index];
    default: return (double)((const i64*)base)[index];
  }
}
