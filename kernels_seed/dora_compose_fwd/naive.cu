// SPDX-License-Identifier: Apache-2.0
// DoRA composition, a thread per element: y = (g - 1) base + g (scale lora), bf16 [M, N], g f32 [N].
//
// Technique: none. g - 1 is exact in float near 1, so the order of operations keeps what g * base - base would lose. The
// starting point of the ladder: any M and N.

// tune: THREADS = 256 | 128 | 512 | 1024

#include <cuda_bf16.h>

extern "C" __global__ void __launch_bounds__(THREADS)
dora_compose(const __nv_bfloat16* __restrict__ base, const __nv_bfloat16* __restrict__ lora, const float* __restrict__ g,
             __nv_bfloat16* __restrict__ y, int N, float scale) {
  const long long row = (long long)blockIdx.x * N;
  for (int n = threadIdx.x; n < N; n += THREADS) {
    const float from_base = __bfloat162float(base[row + n]), from_lora = __bfloat162float(lora[row + n]);
    y[row + n] = __float2bfloat16((g[n] - 1) * from_base + g[n] * (scale * from_lora));
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("dora_compose").grid(p.M).block(THREADS).arg(p.base).arg(p.lora).arg(p.g).arg(p.y).arg(p.N).arg(p.scale);
}
