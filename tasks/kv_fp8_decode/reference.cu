// SPDX-License-Identifier: Apache-2.0
// Reference of kv_fp8_decode in float64, for the (b, h) rows listed:
//   s_j = scale * k_scale_j * q[b, h] . k[b, j, h / G],  o = sum_j exp(s_j - lse) v_scale_j v[b, j, h / G],
//   lse = log sum_j exp(s_j)
// over the keys j < len[b]; without any, o = 0 and lse = -infinity. One block per listed row.

#include <kernelites/reference.cuh>

namespace reference = kernelites::reference;

constexpr int REFERENCE_WARPS = 16;

extern "C" __global__ void __launch_bounds__(REFERENCE_WARPS * 32)
fp8_reference(const unsigned short* __restrict__ q, const unsigned char* __restrict__ k,
              const unsigned char* __restrict__ v, const float* __restrict__ k_scale, const float* __restrict__ v_scale,
              const int* __restrict__ len, double* __restrict__ o, double* __restrict__ lse,
              const long long* __restrict__ rows, int S, int Hq, int Hkv, float scale) {
  constexpr int D = Problem::D;
  const long long row = rows[blockIdx.x];
  const int b = (int)(row / Hq), h = (int)(row % Hq), hk = h / (Hq / Hkv);
  const auto key_at = [&](int j) { return (((long long)b * S + j) * Hkv + hk) * D; };
  const long long scales = ((long long)b * Hkv + hk) * S;

  const reference::Spread<D> query([&](int d) { return reference::from_bf16(q[row * D + d]); });
  const double sum = reference::attend<D, REFERENCE_WARPS>(
      0, len[b],
      [&](int j) {
        return (double)scale * k_scale[scales + j] *
               query.dot([&](int d) { return reference::from_e4m3(k[key_at(j) + d]); });
      },
      [&](int j, int d) { return v_scale[scales + j] * reference::from_e4m3(v[key_at(j) + d]); }, o + (long long)blockIdx.x * D);
  if (threadIdx.x == 0) lse[blockIdx.x] = sum;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("fp8_reference").grid(p.R).block(REFERENCE_WARPS * 32)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.k_scale).arg(p.v_scale).arg(p.len).arg(p.o).arg(p.lse).arg(p.rows).arg(p.S)
      .arg(p.Hq).arg(p.Hkv).arg(p.scale);
}
