// SPDX-License-Identifier: Apache-2.0
// Causal attention over packed sequences, one warp per query: q [T, Hq, D] over k, v [T, Hkv, D] (bf16), cu_seqlens
// [B + 1], with lse [T, Hq].
//
// Technique: the warp finds its token's sequence by bisection and walks that sequence's keys one after the other with a
// running maximum (online softmax); a lane holds D / 32 channels. The starting point of the ladder.

// tune: WARPS = 4 | 1 | 8

#include <cuda_bf16.h>

template <int PER_LANE>
__device__ void load_lane(float (&to)[PER_LANE], const __nv_bfloat16* row, int lane) {
  for (int c = 0; c < PER_LANE; ++c) to[c] = __bfloat162float(row[lane * PER_LANE + c]);
}

template <int D>
__global__ void __launch_bounds__(WARPS * 32)
varlen_naive(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k,
             const __nv_bfloat16* __restrict__ v, const int* __restrict__ cu_seqlens, __nv_bfloat16* __restrict__ o,
             float* __restrict__ lse, long long rows, int B, int Hq, int Hkv, float scale) {
  constexpr int PER_LANE = D / 32;
  const int lane = threadIdx.x % 32;
  const long long row = (long long)blockIdx.x * WARPS + threadIdx.x / 32;
  if (row >= rows) return;
  const int h = (int)(row % Hq), t = (int)(row / Hq), hk = h / (Hq / Hkv);
  int low = 0, high = B;  // the sequence: cu_seqlens[low] <= t < cu_seqlens[high]
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (cu_seqlens[middle] <= t) low = middle; else high = middle;
  }
  const int first = cu_seqlens[low];

  float q_lane[PER_LANE], k_lane[PER_LANE], v_lane[PER_LANE], o_lane[PER_LANE] = {};
  load_lane(q_lane, q + row * D, lane);
  float max = -INFINITY, sum = 0;
  for (int j = first; j <= t; ++j) {
    const long long key = ((long long)j * Hkv + hk) * D;
    load_lane(k_lane, k + key, lane);
    load_lane(v_lane, v + key, lane);
    float s = 0;
    for (int c = 0; c < PER_LANE; ++c) s += q_lane[c] * k_lane[c];
    for (int step = 16; step > 0; step /= 2) s += __shfl_xor_sync(0xffffffffu, s, step);
    s *= scale;
    const float next = fmaxf(max, s), shrink = expf(max - next), p = expf(s - next);
    max = next;
    sum = sum * shrink + p;
    for (int c = 0; c < PER_LANE; ++c) o_lane[c] = o_lane[c] * shrink + p * v_lane[c];
  }
  for (int c = 0; c < PER_LANE; ++c) o[row * D + lane * PER_LANE + c] = __float2bfloat16(o_lane[c] / sum);
  if (lane == 0) lse[row] = max + logf(sum);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 64 || p.D == 128, "D must be 64 or 128")) return;
  const long long rows = (long long)p.T * p.Hq;
  plan.launch(p.D == 64 ? "varlen_naive<64>" : "varlen_naive<128>")
      .grid(kl::cdiv(rows, WARPS)).block(WARPS * 32)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.cu_seqlens).arg(p.o).arg(p.lse).arg(rows).arg(p.B).arg(p.Hq).arg(p.Hkv)
      .arg(p.scale);
}
