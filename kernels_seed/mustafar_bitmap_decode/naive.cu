// SPDX-License-Identifier: Apache-2.0
// Decode over a bitmap-packed cache, one warp per query head: q [B, Hq, 128] (bf16) over 64 * groups[b] packed tokens (bits,
// offsets, values; see the task) and window[b] dense ones k_win, v_win [B, W, Hkv, 128], with lse.
//
// Technique: the warp walks the keys one after the other with a running maximum (online softmax); a lane holds channels
// lane, lane + 32, ... and looks each element up through its bit: a count of the bits below it. Every query head of a group
// reads all bits and values again: the starting point of the ladder.

// tune: WARPS = 1 | 4

#include <cuda_bf16.h>

constexpr int D = Problem::D;
constexpr int PER_LANE = D / 32;

/// Element `bit` of a word: 0 if it was pruned.
__device__ float element(const __nv_bfloat16* values, unsigned long long bits, int offset, int bit) {
  if (!(bits >> bit & 1)) return 0.0f;
  return __bfloat162float(values[8ll * offset + __popcll(bits & ((1ull << bit) - 1))]);
}

extern "C" __global__ void __launch_bounds__(WARPS * 32)
bitmap_naive(const __nv_bfloat16* __restrict__ q, const unsigned long long* __restrict__ k_bits,
             const unsigned long long* __restrict__ v_bits, const int* __restrict__ k_off, const int* __restrict__ v_off,
             const __nv_bfloat16* __restrict__ k_val, const __nv_bfloat16* __restrict__ v_val,
             const __nv_bfloat16* __restrict__ k_win, const __nv_bfloat16* __restrict__ v_win, const int* __restrict__ groups,
             const int* __restrict__ window, __nv_bfloat16* __restrict__ o, float* __restrict__ lse, int B, int Hq, int Hkv,
             int C, int W, float scale) {
  const int lane = threadIdx.x % 32, row = blockIdx.x * WARPS + threadIdx.x / 32;
  if (row >= B * Hq) return;
  const int b = row / Hq, h = row % Hq, hk = h / (Hq / Hkv), packed = 64 * groups[b], keys = packed + window[b];
  const long long head = (long long)b * Hkv + hk;

  float q_lane[PER_LANE], k_lane[PER_LANE], v_lane[PER_LANE], o_lane[PER_LANE] = {};
  for (int i = 0; i < PER_LANE; ++i) q_lane[i] = __bfloat162float(q[(long long)row * D + i * 32 + lane]);
  float max = -INFINITY;
  double sum = 0;  // 100 000 floats one after the other would lose 1e-3 of themselves
  for (int j = 0; j < keys; ++j) {
    for (int i = 0; i < PER_LANE; ++i) {
      const int d = i * 32 + lane, k_word = j / 64 * D + d, v_word = 2 * j + d / 64;
      if (j < packed) {
        k_lane[i] = element(k_val + head * C * 64 * D, k_bits[head * C * D + k_word], k_off[head * (C * D + 1) + k_word], j % 64);
        v_lane[i] = element(v_val + head * C * 64 * D, v_bits[head * C * 128 + v_word], v_off[head * (C * 128 + 1) + v_word], d % 64);
      } else {
        const long long at = (((long long)b * W + j - packed) * Hkv + hk) * D + d;
        k_lane[i] = __bfloat162float(k_win[at]);
        v_lane[i] = __bfloat162float(v_win[at]);
      }
    }
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
    o[(long long)row * D + i * 32 + lane] = __float2bfloat16(keys > 0 ? o_lane[i] / (float)sum : 0.0f);
  }
  if (lane == 0) lse[row] = keys > 0 ? max + logf((float)sum) : -INFINITY;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("bitmap_naive").grid(kl::cdiv(p.B * p.Hq, WARPS)).block(WARPS * 32)
      .arg(p.q).arg(p.k_bits).arg(p.v_bits).arg(p.k_off).arg(p.v_off).arg(p.k_val).arg(p.v_val).arg(p.k_win).arg(p.v_win)
      .arg(p.groups).arg(p.window).arg(p.o).arg(p.lse).arg(p.B).arg(p.Hq).arg(p.Hkv).arg(p.C).arg(p.W).arg(p.scale);
}
