// SPDX-License-Identifier: Apache-2.0
// Decode attention, split over the keys: q [B, Hq, 128] over k, v [B, S, Hkv, 128] (bf16) up to len[b], with lse.
//
// Technique (Flash-Decoding): a block takes one key-value head of one sequence over one chunk of keys, for all
// G = Hq / Hkv query heads at once, so that every key and value crosses the memory bus once. A half-warp holds one key
// row of 256 bytes, 16 bytes a lane. Rows arrive through cp.async rings that are private to a lane: a lane reads back
// only what it copied itself, so the pipeline needs no barrier. Each half-warp keeps its own online softmax; they are
// merged once at the end, and a second kernel merges the chunks. Chunks beyond len[b] end at once and are not read.
//
// Ladder:
//   naive.cu     one warp per query head, keys read G times, one load in flight
//   this file    keys shared by the group, split-KV with a wave-filling heuristic, 16-byte cp.async pipeline
//   left to do   mma.sync for G >= 4, programmatic launch or a fused combine, chunks balanced over ragged lengths, TMA

// tune: WARPS = 4 | 8
// tune: STAGES = 4 | 2 | 3 | 6
// tune: PAIRS = 4 | 2 | 8
// tune: BLOCKS_PER_SM = 3 | 2 | 4
// tune: CHUNK_MIN = 256 | 128 | 512

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int D = Problem::D;
constexpr int LANES = 16;                        // that share a row
constexpr int CHANNELS = D / LANES;              // per lane: 16 bytes
constexpr int KEYS_PER_WARP = 2 * PAIRS;         // one stage of a warp: two keys side by side, PAIRS deep
constexpr int KEYS_PER_STEP = WARPS * KEYS_PER_WARP;
constexpr int STAGE_VECTORS = 2 * PAIRS * 32;    // keys and values of one stage of a warp
constexpr int SPLITS_MAX = 128;
constexpr float LOWEST = -1e30f;                 // finite, so that the difference of two maxima is never NaN

__device__ __forceinline__ void unpack(float (&to)[CHANNELS], const uint4& from) {
  const unsigned pairs[] = {from.x, from.y, from.z, from.w};
#pragma unroll
  for (int i = 0; i < CHANNELS / 2; ++i) {
    to[2 * i] = ptx::low_bf16(pairs[i]);
    to[2 * i + 1] = ptx::high_bf16(pairs[i]);
  }
}

/// Online softmax of G query heads over the keys of one half-warp, in base-2 units.
template <int G>
struct State {
  float max[G], sum[G], o[G][CHANNELS];

  __device__ void clear() {
#pragma unroll
    for (int g = 0; g < G; ++g) {
      max[g] = LOWEST;
      sum[g] = 0;
#pragma unroll
      for (int d = 0; d < CHANNELS; ++d) o[g][d] = 0;
    }
  }

  /// Brings head g to the maximum `next`.
  __device__ void rescale(int g, float next) {
    const float shrink = ptx::ex2(max[g] - next);
    max[g] = next;
    sum[g] *= shrink;
#pragma unroll
    for (int d = 0; d < CHANNELS; ++d) o[g][d] *= shrink;
  }

  /// Adds the other half-warp's state, in both.
  __device__ void merge_halves() {
#pragma unroll
    for (int g = 0; g < G; ++g) {
      rescale(g, fmaxf(max[g], __shfl_xor_sync(0xffffffffu, max[g], LANES)));
      sum[g] += __shfl_xor_sync(0xffffffffu, sum[g], LANES);
#pragma unroll
      for (int d = 0; d < CHANNELS; ++d) o[g][d] += __shfl_xor_sync(0xffffffffu, o[g][d], LANES);
    }
  }
};

/// One stage: PAIRS keys of this half-warp, the first of them `key`; those from `end` on do not count.
template <int G>
__device__ __forceinline__ void attend(State<G>& state, const float (&q)[G][CHANNELS], const uint4* stage, int key,
                                       int end) {
  float s[PAIRS][G];
#pragma unroll
  for (int i = 0; i < PAIRS; ++i) {
    float k[CHANNELS];
    unpack(k, stage[i * 32]);
#pragma unroll
    for (int g = 0; g < G; ++g) {
      s[i][g] = 0;
#pragma unroll
      for (int d = 0; d < CHANNELS; ++d) s[i][g] += q[g][d] * k[d];
#pragma unroll
      for (int step = LANES / 2; step > 0; step /= 2) s[i][g] += __shfl_xor_sync(0xffffffffu, s[i][g], step);
      if (key + 2 * i >= end) s[i][g] = -INFINITY;
    }
  }
#pragma unroll
  for (int g = 0; g < G; ++g) {
    float next = state.max[g];
#pragma unroll
    for (int i = 0; i < PAIRS; ++i) next = fmaxf(next, s[i][g]);
    state.rescale(g, next);
#pragma unroll
    for (int i = 0; i < PAIRS; ++i) {
      s[i][g] = ptx::ex2(s[i][g] - next);
      state.sum[g] += s[i][g];
    }
  }
#pragma unroll
  for (int i = 0; i < PAIRS; ++i) {
    float v[CHANNELS];
    unpack(v, stage[(PAIRS + i) * 32]);
#pragma unroll
    for (int g = 0; g < G; ++g) {
#pragma unroll
      for (int d = 0; d < CHANNELS; ++d) state.o[g][d] += s[i][g] * v[d];
    }
  }
}

/// Writes part [B, Hq, splits, D] (not divided by the sum) and stats [B, Hq, splits] = (maximum, sum).
template <int G>
__global__ void __launch_bounds__(WARPS * 32)
split_kv(const uint4* __restrict__ q, const uint4* __restrict__ k, const uint4* __restrict__ v,
         const int* __restrict__ len, float* __restrict__ part, float2* __restrict__ stats, int S, int chunk,
         float scale_log2) {
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ float2 warp_stats[WARPS][G];
  const int hk = blockIdx.x, Hkv = gridDim.x, split = blockIdx.y, splits = gridDim.y, b = blockIdx.z;
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32;
  const int begin = split * chunk, end = min(begin + chunk, len[b]);
  if (begin >= end) return;

  // This lane's first key, and the ring that only this lane uses.
  const int first = begin + warp * KEYS_PER_WARP + lane / LANES;
  const long long row_vectors = (long long)Hkv * LANES;
  const long long origin = ((long long)b * S * Hkv + hk) * LANES + lane % LANES;
  uint4* const ring = reinterpret_cast<uint4*>(shared) + warp * STAGES * STAGE_VECTORS + lane;

  const auto fetch = [&](int step) {
    uint4* const stage = ring + step % STAGES * STAGE_VECTORS;
#pragma unroll
    for (int i = 0; i < PAIRS; ++i) {
      const int key = first + step * KEYS_PER_STEP + 2 * i;
      const long long at = origin + (key < end ? key : begin) * row_vectors;
      ptx::cp_async_16(stage + i * 32, k + at, key < end);
      ptx::cp_async_16(stage + (PAIRS + i) * 32, v + at, key < end);
    }
  };

  const int steps = (end - begin + KEYS_PER_STEP - 1) / KEYS_PER_STEP;
#pragma unroll
  for (int step = 0; step < STAGES - 1; ++step) {
    if (step < steps) fetch(step);
    ptx::cp_async_commit();
  }

  float q_lane[G][CHANNELS];
#pragma unroll
  for (int g = 0; g < G; ++g) {
    unpack(q_lane[g], q[((long long)(b * Hkv + hk) * G + g) * LANES + lane % LANES]);
#pragma unroll
    for (int d = 0; d < CHANNELS; ++d) q_lane[g][d] *= scale_log2;
  }
  State<G> state;
  state.clear();
  for (int step = 0; step < steps; ++step) {
    if (step + STAGES - 1 < steps) fetch(step + STAGES - 1);
    ptx::cp_async_commit();
    ptx::cp_async_wait<STAGES - 1>();  // this lane's copies of `step` have arrived
    attend<G>(state, q_lane, ring + step % STAGES * STAGE_VECTORS, first + step * KEYS_PER_STEP, end);
  }
  state.merge_halves();

  // Merge the warps: [WARPS][G][D] of floats take the place of the rings.
  float* const warp_o = reinterpret_cast<float*>(shared);
  __syncthreads();  // nobody reads the rings any more
#pragma unroll
  for (int g = 0; g < G; ++g) {
    if (lane == 0) warp_stats[warp][g] = make_float2(state.max[g], state.sum[g]);
    if (lane < LANES) {
#pragma unroll
      for (int d = 0; d < CHANNELS; ++d) warp_o[(warp * G + g) * D + lane * CHANNELS + d] = state.o[g][d];
    }
  }
  __syncthreads();  // every warp's output and statistics are visible
  for (int i = tid; i < G * D; i += WARPS * 32) {
    const int g = i / D, d = i % D;
    float max = LOWEST, sum = 0, value = 0;
    for (int w = 0; w < WARPS; ++w) max = fmaxf(max, warp_stats[w][g].x);
    for (int w = 0; w < WARPS; ++w) {
      const float shrink = ptx::ex2(warp_stats[w][g].x - max);
      sum += warp_stats[w][g].y * shrink;
      value += warp_o[(w * G + g) * D + d] * shrink;
    }
    const long long row = ((long long)(b * Hkv + hk) * G + g) * splits + split;
    part[row * D + d] = value;
    if (d == 0) stats[row] = make_float2(max, sum);
  }
}

/// One block per row (b, h), one thread per channel: merges the chunks that hold keys.
extern "C" __global__ void __launch_bounds__(D)
combine(const float* __restrict__ part, const float2* __restrict__ stats, const int* __restrict__ len,
        unsigned short* __restrict__ o, float* __restrict__ lse, int Hq, int splits, int chunk) {
  const long long row = blockIdx.x;
  const int d = threadIdx.x, keys = len[row / Hq], used = (keys + chunk - 1) / chunk;
  part += row * splits * D;
  stats += row * splits;
  float max = LOWEST, sum = 0, value = 0;
  for (int split = 0; split < used; ++split) max = fmaxf(max, stats[split].x);
  for (int split = 0; split < used; ++split) {
    const float shrink = ptx::ex2(stats[split].x - max);
    sum += stats[split].y * shrink;
    value += part[split * D + d] * shrink;
  }
  o[row * D + d] = (unsigned short)ptx::pack_bf16(keys > 0 ? value / sum : 0.0f, 0);
  if (d == 0) lse[row] = keys > 0 ? max * 0.69314718f + logf(sum) : -INFINITY;
}

/// Dynamic shared memory of split_kv: the rings, or the merge that takes their place.
constexpr int shared_bytes(int group) {
  return kl::max(WARPS * STAGES * STAGE_VECTORS * 16, WARPS * group * D * 4);
}

/// The number of chunks that fills whole waves of blocks best: the least one within 5 % of the best.
constexpr int pick_splits(const Problem& p, int group) {
  // Eight query heads need 253 registers a thread: 256 threads fill an SM's register file.
  const int by_registers = group == 8 ? kl::max(1, 8 / WARPS) : BLOCKS_PER_SM;
  const int by_shared = p.device.shared_bytes_max / shared_bytes(group);
  const double slots = p.device.sms * kl::min(BLOCKS_PER_SM, kl::min(by_registers, by_shared));
  const int splits_max = kl::clamp(p.S / CHUNK_MIN, 1, SPLITS_MAX);
  const auto efficiency = [&](int splits) {
    const double waves = double(p.B) * p.Hkv * splits / slots;
    const auto whole = static_cast<long long>(waves);
    return waves / (waves > whole ? whole + 1 : whole);
  };
  double best = 0;
  for (int splits = 1; splits <= splits_max; ++splits) best = kl::max(best, efficiency(splits));
  for (int splits = 1; splits <= splits_max; ++splits) {
    if (efficiency(splits) >= 0.95 * best) return splits;
  }
  return splits_max;
}

constexpr const char* kernel_for(int group) {
  return group == 8 ? "split_kv<8>" : group == 4 ? "split_kv<4>" : group == 2 ? "split_kv<2>" : "split_kv<1>";
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int group = p.Hq / p.Hkv;
  if (!plan.require(group == 1 || group == 2 || group == 4 || group == 8, "Hq / Hkv must be 1, 2, 4 or 8")) return;
  if (!plan.require(shared_bytes(group) <= p.device.shared_bytes_max, "the rings exceed shared memory")) return;
  const int chunk = kl::round_up(kl::cdiv(p.S, pick_splits(p, group)), KEYS_PER_STEP), splits = kl::cdiv(p.S, chunk);

  const auto part = plan.workspace(kl::f32, (long long)p.B * p.Hq * splits * D);
  const auto stats = plan.workspace(kl::f32, (long long)p.B * p.Hq * splits * 2);
  plan.launch(kernel_for(group)).grid(p.Hkv, splits, p.B).block(WARPS * 32).shared(shared_bytes(group))
      .arg(p.q).arg(p.k).arg(p.v).arg(p.len).arg(part).arg(stats).arg(p.S).arg(chunk).arg(p.scale * 1.44269504f);
  plan.launch("combine").grid(p.B * p.Hq).block(D)
      .arg(part).arg(stats).arg(p.len).arg(p.o).arg(p.lse).arg(p.Hq).arg(splits).arg(chunk);
}
