// SPDX-License-Identifier: Apache-2.0
// Reference of rmsnorm in float64: y[m, n] = x[m, n] / sqrt(mean(x[m, :]^2) + eps) * w[n], for the rows listed.
//
// One block per listed row. Plain on purpose: no vector loads, no tricks that a reader would have to trust.

#define REFERENCE_THREADS 256

__device__ double from_bf16(const unsigned short* values, long long index) {
  return __uint_as_float((unsigned)values[index] << 16);  // a bf16 is the upper half of a float
}

extern "C" __global__ void __launch_bounds__(REFERENCE_THREADS)
rmsnorm_reference(const unsigned short* __restrict__ x, const unsigned short* __restrict__ w, double* __restrict__ y,
                  const long long* __restrict__ rows, int N, float eps) {
  __shared__ double partial[REFERENCE_THREADS];
  const int tid = threadIdx.x;
  const long long from = rows[blockIdx.x] * N, to = (long long)blockIdx.x * N;

  double sum = 0;
  for (int n = tid; n < N; n += REFERENCE_THREADS) sum += from_bf16(x, from + n) * from_bf16(x, from + n);
  partial[tid] = sum;
  __syncthreads();  // every partial sum is visible
  for (int half = REFERENCE_THREADS / 2; half > 0; half /= 2) {
    if (tid < half) partial[tid] += partial[tid + half];
    __syncthreads();  // this level's sums are visible
  }

  const double root = sqrt(partial[0] / N + (double)eps);
  for (int n = tid; n < N; n += REFERENCE_THREADS) y[to + n] = from_bf16(x, from + n) / root * from_bf16(w, n);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("rmsnorm_reference").grid(p.R).block(REFERENCE_THREADS)
      .arg(p.x).arg(p.w).arg(p.y).arg(p.rows).arg(p.N).arg(p.eps);
}
