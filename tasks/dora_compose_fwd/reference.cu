// SPDX-License-Identifier: Apache-2.0
// Reference of dora_compose_fwd in float64: y[m, n] = (g[n] - 1) base[m, n] + g[n] scale lora[m, n], for the rows listed.
//
// One block per listed row.

#include <kernelites/reference.cuh>

#define REFERENCE_THREADS 256

using namespace kernelites::reference;

extern "C" __global__ void __launch_bounds__(REFERENCE_THREADS)
dora_compose_reference(const unsigned short* __restrict__ base, const unsigned short* __restrict__ lora,
                       const float* __restrict__ g, double* __restrict__ y, const long long* __restrict__ rows, int N,
                       float scale) {
  const long long from = rows[blockIdx.x] * N, to = (long long)blockIdx.x * N;
  for (int n = threadIdx.x; n < N; n += REFERENCE_THREADS) {
    const double magnitude = g[n];
    y[to + n] = (magnitude - 1) * from_bf16(base[from + n]) + magnitude * ((double)scale * from_bf16(lora[from + n]));
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("dora_compose_reference").grid(p.R).block(REFERENCE_THREADS)
      .arg(p.base).arg(p.lora).arg(p.g).arg(p.y).arg(p.rows).arg(p.N).arg(p.scale);
}
