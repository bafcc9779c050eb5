// SPDX-License-Identifier: Apache-2.0
// Reference of softmax_row in float64: y[m, n] = exp(x[m, n] - max) / sum_n exp(x[m, n] - max), for the rows listed.
//
// One block per listed row. Plain on purpose: three passes, no tricks that a reader would have to trust.

#define REFERENCE_THREADS 256

__device__ double from_bf16(const unsigned short* values, long long index) {
  return __uint_as_float((unsigned)values[index] << 16);  // a bf16 is the upper half of a float
}

extern "C" __global__ void __launch_bounds__(REFERENCE_THREADS)
softmax_reference(const unsigned short* __restrict__ x, double* __restrict__ y, const long long* __restrict__ rows,
                  int N) {
  __shared__ double partial[REFERENCE_THREADS];
  const int tid = threadIdx.x;
  const long long from = rows[blockIdx.x] * N, to = (long long)blockIdx.x * N;

  double max = -HUGE_VAL;
  for (int n = tid; n < N; n += REFERENCE_THREADS) max = fmax(max, from_bf16(x, from + n));
  partial[tid] = max;
  __syncthreads();  // every partial maximum is visible
  for (int half = REFERENCE_THREADS / 2; half > 0; half /= 2) {
    if (tid < half) partial[tid] = fmax(partial[tid], partial[tid + half]);
    __syncthreads();  // this level's maxima are visible
  }
  max = partial[0];
  __syncthreads();  // everybody has read the maximum

  double sum = 0;
  for (int n = tid; n < N; n += REFERENCE_THREADS) sum += exp(from_bf16(x, from + n) - max);
  partial[tid] = sum;
  __syncthreads();  // every partial sum is visible
  for (int half = REFERENCE_THREADS / 2; half > 0; half /= 2) {
    if (tid < half) partial[tid] += partial[tid + half];
    __syncthreads();  // this level's sums are visible
  }
  for (int n = tid; n < N; n += REFERENCE_THREADS) y[to + n] = exp(from_bf16(x, from + n) - max) / partial[0];
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("softmax_reference").grid(p.R).block(REFERENCE_THREADS).arg(p.x).arg(p.y).arg(p.rows).arg(p.N);
}
