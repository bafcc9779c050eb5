// SPDX-License-Identifier: Apache-2.0
// Native sparse attention, selected branch, one warp per query head: q [B, S, Hq, D] over k, v [B, S, Hkv, D] (bf16),
// idx [B, S, Hkv, T], with lse [B, S, Hq].
//
// Technique: the warp walks the blocks of its token's list, and each block's keys up to the token, with a running
// maximum (online softmax); a lane holds D / 32 channels. The starting point of the ladder.

// tune: WARPS = 4 | 1 | 8

#include <cuda_bf16.h>

/// A lane's channels, in one load.
template <int PER_LANE>
struct alignas(PER_LANE * 2) Channels {
  __nv_bfloat16 c[PER_LANE];
};

template <int PER_LANE>
__device__ void load_lane(float (&to)[PER_LANE], const __nv_bfloat16* row, int lane) {
  const Channels<PER_LANE> from = reinterpret_cast<const Channels<PER_LANE>*>(row)[lane];
  for (int c = 0; c < PER_LANE; ++c) to[c] = __bfloat162float(from.c[c]);
}

template <int D>
__global__ void __launch_bounds__(WARPS * 32)
nsa_naive(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k, const __nv_bfloat16* __restrict__ v,
          const int* __restrict__ idx, __nv_bfloat16* __restrict__ o, float* __restrict__ lse, long long rows, int S,
          int Hq, int Hkv, int L, int T, float scale) {
  constexpr int PER_LANE = D / 32;
  const int lane = threadIdx.x % 32;
  const long long row = (long long)blockIdx.x * WARPS + threadIdx.x / 32;
  if (row >= rows) return;
  const int h = (int)(row % Hq), i = (int)(row / Hq % S), hk = h / (Hq / Hkv);
  const long long b = row / Hq / S;
  const int* const blocks = idx + (row / Hq * Hkv + hk) * T;

  float q_lane[PER_LANE], k_lane[PER_LANE], v_lane[PER_LANE], o_lane[PER_LANE] = {};
  load_lane(q_lane, q + row * D, lane);
  float max = -INFINITY, sum = 0;
  for (int n = 0; n < T * L; ++n) {
    const int block = blocks[n / L], j = block * L + n % L;
    if (block < 0 || j > i) continue;
    const long long key = ((b * S + j) * Hkv + hk) * D;
    load_lane(k_lane, k + key, lane);
    load_lane(v_lane, v + key, lane);
    float s = 0;
    for (int c = 0; c < PER_LANE; ++c) s += q_lane[c] * k_lane[c];
    for (int step = 16; step > 0; step /= 2) s += __shfl_xor_sync(0xffffffffu, s, step);
    s *= scale;
    const float next = fmaxf(max, s), shrink = __expf(max - next), p = __expf(s - next);
    max = next;
    sum = sum * shrink + p;
    for (int c = 0; c < PER_LANE; ++c) o_lane[c] = o_lane[c] * shrink + p * v_lane[c];
  }
  for (int c = 0; c < PER_LANE; ++c) {
    o[row * D + lane * PER_LANE + c] = __float2bfloat16(sum > 0 ? o_lane[c] / sum : 0.0f);
  }
  if (lane == 0) lse[row] = sum > 0 ? max + logf(sum) : -INFINITY;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 64 || p.D == 128, "D must be 64 or 128")) return;
  const long long rows = (long long)p.B * p.S * p.Hq;
  plan.launch(p.D == 64 ? "nsa_naive<64>" : "nsa_naive<128>")
      .grid(kl::cdiv(rows, WARPS)).block(WARPS * 32)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.idx).arg(p.o).arg(p.lse).arg(rows).arg(p.S).arg(p.Hq).arg(p.Hkv).arg(p.L)
      .arg(p.T).arg(p.scale);
}
