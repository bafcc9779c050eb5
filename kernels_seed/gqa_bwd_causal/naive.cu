// SPDX-License-Identifier: Apache-2.0
// Backward of causal attention, one warp per query for dq and one per key for dk and dv: q, o, dout, dq [B, S, Hq, D],
// k, v, dk, dv [B, S, Hkv, D] (bf16), lse [B, S, Hq].
//
// Technique: two kernels that recompute every score with scalar products. The first walks the keys that a query sees,
// the second the queries that see a key, so that nothing is summed across warps; delta goes from one to the other. The starting point of the ladder.

// tune: WARPS = 4 | 1 | 8

#include <cuda_bf16.h>

template <int N>
__device__ void load(float (&to)[N], const __nv_bfloat16* row) {
  for (int c = 0; c < N; ++c) to[c] = __bfloat162float(row[threadIdx.x % 32 * N + c]);
}

/// Dot product over the warp's lanes.
template <int N>
__device__ float dot(const float (&a)[N], const float (&b)[N]) {
  float sum = 0;
  for (int c = 0; c < N; ++c) sum += a[c] * b[c];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  return sum;
}

template <int N>
__device__ void store(__nv_bfloat16* row, const float (&from)[N], float factor) {
  for (int c = 0; c < N; ++c) row[threadIdx.x % 32 * N + c] = __float2bfloat16(from[c] * factor);
}

template <int D>
__global__ void __launch_bounds__(WARPS * 32)
backward_queries(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k,
                 const __nv_bfloat16* __restrict__ v, const __nv_bfloat16* __restrict__ o, const float* __restrict__ lse,
                 const __nv_bfloat16* __restrict__ dout, __nv_bfloat16* __restrict__ dq, float* __restrict__ deltas,
                 long long rows, int S, int Hq, int Hkv, float scale) {
  constexpr int N = D / 32;
  const long long row = (long long)blockIdx.x * WARPS + threadIdx.x / 32;
  if (row >= rows) return;
  const int h = (int)(row % Hq), i = (int)(row / Hq % S), g = h / (Hq / Hkv);
  const long long b = row / Hq / S;
  float q_lane[N], o_lane[N], dout_lane[N], k_lane[N], v_lane[N], sum[N] = {};
  load(q_lane, q + row * D);
  load(o_lane, o + row * D);
  load(dout_lane, dout + row * D);
  const float delta = dot(dout_lane, o_lane);
  if (threadIdx.x % 32 == 0) deltas[row] = delta;
  for (int j = 0; j <= i; ++j) {
    const long long key = (b * S + j) * Hkv + g;
    load(k_lane, k + key * D);
    load(v_lane, v + key * D);
    const float p = expf(dot(q_lane, k_lane) * scale - lse[row]), ds = p * (dot(dout_lane, v_lane) - delta);
    for (int c = 0; c < N; ++c) sum[c] += ds * k_lane[c];
  }
  store(dq + row * D, sum, scale);
}

template <int D>
__global__ void __launch_bounds__(WARPS * 32)
backward_keys(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k,
              const __nv_bfloat16* __restrict__ v, const float* __restrict__ deltas, const float* __restrict__ lse,
              const __nv_bfloat16* __restrict__ dout, __nv_bfloat16* __restrict__ dk, __nv_bfloat16* __restrict__ dv,
              long long rows, int S, int Hq, int Hkv, float scale) {
  constexpr int N = D / 32;
  const long long key = (long long)blockIdx.x * WARPS + threadIdx.x / 32;
  if (key >= rows) return;
  const int g = (int)(key % Hkv), j = (int)(key / Hkv % S), group = Hq / Hkv;
  const long long b = key / Hkv / S;
  float k_lane[N], v_lane[N], q_lane[N], dout_lane[N], sum_k[N] = {}, sum_v[N] = {};
  load(k_lane, k + key * D);
  load(v_lane, v + key * D);
  for (int i = j; i < S; ++i) {
    for (int h = g * group; h < (g + 1) * group; ++h) {
      const long long row = (b * S + i) * Hq + h;
      load(q_lane, q + row * D);
      load(dout_lane, dout + row * D);
      const float p = expf(dot(q_lane, k_lane) * scale - lse[row]);
      const float ds = p * (dot(dout_lane, v_lane) - deltas[row]);
      for (int c = 0; c < N; ++c) {
        sum_k[c] += ds * q_lane[c];
        sum_v[c] += p * dout_lane[c];
      }
    }
  }
  store(dk + key * D, sum_k, scale);
  store(dv + key * D, sum_v, 1.0f);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 64 || p.D == 128, "D must be 64 or 128")) return;
  const long long queries = (long long)p.B * p.S * p.Hq, keys = (long long)p.B * p.S * p.Hkv;
  auto deltas = plan.workspace(kl::f32, queries);
  plan.launch(p.D == 64 ? "backward_queries<64>" : "backward_queries<128>")
      .grid(kl::cdiv(queries, WARPS)).block(WARPS * 32)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.o).arg(p.lse).arg(p.dout).arg(p.dq).arg(deltas).arg(queries).arg(p.S).arg(p.Hq)
      .arg(p.Hkv).arg(p.scale);
  plan.launch(p.D == 64 ? "backward_keys<64>" : "backward_keys<128>")
      .grid(kl::cdiv(keys, WARPS)).block(WARPS * 32)
      .arg(p.q).arg(p.k).arg(p.v).arg(deltas).arg(p.lse).arg(p.dout).arg(p.dk).arg(p.dv).arg(keys).arg(p.S).arg(p.Hq)
      .arg(p.Hkv).arg(p.scale);
}
