// SPDX-License-Identifier: Apache-2.0
// Backward of causal attention, row after row: q, o, dout, dq [B, S, Hq, D], k, v, dk, dv [B, S, Hkv, D] (bf16),
// lse [B, S, Hq].
//
// Technique: two kernels that recompute every score with scalar products. In the first LANES neighbouring lanes hold a query
// and walk the keys that it sees, in the second a key and the queries that see it, so that nothing is summed across
// blocks; delta goes from one to the other. The rows that are walked are floats in shared memory, a tile at a time for 64
// rows of a block. The starting point of the ladder.

// tune: LANES = 4 | 8

#include <cuda_bf16.h>

constexpr int ROWS = 64, TILE = 32;

/// Every LANES-th four channels of a row, from the lane's own on.
template <int N>
__device__ void load(float (&to)[N], const __nv_bfloat16* row) {
  for (int c = 0; c < N; ++c) to[c] = __bfloat162float(row[(c / 4 * LANES + threadIdx.x % LANES) * 4 + c % 4]);
}
template <int N>
__device__ void load(float (&to)[N], const float4* row) {
#pragma unroll
  for (int c = 0; c < N; c += 4) {
    const float4 four = row[c / 4 * LANES + threadIdx.x % LANES];
    to[c] = four.x, to[c + 1] = four.y, to[c + 2] = four.z, to[c + 3] = four.w;
  }
}

/// Four channels as floats.
__device__ float4 four_floats(const __nv_bfloat16* row, int four) {
  const uint2 bits = reinterpret_cast<const uint2*>(row)[four];
  return make_float4(__uint_as_float(bits.x << 16), __uint_as_float(bits.x & 0xffff0000u), __uint_as_float(bits.y << 16),
                     __uint_as_float(bits.y & 0xffff0000u));
}

/// TILE rows of D channels, `step` elements apart; beyond `rows` the last one again.
template <int D>
__device__ void load_tile(float4 (&to)[TILE][D / 4], const __nv_bfloat16* from, long long step, int rows) {
  for (int at = threadIdx.x; at < TILE * D / 4; at += ROWS * LANES) {
    to[at / (D / 4)][at % (D / 4)] = four_floats(from + min(at / (D / 4), rows - 1) * step, at % (D / 4));
  }
}

/// Dot product over the lanes of a row.
template <int N>
__device__ float dot(const float (&a)[N], const float (&b)[N]) {
  const unsigned mates = ((1u << LANES) - 1) << (threadIdx.x % 32 / LANES * LANES);
  float sum = 0;
#pragma unroll
  for (int c = 0; c < N; ++c) sum += a[c] * b[c];
  for (int step = LANES / 2; step > 0; step /= 2) sum += __shfl_xor_sync(mates, sum, step);
  return sum;
}

template <int N>
__device__ void store(__nv_bfloat16* row, const float (&from)[N], float factor) {
  for (int c = 0; c < N; ++c) {
    row[(c / 4 * LANES + threadIdx.x % LANES) * 4 + c % 4] = __float2bfloat16(from[c] * factor);
  }
}

template <int D>
__global__ void __launch_bounds__(ROWS * LANES)
backward_queries(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k,
                 const __nv_bfloat16* __restrict__ v, const __nv_bfloat16* __restrict__ o, const float* __restrict__ lse,
                 const __nv_bfloat16* __restrict__ dout, __nv_bfloat16* __restrict__ dq, float* __restrict__ deltas,
                 int S, int Hq, int Hkv, float scale) {
  constexpr int N = D / LANES;
  __shared__ float4 k_tile[TILE][D / 4], v_tile[TILE][D / 4];
  const int here = blockIdx.x * ROWS + threadIdx.x / LANES, i = min(here, S - 1), h = blockIdx.y, g = h / (Hq / Hkv);
  const long long b = blockIdx.z, row = (b * S + i) * Hq + h;
  float q_lane[N], o_lane[N], dout_lane[N], k_lane[N], v_lane[N], sum[N] = {};
  load(q_lane, q + row * D);
  load(o_lane, o + row * D);
  load(dout_lane, dout + row * D);
  const float delta = dot(dout_lane, o_lane);
  if (threadIdx.x % LANES == 0 && here < S) deltas[row] = delta;
  for (int first = 0; __syncthreads_or(first <= i); first += TILE) {  // and nobody reads the last tile any more
    const long long key = (b * S + first) * Hkv + g;
    load_tile<D>(k_tile, k + key * D, (long long)Hkv * D, S - first);
    load_tile<D>(v_tile, v + key * D, (long long)Hkv * D, S - first);
    __syncthreads();  // the tile is visible
    for (int j = first; j <= i; ++j) {
      if (j >= first + TILE) break;
      load(k_lane, k_tile[j - first]);
      load(v_lane, v_tile[j - first]);
      const float p = expf(dot(q_lane, k_lane) * scale - lse[row]), ds = p * (dot(dout_lane, v_lane) - delta);
#pragma unroll
      for (int c = 0; c < N; ++c) sum[c] += ds * k_lane[c];
    }
  }
  if (here < S) store(dq + row * D, sum, scale);
}

template <int D>
__global__ void __launch_bounds__(ROWS * LANES)
backward_keys(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k,
              const __nv_bfloat16* __restrict__ v, const float* __restrict__ deltas, const float* __restrict__ lse,
              const __nv_bfloat16* __restrict__ dout, __nv_bfloat16* __restrict__ dk, __nv_bfloat16* __restrict__ dv,
              int S, int Hq, int Hkv, float scale) {
  constexpr int N = D / LANES;
  __shared__ float4 q_tile[TILE][D / 4], dout_tile[TILE][D / 4];
  const int here = blockIdx.x * ROWS + threadIdx.x / LANES, j = min(here, S - 1), g = blockIdx.y, group = Hq / Hkv;
  const long long b = blockIdx.z, key = (b * S + j) * Hkv + g;
  float k_lane[N], v_lane[N], q_lane[N], dout_lane[N], sum_k[N] = {}, sum_v[N] = {};
  load(k_lane, k + key * D);
  load(v_lane, v + key * D);
  for (int h = g * group; h < (g + 1) * group; ++h) {
    for (int first = blockIdx.x * ROWS; first < S; first += TILE) {
      const long long at = ((b * S + first) * Hq + h) * D;
      __syncthreads();  // nobody reads the last tile any more
      load_tile<D>(q_tile, q + at, (long long)Hq * D, S - first);
      load_tile<D>(dout_tile, dout + at, (long long)Hq * D, S - first);
      __syncthreads();  // the tile is visible
      for (int i = max(first, j); i < S; ++i) {
        if (i >= first + TILE) break;
        const long long row = (b * S + i) * Hq + h;
        load(q_lane, q_tile[i - first]);
        load(dout_lane, dout_tile[i - first]);
        const float p = expf(dot(q_lane, k_lane) * scale - lse[row]);
        const float ds = p * (dot(dout_lane, v_lane) - deltas[row]);
#pragma unroll
        for (int c = 0; c < N; ++c) {
          sum_k[c] += ds * q_lane[c];
          sum_v[c] += p * dout_lane[c];
        }
      }
    }
  }
  if (here >= S) return;
  store(dk + key * D, sum_k, scale);
  store(dv + key * D, sum_v, 1.0f);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 64 || p.D == 128, "D must be 64 or 128")) return;
  auto deltas = plan.workspace(kl::f32, (long long)p.B * p.S * p.Hq);
  plan.launch(p.D == 64 ? "backward_queries<64>" : "backward_queries<128>")
      .grid(kl::cdiv(p.S, ROWS), p.Hq, p.B).block(ROWS * LANES)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.o).arg(p.lse).arg(p.dout).arg(p.dq).arg(deltas).arg(p.S).arg(p.Hq)
      .arg(p.Hkv).arg(p.scale);
  plan.launch(p.D == 64 ? "backward_keys<64>" : "backward_keys<128>")
      .grid(kl::cdiv(p.S, ROWS), p.Hkv, p.B).block(ROWS * LANES)
      .arg(p.q).arg(p.k).arg(p.v).arg(deltas).arg(p.lse).arg(p.dout).arg(p.dk).arg(p.dv).arg(p.S).arg(p.Hq)
      .arg(p.Hkv).arg(p.scale);
}
