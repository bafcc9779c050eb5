// SPDX-License-Identifier: Apache-2.0
// Decode attention over e4m3 codes, one block per query head: q [B, Hq, 128] (bf16) over k, v [B, S, Hkv, 128] with a scale
// per key and per value up to len[b], with lse.
//
// Technique: the warps of a block take the keys by turns with a running maximum (online softmax) each, a lane four
// channels; at the end they are merged in shared memory. Short sums also keep long caches exact: one running float sum
// of 131072 terms loses those below half a unit in its last place. Every query head of a group reads the same keys again:
// the starting point of the ladder.

// tune: WARPS = 8 | 4 | 16

#include <cuda_bf16.h>
#include <cuda_fp8.h>

constexpr int D = Problem::D;
constexpr int PER_LANE = D / 32;

template <typename T>
__device__ void load_lane(float (&to)[PER_LANE], const T* row, int lane) {
  for (int i = 0; i < PER_LANE; ++i) to[i] = (float)row[lane * PER_LANE + i];
}

extern "C" __global__ void __launch_bounds__(WARPS * 32)
fp8_naive(const __nv_bfloat16* __restrict__ q, const __nv_fp8_e4m3* __restrict__ k, const __nv_fp8_e4m3* __restrict__ v,
          const float* __restrict__ k_scale, const float* __restrict__ v_scale, const int* __restrict__ len,
          __nv_bfloat16* __restrict__ o, float* __restrict__ lse, int B, int S, int Hq, int Hkv, float scale) {
  __shared__ float max_part[WARPS], sum_part[WARPS], o_part[WARPS][D];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, row = blockIdx.x;
  const int b = row / Hq, h = row % Hq, hk = h / (Hq / Hkv), keys = len[b];

  float q_lane[PER_LANE], k_lane[PER_LANE], v_lane[PER_LANE], o_lane[PER_LANE] = {};
  load_lane(q_lane, q + (long long)row * D, lane);
  const long long scales = ((long long)b * Hkv + hk) * S;
  float max = -INFINITY, sum = 0;
  for (int j = warp; j < keys; j += WARPS) {
    const long long key = (((long long)b * S + j) * Hkv + hk) * D;
    load_lane(k_lane, k + key, lane);
    load_lane(v_lane, v + key, lane);
    float s = 0;
    for (int i = 0; i < PER_LANE; ++i) s += q_lane[i] * k_lane[i];
    for (int step = 16; step > 0; step /= 2) s += __shfl_xor_sync(0xffffffffu, s, step);
    s *= scale * k_scale[scales + j];
    const float next = fmaxf(max, s), shrink = expf(max - next), p = expf(s - next);
    const float weight = p * v_scale[scales + j];
    max = next;
    sum = sum * shrink + p;
    for (int i = 0; i < PER_LANE; ++i) o_lane[i] = o_lane[i] * shrink + weight * v_lane[i];
  }

  if (lane == 0) max_part[warp] = max, sum_part[warp] = sum;
  for (int i = 0; i < PER_LANE; ++i) o_part[warp][lane * PER_LANE + i] = o_lane[i];
  __syncthreads();  // every warp's part is visible
  float top = -INFINITY, total = 0;
  for (int w = 0; w < WARPS; ++w) top = fmaxf(top, max_part[w]);
  // A warp without a key has a sum of 0 and a maximum of -infinity: a weight of 0 beside others, and no row without any.
  for (int w = 0; w < WARPS && keys > 0; ++w) total += sum_part[w] * expf(max_part[w] - top);
  for (int d = threadIdx.x; d < D; d += WARPS * 32) {
    float sum_of_parts = 0;
    for (int w = 0; w < WARPS && keys > 0; ++w) sum_of_parts += o_part[w][d] * expf(max_part[w] - top);
    o[(long long)row * D + d] = __float2bfloat16(keys > 0 ? sum_of_parts / total : 0.0f);
  }
  if (threadIdx.x == 0) lse[row] = keys > 0 ? top + logf(total) : -INFINITY;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("fp8_naive").grid(p.B * p.Hq).block(WARPS * 32)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.k_scale).arg(p.v_scale).arg(p.len).arg(p.o).arg(p.lse).arg(p.B).arg(p.S).arg(p.Hq)
      .arg(p.Hkv).arg(p.scale);
}
