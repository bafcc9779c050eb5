// SPDX-License-Identifier: Apache-2.0
// DELTA's choice of pages, the plain way: q [B, Hq, 128], pages of keys k [P, 16, Hkv, 128] (bf16), lse [B, Hq] -> chosen
// [B, N], positions in page_table [B, pages].
//
// Technique: one warp scores a page, token after token and head after head, all lanes on one dot product. Then a block
// per sequence counts, for every page, the pages that score more, which is its place. Keys are read once for every head of a group, and the
// counting takes pages^2 comparisons: the starting point of the ladder.

// tune: THREADS = 256 | 128 | 512

#include <cuda_bf16.h>

constexpr int D = Problem::D, PS = Problem::PS, L = Problem::L;

extern "C" __global__ void __launch_bounds__(128)
page_scores(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k, const float* __restrict__ lse,
            const int* __restrict__ page_table, const int* __restrict__ len, float* __restrict__ scores, int pages, int Hq,
            int Hkv, float scale) {
  const int n = blockIdx.x * 4 + threadIdx.x / 32, lane = threadIdx.x % 32;
  const long long b = blockIdx.y;
  if (n * PS >= len[b]) return;
  const long long page = page_table[b * pages + n];
  const int tokens = min(PS, len[b] - n * PS);
  float score = 0;
  for (int slot = 0; slot < tokens; ++slot) {
    float most = -INFINITY;
    for (int h = 0; h < Hq; ++h) {
      const int hk = h / (Hq / Hkv);
      float s = 0;
      for (int d = lane; d < D; d += 32) {
        s += __bfloat162float(q[(b * Hq + h) * D + d]) * __bfloat162float(k[((page * PS + slot) * Hkv + hk) * D + d]);
      }
      for (int step = 16; step > 0; step /= 2) s += __shfl_xor_sync(0xffffffffu, s, step);
      most = fmaxf(most, s * scale - lse[b * Hq + h]);
    }
    score += expf(most);
  }
  if (lane == 0) scores[b * pages + n] = score;
}

extern "C" __global__ void __launch_bounds__(THREADS)
choose(const float* __restrict__ all_scores, const int* __restrict__ len, int* __restrict__ chosen, int pages, int N) {
  const int used = (len[blockIdx.x] + PS - 1) / PS;
  const float* const scores = all_scores + (long long)blockIdx.x * pages;
  chosen += (long long)blockIdx.x * N;
  for (int i = used + threadIdx.x; i < N; i += THREADS) chosen[i] = -1;
  const auto score_of = [&](int i) { return i >= used - L ? INFINITY : scores[i]; };
  for (int n = threadIdx.x; n < used; n += THREADS) {
    const float own = score_of(n);
    int place = 0;
    for (int i = 0; i < used; ++i) {
      const float other = score_of(i);
      place += other > own || (other == own && i < n);
    }
    if (place < N) chosen[place] = n;
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int pages = kl::cdiv(p.S, Problem::PS);
  const auto scores = plan.workspace(kl::f32, (long long)p.B * pages);
  plan.launch("page_scores").grid(kl::cdiv(pages, 4), p.B).block(128)
      .arg(p.q).arg(p.k).arg(p.lse).arg(p.page_table).arg(p.len).arg(scores).arg(pages).arg(p.Hq).arg(p.Hkv).arg(p.scale);
  plan.launch("choose").grid(p.B).block(THREADS)
      .arg(scores).arg(p.len).arg(p.chosen).arg(pages).arg(p.N);
}
