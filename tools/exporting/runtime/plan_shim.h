// SPDX-License-Identifier: Apache-2.0
// CUDA's words for a host compiler that reads a plan: qualifiers without a meaning here, types that only have a size.
#pragma once

#include <initializer_list>  // lists in braces are of this type, whatever std is renamed to

#define __device__
#define __host__
#define __global__
#define __constant__
#define __shared__
#define __grid_constant__
#define __forceinline__ inline
#define __align__(bytes) alignas(bytes)
#define __launch_bounds__(...)
#undef __restrict__
#define __restrict__

struct __half {
  unsigned short bits;
};
struct __nv_bfloat16 {
  unsigned short bits;
};
struct alignas(4) __half2 {
  __half x, y;
};
struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};
typedef __half half;
typedef __half2 half2;
typedef __nv_bfloat16 nv_bfloat16;
typedef __nv_bfloat162 nv_bfloat162;
struct __nv_fp8_e4m3 {
  unsigned char bits;
};
struct __nv_fp8_e5m2 {
  unsigned char bits;
};

#define KERNELITES_VECTORS(type, name, two, four) \
  struct name##1 {                                \
    type x;                                       \
  };                                              \
  struct alignas(two) name##2 {                   \
    type x, y;                                    \
  };                                              \
  struct name##3 {                                \
    type x, y, z;                                 \
  };                                              \
  struct alignas(four) name##4 {                  \
    type x, y, z, w;                              \
  };
KERNELITES_VECTORS(signed char, char, 2, 4)
KERNELITES_VECTORS(unsigned char, uchar, 2, 4)
KERNELITES_VECTORS(short, short, 4, 8)
KERNELITES_VECTORS(unsigned short, ushort, 4, 8)
KERNELITES_VECTORS(int, int, 8, 16)
KERNELITES_VECTORS(unsigned int, uint, 8, 16)
KERNELITES_VECTORS(long long, longlong, 16, 16)
KERNELITES_VECTORS(unsigned long long, ulonglong, 16, 16)
KERNELITES_VECTORS(float, float, 8, 16)
KERNELITES_VECTORS(double, double, 16, 16)
#undef KERNELITES_VECTORS

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

// Names that kernelites/std.cuh takes up; no constant expression calls one.
#define KERNELITES_FUNCTION(name) \
  extern "C" double name(double); \
  extern "C" float name##f(float);
KERNELITES_FUNCTION(sqrt)
KERNELITES_FUNCTION(exp)
KERNELITES_FUNCTION(exp2)
KERNELITES_FUNCTION(expm1)
KERNELITES_FUNCTION(log)
KERNELITES_FUNCTION(log2)
KERNELITES_FUNCTION(log10)
KERNELITES_FUNCTION(log1p)
KERNELITES_FUNCTION(sin)
KERNELITES_FUNCTION(cos)
KERNELITES_FUNCTION(tanh)
KERNELITES_FUNCTION(erf)
KERNELITES_FUNCTION(floor)
KERNELITES_FUNCTION(ceil)
KERNELITES_FUNCTION(round)
KERNELITES_FUNCTION(trunc)
KERNELITES_FUNCTION(fabs)
#undef KERNELITES_FUNCTION
#define KERNELITES_FUNCTION(name)         \
  extern "C" double name(double, double); \
  extern "C" float name##f(float, float);
KERNELITES_FUNCTION(pow)
KERNELITES_FUNCTION(fmod)
KERNELITES_FUNCTION(fmax)
KERNELITES_FUNCTION(fmin)
#undef KERNELITES_FUNCTION
extern "C" double fma(double, double, double);
extern "C" float fmaf(float, float, float);
extern "C" void* memcpy(void*, const void*, decltype(sizeof 0));
extern "C" void* memset(void*, int, decltype(sizeof 0));
static inline bool isfinite(double x) { return x - x == 0; }
static inline bool isnan(double x) { return x != x; }
static inline bool isinf(double x) { return !isfinite(x) && !isnan(x); }
