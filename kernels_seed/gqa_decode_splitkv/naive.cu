// SPDX-License-Identifier: Apache-2.0
// Decode attention, one warp per query head: q [B, Hq, 128] over k, v [B, S, Hkv, 128] (bf16) up to len[b], with lse.
//
// Technique: the warp walks the keys one after the other with a running maximum (online softmax); a lane holds four
// channels. Every query head of a group reads the same keys again, and long sequences keep one warp busy: the starting
// point of the ladder.

// tune: WARPS = 1 | 4

#include <cuda_bf16.h>

constexpr int D = Problem::D;
constexpr int PER_LANE = D / 32;

__device__ void load_lane(float (&to)[PER_LANE], const __nv_bfloat16* row, int lane) {
  for (int i = 0; i < PER_LANE; ++i) to[i] = __bfloat162float(row[lane * PER_LANE + i]);
}

extern "C" __global__ void __launch_bounds__(WARPS * 32)
decode_naive(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k,
             const __nv_bfloat16* __restrict__ v, const int* __restrict__ len, __nv_bfloat16* __restrict__ o,
             float* __restrict__ lse, int B, int S, int Hq, int Hkv, float scale) {
  const int lane = threadIdx.x % 32, row = blockIdx.x * WARPS + threadIdx.x / 32;
  if (row >= B * Hq) return;
  const int b = row / Hq, h = row % Hq, hk = h / (Hq / Hkv), keys = len[b];

  float q_lane[PER_LANE], k_lane[PER_LANE], v_lane[PER_LANE], o_lane[PER_LANE] = {};
  load_lane(q_lane, q + (long long)row * D, lane);
  float max = -INFINITY;
  double sum = 0;  // of up to 131072 terms: a float would lose those below half a unit in its last place
  for (int j = 0; j < keys; ++j) {
    const long long key = (((long long)b * S + j) * Hkv + hk) * D;
    load_lane(k_lane, k + key, lane);
    load_lane(v_lane, v + key, lane);
    float s = 0;
    for (int i = 0; i < PER_LANE; ++i) s += q_lane[i] * k_lane[i];
    for (int step = 16; step > 0; step /= 2) s += __shfl_xor_sync(0xffffffffu, s, step);
    s *= scale;
    const float next = fmaxf(max, s), shrink = expf(max - next), p = expf(s - next);
    max = next;
    sum = sum * shrink + p;
    for (int i = 0; i < PER_LANE; ++i) o_lane[i] = o_lane[i] * shrink + p * v_lane[i];
  }
  for (int i = 0; i < PER_LANE; ++i) {
    o[(long long)row * D + lane * PER_LANE + i] = __float2bfloat16(keys > 0 ? o_lane[i] / sum : 0.0f);
  }
  if (lane == 0) lse[row] = keys > 0 ? max + logf(sum) : -INFINITY;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("decode_naive").grid(kl::cdiv(p.B * p.Hq, WARPS)).block(WARPS * 32)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.len).arg(p.o).arg(p.lse).arg(p.B).arg(p.S).arg(p.Hq).arg(p.Hkv).arg(p.scale);
}
