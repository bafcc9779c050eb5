// SPDX-License-Identifier: Apache-2.0
// Reference of delta_page_select in float64: scores [R, pages] of the sequences listed,
//   score_n = sum over tokens j < len[b] of page n of max_h exp(scale * q[b, h] . k[page, slot, h / G] - lse[b, h])
// +infinity for the last L pages of a sequence, which must be chosen, -infinity beyond its end. One warp per page.

#include <kernelites/reference.cuh>

namespace reference = kernelites::reference;

constexpr int REFERENCE_WARPS = 4;

extern "C" __global__ void __launch_bounds__(REFERENCE_WARPS * 32)
delta_reference(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k, const float* __restrict__ lse,
                const int* __restrict__ page_table, const int* __restrict__ len, double* __restrict__ scores,
                const long long* __restrict__ rows, int pages, int Hq, int Hkv, float scale) {
  constexpr int D = Problem::D, PS = Problem::PS, L = Problem::L;
  const long long b = rows[blockIdx.y];
  const int n = blockIdx.x * REFERENCE_WARPS + threadIdx.x / 32;
  if (n >= pages) return;
  const int used = (len[b] + PS - 1) / PS, G = Hq / Hkv;
  double score = 0;
  if (n >= used) {
    score = -HUGE_VAL;
  } else if (n >= used - L) {
    score = HUGE_VAL;
  } else {  // a full page: the last one is among the last L
    const long long page = page_table[b * pages + n];
    for (int slot = 0; slot < PS; ++slot) {
      double most = -HUGE_VAL;
      for (int h = 0; h < Hq; ++h) {
        const unsigned short* const query = q + (b * Hq + h) * D;
        const unsigned short* const key = k + ((page * PS + slot) * Hkv + h / G) * D;
        const reference::Spread<D> spread([&](int d) { return reference::from_bf16(query[d]); });
        const double dot = spread.dot([&](int d) { return reference::from_bf16(key[d]); });
        most = fmax(most, scale * dot - lse[b * Hq + h]);
      }
      score += exp(most);
    }
  }
  if (threadIdx.x % 32 == 0) scores[(long long)blockIdx.y * pages + n] = score;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int pages = kl::cdiv(p.S, Problem::PS);
  plan.launch("delta_reference").grid(kl::cdiv(pages, REFERENCE_WARPS), p.R).block(REFERENCE_WARPS * 32)
      .arg(p.q).arg(p.k).arg(p.lse).arg(p.page_table).arg(p.len).arg(p.chosen).arg(p.rows).arg(pages).arg(p.Hq).arg(p.Hkv)
      .arg(p.scale);
}
