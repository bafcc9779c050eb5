// SPDX-License-Identifier: Apache-2.0
// Causal attention over packed sequences, key after key: q [T, Hq, D] over k, v [T, Hkv, D] (bf16), cu_seqlens
// [B + 1], with lse [T, Hq].
//
// Technique: LANES neighbouring lanes hold a query and its output; they find its sequence by bisection and walk that
// sequence's keys one after the other with a running maximum (online softmax). Keys and values are converted to float once
// for a block of 64 tokens, from the beginning of the first one's sequence on, a tile at a time in shared memory. Scalar
// products, no tensor cores: the starting point of the ladder.
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
varlen_naive(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k,
             const __nv_bfloat16* __restrict__ v, const int* __restrict__ cu_seqlens, __nv_bfloat16* __restrict__ o,
             float* __restrict__ lse, int T, int B, int Hq, int Hkv, float scale) {
  constexpr int PER_LANE = D / LANES;
  __shared__ float4 k_tile[TILE][D / 4], v_tile[TILE][D / 4];
  const int lane = threadIdx.x % LANES, t = min(blockIdx.x * QUERIES + threadIdx.x / LANES, T - 1), h = blockIdx.y;
  const int hk = h / (Hq / Hkv);
  const unsigned mates = ((1u << LANES) - 1) << (threadIdx.x % 32 / LANES * LANES);  // the lanes of this query
  const long long row = (long long)t * Hq + h;
  const auto sequence_of = [&](int token) {
    int low = 0, high = B;  // cu_seqlens[low] <= token < cu_seqlens[high]
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (cu_seqlens[middle] <= token) low = middle; else high = middle;
    }
    return low;
  };
  const int low = sequence_of(t), first_of_block = cu_seqlens[sequence_of(blockIdx.x * QUERIES)];
  const int first = cu_seqlens[low];

  float q_lane[PER_LANE], k_lane[PER_LANE], v_lane[PER_LANE], o_lane[PER_LANE] = {};
  load_lane(q_lane, q + row * D, lane);
  float max = -INFINITY, sum = 0;
  for (int tile = first_of_block; __syncthreads_or(tile <= t); tile += TILE) {  // and nobody reads the last tile any more
    for (int at = threadIdx.x; at < TILE * D / 4; at += QUERIES * LANES) {
      const long long key = ((long long)min(tile + at / (D / 4), T - 1) * Hkv + hk) * D;
      k_tile[at / (D / 4)][at % (D / 4)] = four_floats(k + key, at % (D / 4));
      v_tile[at / (D / 4)][at % (D / 4)] = four_floats(v + key, at % (D / 4));
    }
    __syncthreads();  // the tile is visible
    for (int j = ::max(tile, first); j <= t; ++j) {
      if (j >= tile + TILE) break;
      load_lane(k_lane, k_tile[j - tile], lane);
      load_lane(v_lane, v_tile[j - tile], lane);
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
  if (blockIdx.x * QUERIES + threadIdx.x / LANES >= T) return;
  for (int c = 0; c < PER_LANE; ++c) {
    o[row * D + (c / 4 * LANES + lane) * 4 + c % 4] = __float2bfloat16(o_lane[c] / sum);
  }
  if (lane == 0) lse[row] = max + logf(sum);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 64 || p.D == 128, "D must be 64 or 128")) return;
  plan.launch(p.D == 64 ? "varlen_naive<64>" : "varlen_naive<128>")
      .grid(kl::cdiv(p.T, QUERIES), p.Hq).block(QUERIES * LANES)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.cu_seqlens).arg(p.o).arg(p.lse).arg(p.T).arg(p.B).arg(p.Hq).arg(p.Hkv)
      .arg(p.scale);
}
