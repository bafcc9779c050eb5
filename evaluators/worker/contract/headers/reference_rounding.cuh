// SPDX-License-Identifier: Apache-2.0
// For references that also emulate an honest kernel or reduce over blocks: rounding to bf16, sums and maxima.
#pragma once

#include <kernelites/reference.cuh>

namespace kernelites::reference {

/// The bf16 nearest to x, ties to even: what an honest kernel loses where it rounds. Finite x only.
__device__ inline double rounded_to_bf16(double x) {
  const unsigned bits = __float_as_uint((float)x);
  return __uint_as_float((bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u);
}

/// `pick` over the values of a block of `threads` threads (a power of two), in every thread.
template <int threads, typename Pick>
__device__ double block_reduce(double value, Pick pick) {
  __shared__ double partial[threads];
  partial[threadIdx.x] = value;
  __syncthreads();  // every value is visible
  for (int half = threads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) partial[threadIdx.x] = pick(partial[threadIdx.x], partial[threadIdx.x + half]);
    __syncthreads();  // this level's values are visible
  }
  const double result = partial[0];
  __syncthreads();  // the values may be overwritten
  return result;
}

template <int threads>
__device__ double block_sum(double value) {
  return block_reduce<threads>(value, [](double a, double b) { return a + b; });
}

template <int threads>
__device__ double block_max(double value) {
  return block_reduce<threads>(value, [](double a, double b) { return fmax(a, b); });
}

}  // namespace kernelites::reference
