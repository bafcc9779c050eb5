// SPDX-License-Identifier: Apache-2.0
// What only a device has of what the harness's kernels need; harness_host.cpp holds the host's twins of all of it.

__device__ __forceinline__ unsigned short to_f16(float value) {
  unsigned short half;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
  return half;
}
__device__ __forceinline__ float of_f16(unsigned short half) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
  return value;
}
#if __CUDA_ARCH__ >= 890
__device__ __forceinline__ unsigned char to_e4m3(float value) {
  unsigned short pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(value));
  return (unsigned char)pair;
}
__device__ __forceinline__ unsigned char to_e5m2(float value) {
  unsigned short pair;
  asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(value));
  return (unsigned char)pair;
}
__device__ __forceinline__ float of_e4m3(unsigned char code) {
  unsigned int halves;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"((unsigned short)code));
  return of_f16((unsigned short)halves);
}
__device__ __forceinline__ float of_e5m2(unsigned char code) {
  unsigned int halves;
  asm("cvt.rn.f16x2.e5m2x2 %0, %1;" : "=r"(halves) : "h"((unsigned short)code));
  return of_f16((unsigned short)halves);
}
#else  // no such instruction: an exported test is compiled for older devices too, and must not go on with other values
__device__ __forceinline__ unsigned char to_e4m3(float) { __trap(); return 0; }
__device__ __forceinline__ unsigned char to_e5m2(float) { __trap(); return 0; }
__device__ __forceinline__ float of_e4m3(unsigned char) { __trap(); return 0; }
__device__ __forceinline__ float of_e5m2(unsigned char) { __trap(); return 0; }
#endif

// Threads that share a vector, and their sum.
constexpr int k_lanes = 32;
__device__ __forceinline__ double sum_of_lanes(double sum) {
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  return sum;
}
