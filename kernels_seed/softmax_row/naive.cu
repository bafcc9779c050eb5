// SPDX-License-Identifier: Apache-2.0
// Softmax, one block per row, scalar loads: y[m, n] = exp(x[m, n] - max) / sum, bf16 [M, N].
//
// Technique: every thread strides over the row three times: for the maximum, for the sum, for the output. The starting
// point of the ladder: any M and N, no tricks.

// tune: THREADS = 256 | 128 | 512 | 1024

#include <cuda_bf16.h>

/// Maximum or sum over the block, in every thread.
template <bool is_max>
__device__ float block_reduce(float value) {
  __shared__ float partial[THREADS];
  partial[threadIdx.x] = value;
  __syncthreads();  // every partial value is visible
  for (int half = THREADS / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) {
      const float other = partial[threadIdx.x + half];
      partial[threadIdx.x] = is_max ? fmaxf(partial[threadIdx.x], other) : partial[threadIdx.x] + other;
    }
    __syncthreads();  // this level's values are visible
  }
  return partial[0];
}

extern "C" __global__ void __launch_bounds__(THREADS)
softmax(const __nv_bfloat16* __restrict__ x, __nv_bfloat16* __restrict__ y, int N) {
  x += (long long)blockIdx.x * N;
  y += (long long)blockIdx.x * N;
  float max = -INFINITY;
  for (int n = threadIdx.x; n < N; n += THREADS) max = fmaxf(max, __bfloat162float(x[n]));
  max = block_reduce<true>(max);
  float sum = 0;
  for (int n = threadIdx.x; n < N; n += THREADS) sum += expf(__bfloat162float(x[n]) - max);
  sum = block_reduce<false>(sum);
  for (int n = threadIdx.x; n < N; n += THREADS) y[n] = __float2bfloat16(expf(__bfloat162float(x[n]) - max) / sum);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("softmax").grid(p.M).block(THREADS).arg(p.x).arg(p.y).arg(p.N);
}
