// SPDX-License-Identifier: Apache-2.0
// The frozen landscape of RMSNorm: four strategies in one source, y = x * rsqrt(mean(x^2) + eps) * w, bf16 [M, N].
//
// STRATEGY 0 reads the row twice; 1 once, the row in registers; 2 once, the row in shared memory; 3 as 1, with blocks that
// stay and take row after row, gains kept in registers. LANES threads take a row, ROWS rows a block, BYTES are loaded at a
// time, STREAM marks rows as read once. REDUCE 0: every warp adds all partial sums; 1: the first warp adds them and hands
// the result out; 2: as 0, without the barrier before it, which is right for a single warp only.

// tune: STRATEGY = 0 | 1 | 2 | 3
// tune: LANES = 32 | 128 | 256 | 512
// tune: ROWS = 1 | 4
// tune: BYTES = 4 | 8 | 16
// tune: STREAM = 0 | 1
// tune: REDUCE = 0 | 1 | 2

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int PAIRS = BYTES / 4;               // of bf16 channels, in one load
constexpr int N_HELD = 4096;                   // the longest row that strategies 1 and 3 keep in registers
constexpr int HELD = (N_HELD / (2 * PAIRS) + LANES - 1) / LANES;
constexpr int WARPS = LANES / 32;
constexpr int BLOCKS_PER_SM = LANES * ROWS >= 1024 ? 1 : LANES * ROWS >= 512 ? 2 : 4;  // of strategy 3

struct Words {
  unsigned pair[PAIRS];
};

template <bool is_streamed>
__device__ __forceinline__ Words load(const unsigned* from) {
  Words to;
  if constexpr (BYTES == 16) {
    const uint4* const at = reinterpret_cast<const uint4*>(from);
    const uint4 v = is_streamed ? __ldcs(at) : *at;
    to.pair[0] = v.x, to.pair[1] = v.y, to.pair[2] = v.z, to.pair[3] = v.w;
  } else if constexpr (BYTES == 8) {
    const uint2* const at = reinterpret_cast<const uint2*>(from);
    const uint2 v = is_streamed ? __ldcs(at) : *at;
    to.pair[0] = v.x, to.pair[1] = v.y;
  } else {
    to.pair[0] = is_streamed ? __ldcs(from) : *from;
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

__device__ __forceinline__ float add_squares(float sum, const Words& v) {
#pragma unroll
  for (int i = 0; i < PAIRS; ++i) {
    const float low = ptx::low_bf16(v.pair[i]), high = ptx::high_bf16(v.pair[i]);
    sum += low * low + high * high;
  }
  return sum;
}

__device__ __forceinline__ Words scaled(const Words& v, const Words& gain, float factor) {
  Words y;
#pragma unroll
  for (int i = 0; i < PAIRS; ++i) {
    y.pair[i] = ptx::pack_bf16(ptx::low_bf16(v.pair[i]) * factor * ptx::low_bf16(gain.pair[i]),
                               ptx::high_bf16(v.pair[i]) * factor * ptx::high_bf16(gain.pair[i]));
  }
  return y;
}

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

/// Sum over the LANES threads of a row, in each of them. `partial` is nobody else's until the next barrier.
__device__ __forceinline__ float row_sum(float value, float (*partial)[WARPS + 1]) {
  value = warp_sum(value);
  if constexpr (WARPS > 1) {
    float* const mine = partial[threadIdx.x / LANES];
    const int lane = threadIdx.x % 32, warp = threadIdx.x % LANES / 32;
    if (lane == 0) mine[warp] = value;
    if (REDUCE != 2) __syncthreads();  // the sum of every warp is visible
    if constexpr (REDUCE == 1) {
      if (warp == 0) {
        const float all = warp_sum(lane < WARPS ? mine[lane] : 0.0f);
        if (lane == 0) mine[WARPS] = all;
      }
      __syncthreads();  // the sum of the row is visible
      return mine[WARPS];
    }
    value = 0;
#pragma unroll
    for (int w = 0; w < WARPS; ++w) value += mine[w];
  }
  return value;
}

/// Rows of `words` 32-bit words, a multiple of PAIRS.
extern "C" __global__ void __launch_bounds__(LANES * ROWS <= 1024 ? LANES * ROWS : 1024)
rmsnorm(const unsigned* __restrict__ x, const unsigned* __restrict__ w, unsigned* __restrict__ y, int M, int words,
        float eps) {
  extern __shared__ __align__(16) unsigned staged[];
  __shared__ float partial[2][ROWS][WARPS + 1];
  const int lane = threadIdx.x % LANES, group = threadIdx.x / LANES, first = lane * PAIRS;
  constexpr int STEP = LANES * PAIRS;
  const float inverse = 0.5f / words;

  if constexpr (STRATEGY == 0 || STRATEGY == 2) {
    const long long row = (long long)blockIdx.x * ROWS + group;
    const int end = row < M ? words : 0;  // a group without a row takes part in the barriers
    x += row * words;
    y += row * words;
    unsigned* const kept = staged + group * words;
    float sum = 0;
    for (int n = first; n < end; n += STEP) {
      const Words v = load<STREAM && STRATEGY == 2>(x + n);
      sum = add_squares(sum, v);
      if constexpr (STRATEGY == 2) {
#pragma unroll
        for (int i = 0; i < PAIRS; ++i) kept[n + i] = v.pair[i];
      }
    }
    const float factor = rsqrtf(row_sum(sum, partial[0]) * inverse + eps);
    for (int n = first; n < end; n += STEP) {
      Words v;
      if constexpr (STRATEGY == 2) {
#pragma unroll
        for (int i = 0; i < PAIRS; ++i) v.pair[i] = kept[n + i];
      } else {
        v = load<STREAM>(x + n);
      }
      store(y + n, scaled(v, load<false>(w + n), factor));
    }
    return;
  }

  Words gain[HELD];
  if constexpr (STRATEGY == 3) {
#pragma unroll
    for (int i = 0; i < HELD; ++i) {
      if (first + i * STEP < words) gain[i] = load<false>(w + first + i * STEP);
    }
  }
  int parity = 0;
  for (long long from = (long long)blockIdx.x * ROWS; from < M; from += (long long)gridDim.x * ROWS) {
    const long long row = from + group;
    const int end = row < M ? words : 0;
    Words held[HELD];
    float sum = 0;
#pragma unroll
    for (int i = 0; i < HELD; ++i) {
      const int n = first + i * STEP;
      if (n < end) {
        held[i] = load<STREAM>(x + row * words + n);
      } else {
#pragma unroll
        for (int j = 0; j < PAIRS; ++j) held[i].pair[j] = 0;
      }
    }
#pragma unroll
    for (int i = 0; i < HELD; ++i) sum = add_squares(sum, held[i]);
    const float factor = rsqrtf(row_sum(sum, partial[parity]) * inverse + eps);
    parity ^= 1;  // the next row's sums must not meet a warp that still reads these
#pragma unroll
    for (int i = 0; i < HELD; ++i) {
      const int n = first + i * STEP;
      if (n >= end) continue;
      if constexpr (STRATEGY != 3) gain[i] = load<false>(w + n);
      store(y + row * words + n, scaled(held[i], gain[i], factor));
    }
  }
}

/// Any row: a warp each, one channel at a time.
extern "C" __global__ void __launch_bounds__(32)
rmsnorm_any(const unsigned short* __restrict__ x, const unsigned short* __restrict__ w, unsigned short* __restrict__ y,
            int N, float eps) {
  x += (long long)blockIdx.x * N;
  y += (long long)blockIdx.x * N;
  float sum = 0;
  for (int n = threadIdx.x; n < N; n += 32) sum += ptx::low_bf16(x[n]) * ptx::low_bf16(x[n]);
  const float factor = rsqrtf(warp_sum(sum) / N + eps);
  for (int n = threadIdx.x; n < N; n += 32) {
    y[n] = (unsigned short)ptx::pack_bf16(ptx::low_bf16(x[n]) * factor * ptx::low_bf16(w[n]), 0);
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int row_bytes = 2 * p.N, shared = STRATEGY == 2 ? ROWS * row_bytes : 0;
  const bool fits = (STRATEGY != 1 && STRATEGY != 3) || p.N <= N_HELD;
  if (row_bytes % BYTES != 0 || !fits || shared > p.device.shared_bytes_max - 1024) {
    plan.launch("rmsnorm_any").grid(p.M).block(32).arg(p.x).arg(p.w).arg(p.y).arg(p.N).arg(p.eps);
    return;
  }
  const int blocks = kl::cdiv(p.M, ROWS);
  plan.launch("rmsnorm").grid(STRATEGY == 3 ? kl::min(blocks, p.device.sms * BLOCKS_PER_SM) : blocks)
      .block(LANES * ROWS).shared(shared).arg(p.x).arg(p.w).arg(p.y).arg(p.M).arg(p.N / 2).arg(p.eps);
}
