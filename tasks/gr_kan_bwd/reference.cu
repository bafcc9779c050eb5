// SPDX-License-Identifier: Apache-2.0
// Reference of gr_kan_bwd in float64, with group n of channel c = c / CG:
//   P = sum_{i<=5} a_i x^i, Q = 1 + sum_{1<=i<=4} |b_i| |x|^i, S = sgn(x) sum_i i |b_i| |x|^(i-1)
//   dx = dy (P' / Q - P S / Q^2), da_i = sum dy x^i / Q, db_i = sum -dy P / Q^2 sgn(b_i) |x|^i, sgn(0) = 0
//
// dx: one block per listed row. da and db: several blocks per listed group sum slices of the rows, one more kernel adds the
// slices. Every sum is in float64.
//
// All three may cancel, and what a float kernel errs by follows the terms, not what is left of them. So *_emulated are the
// results with an honest kernel's error: 2^-22 of the absolute terms of dx, four roundings of polynomials; 2^-20 of the
// root of the squares of all terms of a sum, roundings of floats added in runs of a thousand.

#include <kernelites/reference_rounding.cuh>

#define REFERENCE_THREADS 256

using namespace kernelites::reference;

constexpr int NG = Problem::NG;

__device__ double sign(double x) { return x > 0 ? 1.0 : x < 0 ? -1.0 : 0.0; }

/// The polynomials of one element.
struct Rational {
  double p, q, dp, dq;         // P, Q, P', S
  double p_terms, dp_terms;  // sums of the absolute terms of P and P'
  __device__ Rational(double x, const float* a, const float* b) : p(0), q(1), dp(0), dq(0), p_terms(0), dp_terms(0) {
    double power = 1, size = 1;  // x^i, |x|^i
    for (int i = 0; i < 6; ++i) {
      p += a[i] * power;
      p_terms += fabs((double)a[i]) * size;
      if (i < 5) dp += (i + 1) * (double)a[i + 1] * power;
      if (i < 5) dp_terms += (i + 1) * fabs((double)a[i + 1]) * size;
      if (i < 4) dq += (i + 1) * fabs((double)b[i]) * size;
      power *= x;
      size *= fabs(x);
      if (i < 4) q += fabs((double)b[i]) * size;
    }
    dq *= sign(x);
  }
};

extern "C" __global__ void __launch_bounds__(REFERENCE_THREADS)
gr_kan_dx(const float* __restrict__ x, const float* __restrict__ dy, const float* __restrict__ a,
          const float* __restrict__ b, double* __restrict__ dx, double* __restrict__ dx_emulated,
          const long long* __restrict__ rows, int CG) {
  const int C = NG * CG;
  for (int c = threadIdx.x; c < C; c += REFERENCE_THREADS) {
    const long long at = rows[blockIdx.x] * C + c;
    const Rational r(x[at], a + c / CG * 6, b + c / CG * 4);
    const double value = dy[at] * (r.dp / r.q - r.p * r.dq / (r.q * r.q));
    dx[(long long)blockIdx.x * C + c] = value;
    dx_emulated[(long long)blockIdx.x * C + c] =
        value + 0x1p-22 * fabs(dy[at] * (r.dp_terms / r.q + r.p_terms * fabs(r.dq) / (r.q * r.q)));
  }
}

/// slices[listed group, slice, 20]: six sums for da, four for db; the sums of the squares of their terms.
extern "C" __global__ void __launch_bounds__(REFERENCE_THREADS)
gr_kan_slices(const float* __restrict__ x, const float* __restrict__ dy, const float* __restrict__ a,
              const float* __restrict__ b, double* __restrict__ slices, const long long* __restrict__ rows, long long M,
              int CG) {
  const int n = (int)rows[blockIdx.y], C = NG * CG;
  const float* const a_n = a + n * 6;
  const float* const b_n = b + n * 4;
  double sums[20] = {};
  for (long long i = blockIdx.x * REFERENCE_THREADS + threadIdx.x; i < M * CG; i += gridDim.x * REFERENCE_THREADS) {
    const long long at = i / CG * C + n * CG + i % CG;
    const double gradient = dy[at];
    const Rational r(x[at], a_n, b_n);
    double power = 1, size = 1;
    for (int k = 0; k < 6; ++k) {
      const double term = gradient * power / r.q;
      sums[k] += term;
      sums[10 + k] += term * term;
      power *= x[at];
      size *= fabs((double)x[at]);
      if (k > 3) continue;
      const double scaled = gradient / (r.q * r.q) * sign(b_n[k]) * size;
      sums[6 + k] -= scaled * r.p;
      sums[16 + k] += scaled * r.p_terms * scaled * r.p_terms;
    }
  }
  for (int k = 0; k < 20; ++k) {
    const double sum = block_sum<REFERENCE_THREADS>(sums[k]);
    if (threadIdx.x == 0) slices[((long long)blockIdx.y * gridDim.x + blockIdx.x) * 20 + k] = sum;
  }
}

extern "C" __global__ void gr_kan_sums(const double* __restrict__ slices, double* __restrict__ da, double* __restrict__ db,
                                       double* __restrict__ da_emulated, double* __restrict__ db_emulated,
                                       int slice_count) {
  const int k = threadIdx.x;  // of ten
  double sum = 0, squares = 0;
  for (int slice = 0; slice < slice_count; ++slice) {
    const double* const of = slices + ((long long)blockIdx.x * slice_count + slice) * 20;
    sum += of[k];
    squares += of[10 + k];
  }
  const double emulated = sum + 0x1p-20 * sqrt(squares);
  if (k < 6) {
    da[(long long)blockIdx.x * 6 + k] = sum;
    da_emulated[(long long)blockIdx.x * 6 + k] = emulated;
  } else {
    db[(long long)blockIdx.x * 4 + k - 6] = sum;
    db_emulated[(long long)blockIdx.x * 4 + k - 6] = emulated;
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int slice_count = kl::clamp((long long)p.M * p.CG / 4096, 1LL, 64LL);
  const auto slices = plan.workspace(kl::f64, (long long)p.R_da * slice_count * 20);
  plan.launch("gr_kan_dx").grid(p.R).block(REFERENCE_THREADS)
      .arg(p.x).arg(p.dy).arg(p.a).arg(p.b).arg(p.dx).arg(p.dx_emulated).arg(p.rows).arg(p.CG);
  plan.launch("gr_kan_slices").grid(slice_count, p.R_da).block(REFERENCE_THREADS)
      .arg(p.x).arg(p.dy).arg(p.a).arg(p.b).arg(slices).arg(p.rows_da).arg((long long)p.M).arg(p.CG);
  plan.launch("gr_kan_sums").grid(p.R_da).block(10).arg(slices).arg(p.da).arg(p.db).arg(p.da_emulated).arg(p.db_emulated)
      .arg(slice_count);
}
