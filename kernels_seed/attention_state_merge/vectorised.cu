// SPDX-License-Identifier: Apache-2.0
// Merge of partial attention states, 16 bytes a thread: o_part [N, P, H, D] (bf16), lse_part [N, P, H] -> o, lse.
//
// Technique: a thread owns eight channels of one (token, head) and reads them of every state, 16 bytes each. It issues
// the loads of up to UNROLL states before it needs the first, and computes the weights, which all threads of a row share
// through the L1 cache, while they are under way. Nothing is exchanged: no barrier, no shared memory. Threads are numbered
// along channels, then heads, so that a warp reads whole lines of one state.
//
// Ladder:
//   naive.cu        two bytes a thread and load, weights once per channel and state
//   this file       16-byte loads, up to eight states of them under way, weights once per eight channels; blocks of 128
//                   threads instead of 256: 1.06x with two states on an H100, 1.00 to 1.02x otherwise (several rows a
//                   thread: no gain). Two states are read without __ldcs: 1.03x (eight and more: 0.92 to 0.94x)
//   left to do      weights once per row through shared memory where there are dozens of states

// tune: UNROLL = 4 | 8 | 16
// tune: THREADS = 128 | 256 | 512

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int CHANNELS = 8;  // of one 16-byte vector
constexpr float LOG2E = 1.44269504f;

/// Adds WEIGHT times the eight values of a vector.
__device__ __forceinline__ void add_scaled(float (&sum)[CHANNELS], const uint4& vector, float weight) {
  const unsigned pairs[] = {vector.x, vector.y, vector.z, vector.w};
#pragma unroll
  for (int i = 0; i < CHANNELS / 2; ++i) {
    sum[2 * i] = fmaf(weight, ptx::low_bf16(pairs[i]), sum[2 * i]);
    sum[2 * i + 1] = fmaf(weight, ptx::high_bf16(pairs[i]), sum[2 * i + 1]);
  }
}

/// AHEAD states are loaded at a time.
template <int AHEAD>
__global__ void __launch_bounds__(THREADS)
merge(const uint4* __restrict__ o_part, const float* __restrict__ lse_part, uint4* __restrict__ o,
      float* __restrict__ lse, int P, int H, unsigned lanes, unsigned count) {
  const unsigned index = blockIdx.x * THREADS + threadIdx.x;
  if (index >= count) return;
  const unsigned row = index / lanes, lane = index % lanes, n = row / H, h = row % H;
  const long long first = (long long)n * P * H + h;
  o_part += first * lanes + lane;
  lse_part += first;
  const long long state = (long long)H * lanes;  // vectors from one state to the next

  uint4 held[AHEAD];
  const auto load = [&](int from) {
#pragma unroll
    for (int i = 0; i < AHEAD; ++i) {
      const uint4* vector = o_part + (from + i) * state;
      held[i] = from + i >= P ? make_uint4(0, 0, 0, 0) : AHEAD > 2 ? __ldcs(vector) : __ldg(vector);
    }
  };
  load(0);
  float max = -INFINITY;
  for (int p = 0; p < P; ++p) max = fmaxf(max, lse_part[(long long)p * H]);
  const float base = max == -INFINITY ? 0.0f : max;  // without any state all weights are 2^-infinity = 0

  float sum = 0, value[CHANNELS] = {};
  for (int from = 0; from < P; from += AHEAD) {
    if (from > 0) load(from);
#pragma unroll
    for (int i = 0; i < AHEAD; ++i) {
      if (from + i >= P) break;
      const float weight = ptx::ex2((lse_part[(long long)(from + i) * H] - base) * LOG2E);
      sum += weight;
      add_scaled(value, held[i], weight);
    }
  }
  const float factor = sum > 0 ? 1.0f / sum : 0.0f;
  __stcs(o + (long long)row * lanes + lane,
         make_uint4(ptx::pack_bf16(value[0] * factor, value[1] * factor), ptx::pack_bf16(value[2] * factor, value[3] * factor),
                    ptx::pack_bf16(value[4] * factor, value[5] * factor), ptx::pack_bf16(value[6] * factor, value[7] * factor)));
  if (lane == 0) lse[row] = sum > 0 ? base + logf(sum) : -INFINITY;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const long long count = (long long)p.N * p.H * p.D / CHANNELS;
  if (!plan.require(p.D % CHANNELS == 0, "D must be a multiple of 8")) return;
  if (!plan.require(count < kl::pow2(31), "more than 2^31 vectors of eight channels")) return;
  plan.launch(p.P <= 2 ? "merge<2>" : p.P <= 4 ? "merge<4>" : "merge<UNROLL>").grid(kl::cdiv(count, THREADS)).block(THREADS)
      .arg(p.o_part).arg(p.lse_part).arg(p.o).arg(p.lse).arg(p.P).arg(p.H).arg(unsigned(p.D / CHANNELS)).arg(unsigned(count));
}
