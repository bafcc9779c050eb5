// SPDX-License-Identifier: Apache-2.0
// Reference of gqa_prefill_varlen in float64, for the (t, h) rows listed: attention of token t over the tokens of its
// own sequence up to itself. Every token belongs to a sequence, so there is always a key.

#include <kernelites/reference_attention.cuh>

namespace reference = kernelites::reference;

template <int D>
__global__ void __launch_bounds__(reference::k_attend_threads)
varlen_reference(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
                 const unsigned short* __restrict__ v, const int* __restrict__ cu_seqlens, double* __restrict__ o,
                 double* __restrict__ lse, const long long* __restrict__ rows, int B, int Hq, int Hkv, float scale) {
  const long long row = rows[blockIdx.x], t = row / Hq;
  const int hk = (int)(row % Hq) / (Hq / Hkv);
  int n = 0;
  while (n + 1 < B && cu_seqlens[n + 1] <= t) ++n;
  const long long begin = cu_seqlens[n];
  reference::attend_keys<D>(o + (long long)blockIdx.x * D, lse + blockIdx.x, q + row * D, k, v, (double)scale,
                            (int)(t - begin) + 1,
                            [&](int j) { return ((begin + j) * Hkv + hk) * D; });
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch(p.D == 64 ? "varlen_reference<64>" : "varlen_reference<128>")
      .grid(p.R).block(kernelites::reference::k_attend_threads)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.cu_seqlens).arg(p.o).arg(p.lse).arg(p.rows).arg(p.B).arg(p.Hq).arg(p.Hkv)
      .arg(p.scale);
}
