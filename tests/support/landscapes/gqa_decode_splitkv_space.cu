// SPDX-License-Identifier: Apache-2.0
// The frozen landscape of decode attention: q [B, Hq, 128] over k, v [B, S, Hkv, 128] (bf16) up to len[b], with lse.
//
// A block takes HEADS query heads of one key-value head over a chunk of keys; LANES threads share a key. COPY 0 loads rows
// into registers (with STAGES > 2 one step ahead); 1 copies them through rings of cp.async that are private to a lane; 2
// copies tiles that the whole block shares. SPLIT 0: one chunk; 1: chunks of 2048 keys; 2: as many of at least 1024 as fill
// whole waves. BARRIER = 0 leaves out the block's barrier at the end of a step: right where nobody reads what another copied.

// tune: COPY = 0 | 1 | 2
// tune: LANES = 16 | 8
// tune: HEADS = 1 | 4
// tune: WARPS = 4 | 8
// tune: STAGES = 2 | 4 | 8
// tune: SPLIT = 0 | 1 | 2
// tune: BARRIER = 1 | 0

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int D = Problem::D;
constexpr int CHANNELS = D / LANES;              // per lane
constexpr int VECTORS = CHANNELS / 8;            // of 16 bytes, per lane
constexpr int ABREAST = 32 / LANES;              // keys of a warp side by side
constexpr int DEEP = 4;                          // keys of a lane in one step
constexpr int KEYS_PER_WARP = ABREAST * DEEP;
constexpr int KEYS_PER_STEP = WARPS * KEYS_PER_WARP;
constexpr int STAGE_VECTORS = 2 * DEEP * VECTORS * 32;  // keys and values of one step of a warp
constexpr int SPLITS_MAX = 128;
constexpr float LOWEST = -1e30f;                 // finite, so that the difference of two maxima is never NaN

__device__ __forceinline__ void unpack(float* to, const uint4& from) {
  const unsigned pairs[] = {from.x, from.y, from.z, from.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    to[2 * i] = ptx::low_bf16(pairs[i]);
    to[2 * i + 1] = ptx::high_bf16(pairs[i]);
  }
}

/// Online softmax of HEADS query heads over the keys of LANES threads, in base-2 units.
struct State {
  float max[HEADS], sum[HEADS], o[HEADS][CHANNELS];

  __device__ void clear() {
#pragma unroll
    for (int g = 0; g < HEADS; ++g) {
      max[g] = LOWEST;
      sum[g] = 0;
#pragma unroll
      for (int d = 0; d < CHANNELS; ++d) o[g][d] = 0;
    }
  }
  __device__ void rescale(int g, float next) {
    const float shrink = ptx::ex2(max[g] - next);
    max[g] = next;
    sum[g] *= shrink;
#pragma unroll
    for (int d = 0; d < CHANNELS; ++d) o[g][d] *= shrink;
  }
  /// Adds the states of the warp's other keys, in all lanes.
  __device__ void merge_lanes() {
#pragma unroll
    for (int step = LANES; step < 32; step *= 2) {
#pragma unroll
      for (int g = 0; g < HEADS; ++g) {
        rescale(g, fmaxf(max[g], __shfl_xor_sync(0xffffffffu, max[g], step)));
        sum[g] += __shfl_xor_sync(0xffffffffu, sum[g], step);
#pragma unroll
        for (int d = 0; d < CHANNELS; ++d) o[g][d] += __shfl_xor_sync(0xffffffffu, o[g][d], step);
      }
    }
  }
};

/// One step: DEEP keys of this lane's row, ABREAST apart, the first of them `key`; those from `end` on do not count.
template <typename Keys, typename Values>
__device__ __forceinline__ void attend(State& state, const float (&q)[HEADS][CHANNELS], Keys k_at, Values v_at, int key, int end) {
  float s[DEEP][HEADS];
#pragma unroll
  for (int i = 0; i < DEEP; ++i) {
    float k[CHANNELS];
#pragma unroll
    for (int n = 0; n < VECTORS; ++n) unpack(k + n * 8, k_at(i, n));
#pragma unroll
    for (int g = 0; g < HEADS; ++g) {
      s[i][g] = 0;
#pragma unroll
      for (int d = 0; d < CHANNELS; ++d) s[i][g] += q[g][d] * k[d];
#pragma unroll
      for (int step = LANES / 2; step > 0; step /= 2) s[i][g] += __shfl_xor_sync(0xffffffffu, s[i][g], step);
      if (key + ABREAST * i >= end) s[i][g] = -INFINITY;
    }
  }
#pragma unroll
  for (int g = 0; g < HEADS; ++g) {
    float next = state.max[g];
#pragma unroll
    for (int i = 0; i < DEEP; ++i) next = fmaxf(next, s[i][g]);
    state.rescale(g, next);
#pragma unroll
    for (int i = 0; i < DEEP; ++i) {
      s[i][g] = ptx::ex2(s[i][g] - next);
      state.sum[g] += s[i][g];
    }
  }
#pragma unroll
  for (int i = 0; i < DEEP; ++i) {
    float v[CHANNELS];
#pragma unroll
    for (int n = 0; n < VECTORS; ++n) unpack(v + n * 8, v_at(i, n));
#pragma unroll
    for (int g = 0; g < HEADS; ++g) {
#pragma unroll
      for (int d = 0; d < CHANNELS; ++d) state.o[g][d] += s[i][g] * v[d];
    }
  }
}

/// Writes part [B, Hq, splits, D] (not divided by the sum) and stats [B, Hq, splits] = (maximum, sum).
extern "C" __global__ void __launch_bounds__(WARPS * 32)
split_kv(const uint4* __restrict__ q, const uint4* __restrict__ k, const uint4* __restrict__ v,
         const int* __restrict__ len, float* __restrict__ part, float2* __restrict__ stats, int S, int G, int Hkv,
         int chunk, float scale_log2) {
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ float2 warp_stats[WARPS][HEADS];
  const int groups = gridDim.x / Hkv, hk = blockIdx.x / groups, g0 = blockIdx.x % groups * HEADS;
  const int split = blockIdx.y, splits = gridDim.y, b = blockIdx.z;
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, lane_row = lane / LANES, lane_at = lane % LANES;
  const int begin = split * chunk, end = min(begin + chunk, len[b]);
  if (begin >= end) return;

  constexpr int ROW = D / 8;  // vectors of a row
  const long long row_vectors = (long long)Hkv * ROW, origin = ((long long)b * S * Hkv + hk) * ROW;
  const int first = begin + warp * KEYS_PER_WARP + lane_row;
  const int steps = (end - begin + KEYS_PER_STEP - 1) / KEYS_PER_STEP;
  const auto global_at = [&](int key, int vector) { return origin + (key < end ? key : begin) * row_vectors + vector; };

  float q_lane[HEADS][CHANNELS];
#pragma unroll
  for (int g = 0; g < HEADS; ++g) {
    const int head = min(g0 + g, G - 1);
#pragma unroll
    for (int n = 0; n < VECTORS; ++n) unpack(&q_lane[g][n * 8], q[((long long)(b * Hkv + hk) * G + head) * ROW + n * LANES + lane_at]);
#pragma unroll
    for (int d = 0; d < CHANNELS; ++d) q_lane[g][d] *= scale_log2;
  }
  State state;
  state.clear();

  if constexpr (COPY == 0) {
    uint4 held[2][DEEP][VECTORS];
    const auto fetch = [&](uint4 (&keys)[DEEP][VECTORS], const uint4* from, int step) {
#pragma unroll
      for (int i = 0; i < DEEP; ++i) {
#pragma unroll
        for (int n = 0; n < VECTORS; ++n) keys[i][n] = from[global_at(first + step * KEYS_PER_STEP + ABREAST * i, n * LANES + lane_at)];
      }
    };
    if (STAGES > 2) fetch(held[0], k, 0);
    for (int step = 0; step < steps; ++step) {
      if (STAGES == 2) fetch(held[0], k, step);
      fetch(held[1], v, step);
      uint4 now[DEEP][VECTORS];
#pragma unroll
      for (int i = 0; i < DEEP; ++i) {
#pragma unroll
        for (int n = 0; n < VECTORS; ++n) now[i][n] = held[0][i][n];
      }
      if (STAGES > 2 && step + 1 < steps) fetch(held[0], k, step + 1);
      attend(state, q_lane, [&](int i, int n) { return now[i][n]; }, [&](int i, int n) { return held[1][i][n]; },
             first + step * KEYS_PER_STEP, end);
      if (BARRIER) __syncthreads();  // keeps the warps together
    }
  } else {
    // A stage: [WARPS][2: keys, values][DEEP][VECTORS][32 lanes] vectors.
    uint4* const ring = reinterpret_cast<uint4*>(shared);
    constexpr int ALL = WARPS * STAGE_VECTORS;
    const auto fetch = [&](int step) {
      uint4* const stage = ring + step % STAGES * ALL;
      if constexpr (COPY == 1) {
#pragma unroll
        for (int i = 0; i < DEEP * VECTORS; ++i) {
          const int key = first + step * KEYS_PER_STEP + ABREAST * (i / VECTORS), at = warp * STAGE_VECTORS + i * 32 + lane;
          const long long from = global_at(key, i % VECTORS * LANES + lane_at);
          ptx::cp_async_16(stage + at, k + from, key < end);
          ptx::cp_async_16(stage + at + DEEP * VECTORS * 32, v + from, key < end);
        }
      } else {
        // Row by row over the whole tile: neighbouring threads copy neighbouring vectors.
#pragma unroll
        for (int i = 0; i < ALL / 2; i += WARPS * 32) {
          const int row = (i + tid) / ROW, vector = (i + tid) % ROW, key = begin + step * KEYS_PER_STEP + row;
          const int owner = row / KEYS_PER_WARP, deep = row % KEYS_PER_WARP / ABREAST, beside = row % ABREAST;
          const int at = owner * STAGE_VECTORS + (deep * VECTORS + vector / LANES) * 32 + beside * LANES + vector % LANES;
          const long long from = global_at(key, vector);
          ptx::cp_async_16(stage + at, k + from, key < end);
          ptx::cp_async_16(stage + at + DEEP * VECTORS * 32, v + from, key < end);
        }
      }
    };
#pragma unroll
    for (int step = 0; step < STAGES - 1; ++step) {
      if (step < steps) fetch(step);
      ptx::cp_async_commit();
    }
    for (int step = 0; step < steps; ++step) {
      if (step + STAGES - 1 < steps) fetch(step + STAGES - 1);
      ptx::cp_async_commit();
      ptx::cp_async_wait<STAGES - 1>();     // this thread's copies of `step` have arrived
      if (COPY == 2) __syncthreads();       // and everybody's
      const uint4* const mine = ring + step % STAGES * ALL + warp * STAGE_VECTORS + lane;
      attend(state, q_lane, [&](int i, int n) { return mine[(i * VECTORS + n) * 32]; },
             [&](int i, int n) { return mine[((DEEP + i) * VECTORS + n) * 32]; }, first + step * KEYS_PER_STEP, end);
      if (BARRIER) __syncthreads();  // nobody reads this stage any more
    }
  }
  state.merge_lanes();

  // Merge the warps: [WARPS][HEADS][D] of floats take the place of the rings.
  float* const warp_o = reinterpret_cast<float*>(shared);
  __syncthreads();  // nobody reads the rings any more
#pragma unroll
  for (int g = 0; g < HEADS; ++g) {
    if (lane == 0) warp_stats[warp][g] = make_float2(state.max[g], state.sum[g]);
    if (lane < LANES) {
#pragma unroll
      for (int d = 0; d < CHANNELS; ++d) warp_o[(warp * HEADS + g) * D + (d / 8 * LANES + lane) * 8 + d % 8] = state.o[g][d];
    }
  }
  __syncthreads();  // every warp's output and statistics are visible
  for (int i = tid; i < HEADS * D; i += WARPS * 32) {
    const int g = i / D, d = i % D;
    if (g0 + g >= G) break;
    float max = LOWEST, sum = 0, value = 0;
    for (int w = 0; w < WARPS; ++w) max = fmaxf(max, warp_stats[w][g].x);
    for (int w = 0; w < WARPS; ++w) {
      const float shrink = ptx::ex2(warp_stats[w][g].x - max);
      sum += warp_stats[w][g].y * shrink;
      value += warp_o[(w * HEADS + g) * D + d] * shrink;
    }
    const long long row = ((long long)(b * Hkv + hk) * G + g0 + g) * splits + split;
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
constexpr int SHARED_BYTES = kl::max(COPY == 0 ? 0 : WARPS * STAGES * STAGE_VECTORS * 16, WARPS * HEADS * D * 4);

constexpr int pick_splits(const Problem& p, int blocks) {
  if (SPLIT == 0) return 1;
  if (SPLIT == 1) return kl::clamp(p.S / 2048, 1, SPLITS_MAX);
  const double slots = p.device.sms * kl::clamp(p.device.shared_bytes_max / SHARED_BYTES, 1, WARPS == 8 ? 2 : 3);
  const int splits_max = kl::clamp(p.S / 1024, 1, SPLITS_MAX);
  const auto efficiency = [&](int splits) {
    const double waves = double(blocks) * splits / slots;
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

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int group = p.Hq / p.Hkv, x = p.Hkv * kl::cdiv(group, HEADS);
  const int chunk = kl::round_up(kl::cdiv(p.S, pick_splits(p, x * p.B)), KEYS_PER_STEP), splits = kl::cdiv(p.S, chunk);
  const auto part = plan.workspace(kl::f32, (long long)p.B * p.Hq * splits * D);
  const auto stats = plan.workspace(kl::f32, (long long)p.B * p.Hq * splits * 2);
  plan.launch("split_kv").grid(x, splits, p.B).block(WARPS * 32).shared(SHARED_BYTES)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.len).arg(part).arg(stats).arg(p.S).arg(group).arg(p.Hkv).arg(chunk)
      .arg(p.scale * 1.44269504f);
  plan.launch("combine").grid(p.B * p.Hq).block(D)
      .arg(part).arg(stats).arg(p.len).arg(p.o).arg(p.lse).arg(p.Hq).arg(splits).arg(chunk);
}
