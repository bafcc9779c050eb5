// SPDX-License-Identifier: Apache-2.0
// Sparse-linear attention, key after key: q, k, v, os, ol [B, S, H, D] (bf16), lut [B, H, S / 64, K], lse [B, S, H].
//
// Technique: LANES neighbouring lanes hold a query, a block the 64 queries that share a list. It walks the keys of the
// selected blocks with an online softmax, then all others for a mean under the weights phi(q) . phi(k), the features of a
// tile's keys computed on the spot. Keys and values are floats in shared memory, a tile at a time. Scalar products, no
// tensor cores, and the linear part is quadratic: the starting point of the ladder.

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

/// phi: softmax over the D channels that the lanes of `mates` hold, `lanes` of them.
template <int PER_LANE>
__device__ void normalise(float (&x)[PER_LANE], unsigned mates, int lanes) {
  float top = x[0], sum = 0;
#pragma unroll
  for (int c = 1; c < PER_LANE; ++c) top = fmaxf(top, x[c]);
  for (int step = lanes / 2; step > 0; step /= 2) top = fmaxf(top, __shfl_xor_sync(mates, top, step));
#pragma unroll
  for (int c = 0; c < PER_LANE; ++c) sum += x[c] = expf(x[c] - top);
  for (int step = lanes / 2; step > 0; step /= 2) sum += __shfl_xor_sync(mates, sum, step);
#pragma unroll
  for (int c = 0; c < PER_LANE; ++c) x[c] /= sum;
}

/// Dot product of two vectors that the lanes of `mates` hold, in all of them.
template <int PER_LANE>
__device__ float dot(const float (&a)[PER_LANE], const float (&b)[PER_LANE], unsigned mates) {
  float sum = 0;
#pragma unroll
  for (int c = 0; c < PER_LANE; ++c) sum += a[c] * b[c];
  for (int step = LANES / 2; step > 0; step /= 2) sum += __shfl_xor_sync(mates, sum, step);
  return sum;
}

template <int D>
__global__ void __launch_bounds__(QUERIES * LANES)
sla_naive(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k, const __nv_bfloat16* __restrict__ v,
          const int* __restrict__ lut, __nv_bfloat16* __restrict__ os, __nv_bfloat16* __restrict__ ol,
          float* __restrict__ lse, int S, int H, int K, float scale) {
  constexpr int PER_LANE = D / LANES, WARPS = QUERIES * LANES / 32, EACH = D / 32;
  __shared__ __align__(16) float k_tile[TILE][D], v_tile[TILE][D];
  const int lane = threadIdx.x % LANES, first = blockIdx.x * QUERIES, i = first + threadIdx.x / LANES, h = blockIdx.y;
  const unsigned mates = ((1u << LANES) - 1) << (threadIdx.x % 32 / LANES * LANES);  // the lanes of this query
  const long long b = blockIdx.z, row = (b * S + min(i, S - 1)) * H + h;
  const int* const blocks = lut + ((b * H + h) * ((S + 63) / 64) + first / 64) * K;
  // TILE keys from `start` on, a warp per key.
  const auto load_tile = [&](int start, bool is_linear) {
    __syncthreads();  // nobody reads the last tile any more
    for (int n = threadIdx.x / 32; n < TILE; n += WARPS) {
      const long long key = ((b * S + min(start + n, S - 1)) * H + h) * D;
      const int c = threadIdx.x % 32 * EACH;
      float k_lane[EACH];
#pragma unroll
      for (int d = 0; d < EACH; ++d) {
        k_lane[d] = __bfloat162float(k[key + c + d]);
        v_tile[n][c + d] = __bfloat162float(v[key + c + d]);
      }
      if (is_linear) {
        normalise(k_lane, 0xffffffffu, 32);
      }
#pragma unroll
      for (int d = 0; d < EACH; ++d) k_tile[n][c + d] = k_lane[d];
    }
    __syncthreads();  // the tile is visible
  };
  const auto tile_row = [&](const float (&of)[D]) { return reinterpret_cast<const float4*>(of); };

  float q_lane[PER_LANE], k_lane[PER_LANE], v_lane[PER_LANE], o_lane[PER_LANE] = {};
  float max = -INFINITY, sum = 0;
  load_lane(q_lane, q + row * D, lane);
  for (int n = 0; n < K * 64; n += TILE) {
    const int block = blocks[n / 64], start = block * 64 + n % 64;
    if (block < 0 || start >= S) continue;
    load_tile(start, false);
    for (int j = start; j < start + TILE; ++j) {
      if (j >= S) continue;
      load_lane(k_lane, tile_row(k_tile[j - start]), lane);
      load_lane(v_lane, tile_row(v_tile[j - start]), lane);
      float s = dot(q_lane, k_lane, mates);
      s *= scale;
      const float next = fmaxf(max, s), shrink = expf(max - next), p = expf(s - next);
      max = next;
      sum = sum * shrink + p;
#pragma unroll
      for (int c = 0; c < PER_LANE; ++c) o_lane[c] = o_lane[c] * shrink + p * v_lane[c];
    }
  }

  float l_lane[PER_LANE] = {}, weights = 0;
  normalise(q_lane, mates, LANES);
  for (int J = 0; J * 64 < S; ++J) {
    bool is_selected = false;
    for (int n = 0; n < K; ++n) is_selected = is_selected || blocks[n] == J;
    if (is_selected) continue;
    for (int start = J * 64; start < J * 64 + 64; start += TILE) {
      load_tile(start, true);
      for (int j = start; j < S && j < start + TILE; ++j) {
        load_lane(k_lane, tile_row(k_tile[j - start]), lane);
        load_lane(v_lane, tile_row(v_tile[j - start]), lane);
        const float weight = dot(q_lane, k_lane, mates);
        weights += weight;
#pragma unroll
        for (int c = 0; c < PER_LANE; ++c) l_lane[c] += weight * v_lane[c];
      }
    }
  }
  if (i >= S) return;
  for (int c = 0; c < PER_LANE; ++c) {
    const long long at = row * D + (c / 4 * LANES + lane) * 4 + c % 4;
    os[at] = __float2bfloat16(sum > 0 ? o_lane[c] / sum : 0.0f);
    ol[at] = __float2bfloat16(weights > 0 ? l_lane[c] / weights : 0.0f);
  }
  if (lane == 0) lse[row] = sum > 0 ? max + logf(sum) : -INFINITY;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 64 || p.D == 128, "D must be 64 or 128")) return;
  plan.launch(p.D == 64 ? "sla_naive<64>" : "sla_naive<128>")
      .grid(kl::cdiv(p.S, QUERIES), p.H, p.B).block(QUERIES * LANES)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.lut).arg(p.os).arg(p.ol).arg(p.lse).arg(p.S).arg(p.H).arg(p.K)
      .arg(p.scale);
}
