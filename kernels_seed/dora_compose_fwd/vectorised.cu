// SPDX-License-Identifier: Apache-2.0
// DoRA composition with 16-byte loads: y = (g - 1) base + g (scale lora), bf16 [M, N], g f32 [N].
//
// Technique: a thread takes eight neighbouring channels of ROWS rows: it loads their magnitudes once, and all rows' base
// and adapter vectors are in flight before the first is used. Widths that are not a multiple of eight take the scalar
// kernel.
//
// Ladder:
//   naive.cu        a thread per element, two bytes a load
//   this file       16-byte loads past L1, magnitudes kept for ROWS rows, ROWS pairs of loads in flight

// tune: THREADS = 256 | 128 | 512
// tune: ROWS = 4 | 2 | 8

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int CHANNELS = 8;  // of one 16-byte vector

__device__ __forceinline__ unsigned composed(unsigned base, unsigned lora, float low, float high, float scale) {
  const float first = (low - 1) * ptx::low_bf16(base) + low * (scale * ptx::low_bf16(lora));
  const float second = (high - 1) * ptx::high_bf16(base) + high * (scale * ptx::high_bf16(lora));
  return ptx::pack_bf16(first, second);
}

extern "C" __global__ void __launch_bounds__(THREADS)
dora_vectors(const uint4* __restrict__ base, const uint4* __restrict__ lora, const float4* __restrict__ g,
             uint4* __restrict__ y, int M, int vectors, float scale) {
  const int n = blockIdx.x * THREADS + threadIdx.x, first = blockIdx.y * ROWS;
  if (n >= vectors) return;
  const float4 low = g[n * 2], high = g[n * 2 + 1];
  uint4 from_base[ROWS], from_lora[ROWS];
#pragma unroll
  for (int i = 0; i < ROWS; ++i) {
    const long long at = (long long)min(first + i, M - 1) * vectors + n;
    from_base[i] = __ldcs(base + at);
    from_lora[i] = __ldcs(lora + at);
  }
#pragma unroll
  for (int i = 0; i < ROWS; ++i) {
    if (first + i >= M) break;
    const uint4 result = {composed(from_base[i].x, from_lora[i].x, low.x, low.y, scale),
                          composed(from_base[i].y, from_lora[i].y, low.z, low.w, scale),
                          composed(from_base[i].z, from_lora[i].z, high.x, high.y, scale),
                          composed(from_base[i].w, from_lora[i].w, high.z, high.w, scale)};
    __stcs(y + (long long)(first + i) * vectors + n, result);
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
dora_scalars(const unsigned short* __restrict__ base, const unsigned short* __restrict__ lora,
             const float* __restrict__ g, unsigned short* __restrict__ y, int N, float scale) {
  const long long row = (long long)blockIdx.y * N;
  const int n = blockIdx.x * THREADS + threadIdx.x;
  if (n < N) y[row + n] = (unsigned short)composed(base[row + n], lora[row + n], g[n], 0, scale);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (p.N % CHANNELS == 0) {
    const int vectors = p.N / CHANNELS;
    plan.launch("dora_vectors").grid(kl::cdiv(vectors, THREADS), kl::cdiv(p.M, ROWS)).block(THREADS)
        .arg(p.base).arg(p.lora).arg(p.g).arg(p.y).arg(p.M).arg(vectors).arg(p.scale);
  } else {
    if (!plan.require(p.M <= 65535, "odd widths take at most 65535 rows")) return;
    plan.launch("dora_scalars").grid(kl::cdiv(p.N, THREADS), p.M).block(THREADS)
        .arg(p.base).arg(p.lora).arg(p.g).arg(p.y).arg(p.N).arg(p.scale);
  }
}
