// SPDX-License-Identifier: Apache-2.0
// Group-rational activation, backward, in one pass: x, dy f32 [M, 8 CG] -> dx f32 [M, 8 CG], da f32 [8, 6], db f32 [8, 4].
//
// Technique: a block takes one group's channels in a slice of the rows, so that the coefficients are the same for all its
// threads. A thread reads UNROLL vectors of four channels at once, writes their dx and keeps its share of the ten sums in
// registers; warps add them by shuffles, the block through shared memory, and a second kernel adds the blocks' sums. No
// atomics: the order of every sum depends on the shape alone, and sums stay short. Groups that are not a multiple of
// four channels wide go channel by channel.
//
// Ladder:
//   naive.cu      dx apart, sums by eight blocks that read everything again
//   this file     one read of x and dy, sums in registers, over the whole device

// tune: THREADS = 256 | 128 | 512
// tune: UNROLL = 2 | 1 | 4
// tune: BLOCKS_PER_SM = 4 | 6 | 8

#include <kernelites/std.cuh>

constexpr int NG = Problem::NG, SUMS = 10;

/// Coefficients of a group; |b|, and the signs of b apart.
struct Coefficients {
  float a[6], b[4], sign[4];
  __device__ Coefficients(const float* a_n, const float* b_n) {
#pragma unroll
    for (int i = 0; i < 6; ++i) a[i] = a_n[i];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      b[i] = fabsf(b_n[i]);
      sign[i] = b_n[i] > 0 ? 1.0f : b_n[i] < 0 ? -1.0f : 0.0f;
    }
  }
};

/// dx of one element; adds its terms to the sums. Those for db lack their sign.
__device__ __forceinline__ float differentiate(const Coefficients& c, float x, float dy, float (&sums)[SUMS]) {
  const float size = fabsf(x);
  const float p = fmaf(fmaf(fmaf(fmaf(fmaf(c.a[5], x, c.a[4]), x, c.a[3]), x, c.a[2]), x, c.a[1]), x, c.a[0]);
  const float dp = fmaf(fmaf(fmaf(fmaf(5 * c.a[5], x, 4 * c.a[4]), x, 3 * c.a[3]), x, 2 * c.a[2]), x, c.a[1]);
  const float q = fmaf(fmaf(fmaf(fmaf(c.b[3], size, c.b[2]), size, c.b[1]), size, c.b[0]), size, 1.0f);
  const float slope = fmaf(fmaf(fmaf(4 * c.b[3], size, 3 * c.b[2]), size, 2 * c.b[1]), size, c.b[0]);
  const float dq = x > 0 ? slope : x < 0 ? -slope : 0.0f;
  const float inverse = 1.0f / q, y = p * inverse, scaled = dy * inverse;
  float term = scaled;
#pragma unroll
  for (int i = 0; i < 6; ++i) {
    sums[i] += term;
    term *= x;
  }
  term = -scaled * y;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    term *= size;
    sums[6 + i] += term;
  }
  return scaled * (dp - y * dq);
}

/// partial [NG, slices, SUMS]. Vector: float4 or float; `width` vectors make up a group's channels in a row.
template <typename Vector>
__global__ void __launch_bounds__(THREADS)
gr_kan_fused(const Vector* __restrict__ x, const Vector* __restrict__ dy, const float* __restrict__ a,
             const float* __restrict__ b, Vector* __restrict__ dx, float* __restrict__ partial, int M, int width,
             int rows_per_slice) {
  constexpr int LENGTH = sizeof(Vector) / 4;
  __shared__ float warps[THREADS / 32][SUMS];
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, n = blockIdx.y, slice = blockIdx.x;
  const Coefficients c(a + n * 6, b + n * 4);
  const int first = slice * rows_per_slice, rows = min(rows_per_slice, M - first), count = rows * width;
  const long long origin = ((long long)first * NG + n) * width;

  float sums[SUMS] = {};
  for (int i = tid; i < count; i += THREADS * UNROLL) {
    Vector values[UNROLL], gradients[UNROLL];
    long long at[UNROLL];
#pragma unroll
    for (int u = 0; u < UNROLL; ++u) {
      const int index = min(i + u * THREADS, count - 1), row = index / width;
      at[u] = origin + (long long)row * NG * width + (index - row * width);
      values[u] = __ldcs(x + at[u]);
      gradients[u] = __ldcs(dy + at[u]);
    }
#pragma unroll
    for (int u = 0; u < UNROLL; ++u) {
      if (i + u * THREADS >= count) break;
      const float* const value = reinterpret_cast<const float*>(&values[u]);
      const float* const gradient = reinterpret_cast<const float*>(&gradients[u]);
      Vector result;
#pragma unroll
      for (int e = 0; e < LENGTH; ++e) reinterpret_cast<float*>(&result)[e] = differentiate(c, value[e], gradient[e], sums);
      __stcs(dx + at[u], result);
    }
  }
#pragma unroll
  for (int k = 0; k < SUMS; ++k) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) sums[k] += __shfl_xor_sync(0xffffffffu, sums[k], step);
    if (lane == 0) warps[warp][k] = sums[k];
  }
  __syncthreads();  // every warp's sums are visible
  if (tid < SUMS) {
    float sum = 0;
    for (int w = 0; w < THREADS / 32; ++w) sum += warps[w][tid];
    float sign = 1;
#pragma unroll
    for (int k = 0; k < 4; ++k) sign = tid == 6 + k ? c.sign[k] : sign;
    partial[(n * gridDim.x + slice) * SUMS + tid] = sum * sign;
  }
}

/// A block per group and sum.
extern "C" __global__ void __launch_bounds__(128)
gr_kan_add(const float* __restrict__ partial, float* __restrict__ da, float* __restrict__ db, int slices) {
  __shared__ float warps[4];
  const int n = blockIdx.x, k = blockIdx.y, lane = threadIdx.x % 32;
  float sum = 0;
  for (int slice = threadIdx.x; slice < slices; slice += 128) sum += partial[(n * slices + slice) * SUMS + k];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if (lane == 0) warps[threadIdx.x / 32] = sum;
  __syncthreads();  // every warp's sum is visible
  if (threadIdx.x == 0) (k < 6 ? da[n * 6 + k] : db[n * 4 + k - 6]) = warps[0] + warps[1] + warps[2] + warps[3];
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const bool is_wide = p.CG % 4 == 0;
  const int width = is_wide ? p.CG / 4 : p.CG;
  // As many slices as fill the device, but no fewer rows than give every thread a vector.
  const int rows_min = kl::cdiv(THREADS * UNROLL, width);
  const int rows_per_slice = kl::max(rows_min, kl::cdiv(p.M, kl::max(1, p.device.sms * BLOCKS_PER_SM / NG)));
  const int slices = kl::cdiv(p.M, rows_per_slice);
  const auto partial = plan.workspace(kl::f32, (long long)NG * slices * SUMS);
  plan.launch(is_wide ? "gr_kan_fused<float4>" : "gr_kan_fused<float>").grid(slices, NG).block(THREADS)
      .arg(p.x).arg(p.dy).arg(p.a).arg(p.b).arg(p.dx).arg(partial).arg(p.M).arg(width).arg(rows_per_slice);
  plan.launch("gr_kan_add").grid(NG, SUMS).block(128).arg(partial).arg(p.da).arg(p.db).arg(slices);
}
