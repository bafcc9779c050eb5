// SPDX-License-Identifier: Apache-2.0
// Merge of partial attention states, a block per row: o_part [N, P, H, D] (bf16), lse_part [N, P, H] -> o, lse.
//
// Technique: a block takes one (token, head), a thread one channel after the other; maximum, sum and weighted sum are
// three walks over the states. Every access is two bytes wide: the starting point of the ladder.

// tune: THREADS = 128 | 64 | 256

#include <cuda_bf16.h>

extern "C" __global__ void __launch_bounds__(THREADS)
merge_naive(const __nv_bfloat16* __restrict__ o_part, const float* __restrict__ lse_part, __nv_bfloat16* __restrict__ o,
            float* __restrict__ lse, int P, int H, int D) {
  const int h = blockIdx.x;
  const long long n = blockIdx.y + (long long)blockIdx.z * gridDim.y, row = n * H + h;
  float max = -INFINITY, sum = 0;
  for (int p = 0; p < P; ++p) max = fmaxf(max, lse_part[(n * P + p) * H + h]);
  const float base = max == -INFINITY ? 0.0f : max;  // without any state all weights are exp(-infinity) = 0
  for (int p = 0; p < P; ++p) sum += expf(lse_part[(n * P + p) * H + h] - base);
  for (int d = threadIdx.x; d < D; d += THREADS) {
    float value = 0;
    for (int p = 0; p < P; ++p) {
      const float weight = expf(lse_part[(n * P + p) * H + h] - base);
      value += weight * __bfloat162float(o_part[((n * P + p) * H + h) * D + d]);
    }
    o[row * D + d] = __float2bfloat16(sum > 0 ? value / sum : 0.0f);
  }
  if (threadIdx.x == 0) lse[row] = sum > 0 ? base + logf(sum) : -INFINITY;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const long long y = p.N % 4096 == 0 ? 4096 : p.N;  // a grid's second and third axes are at most 65535 long
  plan.launch("merge_naive").grid(p.H, y, p.N / y).block(THREADS)
      .arg(p.o_part).arg(p.lse_part).arg(p.o).arg(p.lse).arg(p.P).arg(p.H).arg(p.D);
}
