// SPDX-License-Identifier: Apache-2.0
// Reference of snapkv_select in float64: for the (b, h) rows listed the pooled score of every token before the window.
//   p[w, j] = softmax_j(scale q[b, w, h] . k[b, j, h / G]) over j <= S - W + w,  a[j] = sum_w p[w, j] for j < S - W,
//   score[j] = (a[j - 2] + ... + a[j + 2]) / 5, where a is 0 outside of 0 .. S - W - 1
//
// Four plain kernels: all logits, the log-sum-exp of every query, the sums a, their means.

#include <kernelites/reference_rounding.cuh>

#define REFERENCE_THREADS 128

using namespace kernelites::reference;

constexpr int D = Problem::D, W = Problem::W, POOL = Problem::POOL;

/// A thread per key: logits[r, w, j], -infinity where query w does not see key j.
extern "C" __global__ void __launch_bounds__(REFERENCE_THREADS)
snapkv_logits(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k, double* __restrict__ logits,
              const long long* __restrict__ rows, int S, int Hq, int Hkv, float scale) {
  __shared__ double query[D][W];
  const long long row = rows[blockIdx.y], b = row / Hq;
  const int h = (int)(row % Hq), hk = h / (Hq / Hkv), j = blockIdx.x * REFERENCE_THREADS + threadIdx.x;
  for (int i = threadIdx.x; i < D * W; i += REFERENCE_THREADS) {
    query[i / W][i % W] = from_bf16(q[((b * W + i % W) * Hq + h) * D + i / W]);
  }
  __syncthreads();  // the queries are visible
  if (j >= S) return;
  double dot[W] = {};
  for (int d = 0; d < D; ++d) {
    const double key = from_bf16(k[((b * S + j) * Hkv + hk) * D + d]);
    for (int w = 0; w < W; ++w) dot[w] += query[d][w] * key;
  }
  for (int w = 0; w < W; ++w) {
    logits[((long long)blockIdx.y * W + w) * S + j] = j <= S - W + w ? scale * dot[w] : -HUGE_VAL;
  }
}

/// A block per query: lse[r, w].
extern "C" __global__ void __launch_bounds__(REFERENCE_THREADS)
snapkv_lse(const double* __restrict__ logits, double* __restrict__ lse, int S) {
  const long long at = (long long)blockIdx.x * S;
  double largest = -HUGE_VAL, sum = 0;
  for (int j = threadIdx.x; j < S; j += REFERENCE_THREADS) largest = fmax(largest, logits[at + j]);
  largest = block_max<REFERENCE_THREADS>(largest);
  for (int j = threadIdx.x; j < S; j += REFERENCE_THREADS) sum += exp(logits[at + j] - largest);
  sum = block_sum<REFERENCE_THREADS>(sum);
  if (threadIdx.x == 0) lse[blockIdx.x] = largest + log(sum);
}

/// A thread per token: a[r, j].
extern "C" __global__ void __launch_bounds__(REFERENCE_THREADS)
snapkv_sums(const double* __restrict__ logits, const double* __restrict__ lse, double* __restrict__ sums, int S) {
  const int j = blockIdx.x * REFERENCE_THREADS + threadIdx.x;
  if (j >= S - W) return;
  double sum = 0;
  for (int w = 0; w < W; ++w) {
    const long long query = (long long)blockIdx.y * W + w;
    sum += exp(logits[query * S + j] - lse[query]);
  }
  sums[(long long)blockIdx.y * (S - W) + j] = sum;
}

extern "C" __global__ void __launch_bounds__(REFERENCE_THREADS)
snapkv_means(const double* __restrict__ sums, double* __restrict__ score, int S) {
  const int j = blockIdx.x * REFERENCE_THREADS + threadIdx.x, count = S - W;
  if (j >= count) return;
  double sum = 0;
  for (int i = max(j - POOL / 2, 0); i <= min(j + POOL / 2, count - 1); ++i) sum += sums[(long long)blockIdx.y * count + i];
  score[(long long)blockIdx.y * count + j] = sum / POOL;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const auto logits = plan.workspace(kl::f64, (long long)p.R * W * p.S);
  const auto lse = plan.workspace(kl::f64, (long long)p.R * W);
  const auto sums = plan.workspace(kl::f64, (long long)p.R * p.S);
  const int blocks = kl::cdiv(p.S, REFERENCE_THREADS);
  plan.launch("snapkv_logits").grid(blocks, p.R).block(REFERENCE_THREADS)
      .arg(p.q).arg(p.k).arg(logits).arg(p.rows).arg(p.S).arg(p.Hq).arg(p.Hkv).arg(p.scale);
  plan.launch("snapkv_lse").grid(p.R * W).block(REFERENCE_THREADS).arg(logits).arg(lse).arg(p.S);
  plan.launch("snapkv_sums").grid(blocks, p.R).block(REFERENCE_THREADS).arg(logits).arg(lse).arg(sums).arg(p.S);
  plan.launch("snapkv_means").grid(blocks, p.R).block(REFERENCE_THREADS).arg(sums).arg(p.chosen).arg(p.S);
}
