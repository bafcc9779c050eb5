// SPDX-License-Identifier: Apache-2.0
// Reference of attention_state_merge in float64, for the (n, h) rows listed:
//   lse = log sum_p exp(lse_part[n, p, h]),  o = sum_p exp(lse_part[n, p, h] - lse) o_part[n, p, h]
// over the states that are not empty; without any, o = 0 and lse = -infinity. One block per listed row.

#include <kernelites/reference.cuh>

namespace reference = kernelites::reference;

constexpr int REFERENCE_THREADS = 128;

extern "C" __global__ void __launch_bounds__(REFERENCE_THREADS)
merge_reference(const unsigned short* __restrict__ o_part, const float* __restrict__ lse_part, double* __restrict__ o,
                double* __restrict__ lse, const long long* __restrict__ rows, int P, int H, int D) {
  const long long row = rows[blockIdx.x], n = row / H, h = row % H;
  double max = -HUGE_VAL, sum = 0;
  for (int p = 0; p < P; ++p) max = fmax(max, (double)lse_part[(n * P + p) * H + h]);
  for (int p = 0; p < P; ++p) {
    const double s = lse_part[(n * P + p) * H + h];
    if (s != -HUGE_VAL) sum += exp(s - max);
  }
  for (int d = threadIdx.x; d < D; d += REFERENCE_THREADS) {
    double value = 0;
    for (int p = 0; p < P; ++p) {
      const double s = lse_part[(n * P + p) * H + h];
      if (s != -HUGE_VAL) value += exp(s - max) * reference::from_bf16(o_part[((n * P + p) * H + h) * D + d]);
    }
    o[(long long)blockIdx.x * D + d] = sum > 0 ? value / sum : 0;
  }
  if (threadIdx.x == 0) lse[blockIdx.x] = sum > 0 ? max + log(sum) : -HUGE_VAL;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("merge_reference").grid(p.R).block(REFERENCE_THREADS)
      .arg(p.o_part).arg(p.lse_part).arg(p.o).arg(p.lse).arg(p.rows).arg(p.P).arg(p.H).arg(p.D);
}
