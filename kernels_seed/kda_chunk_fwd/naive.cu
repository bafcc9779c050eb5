// SPDX-License-Identifier: Apache-2.0
// Kimi Delta Attention, token after token: q, k, v [B, T, H, D] (bf16), g [B, T, H, D], beta [B, T, H] (f32), with states.
//
// Technique: the recurrence as it is written. A block takes 32 columns of one head's state: a thread one column, each of
// the eight warps an eighth of its rows, in registers. The update needs the product of the decayed state with the key
// first: three barriers a token. The starting point of the ladder.

// tune: GROUPS = 8 | 16

#include <cuda_bf16.h>

constexpr int COLUMNS = 32;

template <int D>
__global__ void __launch_bounds__(GROUPS * 32)
kda_naive(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k, const __nv_bfloat16* __restrict__ v,
          const float* __restrict__ g, const float* __restrict__ beta, const float* __restrict__ s0,
          __nv_bfloat16* __restrict__ o, float* __restrict__ state, int T, int H, float scale) {
  constexpr int ROWS = D / GROUPS;
  __shared__ float q_t[D], k_t[D], decay[D], of_key[GROUPS][COLUMNS], of_query[GROUPS][COLUMNS];
  const int tid = threadIdx.x, group = tid / COLUMNS, column = tid % COLUMNS, e = blockIdx.x * COLUMNS + column;
  const int head = blockIdx.y, b = head / H, h = head % H;

  float s[ROWS];
#pragma unroll
  for (int i = 0; i < ROWS; ++i) s[i] = s0[((long long)head * D + group * ROWS + i) * D + e];
  for (int t = 0; t < T; ++t) {
    const long long token = ((long long)b * T + t) * H + h;
    if (tid < D) {
      q_t[tid] = __bfloat162float(q[token * D + tid]) * scale;
      k_t[tid] = __bfloat162float(k[token * D + tid]);
      decay[tid] = expf(g[token * D + tid]);
    }
    __syncthreads();  // this token is visible
    float sum = 0;
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
      s[i] *= decay[group * ROWS + i];
      sum += k_t[group * ROWS + i] * s[i];
    }
    of_key[group][column] = sum;
    __syncthreads();  // every group's part of the product with the key is visible
    float known = 0;
    for (int i = 0; i < GROUPS; ++i) known += of_key[i][column];
    const float u = beta[token] * (__bfloat162float(v[token * D + e]) - known);
    sum = 0;
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
      s[i] += k_t[group * ROWS + i] * u;
      sum += q_t[group * ROWS + i] * s[i];
    }
    of_query[group][column] = sum;
    __syncthreads();  // every group's part of the output is visible, and nobody reads the token any more
    if (group == 0) {
      float total = 0;
      for (int i = 0; i < GROUPS; ++i) total += of_query[i][column];
      o[token * D + e] = __float2bfloat16(total);
    }
  }
#pragma unroll
  for (int i = 0; i < ROWS; ++i) state[((long long)head * D + group * ROWS + i) * D + e] = s[i];
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 64 || p.D == 128, "D must be 64 or 128")) return;
  plan.launch(p.D == 64 ? "kda_naive<64>" : "kda_naive<128>").grid(p.D / COLUMNS, p.B * p.H).block(GROUPS * 32)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.g).arg(p.beta).arg(p.s0).arg(p.o).arg(p.state).arg(p.T).arg(p.H).arg(p.scale);
}
