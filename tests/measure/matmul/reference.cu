// SPDX-License-Identifier: Apache-2.0
// Reference of the task "matmul" in float64: c[m, n] = sum over k of a[m, k] * b[n, k], for the rows listed.

__device__ double from_bf16(const unsigned short* values, long long index) {
  return __uint_as_float((unsigned)values[index] << 16);  // a bf16 is the upper half of a float
}

extern "C" __global__ void __launch_bounds__(256)
matmul_reference(const unsigned short* __restrict__ a, const unsigned short* __restrict__ b, double* __restrict__ c,
                 const long long* __restrict__ rows, int N, int K) {
  const long long from = rows[blockIdx.x] * K;
  for (int n = threadIdx.x; n < N; n += 256) {
    double sum = 0;
    for (int k = 0; k < K; ++k) sum += from_bf16(a, from + k) * from_bf16(b, (long long)n * K + k);
    c[(long long)blockIdx.x * N + n] = sum;
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("matmul_reference").grid(p.R).block(256).arg(p.a).arg(p.b).arg(p.c).arg(p.rows).arg(p.N).arg(p.K);
}
