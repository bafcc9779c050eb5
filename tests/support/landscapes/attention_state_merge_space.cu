// SPDX-License-Identifier: Apache-2.0
// The frozen landscape of merging partial attention states: six strategies in one source.
//
// o_part [N, P, H, D] (bf16), lse_part [N, P, H] -> o [N, H, D], lse [N, H]. A thread owns BYTES of one row (token, head)
// and takes UNROLL states at a time.
// STRATEGY 0: maximum first, then weights; 1: one pass, rescaled when the maximum grows; 2: weights of the block's rows
// computed once, in shared memory; 3: as 2, each warp for itself without a block's barrier, which is right while a row
// lies within one warp; 4: as 0, two threads share the states of a vector and exchange by shuffle; 5: as 0, the output
// summed in bf16 pairs, which is too coarse. STREAM marks states as read once; PERSISTENT blocks stay and take row after row.

// tune: STRATEGY = 1 | 0 | 2 | 3 | 4 | 5
// tune: UNROLL = 1 | 4 | 8
// tune: THREADS = 64 | 256
// tune: BYTES = 4 | 8 | 16
// tune: STREAM = 0 | 1
// tune: PERSISTENT = 0 | 1

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int PAIRS = BYTES / 4;   // of bf16 channels, a thread's own
constexpr int SHARE = STRATEGY == 4 ? 2 : 1;  // threads that share the states of a vector
constexpr bool HAS_TABLE = STRATEGY == 2 || STRATEGY == 3;
constexpr float LOG2E = 1.44269504f;

struct Words {
  unsigned pair[PAIRS];
};

__device__ __forceinline__ Words load(const unsigned* from) {
  Words to;
  if constexpr (BYTES == 16) {
    const uint4* const at = reinterpret_cast<const uint4*>(from);
    const uint4 v = STREAM ? __ldcs(at) : *at;
    to.pair[0] = v.x, to.pair[1] = v.y, to.pair[2] = v.z, to.pair[3] = v.w;
  } else if constexpr (BYTES == 8) {
    const uint2* const at = reinterpret_cast<const uint2*>(from);
    const uint2 v = STREAM ? __ldcs(at) : *at;
    to.pair[0] = v.x, to.pair[1] = v.y;
  } else {
    to.pair[0] = STREAM ? __ldcs(from) : *from;
  }
  return to;
}

__device__ __forceinline__ void store(unsigned* to, const Words& v) {
  if constexpr (BYTES == 16) *reinterpret_cast<uint4*>(to) = make_uint4(v.pair[0], v.pair[1], v.pair[2], v.pair[3]);
  else if constexpr (BYTES == 8) *reinterpret_cast<uint2*>(to) = make_uint2(v.pair[0], v.pair[1]);
  else *to = v.pair[0];
}

/// Sum of outputs under a maximum, in floats or in bf16 pairs.
struct Sum {
  float value[2 * PAIRS];
  unsigned packed[PAIRS];

  __device__ void clear() {
#pragma unroll
    for (int i = 0; i < PAIRS; ++i) value[2 * i] = value[2 * i + 1] = 0, packed[i] = 0;
  }
  __device__ void add(const Words& v, float weight) {
    const unsigned both = ptx::pack_bf16(weight, weight);
#pragma unroll
    for (int i = 0; i < PAIRS; ++i) {
      if constexpr (STRATEGY == 5) {
        asm("fma.rn.bf16x2 %0, %1, %2, %0;" : "+r"(packed[i]) : "r"(v.pair[i]), "r"(both));
      } else {
        value[2 * i] = fmaf(weight, ptx::low_bf16(v.pair[i]), value[2 * i]);
        value[2 * i + 1] = fmaf(weight, ptx::high_bf16(v.pair[i]), value[2 * i + 1]);
      }
    }
  }
  __device__ void scale(float factor) {
#pragma unroll
    for (int i = 0; i < 2 * PAIRS; ++i) value[i] *= factor;
  }
  __device__ Words result(float factor) const {
    Words y;
#pragma unroll
    for (int i = 0; i < PAIRS; ++i) {
      y.pair[i] = STRATEGY == 5 ? ptx::pack_bf16(ptx::low_bf16(packed[i]) * factor, ptx::high_bf16(packed[i]) * factor)
                                : ptx::pack_bf16(value[2 * i] * factor, value[2 * i + 1] * factor);
    }
    return y;
  }
};

__device__ __forceinline__ float base_of(float max) { return max == -INFINITY ? 0.0f : max; }

/// Maximum of a row's states; without any it is 0, so that all weights are 2^-infinity = 0.
__device__ __forceinline__ float row_base(const float* lse_part, int P, int H) {
  float max = -INFINITY;
  for (int p = 0; p < P; ++p) max = fmaxf(max, lse_part[(long long)p * H]);
  return base_of(max);
}

/// `lanes` threads take a row; threads are numbered along rows.
extern "C" __global__ void __launch_bounds__(THREADS)
merge(const unsigned* __restrict__ o_part, const float* __restrict__ lse_part, unsigned* __restrict__ o,
      float* __restrict__ lse, int P, int H, unsigned lanes, unsigned count) {
  extern __shared__ float table[];  // of strategies 2 and 3: weights [rows of the block][P], then base and sum of each
  const int words = lanes / SHARE * PAIRS;
  for (unsigned from = blockIdx.x * THREADS; from < count; from += gridDim.x * THREADS) {
    const unsigned index = from + threadIdx.x;
    const bool is_used = index < count;
    const unsigned row = (is_used ? index : 0) / lanes, lane = (is_used ? index : 0) % lanes;
    const int part = lane % SHARE;
    const long long first = (long long)(row / H) * P * H + row % H;
    const unsigned* const mine = o_part + first * words + lane / SHARE * PAIRS;
    const float* const of_row = lse_part + first;
    const long long state = (long long)H * words;

    const unsigned row_first = from / lanes;
    const int slot = row - row_first;
    if constexpr (HAS_TABLE) {
      // Strategy 2: one thread of a row after the other takes a state; strategy 3: the row's lanes within the warp.
      const unsigned begin = max(row * lanes, from);
      const int taker = index - begin, takers = min((row + 1) * lanes, from + THREADS) - begin;
      const float base = is_used ? row_base(of_row, P, H) : 0;
      for (int p = taker; is_used && p < P; p += takers) {
        table[slot * P + p] = ptx::ex2((of_row[(long long)p * H] - base) * LOG2E);
      }
      if (STRATEGY == 2) __syncthreads();  // the weights are visible
      else __syncwarp();
    }

    Sum acc;
    acc.clear();
    float sum = 0, max = -INFINITY, base = 0;
    if constexpr (STRATEGY != 1) base = is_used ? row_base(of_row, P, H) : 0;
    for (int p0 = part * UNROLL; is_used && p0 < P; p0 += UNROLL * SHARE) {
      Words held[UNROLL];
#pragma unroll
      for (int i = 0; i < UNROLL; ++i) {
        if (p0 + i < P) held[i] = load(mine + (p0 + i) * state);
      }
#pragma unroll
      for (int i = 0; i < UNROLL; ++i) {
        if (p0 + i >= P) break;
        float weight;
        if constexpr (HAS_TABLE) {
          weight = table[slot * P + p0 + i];
        } else {
          const float own = of_row[(long long)(p0 + i) * H];
          if (STRATEGY == 1 && own > max) {
            const float shrink = ptx::ex2((max - own) * LOG2E);
            acc.scale(shrink);
            sum *= shrink;
            max = own;
            base = own;
          }
          weight = ptx::ex2((own - base) * LOG2E);
        }
        sum += weight;
        acc.add(held[i], weight);
      }
    }
    if constexpr (SHARE == 2) {
      sum += __shfl_xor_sync(0xffffffffu, sum, 1);
#pragma unroll
      for (int i = 0; i < 2 * PAIRS; ++i) acc.value[i] += __shfl_xor_sync(0xffffffffu, acc.value[i], 1);
    }
    if (is_used && part == 0) {
      const float factor = sum > 0 ? 1.0f / sum : 0.0f;
      store(o + (long long)row * words + lane / SHARE * PAIRS, acc.result(factor));
      if (lane == 0) lse[row] = sum > 0 ? base + logf(sum) : -INFINITY;
    }
    if (STRATEGY == 2 && PERSISTENT) __syncthreads();  // nobody reads these weights any more
    if (STRATEGY == 3 && PERSISTENT) __syncwarp();
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const long long lanes = (long long)p.D * 2 / BYTES * SHARE, count = lanes * p.N * p.H;
  if (!plan.require(p.D * 2 % BYTES == 0, "D must be a multiple of the vector")) return;
  if (!plan.require(count < kl::pow2(31), "more than 2^31 threads")) return;
  // A block meets this many rows at most, from the first lane of one or from within it.
  const long long rows = (THREADS + lanes - 2) / lanes + 1;
  const long long blocks = kl::cdiv(count, THREADS);
  plan.launch("merge").grid(PERSISTENT ? kl::min(blocks, (long long)p.device.sms * (1024 / THREADS)) : blocks).block(THREADS)
      .shared(HAS_TABLE ? rows * p.P * 4 : 0)
      .arg(p.o_part).arg(p.lse_part).arg(p.o).arg(p.lse).arg(p.P).arg(p.H).arg(unsigned(lanes)).arg(unsigned(count));
}
