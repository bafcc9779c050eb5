// SPDX-License-Identifier: Apache-2.0
// c = a b^T by mma.sync m16n8k16, every operand from global memory: 2 M N K tensor operations exactly, no more.
//
// Technique: none; one warp to a tile of 16 x 32, fragments loaded as the instruction wants them. For M a multiple of 64,
// N of 32, K of 16.

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

extern "C" __global__ void __launch_bounds__(128)
matmul(const unsigned* __restrict__ a, const unsigned* __restrict__ b, float* __restrict__ c, int N, int K) {
  const int warp = threadIdx.x / 32, group = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const long long row = blockIdx.y * 64 + warp * 16 + group, column = blockIdx.x * 32;
  const int pairs = K / 2;  // of a row
  float sums[4][4] = {};
  for (int k = 0; k < pairs; k += 8) {
    const unsigned* const at = a + row * pairs + k + t;
    const unsigned fragment[4] = {at[0], at[8LL * pairs], at[4], at[8LL * pairs + 4]};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const unsigned* const bt = b + (column + 8 * j + group) * pairs + k + t;
      ptx::mma_bf16(sums[j], fragment, bt[0], bt[4]);
    }
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    float* const out = c + row * N + column + 8 * j + 2 * t;
    out[0] = sums[j][0];
    out[1] = sums[j][1];
    out[8LL * N] = sums[j][2];
    out[8LL * N + 1] = sums[j][3];
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.M % 64 == 0 && p.N % 32 == 0 && p.K % 16 == 0, "whole tiles only")) return;
  plan.launch("matmul").grid(p.N / 32, p.M / 64).block(128).arg(p.a).arg(p.b).arg(p.c).arg(p.N).arg(p.K);
}
