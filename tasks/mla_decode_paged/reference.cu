// SPDX-License-Identifier: Apache-2.0
// Reference of mla_decode_paged in float64, for the (b, h) rows listed:
//   s_j = scale * q[b, h] . kv[page, slot],  o = sum_j exp(s_j - lse) kv[page, slot, 0:512],  lse = log sum_j exp(s_j)
// over the keys j < len[b], with page = page_table[b, j / 64] and slot = j % 64; without any, o = 0 and lse = -infinity.
// One block per listed row.

#include <kernelites/reference.cuh>

namespace reference = kernelites::reference;

constexpr int REFERENCE_WARPS = 8;

extern "C" __global__ void __launch_bounds__(REFERENCE_WARPS * 32)
mla_reference(const unsigned short* __restrict__ q, const unsigned short* __restrict__ kv,
              const int* __restrict__ page_table, const int* __restrict__ len, double* __restrict__ o,
              double* __restrict__ lse, const long long* __restrict__ rows, int pages, int Hq, float scale) {
  constexpr int D = Problem::D, DV = Problem::DV, PS = Problem::PS;
  const long long row = rows[blockIdx.x];
  const int b = (int)(row / Hq);
  const auto row_at = [&](int j) { return ((long long)page_table[(long long)b * pages + j / PS] * PS + j % PS) * D; };

  const reference::Spread<D> query([&](int d) { return reference::from_bf16(q[row * D + d]); });
  const double sum = reference::attend<DV, REFERENCE_WARPS>(
      0, len[b],
      [&](int j) {
        return scale * query.dot([&](int d) { return reference::from_bf16(kv[row_at(j) + d]); });
      },
      [&](int j, int d) { return reference::from_bf16(kv[row_at(j) + d]); }, o + (long long)blockIdx.x * DV);
  if (threadIdx.x == 0) lse[blockIdx.x] = sum;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("mla_reference").grid(p.R).block(REFERENCE_WARPS * 32)
      .arg(p.q).arg(p.kv).arg(p.page_table).arg(p.len).arg(p.o).arg(p.lse).arg(p.rows).arg(kl::cdiv(p.S, Problem::PS))
      .arg(p.Hq).arg(p.scale);
}
