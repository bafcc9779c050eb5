// SPDX-License-Identifier: Apache-2.0
// RMSNorm, one block per row, scalar loads: y[m, n] = x[m, n] * rsqrt(mean(x[m, :]^2) + eps) * w[n], bf16 [M, N].
//
// Technique: every thread strides over the row twice, once for the sum of squares, once for the output. The starting
// point of the ladder: any M and N, no tricks.

// tune: THREADS = 256 | 128 | 512 | 1024

#include <cuda_bf16.h>

extern "C" __global__ void __launch_bounds__(THREADS)
rmsnorm(const __nv_bfloat16* __restrict__ x, const __nv_bfloat16* __restrict__ w, __nv_bfloat16* __restrict__ y, int N,
        float eps) {
  __shared__ float partial[THREADS];
  const int tid = threadIdx.x;
  x += (long long)blockIdx.x * N;
  y += (long long)blockIdx.x * N;

  float sum = 0;
  for (int n = tid; n < N; n += THREADS) {
    const float value = __bfloat162float(x[n]);
    sum += value * value;
  }
  partial[tid] = sum;
  __syncthreads();  // every partial sum is visible
  for (int half = THREADS / 2; half > 0; half /= 2) {
    if (tid < half) partial[tid] += partial[tid + half];
    __syncthreads();  // this level's sums are visible
  }

  const float factor = rsqrtf(partial[0] / N + eps);
  for (int n = tid; n < N; n += THREADS) {
    y[n] = __float2bfloat16(__bfloat162float(x[n]) * factor * __bfloat162float(w[n]));
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("rmsnorm").grid(p.M).block(THREADS).arg(p.x).arg(p.w).arg(p.y).arg(p.N).arg(p.eps);
}
