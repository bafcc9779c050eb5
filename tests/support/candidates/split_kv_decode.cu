// SPDX-License-Identifier: Apache-2.0
// Decode attention for one query per sequence, bf16, D = 128, grouped heads: keys split over blocks, then combined.
//
// Technique: block (split, kv head, batch) computes unnormalised outputs and (max, sum) of its keys for every head of
// the group, one warp per head; `combine` merges the splits and starts early (programmatic dependent launch). The
// number of splits fills the device in whole waves, found by a loop in the plan. A fixture of the contract's tests.
// tune: CHUNK = 64 | 32 | 128
#include <cuda_bf16.h>
#include <kernelites/plan.cuh>
#include <kernelites/ptx.cuh>

template <int D, int warps>
__global__ void __launch_bounds__(warps * 32)
    split_kv(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k,
             const __nv_bfloat16* __restrict__ v, float* __restrict__ part, float* __restrict__ stats, int heads,
             int kv_heads, int keys, int chunk, float scale) {
  constexpr int per_lane = D / 32;
  const int split = blockIdx.x, kv_head = blockIdx.y, b = blockIdx.z, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int begin = split * chunk, end = min(begin + chunk, keys), group = heads / kv_heads;
  for (int g = warp; g < group; g += warps) {
    const long long row = static_cast<long long>(b) * heads + kv_head * group + g;
    float query[per_lane], acc[per_lane] = {}, m = -INFINITY, l = 0;
    for (int i = 0; i < per_lane; ++i) query[i] = __bfloat162float(q[row * D + lane * per_lane + i]);
    for (int t = begin; t < end; ++t) {
      const long long at = ((static_cast<long long>(b) * keys + t) * kv_heads + kv_head) * D + lane * per_lane;
      float s = 0;
#pragma unroll
      for (int i = 0; i < per_lane; ++i) s += query[i] * __bfloat162float(k[at + i]);
#pragma unroll
      for (int x = 16; x > 0; x /= 2) s += __shfl_xor_sync(~0u, s, x);
      const float top = fmaxf(m, s), keep = kl::ptx::ex2((m - top) * scale), e = kl::ptx::ex2((s - top) * scale);
      m = top;
      l = l * keep + e;
#pragma unroll
      for (int i = 0; i < per_lane; ++i) acc[i] = acc[i] * keep + e * __bfloat162float(v[at + i]);
    }
    const long long slot = row * gridDim.x + split;
    for (int i = 0; i < per_lane; ++i) part[slot * D + lane * per_lane + i] = acc[i];
    if (lane == 0) {
      stats[slot * 2] = m;
      stats[slot * 2 + 1] = l;
    }
  }
  kl::ptx::griddepcontrol_launch_dependents();
}

template <int D>
__global__ void __launch_bounds__(D)
    combine(const float* __restrict__ part, const float* __restrict__ stats, __nv_bfloat16* __restrict__ o,
            float* __restrict__ lse, int splits, float scale) {
  kl::ptx::griddepcontrol_wait();
  const long long row = blockIdx.x;
  float m = -INFINITY, sum = 0, acc = 0;
  for (int i = 0; i < splits; ++i) m = fmaxf(m, stats[(row * splits + i) * 2]);
  for (int i = 0; i < splits; ++i) {
    const float e = kl::ptx::ex2((stats[(row * splits + i) * 2] - m) * scale);
    sum += e * stats[(row * splits + i) * 2 + 1];
    acc += e * part[(row * splits + i) * D + threadIdx.x];
  }
  o[row * D + threadIdx.x] = __float2bfloat16(acc / sum);
  if (threadIdx.x == 0) lse[row] = (m * scale + kl::ptx::lg2(sum)) * float(M_LN2);
}

constexpr int best_splits(const Problem& p) {
  const int tiles = p.B * p.Hkv, chunks = kl::cdiv(p.Sk, CHUNK);
  int best = 1;
  float best_fill = 0;
  for (int n = 1; n <= 128 && n <= chunks; ++n) {
    const float waves = float(tiles * n) / p.device.sms;
    const float fill = waves / kl::cdiv(tiles * n, p.device.sms);
    if (fill > best_fill) {
      best_fill = fill;
      best = n;
    }
  }
  return best;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.Sq == 1 && p.D == 128, "one query per sequence, D = 128")) return;
  const int splits = best_splits(p), chunk = kl::round_up(kl::cdiv(p.Sk, splits), CHUNK);
  const float scale = p.scale * float(M_LOG2E);
  const auto part = plan.workspace(kl::f32, static_cast<long long>(p.B) * p.H * splits * p.D);
  const auto stats = plan.workspace(kl::f32, static_cast<long long>(p.B) * p.H * splits * 2);
  plan.launch("split_kv<128, 4>").grid(splits, p.Hkv, p.B).block(128)
      .arg(p.q).arg(p.k).arg(p.v).arg(part).arg(stats).arg(p.H).arg(p.Hkv).arg(p.Sk).arg(chunk).arg(scale);
  plan.launch("combine<128>").grid(p.B * p.H).block(p.D).programmatic()
      .arg(part).arg(stats).arg(p.o).arg(p.lse).arg(splits).arg(scale);
}
