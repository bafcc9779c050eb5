// SPDX-License-Identifier: Apache-2.0
// Warp-level arithmetic: mma.sync m16n8k16 and m16n8k32, packing, base-2 exponential.
#pragma once

#include <kernelites/std.cuh>

namespace kernelites::ptx {

// mma.sync (9.7.14.5.8): d += a b; a is 16 x k (row), b is k x 8 (column), d is 16 x 8. With group g = lane / 4 and
// t = lane % 4: a[0] holds row g, columns 2t, 2t+1; a[1] row g+8; a[2] row g, columns 2t+8, 2t+9; a[3] row g+8 of
// those. b[0] holds rows 2t, 2t+1 of column g; b[1] rows 2t+8, 2t+9. d[0], d[1] are row g, columns 2t, 2t+1; d[2],
// d[3] row g+8.
#define KERNELITES_MMA(name, instruction)                                                                   \
  __device__ __forceinline__ void name(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {   \
    asm volatile("mma.sync.aligned." instruction " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"   \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                           \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));                           \
  }
KERNELITES_MMA(mma_bf16, "m16n8k16.row.col.f32.bf16.bf16.f32")
KERNELITES_MMA(mma_f16, "m16n8k16.row.col.f32.f16.f16.f32")
KERNELITES_MMA(mma_e4m3, "m16n8k32.row.col.f32.e4m3.e4m3.f32")
#undef KERNELITES_MMA

/// Two floats as bf16 pairs, `low` in the low half, round to nearest even (9.7.9.22, cvt).
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}
__device__ __forceinline__ uint32_t pack_f16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}
/// The two halves of a bf16 pair as floats: a bf16 is the upper half of a float.
__device__ __forceinline__ float low_bf16(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high_bf16(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

/// 2^x on the special-function unit: relative error 2^-22; ex2(-inf) = 0 (9.7.3.22, ex2.approx.ftz).
__device__ __forceinline__ float ex2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
/// Base-2 logarithm on the special-function unit (9.7.3.21, lg2.approx.ftz).
__device__ __forceinline__ float lg2(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace kernelites::ptx
