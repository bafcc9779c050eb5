// SPDX-License-Identifier: Apache-2.0
// Reference of gqa_decode_ragged_balanced in float64, for the (b, h) rows listed:
//   s_j = scale * q[b, h] . k[j, h / G],  o[b, h] = sum_j exp(s_j - lse) v[j, h / G],  lse = log sum_j exp(s_j)
// over the keys offsets[b] <= j < offsets[b + 1]; without any, o = 0 and lse = -infinity. One block per listed row.

#include <kernelites/reference.cuh>

namespace reference = kernelites::reference;

constexpr int REFERENCE_WARPS = 16;

extern "C" __global__ void __launch_bounds__(REFERENCE_WARPS * 32)
ragged_reference(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
                 const unsigned short* __restrict__ v, const int* __restrict__ offsets, double* __restrict__ o,
                 double* __restrict__ lse, const long long* __restrict__ rows, int Hq, int Hkv, float scale) {
  constexpr int D = Problem::D;
  const long long row = rows[blockIdx.x];
  const int b = (int)(row / Hq), h = (int)(row % Hq), hk = h / (Hq / Hkv);
  const auto key_at = [&](int j) { return ((long long)j * Hkv + hk) * D; };

  const reference::Spread<D> query([&](int d) { return reference::from_bf16(q[row * D + d]); });
  const double sum = reference::attend<D, REFERENCE_WARPS>(
      offsets[b], offsets[b + 1],
      [&](int j) {
        return scale * query.dot([&](int d) { return reference::from_bf16(k[key_at(j) + d]); });
      },
      [&](int j, int d) { return reference::from_bf16(v[key_at(j) + d]); }, o + (long long)blockIdx.x * D);
  if (threadIdx.x == 0) lse[blockIdx.x] = sum;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("ragged_reference").grid(p.R).block(REFERENCE_WARPS * 32)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.offsets).arg(p.o).arg(p.lse).arg(p.rows).arg(p.Hq).arg(p.Hkv)
      .arg(p.scale);
}
