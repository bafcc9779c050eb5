// SPDX-License-Identifier: Apache-2.0
// Causal attention, key after key: q [B, Sq, Hq, D] over k, v [B, Sk, Hkv, D] (bf16), with lse [B, Sq, Hq].
//
// Technique: LANES neighbouring lanes hold a query and its output; a block of them walks the keys one after the other with
// a running maximum (online softmax). Keys and values are converted to float once for the block, a tile at a time in
// shared memory. Scalar products, no tensor cores: the starting point of the ladder.
//
// Ladder:
//   a warp per query, keys from global memory   every query loads and converts all of them: 10^10 pairs a second on an H100
//   this file                                   shared by 64 queries

// tune: LANES = 4 | 2 | 8

#include <cuda_bf16.h>

constexpr int QUERIES = 64, TILE = 32;

/// Every LANES-th four channels of a row, from the lane's own on.
template <int PER_LANE>
__device__ void load_lane(float (&to)[PER_LANE], const __nv_bfloat16* row, int lane) {
  for (int c = 0; c < PER_LANE; ++c) to[c] = __bfloat162float(row[(c / 4 * LANES + lane) * 4 + c % 4]);
}
template <int PER_LANE>
__device__ void load_lane(float (&to)[PER_LANE], const float4* row, int lane) {
#pragma unroll
  for (int c = 0; c < PER_LANE; c += 4) {
    const float4 four = row[c / 4 * LANES + lane];
    to[c] = four.x, to[c + 1] = four.y, to[c + 2] = four.z, to[c + 3] = four.w;
  }
}

/// Four channels as floats.
__device__ float4 four_floats(const __nv_bfloat16* row, int four) {
  const uint2 bits = reinterpret_cast<const uint2*>(row)[four];
  return make_float4(__uint_as_float(bits.x << 16), __uint_as_float(bits.x & 0xffff0000u), __uint_as_float(bits.y << 16),
                     __uint_as_float(bits.y & 0xffff0000u));
}

template <int D>
__global__ void __launch_bounds__(QUERIES * LANES)
prefill_naive(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k,
              const __nv_bfloat16* __restrict__ v, __nv_bfloat16* __restrict__ o, float* __restrict__ lse,
              int Sq, int Sk, int Hq, int Hkv, float scale) {
  constexpr int PER_LANE = D / LANES;
  __shared__ float4 k_tile[TILE][D / 4], v_tile[TILE][D / 4];
  const int lane = threadIdx.x % LANES, i = blockIdx.x * QUERIES + threadIdx.x / LANES, h = blockIdx.y, hk = h / (Hq / Hkv);
  const unsigned mates = ((1u << LANES) - 1) << (threadIdx.x % 32 / LANES * LANES);  // the lanes of this query
  const long long b = blockIdx.z, row = (b * Sq + min(i, Sq - 1)) * Hq + h;
  int keys = i + Sk - Sq + 1;
  if (i >= Sq) keys = 0;

  float q_lane[PER_LANE], k_lane[PER_LANE], v_lane[PER_LANE], o_lane[PER_LANE] = {};
  load_lane(q_lane, q + row * D, lane);
  float max = -INFINITY, sum = 0;
  for (int first = 0; __syncthreads_or(first < keys); first += TILE) {  // and nobody reads the last tile any more
    for (int at = threadIdx.x; at < TILE * D / 4; at += QUERIES * LANES) {
      const int j = min(first + at / (D / 4), Sk - 1);
      const long long key = ((b * Sk + j) * Hkv + hk) * D;
      k_tile[at / (D / 4)][at % (D / 4)] = four_floats(k + key, at % (D / 4));
      v_tile[at / (D / 4)][at % (D / 4)] = four_floats(v + key, at % (D / 4));
    }
    __syncthreads();  // the tile is visible
    for (int j = first; j < keys; ++j) {
      if (j == first + TILE) break;
      load_lane(k_lane, k_tile[j - first], lane);
      load_lane(v_lane, v_tile[j - first], lane);
      float s = 0;
#pragma unroll
      for (int c = 0; c < PER_LANE; ++c) s += q_lane[c] * k_lane[c];
      for (int step = LANES / 2; step > 0; step /= 2) s += __shfl_xor_sync(mates, s, step);
      s *= scale;
      const float next = fmaxf(max, s), shrink = expf(max - next), p = expf(s - next);
      max = next;
      sum = sum * shrink + p;
#pragma unroll
      for (int c = 0; c < PER_LANE; ++c) o_lane[c] = o_lane[c] * shrink + p * v_lane[c];
    }
  }
  if (i >= Sq) return;
  for (int c = 0; c < PER_LANE; ++c) {
    o[row * D + (c / 4 * LANES + lane) * 4 + c % 4] = __float2bfloat16(keys > 0 ? o_lane[c] / sum : 0.0f);
  }
  if (lane == 0) lse[row] = keys > 0 ? max + logf(sum) : -INFINITY;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 64 || p.D == 128, "D must be 64 or 128")) return;
  plan.launch(p.D == 64 ? "prefill_naive<64>" : "prefill_naive<128>")
      .grid(kl::cdiv(p.Sq, QUERIES), p.Hq, p.B).block(QUERIES * LANES)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.o).arg(p.lse).arg(p.Sq).arg(p.Sk).arg(p.Hq).arg(p.Hkv).arg(p.scale);
}
