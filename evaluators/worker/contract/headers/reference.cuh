// SPDX-License-Identifier: Apache-2.0
// What the references of tasks share, in float64: reading narrow floats, dot products of a warp, attention of one row.
//
// For reference.cu, where plain and right is all that counts; kernels that shall be fast gain nothing here.
#pragma once

#include <kernelites/std.cuh>

namespace kernelites::reference {

/// A bf16 is the upper half of a float.
__device__ inline double from_bf16(unsigned short bits) { return __uint_as_float((unsigned)bits << 16); }

/// e4m3: four bits of exponent with bias 7, three of mantissa, no infinity.
__device__ inline double from_e4m3(unsigned char code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  if ((code & 0x7f) == 0x7f) return __longlong_as_double(0x7ff8000000000000ll);
  const double size = exponent > 0 ? ldexp(8.0 + mantissa, exponent - 10) : ldexp((double)mantissa, -9);
  return code & 0x80 ? -size : size;
}

/// The sum over the lanes of a warp, in all of them.
__device__ inline double warp_sum(double value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

/// A vector of D elements spread over a warp: a lane holds elements lane, lane + 32, ... `at(d)` gives element d.
template <int D>
struct Spread {
  static_assert(D % 32 == 0, "whole warps");
  double x[D / 32];

  template <typename At>
  __device__ explicit Spread(At at) {
    for (int i = 0; i < D / 32; ++i) x[i] = at(i * 32 + (int)threadIdx.x % 32);
  }
  /// The dot product with another vector, in all lanes.
  template <typename At>
  __device__ double dot(At at) const {
    double sum = 0;
    for (int i = 0; i < D / 32; ++i) sum += x[i] * at(i * 32 + (int)threadIdx.x % 32);
    return warp_sum(sum);
  }
};

/// Softmax attention of one row over the keys first <= j < end, by a block of WARPS warps:
///   score(j)     the score of key j, called by whole warps, the same in all lanes; -infinity: not attended
///   value(j, d)  channel d of its value
/// Writes the DV channels of the output to o and returns the log-sum-exp in all threads; without any key 0 and
/// -infinity. Every warp walks its own share of the keys with a running maximum, which keeps the exponentials in range
/// whatever the scores are; the shares are then merged by their maxima. May be called again after it returned.
template <int DV, int WARPS, typename Score, typename Value>
__device__ double attend(int first, int end, Score score, Value value, double* o) {
  static_assert(DV % 32 == 0 && WARPS * DV * 8 <= 40960, "whole warps; shares fit into shared memory");
  __shared__ double share_max[WARPS], share_sum[WARPS], share_o[WARPS][DV];
  const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
  const double none = __longlong_as_double(0xfff0000000000000ll);  // -infinity

  double max = none, sum = 0, held[DV / 32] = {};
  for (int j = first + warp; j < end; j += WARPS) {
    const double s = score(j);
    if (s == none) continue;
    if (s > max) {  // the same for all lanes; exp(-infinity) = 0 makes the first key a plain start
      const double shrink = exp(max - s);
      for (int i = 0; i < DV / 32; ++i) held[i] *= shrink;
      sum *= shrink;
      max = s;
    }
    const double p = exp(s - max);
    sum += p;
    for (int i = 0; i < DV / 32; ++i) held[i] += p * value(j, i * 32 + lane);
  }
  __syncthreads();  // an earlier call has read its shares
  for (int i = 0; i < DV / 32; ++i) share_o[warp][i * 32 + lane] = held[i];
  if (lane == 0) share_max[warp] = max, share_sum[warp] = sum;
  __syncthreads();  // every warp's share is visible

  double row_max = none, row_sum = 0;
  for (int w = 0; w < WARPS; ++w) row_max = fmax(row_max, share_max[w]);
  for (int w = 0; w < WARPS; ++w) {
    if (share_sum[w] > 0) row_sum += share_sum[w] * exp(share_max[w] - row_max);
  }
  for (int d = (int)threadIdx.x; d < DV; d += WARPS * 32) {
    double total = 0;
    for (int w = 0; w < WARPS; ++w) {
      if (share_sum[w] > 0) total += share_o[w][d] * exp(share_max[w] - row_max);
    }
    o[d] = row_sum > 0 ? total / row_sum : 0;
  }
  return row_sum > 0 ? row_max + log(row_sum) : none;
}

}  // namespace kernelites::reference
