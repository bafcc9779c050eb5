// SPDX-License-Identifier: Apache-2.0
// Softmax with 16-byte loads and the row kept in registers: y = exp(x - max) / sum, bf16 [M, N].
//
// Technique: a group of LANES threads takes one row; a thread holds up to eight vectors of eight values in
// registers, those of the longest rows mostly in shared memory, so that the row is read once. Short rows go to a warp,
// several rows to a block; long ones to a block of up to 1024 threads. Maximum and sum are reduced by shuffles within a warp and through shared memory between
// warps.
//
// Ladder (H100, medians of 20 rounds, rows of 1024 to 16384 values):
//   naive.cu        scalar loads, row read three times: 1.2 to 2.0 TB/s
//   this file       16-byte loads, all of a row's loads in flight at once, row read once: 3.0 TB/s, and 2.4 at 128k values,
//                   where a block fills its SM and loads nothing while it stores. With one or two vectors to a thread
//                   instead of four: 1.1 to 3.0. Rows that are not a multiple of eight values, or too long, take the
//                   scalar kernel
//   left to do      clusters for rows of 128k values and more

// tune: VECTORS_WANTED = 4 | 2 | 1
// tune: BLOCK_MIN = 128 | 256

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int VALUES = 8;          // of one 16-byte vector
constexpr int VECTORS_MAX = 16;    // per thread
constexpr float LOG2E = 1.44269504f;

/// Maximum or sum over the LANES threads of a row, in each of them. A row of more than a warp has a block to itself.
template <bool is_max, int LANES>
__device__ __forceinline__ float reduce(float value) {
  const auto join = [](float a, float b) { return is_max ? fmaxf(a, b) : a + b; };
#pragma unroll
  for (int step = (LANES < 32 ? LANES : 32) / 2; step > 0; step /= 2) {
    value = join(value, __shfl_xor_sync(0xffffffffu, value, step));
  }
  if constexpr (LANES > 32) {
    __shared__ float partial[LANES / 32];
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();  // the value of every warp is visible
    value = partial[0];
#pragma unroll
    for (int i = 1; i < LANES / 32; ++i) value = join(value, partial[i]);
  }
  return value;
}

/// Calls use(value, index) for the eight values of a vector.
template <typename Use>
__device__ __forceinline__ void for_each_value(const uint4& vector, Use use) {
  const unsigned pairs[] = {vector.x, vector.y, vector.z, vector.w};
#pragma unroll
  for (int j = 0; j < VALUES / 2; ++j) {
    use(ptx::low_bf16(pairs[j]));
    use(ptx::high_bf16(pairs[j]));
  }
}

/// The same vector with exp2(value * LOG2E - max) * factor for every value.
__device__ __forceinline__ uint4 normalised(const uint4& vector, float max, float factor) {
  const auto pair = [&](unsigned p) {
    return ptx::pack_bf16(ptx::ex2(fmaf(ptx::low_bf16(p), LOG2E, -max)) * factor,
                          ptx::ex2(fmaf(ptx::high_bf16(p), LOG2E, -max)) * factor);
  };
  return make_uint4(pair(vector.x), pair(vector.y), pair(vector.z), pair(vector.w));
}

/// A thread holds VECTORS vectors of its row in registers and PARKED more in shared memory, which nobody else touches.
template <int LANES, int VECTORS, int PARKED = 0>
__global__ void __launch_bounds__(LANES < BLOCK_MIN ? BLOCK_MIN : LANES)
softmax_vectors(const uint4* __restrict__ x, uint4* __restrict__ y, int M, int vectors) {
  extern __shared__ uint4 parked[];
  const int lane = threadIdx.x % LANES;
  const long long row = (long long)blockIdx.x * (blockDim.x / LANES) + threadIdx.x / LANES;
  if (row >= M) return;  // whole warps: a block of several rows has one to a warp
  x += row * vectors;
  y += row * vectors;

#pragma unroll
  for (int i = 0; i < PARKED; ++i) {
    const int n = (VECTORS + i) * LANES + lane;
    if (n < vectors) ptx::cp_async_16(&parked[i * LANES + lane], &x[n]);
  }
  ptx::cp_async_commit();
  uint4 held[VECTORS];
#pragma unroll
  for (int i = 0; i < VECTORS; ++i) {
    const int n = i * LANES + lane;
    held[i] = n < vectors ? __ldcs(&x[n]) : make_uint4(0xff80ff80, 0xff80ff80, 0xff80ff80, 0xff80ff80);  // -infinity
  }
  const auto for_each_vector = [&](auto use) {
#pragma unroll
    for (int i = 0; i < VECTORS; ++i) use(held[i], i * LANES + lane);
#pragma unroll
    for (int i = 0; i < PARKED; ++i) {
      const int n = (VECTORS + i) * LANES + lane;
      if (n < vectors) use(parked[i * LANES + lane], n);
    }
  };

  float max = -INFINITY, sum = 0;
  ptx::cp_async_wait<0>();
  for_each_vector([&](const uint4& v, int) { for_each_value(v, [&](float value) { max = fmaxf(max, value); }); });
  max = reduce<true, LANES>(max) * LOG2E;
  for_each_vector([&](const uint4& v, int) {
    for_each_value(v, [&](float value) { sum += ptx::ex2(fmaf(value, LOG2E, -max)); });
  });
  const float factor = 1.0f / reduce<false, LANES>(sum);
  for_each_vector([&](const uint4& v, int n) {
    if (n < vectors) __stcs(&y[n], normalised(v, max, factor));
  });
}

constexpr int SCALAR_THREADS = 512;

__global__ void __launch_bounds__(SCALAR_THREADS)
softmax_scalar(const unsigned short* __restrict__ x, unsigned short* __restrict__ y, int N) {
  x += (long long)blockIdx.x * N;
  y += (long long)blockIdx.x * N;
  float max = -INFINITY;
  for (int n = threadIdx.x; n < N; n += SCALAR_THREADS) max = fmaxf(max, ptx::low_bf16(x[n]));
  max = reduce<true, SCALAR_THREADS>(max) * LOG2E;
  float sum = 0;
  for (int n = threadIdx.x; n < N; n += SCALAR_THREADS) sum += ptx::ex2(fmaf(ptx::low_bf16(x[n]), LOG2E, -max));
  const float factor = 1.0f / reduce<false, SCALAR_THREADS>(sum);
  for (int n = threadIdx.x; n < N; n += SCALAR_THREADS) {
    y[n] = (unsigned short)ptx::pack_bf16(ptx::ex2(fmaf(ptx::low_bf16(x[n]), LOG2E, -max)) * factor, 0);
  }
}

/// A kernel, the threads that it gives to a row, and the vectors that each of them parks in shared memory.
struct Choice {
  const char* kernel;
  int lanes, parked;
};

/// The kernel of `lanes` threads that holds VECTORS_WANTED vectors in each.
constexpr Choice block_of(int lanes, const char* one, const char* two, const char* four) {
  return {VECTORS_WANTED == 1 ? one : VECTORS_WANTED == 2 ? two : four, lanes, 0};
}

/// Warps for short rows; then the fewest threads that hold the row in VECTORS_WANTED vectors each, at most 1024.
constexpr Choice choose(int vectors) {
  if (vectors <= 32) return {"softmax_vectors<32, 1>", 32, 0};
  if (vectors <= 64) return {"softmax_vectors<32, 2>", 32, 0};
  if (vectors <= 128) return {"softmax_vectors<32, 4>", 32, 0};
  const int wanted = kl::cdiv(vectors, VECTORS_WANTED);
  if (wanted <= 128) {
    return block_of(128, "softmax_vectors<128, 1>", "softmax_vectors<128, 2>", "softmax_vectors<128, 4>");
  }
  if (wanted <= 256) {
    return block_of(256, "softmax_vectors<256, 1>", "softmax_vectors<256, 2>", "softmax_vectors<256, 4>");
  }
  if (wanted <= 512) {
    return block_of(512, "softmax_vectors<512, 1>", "softmax_vectors<512, 2>", "softmax_vectors<512, 4>");
  }
  if (vectors <= 1024) return {"softmax_vectors<1024, 1>", 1024, 0};
  if (vectors <= 2048) return {"softmax_vectors<1024, 2>", 1024, 0};
  if (vectors <= 4096) return {"softmax_vectors<1024, 4>", 1024, 0};
  if (vectors <= 8192) return {"softmax_vectors<1024, 8>", 1024, 0};
  return {"softmax_vectors<1024, 4, 12>", 1024, 12};
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int vectors = p.N / VALUES;
  if (p.N % VALUES != 0 || vectors > 1024 * VECTORS_MAX) {
    plan.launch("softmax_scalar").grid(p.M).block(SCALAR_THREADS).arg(p.x).arg(p.y).arg(p.N);
    return;
  }
  const Choice choice = choose(vectors);
  const int block = choice.lanes == 32 ? BLOCK_MIN : choice.lanes;
  plan.launch(choice.kernel).grid(kl::cdiv(p.M, block / choice.lanes)).block(block)
      .shared(choice.parked * choice.lanes * (int)sizeof(uint4)).arg(p.x).arg(p.y).arg(p.M).arg(vectors);
}
