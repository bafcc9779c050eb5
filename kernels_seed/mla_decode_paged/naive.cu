// SPDX-License-Identifier: Apache-2.0
// Paged MLA decode, one warp per query head: q [B, Hq, 576] over rows of 576 channels in pages kv [P, 64, 576] (bf16) that
// page_table [B, pages] names, up to len[b]; the first 512 channels are the values. Outputs o [B, Hq, 512] and lse.
//
// Technique: the warp walks the keys one after the other with a running maximum (online softmax); a lane holds 18 channels,
// every 32nd. Every head reads all rows again, and long sequences keep one warp busy: the starting point of the ladder.

// tune: WARPS = 1 | 4

#include <cuda_bf16.h>

constexpr int D = Problem::D, DV = Problem::DV, PS = Problem::PS;

extern "C" __global__ void __launch_bounds__(WARPS * 32)
mla_naive(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ kv, const int* __restrict__ page_table,
          const int* __restrict__ len, __nv_bfloat16* __restrict__ o, float* __restrict__ lse, int B, int pages, int Hq,
          float scale) {
  const int lane = threadIdx.x % 32, row = blockIdx.x * WARPS + threadIdx.x / 32;
  if (row >= B * Hq) return;
  const int b = row / Hq, keys = len[b];

  float q_lane[D / 32], kv_lane[D / 32], o_lane[DV / 32] = {};
  for (int i = 0; i < D / 32; ++i) q_lane[i] = __bfloat162float(q[(long long)row * D + i * 32 + lane]);
  float max = -INFINITY;
  double sum = 0;  // 100 000 floats one after the other would lose 1e-3 of themselves
  for (int j = 0; j < keys; ++j) {
    const long long page = page_table[b * pages + j / PS];
    const __nv_bfloat16* const key = kv + (page * PS + j % PS) * D;
    for (int i = 0; i < D / 32; ++i) kv_lane[i] = __bfloat162float(key[i * 32 + lane]);
    float s = 0;
    for (int i = 0; i < D / 32; ++i) s += q_lane[i] * kv_lane[i];
    for (int step = 16; step > 0; step /= 2) s += __shfl_xor_sync(0xffffffffu, s, step);
    s *= scale;
    const float next = fmaxf(max, s), shrink = expf(max - next), p = expf(s - next);
    max = next;
    sum = sum * shrink + p;
    for (int i = 0; i < DV / 32; ++i) o_lane[i] = o_lane[i] * shrink + p * kv_lane[i];
  }
  for (int i = 0; i < DV / 32; ++i) {
    o[(long long)row * DV + i * 32 + lane] = __float2bfloat16(keys > 0 ? o_lane[i] / (float)sum : 0.0f);
  }
  if (lane == 0) lse[row] = keys > 0 ? max + logf((float)sum) : -INFINITY;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("mla_naive").grid(kl::cdiv(p.B * p.Hq, WARPS)).block(WARPS * 32)
      .arg(p.q).arg(p.kv).arg(p.page_table).arg(p.len).arg(p.o).arg(p.lse).arg(p.B).arg(kl::cdiv(p.S, Problem::PS)).arg(p.Hq)
      .arg(p.scale);
}
