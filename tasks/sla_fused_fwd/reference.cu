// SPDX-License-Identifier: Apache-2.0
// Reference of sla_fused_fwd in float64, for the (b, i, h) rows listed: attention over the keys of the selected blocks,
// and the mean of all other values under the weights phi(q) . phi(k), summed directly and not as a difference.

#include <kernelites/reference_attention.cuh>

namespace reference = kernelites::reference;

/// phi of a vector: softmax over its channels. All lanes of a warp call it.
template <int D>
__device__ void normalise(reference::Spread<D>& x) {
  double max = x.x[0], sum = 0;
  for (int c = 1; c < D / 32; ++c) max = fmax(max, x.x[c]);
  for (int step = 16; step > 0; step /= 2) max = fmax(max, __shfl_xor_sync(0xffffffffu, max, step));
  for (int c = 0; c < D / 32; ++c) sum += x.x[c] = exp(x.x[c] - max);
  sum = reference::warp_sum(sum);
  for (int c = 0; c < D / 32; ++c) x.x[c] /= sum;
}

template <int D>
__global__ void __launch_bounds__(reference::k_attend_threads)
sla_reference(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
              const unsigned short* __restrict__ v, const int* __restrict__ lut, double* __restrict__ os,
              double* __restrict__ ol, double* __restrict__ lse, const long long* __restrict__ rows, int S, int H, int K,
              float scale) {
  constexpr int WARPS = reference::k_attend_threads / 32;
  const long long row = rows[blockIdx.x], b = row / H / S;
  const int h = (int)(row % H), i = (int)(row / H % S), lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int* const blocks = lut + ((b * H + h) * ((S + 63) / 64) + i / 64) * K;
  const auto offset = [&](int j) { return ((b * S + j) * H + h) * (long long)D; };
  const auto key_at = [&](int n) -> long long {
    const int block = blocks[n / 64], j = block * 64 + n % 64;
    return block < 0 || j >= S ? -1 : offset(j);
  };
  reference::attend_keys<D>(os + (long long)blockIdx.x * D, lse + blockIdx.x, q + row * D, k, v, (double)scale, K * 64,
                            key_at);

  reference::Spread<D> query([&](int d) { return reference::from_bf16(q[row * D + d]); });
  normalise(query);
  double sum = 0, held[D / 32] = {};
  for (int j = warp; j < S; j += WARPS) {
    bool is_selected = false;
    for (int n = 0; n < K; ++n) is_selected = is_selected || blocks[n] == j / 64;
    if (is_selected) continue;
    reference::Spread<D> key([&](int d) { return reference::from_bf16(k[offset(j) + d]); });
    normalise(key);
    double weight = 0;
    for (int c = 0; c < D / 32; ++c) weight += query.x[c] * key.x[c];
    weight = reference::warp_sum(weight);
    sum += weight;
    for (int c = 0; c < D / 32; ++c) held[c] += weight * reference::from_bf16(v[offset(j) + c * 32 + lane]);
  }
  __shared__ double share_sum[WARPS], share[WARPS][D];
  for (int c = 0; c < D / 32; ++c) share[warp][c * 32 + lane] = held[c];
  if (lane == 0) share_sum[warp] = sum;
  __syncthreads();  // every warp's share is visible
  double total = 0;
  for (int w = 0; w < WARPS; ++w) total += share_sum[w];
  for (int d = threadIdx.x; d < D; d += reference::k_attend_threads) {
    double value = 0;
    for (int w = 0; w < WARPS; ++w) value += share[w][d];
    ol[(long long)blockIdx.x * D + d] = total > 0 ? value / total : 0;
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch(p.D == 64 ? "sla_reference<64>" : "sla_reference<128>")
      .grid(p.R).block(kernelites::reference::k_attend_threads)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.lut).arg(p.os).arg(p.ol).arg(p.lse).arg(p.rows).arg(p.S).arg(p.H).arg(p.K)
      .arg(p.scale);
}
