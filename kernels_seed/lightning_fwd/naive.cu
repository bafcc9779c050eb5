// SPDX-License-Identifier: Apache-2.0
// Lightning attention, token after token: q, k, v [B, H, T, D] (bf16) with a decay per head, o and the final state.
//
// Technique: the recurrence as it is written. A block takes one head, a thread one column of the state in registers;
// TOKENS queries and keys at a time are staged in shared memory. One token depends on the one before, so that long
// sequences of few heads leave the device idle: the starting point of the ladder.

// tune: TOKENS = 16 | 8 | 32

#include <cuda_bf16.h>

template <int D>
__global__ void __launch_bounds__(D)
lightning_naive(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k,
                const __nv_bfloat16* __restrict__ v, const float* __restrict__ slope, const float* __restrict__ s0,
                __nv_bfloat16* __restrict__ o, float* __restrict__ state, int H, int T, float scale) {
  __shared__ __align__(16) float q_tile[TOKENS][D], k_tile[TOKENS][D];
  const int e = threadIdx.x;
  const long long head = blockIdx.x;
  // As near as a float can be: its error grows with the tokens, 32768 times for the first of them.
  const float decay = (float)exp(-(double)slope[head % H]);
  q += head * T * D;
  k += head * T * D;
  v += head * T * D;
  o += head * T * D;

  float s[D];
#pragma unroll
  for (int d = 0; d < D; ++d) s[d] = s0[(head * D + d) * D + e];
  for (int first = 0; first < T; first += TOKENS) {
    const int tokens = min(TOKENS, T - first);
    __syncthreads();  // nobody reads the last tile any more
    for (int t = 0; t < tokens; ++t) {
      q_tile[t][e] = __bfloat162float(q[(first + t) * D + e]) * scale;
      k_tile[t][e] = __bfloat162float(k[(first + t) * D + e]);
    }
    __syncthreads();  // the tile is visible
    for (int t = 0; t < tokens; ++t) {
      const float value = __bfloat162float(v[(first + t) * D + e]);
      float sum = 0;
#pragma unroll
      for (int d = 0; d < D; ++d) {
        s[d] = decay * s[d] + k_tile[t][d] * value;
        sum += q_tile[t][d] * s[d];
      }
      o[(first + t) * D + e] = __float2bfloat16(sum);
    }
  }
#pragma unroll
  for (int d = 0; d < D; ++d) state[(head * D + d) * D + e] = s[d];
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 64 || p.D == 128, "D must be 64 or 128")) return;
  plan.launch(p.D == 64 ? "lightning_naive<64>" : "lightning_naive<128>").grid(p.B * p.H).block(p.D)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.slope).arg(p.s0).arg(p.o).arg(p.state).arg(p.H).arg(p.T).arg(p.scale);
}
