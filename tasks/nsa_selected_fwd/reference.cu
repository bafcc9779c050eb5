// SPDX-License-Identifier: Apache-2.0
// Reference of nsa_selected_fwd in float64, for the (b, i, h) rows listed: attention over the keys of the query's blocks
// up to the query itself. Entries of -1 are no blocks, wherever they stand.

#include <kernelites/reference_attention.cuh>

namespace reference = kernelites::reference;

template <int D>
__global__ void __launch_bounds__(reference::k_attend_threads)
nsa_reference(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
              const unsigned short* __restrict__ v, const int* __restrict__ idx, double* __restrict__ o,
              double* __restrict__ lse, const long long* __restrict__ rows, int S, int Hq, int Hkv, int L, int T,
              float scale) {
  const long long row = rows[blockIdx.x], token = row / Hq, b = token / S;
  const int hk = (int)(row % Hq) / (Hq / Hkv), i = (int)(token % S);
  const int* const blocks = idx + (token * Hkv + hk) * T;
  const auto key_at = [&](int n) -> long long {
    const int block = blocks[n / L], j = block * L + n % L;
    return block < 0 || j > i ? -1 : ((b * S + j) * Hkv + hk) * D;
  };
  reference::attend_keys<D>(o + (long long)blockIdx.x * D, lse + blockIdx.x, q + row * D, k, v, (double)scale, T * L,
                            key_at);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch(p.D == 64 ? "nsa_reference<64>" : "nsa_reference<128>")
      .grid(p.R).block(kernelites::reference::k_attend_threads)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.idx).arg(p.o).arg(p.lse).arg(p.rows).arg(p.S).arg(p.Hq).arg(p.Hkv).arg(p.L)
      .arg(p.T).arg(p.scale);
}
