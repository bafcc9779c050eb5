// SPDX-License-Identifier: Apache-2.0
// RMSNorm with 16-byte loads and the row kept in registers: y = x * rsqrt(mean(x^2) + eps) * w, bf16 [M, N].
//
// Technique: one block per row; a thread holds VECTORS vectors of eight channels, so the row is read once. The sum is
// reduced by shuffles within a warp and through shared memory between warps.
//
// Ladder:
//   naive.cu        scalar loads, row read twice
//   this file       16-byte loads, all of a row's loads in flight at once, row read once; rows that are not a multiple
//                   of eight channels, or too long for the registers, take the scalar kernel

// tune: THREADS = 256 | 128 | 512

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int CHANNELS = 8;      // of one 16-byte vector
constexpr int VECTORS_MAX = 8;   // per thread: 32 registers

/// Sum over the block, in every thread.
__device__ float block_sum(float value) {
  __shared__ float partial[THREADS / 32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  if (lane == 0) partial[warp] = value;
  __syncthreads();  // the sum of every warp is visible
  float sum = 0;
  for (int i = 0; i < THREADS / 32; ++i) sum += partial[i];
  return sum;
}

template <int VECTORS>
__global__ void __launch_bounds__(THREADS)
rmsnorm_vectors(const uint4* __restrict__ x, const uint4* __restrict__ w, uint4* __restrict__ y, int N, float eps) {
  const int tid = threadIdx.x, vectors = N / CHANNELS;
  x += (long long)blockIdx.x * vectors;
  y += (long long)blockIdx.x * vectors;

  uint4 held[VECTORS];
#pragma unroll
  for (int i = 0; i < VECTORS; ++i) {
    const int n = i * THREADS + tid;
    held[i] = n < vectors ? x[n] : make_uint4(0, 0, 0, 0);
  }
  float sum = 0;
#pragma unroll
  for (int i = 0; i < VECTORS; ++i) {
    const unsigned pairs[] = {held[i].x, held[i].y, held[i].z, held[i].w};
#pragma unroll
    for (unsigned pair : pairs) {
      const float low = ptx::low_bf16(pair), high = ptx::high_bf16(pair);
      sum += low * low + high * high;
    }
  }
  const float factor = rsqrtf(block_sum(sum) / N + eps);

  const auto scaled = [&](unsigned pair, unsigned gain) {
    return ptx::pack_bf16(ptx::low_bf16(pair) * factor * ptx::low_bf16(gain),
                          ptx::high_bf16(pair) * factor * ptx::high_bf16(gain));
  };
#pragma unroll
  for (int i = 0; i < VECTORS; ++i) {
    const int n = i * THREADS + tid;
    if (n < vectors) {
      const uint4 gain = w[n];
      y[n] = make_uint4(scaled(held[i].x, gain.x), scaled(held[i].y, gain.y), scaled(held[i].z, gain.z),
                        scaled(held[i].w, gain.w));
    }
  }
}

__global__ void __launch_bounds__(THREADS)
rmsnorm_scalar(const unsigned short* __restrict__ x, const unsigned short* __restrict__ w,
               unsigned short* __restrict__ y, int N, float eps) {
  x += (long long)blockIdx.x * N;
  y += (long long)blockIdx.x * N;
  float sum = 0;
  for (int n = threadIdx.x; n < N; n += THREADS) {
    const float value = ptx::low_bf16(x[n]);
    sum += value * value;
  }
  const float factor = rsqrtf(block_sum(sum) / N + eps);
  for (int n = threadIdx.x; n < N; n += THREADS) {
    y[n] = (unsigned short)ptx::pack_bf16(ptx::low_bf16(x[n]) * factor * ptx::low_bf16(w[n]), 0);
  }
}

constexpr const char* kernel_for(int vectors_per_thread) {
  if (vectors_per_thread <= 1) return "rmsnorm_vectors<1>";
  if (vectors_per_thread <= 2) return "rmsnorm_vectors<2>";
  if (vectors_per_thread <= 4) return "rmsnorm_vectors<4>";
  return "rmsnorm_vectors<8>";
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const bool fits = p.N % CHANNELS == 0 && p.N <= THREADS * CHANNELS * VECTORS_MAX;
  plan.launch(fits ? kernel_for(kl::cdiv(p.N / CHANNELS, THREADS)) : "rmsnorm_scalar")
      .grid(p.M).block(THREADS).arg(p.x).arg(p.w).arg(p.y).arg(p.N).arg(p.eps);
}
