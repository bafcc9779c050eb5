// SPDX-License-Identifier: Apache-2.0
// The frozen landscape of softmax: five strategies in one source, y = exp(x - max) / sum, bf16 [M, N].
//
// STRATEGY 0 reads the row three times (maximum, sum, result); 1 twice, with an online sum; 2 once, the row in registers;
// 3 once, the row in shared memory; 4 as 2, with exponentials of bf16 pairs, which are too coarse. LANES threads take a
// row, ROWS rows a block, BYTES are loaded at a time, STREAM marks lines as read once. PARTIALS = 1 lets both reductions
// exchange through the same shared words without a barrier in between: right where there is one reduction or one warp.

// tune: STRATEGY = 0 | 1 | 2 | 3 | 4
// tune: LANES = 32 | 128 | 256 | 512
// tune: ROWS = 1 | 4
// tune: BYTES = 4 | 8 | 16
// tune: STREAM = 0 | 1
// tune: PARTIALS = 2 | 1

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int PAIRS = BYTES / 4;               // of bf16 values, in one load
constexpr int N_HELD = 4096;                   // the longest row that strategies 2 and 4 keep in registers
constexpr int HELD = (N_HELD / (2 * PAIRS) + LANES - 1) / LANES;
constexpr int WARPS = LANES / 32;
constexpr float LOG2E = 1.44269504f;
constexpr unsigned NOTHING = 0xff80ff80u;      // -infinity, twice

struct Words {
  unsigned pair[PAIRS];
};

__device__ __forceinline__ Words load(const unsigned* from) {
  Words to;
  if constexpr (BYTES == 16) {
    const uint4 v = STREAM ? __ldcs(reinterpret_cast<const uint4*>(from)) : *reinterpret_cast<const uint4*>(from);
    to.pair[0] = v.x, to.pair[1] = v.y, to.pair[2] = v.z, to.pair[3] = v.w;
  } else if constexpr (BYTES == 8) {
    const uint2 v = STREAM ? __ldcs(reinterpret_cast<const uint2*>(from)) : *reinterpret_cast<const uint2*>(from);
    to.pair[0] = v.x, to.pair[1] = v.y;
  } else {
    to.pair[0] = STREAM ? __ldcs(from) : *from;
  }
  return to;
}

__device__ __forceinline__ void store(unsigned* to, const Words& v) {
  if constexpr (BYTES == 16) {
    const uint4 all = make_uint4(v.pair[0], v.pair[1], v.pair[2], v.pair[3]);
    if (STREAM) __stcs(reinterpret_cast<uint4*>(to), all);
    else *reinterpret_cast<uint4*>(to) = all;
  } else if constexpr (BYTES == 8) {
    const uint2 all = make_uint2(v.pair[0], v.pair[1]);
    if (STREAM) __stcs(reinterpret_cast<uint2*>(to), all);
    else *reinterpret_cast<uint2*>(to) = all;
  } else {
    if (STREAM) __stcs(to, v.pair[0]);
    else *to = v.pair[0];
  }
}

__device__ __forceinline__ float max_of(float top, const Words& v) {
#pragma unroll
  for (int i = 0; i < PAIRS; ++i) top = fmaxf(top, fmaxf(ptx::low_bf16(v.pair[i]), ptx::high_bf16(v.pair[i])));
  return top;
}

/// The two exponentials of a pair under `max` (in base-2 units), as floats or as coarse as a bf16 pair has them.
__device__ __forceinline__ float2 exponentials(unsigned pair, float max) {
  const float low = fmaf(ptx::low_bf16(pair), LOG2E, -max), high = fmaf(ptx::high_bf16(pair), LOG2E, -max);
  if constexpr (STRATEGY == 4) {
    unsigned both = ptx::pack_bf16(low, high);
    asm("ex2.approx.ftz.bf16x2 %0, %1;" : "=r"(both) : "r"(both));
    return make_float2(ptx::low_bf16(both), ptx::high_bf16(both));
  }
  return make_float2(ptx::ex2(low), ptx::ex2(high));
}

__device__ __forceinline__ float sum_of(float sum, const Words& v, float max) {
#pragma unroll
  for (int i = 0; i < PAIRS; ++i) {
    const float2 e = exponentials(v.pair[i], max);
    sum += e.x + e.y;
  }
  return sum;
}

__device__ __forceinline__ Words result_of(const Words& v, float max, float factor) {
  Words y;
#pragma unroll
  for (int i = 0; i < PAIRS; ++i) {
    const float2 e = exponentials(v.pair[i], max);
    y.pair[i] = ptx::pack_bf16(e.x * factor, e.y * factor);
  }
  return y;
}

/// Joins the values of the LANES threads of a row, in each of them. `which` is the number of the reduction.
template <bool is_max>
__device__ __forceinline__ float reduce(float value, float (*partial)[ROWS][WARPS], int which) {
  const auto join = [](float a, float b) { return is_max ? fmaxf(a, b) : a + b; };
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value = join(value, __shfl_xor_sync(0xffffffffu, value, step));
  if constexpr (WARPS > 1) {
    float* const mine = partial[PARTIALS == 1 ? 0 : which][threadIdx.x / LANES];
    if (threadIdx.x % 32 == 0) mine[threadIdx.x % LANES / 32] = value;
    __syncthreads();  // the value of every warp is visible
    value = mine[0];
#pragma unroll
    for (int w = 1; w < WARPS; ++w) value = join(value, mine[w]);
  }
  return value;
}

/// Maximum and sum together: each lane's sum is under its own maximum.
__device__ __forceinline__ void reduce_online(float& max, float& sum, float2 (*partial)[WARPS]) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, max, step), more = __shfl_xor_sync(0xffffffffu, sum, step);
    const float top = fmaxf(max, other);
    sum = sum * ptx::ex2(max - top) + more * ptx::ex2(other - top);
    max = top;
  }
  if constexpr (WARPS > 1) {
    float2* const mine = partial[threadIdx.x / LANES];
    if (threadIdx.x % 32 == 0) mine[threadIdx.x % LANES / 32] = make_float2(max, sum);
    __syncthreads();  // maximum and sum of every warp are visible
    max = mine[0].x;
#pragma unroll
    for (int w = 1; w < WARPS; ++w) max = fmaxf(max, mine[w].x);
    sum = 0;
#pragma unroll
    for (int w = 0; w < WARPS; ++w) sum += mine[w].y * ptx::ex2(mine[w].x - max);
  }
}

/// Rows of `words` 32-bit words, a multiple of PAIRS.
extern "C" __global__ void __launch_bounds__(LANES * ROWS <= 1024 ? LANES * ROWS : 1024)
softmax(const unsigned* __restrict__ x, unsigned* __restrict__ y, int M, int words) {
  extern __shared__ __align__(16) unsigned staged[];
  const int lane = threadIdx.x % LANES, group = threadIdx.x / LANES;
  const long long row = (long long)blockIdx.x * ROWS + group;
  const bool is_row = row < M;  // a group without a row takes part in the barriers
  x += (is_row ? row : 0) * words;
  y += (is_row ? row : 0) * words;
  const int end = is_row ? words : 0, first = lane * PAIRS;
  constexpr int STEP = LANES * PAIRS;

  if constexpr (STRATEGY == 1) {
    __shared__ float2 partial[ROWS][WARPS];
    float max = -1e30f, sum = 0;
    for (int n = first; n < end; n += STEP) {
      const Words v = load(x + n);
      const float top = fmaxf(max, max_of(-INFINITY, v) * LOG2E);
      sum = sum_of(sum * ptx::ex2(max - top), v, top);
      max = top;
    }
    reduce_online(max, sum, partial);
    const float factor = 1.0f / sum;
    for (int n = first; n < end; n += STEP) store(y + n, result_of(load(x + n), max, factor));
    return;
  }

  __shared__ float partial[PARTIALS][ROWS][WARPS];
  float max = -INFINITY, sum = 0;
  if constexpr (STRATEGY == 0) {
    for (int n = first; n < end; n += STEP) max = max_of(max, load(x + n));
    max = reduce<true>(max, partial, 0) * LOG2E;
    for (int n = first; n < end; n += STEP) sum = sum_of(sum, load(x + n), max);
    const float factor = 1.0f / reduce<false>(sum, partial, 1);
    for (int n = first; n < end; n += STEP) store(y + n, result_of(load(x + n), max, factor));
  } else if constexpr (STRATEGY == 3) {
    unsigned* const kept = staged + group * words;
    for (int n = first; n < end; n += STEP) {
      const Words v = load(x + n);
#pragma unroll
      for (int i = 0; i < PAIRS; ++i) kept[n + i] = v.pair[i];
      max = max_of(max, v);
    }
    max = reduce<true>(max, partial, 0) * LOG2E;
    const auto read = [&](int n) {
      Words v;
#pragma unroll
      for (int i = 0; i < PAIRS; ++i) v.pair[i] = kept[n + i];
      return v;
    };
    for (int n = first; n < end; n += STEP) sum = sum_of(sum, read(n), max);
    const float factor = 1.0f / reduce<false>(sum, partial, 1);
    for (int n = first; n < end; n += STEP) store(y + n, result_of(read(n), max, factor));
  } else {
    Words held[HELD];
#pragma unroll
    for (int i = 0; i < HELD; ++i) {
      const int n = first + i * STEP;
      if (n < end) {
        held[i] = load(x + n);
      } else {
#pragma unroll
        for (int j = 0; j < PAIRS; ++j) held[i].pair[j] = NOTHING;
      }
    }
#pragma unroll
    for (int i = 0; i < HELD; ++i) max = max_of(max, held[i]);
    max = fmaxf(reduce<true>(max, partial, 0), -3e38f) * LOG2E;
#pragma unroll
    for (int i = 0; i < HELD; ++i) sum = sum_of(sum, held[i], max);
    const float factor = 1.0f / reduce<false>(sum, partial, 1);
#pragma unroll
    for (int i = 0; i < HELD; ++i) {
      const int n = first + i * STEP;
      if (n < end) store(y + n, result_of(held[i], max, factor));
    }
  }
}

/// Any row: a warp each, one value at a time.
extern "C" __global__ void __launch_bounds__(32)
softmax_any(const unsigned short* __restrict__ x, unsigned short* __restrict__ y, int N) {
  x += (long long)blockIdx.x * N;
  y += (long long)blockIdx.x * N;
  float max = -INFINITY, sum = 0;
  for (int n = threadIdx.x; n < N; n += 32) max = fmaxf(max, ptx::low_bf16(x[n]));
  for (int step = 16; step > 0; step /= 2) max = fmaxf(max, __shfl_xor_sync(0xffffffffu, max, step));
  max *= LOG2E;
  for (int n = threadIdx.x; n < N; n += 32) sum += ptx::ex2(fmaf(ptx::low_bf16(x[n]), LOG2E, -max));
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  for (int n = threadIdx.x; n < N; n += 32) {
    y[n] = (unsigned short)ptx::pack_bf16(ptx::ex2(fmaf(ptx::low_bf16(x[n]), LOG2E, -max)) / sum, 0);
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int row_bytes = 2 * p.N, shared = STRATEGY == 3 ? ROWS * row_bytes : 0;
  const bool fits = (STRATEGY != 2 && STRATEGY != 4) || p.N <= N_HELD;
  if (row_bytes % BYTES != 0 || !fits || shared > p.device.shared_bytes_max - 1024) {
    plan.launch("softmax_any").grid(p.M).block(32).arg(p.x).arg(p.y).arg(p.N);
    return;
  }
  plan.launch("softmax").grid(kl::cdiv(p.M, ROWS)).block(LANES * ROWS).shared(shared)
      .arg(p.x).arg(p.y).arg(p.M).arg(p.N / 2);
}
