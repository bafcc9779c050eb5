// SPDX-License-Identifier: Apache-2.0
// Sparse-linear attention, one warp for QUERIES queries: q, k, v, os, ol [B, S, H, D] (bf16), lut [B, H, S / 64, K], lse [B, S, H].
//
// Technique: the warp walks the keys of the selected blocks with an online softmax, then all others for a mean under the
// weights phi(q) . phi(k), whose features are computed on the spot; a lane holds D / 32 channels of a few neighbouring
// queries, which have the same list. The starting point of the ladder.

// tune: WARPS = 4 | 1 | 8
// tune: QUERIES = 4 | 1 | 2

#include <cuda_bf16.h>

template <int PER_LANE>
__device__ void load_lane(float (&to)[PER_LANE], const __nv_bfloat16* row, int lane) {
  for (int c = 0; c < PER_LANE; ++c) to[c] = __bfloat162float(row[lane * PER_LANE + c]);
}

/// phi: softmax over the D channels that a warp holds.
template <int PER_LANE>
__device__ void normalise(float (&x)[PER_LANE]) {
  float top = x[0], sum = 0;
  for (int c = 1; c < PER_LANE; ++c) top = fmaxf(top, x[c]);
  for (int step = 16; step > 0; step /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, step));
  for (int c = 0; c < PER_LANE; ++c) sum += x[c] = expf(x[c] - top);
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  for (int c = 0; c < PER_LANE; ++c) x[c] /= sum;
}

/// Dot product of two vectors that a warp holds, in all lanes.
template <int PER_LANE>
__device__ float dot(const float (&a)[PER_LANE], const float (&b)[PER_LANE]) {
  float sum = 0;
  for (int c = 0; c < PER_LANE; ++c) sum += a[c] * b[c];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  return sum;
}

template <int D>
__global__ void __launch_bounds__(WARPS * 32, 16 / WARPS)
sla_naive(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k, const __nv_bfloat16* __restrict__ v,
          const int* __restrict__ lut, __nv_bfloat16* __restrict__ os, __nv_bfloat16* __restrict__ ol,
          float* __restrict__ lse, int S, int H, int K, float scale) {
  constexpr int PER_LANE = D / 32;
  const int lane = threadIdx.x % 32, first = ((int)blockIdx.x * WARPS + threadIdx.x / 32) * QUERIES, h = blockIdx.y;
  const long long b = blockIdx.z;
  if (first >= S) return;
  const int* const blocks = lut + ((b * H + h) * ((S + 63) / 64) + first / 64) * K;
  const auto row_of = [&](int r) { return (b * S + min(first + r, S - 1)) * H + h; };

  float q_lane[QUERIES][PER_LANE], k_lane[PER_LANE], v_lane[PER_LANE], o_lane[QUERIES][PER_LANE] = {};
  float l_lane[QUERIES][PER_LANE] = {}, max[QUERIES], sum[QUERIES] = {}, weights[QUERIES] = {};
#pragma unroll
  for (int r = 0; r < QUERIES; ++r) {
    load_lane(q_lane[r], q + row_of(r) * D, lane);
    max[r] = -INFINITY;
  }
  for (int n = 0; n < K * 64; ++n) {
    const int block = blocks[n / 64], j = block * 64 + n % 64;
    if (block < 0 || j >= S) continue;
    const long long key = ((b * S + j) * H + h) * D;
    load_lane(k_lane, k + key, lane);
    load_lane(v_lane, v + key, lane);
#pragma unroll
    for (int r = 0; r < QUERIES; ++r) {
      float s = dot(q_lane[r], k_lane);
      s *= scale;
      const float next = fmaxf(max[r], s), shrink = expf(max[r] - next), p = expf(s - next);
      max[r] = next;
      sum[r] = sum[r] * shrink + p;
      for (int c = 0; c < PER_LANE; ++c) o_lane[r][c] = o_lane[r][c] * shrink + p * v_lane[c];
    }
  }

#pragma unroll
  for (int r = 0; r < QUERIES; ++r) normalise(q_lane[r]);
  for (int J = 0; J * 64 < S; ++J) {
    bool is_selected = false;
    for (int n = 0; n < K; ++n) is_selected = is_selected || blocks[n] == J;
    if (is_selected) continue;
    for (int j = J * 64; j < S && j < J * 64 + 64; ++j) {
      const long long key = ((b * S + j) * H + h) * D;
      load_lane(k_lane, k + key, lane);
      load_lane(v_lane, v + key, lane);
      normalise(k_lane);
#pragma unroll
      for (int r = 0; r < QUERIES; ++r) {
        const float weight = dot(q_lane[r], k_lane);
        weights[r] += weight;
        for (int c = 0; c < PER_LANE; ++c) l_lane[r][c] += weight * v_lane[c];
      }
    }
  }
#pragma unroll
  for (int r = 0; r < QUERIES; ++r) {
    if (first + r >= S) continue;
    const long long row = row_of(r);
    for (int c = 0; c < PER_LANE; ++c) {
      os[row * D + lane * PER_LANE + c] = __float2bfloat16(sum[r] > 0 ? o_lane[r][c] / sum[r] : 0.0f);
      ol[row * D + lane * PER_LANE + c] = __float2bfloat16(weights[r] > 0 ? l_lane[r][c] / weights[r] : 0.0f);
    }
    if (lane == 0) lse[row] = sum[r] > 0 ? max[r] + logf(sum[r]) : -INFINITY;
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 64 || p.D == 128, "D must be 64 or 128")) return;
  plan.launch(p.D == 64 ? "sla_naive<64>" : "sla_naive<128>")
      .grid(kl::cdiv(p.S, WARPS * QUERIES), p.H, p.B).block(WARPS * 32)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.lut).arg(p.os).arg(p.ol).arg(p.lse).arg(p.S).arg(p.H).arg(p.K)
      .arg(p.scale);
}
