// SPDX-License-Identifier: Apache-2.0
// Group-rational activation, backward: x, dy f32 [M, 8 CG] -> dx f32 [M, 8 CG], da f32 [8, 6], db f32 [8, 4].
//
// Technique: one kernel for dx, a thread per element; a second one for the sums, one block per group, which reads all of
// the group's elements again. Eight busy blocks on the whole device: the starting point of the ladder.

// tune: THREADS = 256 | 512 | 1024

#include <kernelites/std.cuh>

constexpr int NG = Problem::NG;

__device__ float sign(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f; }

struct Rational {
  float p, q, dp, dq;  // P, Q, P', S
  __device__ Rational(float x, const float* a, const float* b) : p(0), q(1), dp(0), dq(0) {
    float power = 1, size = 1;
    for (int i = 0; i < 6; ++i) {
      p += a[i] * power;
      if (i < 5) dp += (i + 1) * a[i + 1] * power;
      if (i < 4) dq += (i + 1) * fabsf(b[i]) * size;
      power *= x;
      size *= fabsf(x);
      if (i < 4) q += fabsf(b[i]) * size;
    }
    dq *= sign(x);
  }
};

extern "C" __global__ void __launch_bounds__(THREADS)
gr_kan_dx(const float* __restrict__ x, const float* __restrict__ dy, const float* __restrict__ a,
          const float* __restrict__ b, float* __restrict__ dx, int CG) {
  const int C = NG * CG;
  for (int c = threadIdx.x; c < C; c += THREADS) {
    const long long at = (long long)blockIdx.x * C + c;
    const Rational r(x[at], a + c / CG * 6, b + c / CG * 4);
    dx[at] = dy[at] * (r.dp / r.q - r.p / r.q * (r.dq / r.q));
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
gr_kan_sums(const float* __restrict__ x, const float* __restrict__ dy, const float* __restrict__ a,
            const float* __restrict__ b, float* __restrict__ da, float* __restrict__ db, int M, int CG) {
  __shared__ double partial[THREADS];
  const int n = blockIdx.x, tid = threadIdx.x, C = NG * CG;
  a += n * 6;
  b += n * 4;
  double sums[10] = {};  // of up to 10^6 terms each: floats one after the other would lose 1e-5 of themselves
  for (long long i = tid; i < (long long)M * CG; i += THREADS) {
    const long long at = i / CG * C + n * CG + i % CG;
    const float value = x[at], gradient = dy[at];
    const Rational r(value, a, b);
    float power = 1, size = 1;
    for (int k = 0; k < 6; ++k) {
      sums[k] += gradient * power / r.q;
      power *= value;
      size *= fabsf(value);
      if (k < 4) sums[6 + k] -= gradient * (r.p / r.q) * sign(b[k]) * (size / r.q);
    }
  }
  for (int k = 0; k < 10; ++k) {
    partial[tid] = sums[k];
    __syncthreads();  // every partial sum is visible
    for (int half = THREADS / 2; half > 0; half /= 2) {
      if (tid < half) partial[tid] += partial[tid + half];
      __syncthreads();  // this level's sums are visible
    }
    if (tid == 0) (k < 6 ? da[n * 6 + k] : db[n * 4 + k - 6]) = (float)partial[0];
    __syncthreads();  // the sum is read
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("gr_kan_dx").grid(p.M).block(THREADS).arg(p.x).arg(p.dy).arg(p.a).arg(p.b).arg(p.dx).arg(p.CG);
  plan.launch("gr_kan_sums").grid(NG).block(THREADS)
      .arg(p.x).arg(p.dy).arg(p.a).arg(p.b).arg(p.da).arg(p.db).arg(p.M).arg(p.CG);
}
