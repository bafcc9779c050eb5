// SPDX-License-Identifier: Apache-2.0
// Decode attention, split over the keys: q [B, Hq, 128] over k, v [B, S, Hkv, 128] (bf16) up to len[b], with lse.
//
// Technique (Flash-Decoding on tensor cores): a block takes one key-value head of one sequence over one chunk of keys,
// for all G = Hq / Hkv <= 8 query heads at once. Each warp walks tiles of 16 keys through a swizzled cp.async ring of its
// own, without any barrier of the block. Keys are the rows of mma.sync and query heads its eight columns: S' = K Q', and
// with the weights transposed in registers (movmatrix) O' = V' P'. The first stages are requested before len[b] is known:
// the addresses lie inside the cache anyway; should the sequence end within them, they are copied again, with zeros
// behind the end. Where there are several chunks, a second kernel merges them, launched programmatically and parallel
// over the chunks.
//
// Ladder (H100, medians of 30 rounds: docs/decode_seeds.md):
//   naive.cu        one warp per query head, keys read G times, one load in flight
//   split_kv.cu     keys shared by the group, split-KV with a wave-filling heuristic, 16-byte cp.async pipeline
//   this file       tensor cores, first copies ahead of the length, programmatic merge (found by a search, docs/runs): 1.07
//                   to 1.22x split_kv.cu; one block of eight warps to a multiprocessor instead of two of four 0 to 3 % of it
//   mma_cluster.cu  the merge, 4 us where there is one here, inside a cluster (by the block that ends last, with tickets, all was 8 %
//                   slower)

// tune: WARPS = 8 | 4 | 2
// tune: STAGES = 3 | 2 | 4
// tune: BLOCKS_PER_SM = 1 | 2 | 3
// tune: CHUNK_MIN = 256 | 128 | 512

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int D = Problem::D;
constexpr int ROW = D / 8;                     // 16-byte vectors of a key
constexpr int TILE = 16;                       // keys of one step of a warp
constexpr int STEP = WARPS * TILE;             // keys of one step of a block
constexpr int STAGE = 2 * TILE * ROW;          // vectors: keys, then values
constexpr int HEADS = 8;                       // columns of the mma: the group, padded
constexpr int O_ROW = D + 4;                   // floats of a row in the merge: no bank conflicts
constexpr int SPLITS_MAX = 128, COMBINE_WARPS = 8;
constexpr int BLOCK_COST = 256;                // of starting and ending a block, in keys
constexpr float LOWEST = -1e30f;               // finite, so that the difference of two maxima is never NaN
constexpr float LN2 = 0.69314718f;

/// The 8 x 8 matrix of 16-bit elements whose rows the lanes hold in fours, transposed (9.7.14.5.17).
__device__ __forceinline__ unsigned transposed(unsigned pair) {
  unsigned result;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(pair));
  return result;
}

/// Copies 16 bytes as cp_async_16 does, and asks for the 256 bytes around them.
__device__ __forceinline__ void copy_16(void* to_shared, const void* from_global, bool valid) {
  asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;" ::"r"(ptx::smem_address(to_shared)),
               "l"(from_global), "r"(valid ? 16 : 0)
               : "memory");
}

/// Vector `chunk` of key `row` of a tile: swizzled, so that the same vector of eight rows lies in eight banks.
__device__ __forceinline__ int swizzled(int row, int chunk) { return row * ROW + (chunk ^ (row & 7)); }

/// Online softmax of 8 * NT query heads over the keys of one warp, in base-2 units. With g = lane / 4, t = lane % 4 a lane
/// holds heads 8n + 2t and 8n + 2t + 1, and of those channels 16c + g and 16c + g + 8.
template <int NT>
struct State {
  float max[NT][2], sum[NT][2], o[NT][D / 16][4];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int n = 0; n < NT; ++n) {
      max[n][0] = max[n][1] = LOWEST;
      sum[n][0] = sum[n][1] = 0;
#pragma unroll
      for (int c = 0; c < D / 16; ++c) o[n][c][0] = o[n][c][1] = o[n][c][2] = o[n][c][3] = 0;
    }
  }
};

/// One tile: keys `from` to `end` - 1 of the sixteen count.
template <int NT>
__device__ __forceinline__ void attend(State<NT>& state, const unsigned (&q)[NT][D / 16][2], const uint4* tile, int from,
                                       int end, float scale_log2) {
  const int lane = threadIdx.x % 32, g = lane / 4;
  float s[NT][4], odd[NT][4];  // two chains of products, half as long
#pragma unroll
  for (int n = 0; n < NT; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) s[n][i] = odd[n][i] = 0;
  }
#pragma unroll
  for (int c = 0; c < D / 16; c += 2) {
    unsigned a[4], b[4];
    ptx::ldmatrix_x4(a, tile + swizzled(lane % 16, 2 * c + lane / 16));
    ptx::ldmatrix_x4(b, tile + swizzled(lane % 16, 2 * c + 2 + lane / 16));
#pragma unroll
    for (int n = 0; n < NT; ++n) {
      ptx::mma_bf16(s[n], a, q[n][c][0], q[n][c][1]);
      ptx::mma_bf16(odd[n], b, q[n][c + 1][0], q[n][c + 1][1]);
    }
  }
  unsigned p[NT][2];
#pragma unroll
  for (int n = 0; n < NT; ++n) {
    float next[2];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int key = g + i / 2 * 8;
      s[n][i] = key >= from && key < end ? (s[n][i] + odd[n][i]) * scale_log2 : -INFINITY;
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      next[i] = fmaxf(s[n][i], s[n][2 + i]);
#pragma unroll
      for (int step = 4; step < 32; step *= 2) next[i] = fmaxf(next[i], __shfl_xor_sync(0xffffffffu, next[i], step));
      next[i] = fmaxf(next[i], state.max[n][i]);
    }
    if (__any_sync(0xffffffffu, next[0] > state.max[n][0] || next[1] > state.max[n][1])) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float shrink = ptx::ex2(state.max[n][i] - next[i]);
        state.max[n][i] = next[i];
        state.sum[n][i] *= shrink;
#pragma unroll
        for (int c = 0; c < D / 16; ++c) state.o[n][c][i] *= shrink, state.o[n][c][2 + i] *= shrink;
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      s[n][i] = ptx::ex2(s[n][i] - state.max[n][i % 2]);
      state.sum[n][i % 2] += s[n][i];
    }
    p[n][0] = transposed(ptx::pack_bf16(s[n][0], s[n][1]));
    p[n][1] = transposed(ptx::pack_bf16(s[n][2], s[n][3]));
  }
  const uint4* const values = tile + TILE * ROW;
#pragma unroll
  for (int c = 0; c < D / 16; ++c) {
    unsigned a[4];
    ptx::ldmatrix_x4_trans(a, values + swizzled(lane % 8 + lane / 16 * 8, 2 * c + lane / 8 % 2));
#pragma unroll
    for (int n = 0; n < NT; ++n) ptx::mma_bf16(state.o[n][c], a, p[n][0], p[n][1]);
  }
}

/// Writes o and lse where there is one chunk, else part [B, Hq, splits, D] (not divided by the sum) and stats [B, Hq,
/// splits] = (maximum, sum).
extern "C" __global__ void __launch_bounds__(WARPS * 32, BLOCKS_PER_SM)
decode(const unsigned* __restrict__ q, const uint4* __restrict__ k, const uint4* __restrict__ v,
       const int* __restrict__ len, float* __restrict__ part, float2* __restrict__ stats, unsigned short* __restrict__ o,
       float* __restrict__ lse, int S, int G, int chunk, float scale_log2) {
  constexpr int NT = 1;
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ float2 warp_stats[WARPS][HEADS];
  const int hk = blockIdx.x, Hkv = gridDim.x, split = blockIdx.y, splits = gridDim.y, b = blockIdx.z;
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4, t = lane % 4;
  const int begin = split * chunk, limit = min(begin + chunk, S), first = begin + warp * TILE;
  int keys;  // under way while the first copies are requested
  asm volatile("ld.global.nc.s32 %0, [%1];" : "=r"(keys) : "l"(len + b));

  uint4* const ring = reinterpret_cast<uint4*>(shared) + warp * STAGES * STAGE;
  const long long origin = ((long long)b * S * Hkv + hk) * ROW + lane % ROW, row_vectors = (long long)Hkv * ROW;
  // A lane copies vector lane % 16 of keys lane / 16, + 2, + 4, ...
  const auto fetch = [&](int step, int end) {
    uint4* const stage = ring + step % STAGES * STAGE;
#pragma unroll
    for (int i = 0; i < TILE / 2; ++i) {
      const int row = 2 * i + lane / 16, key = first + step * STEP + row;
      const long long at = origin + (key < end ? key : begin) * row_vectors;
      copy_16(stage + swizzled(row, lane % 16), k + at, key < end);
      copy_16(stage + TILE * ROW + swizzled(row, lane % 16), v + at, key < end);
    }
  };
#pragma unroll
  for (int step = 0; step < STAGES - 1; ++step) {
    if (first + step * STEP < limit) fetch(step, limit);
    ptx::cp_async_commit();
  }
  ptx::griddepcontrol_launch_dependents();

  unsigned q_lane[NT][D / 16][2];
#pragma unroll
  for (int n = 0; n < NT; ++n) {
    const bool is_head = 8 * n + g < G;
    const unsigned* const row = q + ((long long)(b * Hkv + hk) * G + (is_head ? 8 * n + g : 0)) * (D / 2);
#pragma unroll
    for (int c = 0; c < D / 16; ++c) {
      q_lane[n][c][0] = is_head ? row[8 * c + t] : 0;
      q_lane[n][c][1] = is_head ? row[8 * c + 4 + t] : 0;
    }
  }

  const int end = min(limit, keys), steps = end > first ? (end - first + STEP - 1) / STEP : 0;
  if (begin >= end && splits > 1) {
    ptx::cp_async_wait<0>();
    return;
  }
  if (end < limit && end < begin + (STAGES - 1) * STEP) {  // something from behind the end is arbitrary
    ptx::cp_async_wait<0>();
    __syncwarp();
#pragma unroll 1
    for (int step = 0; step < STAGES - 1; ++step) {
      if (step < steps) fetch(step, end);
      ptx::cp_async_commit();
    }
  }

  State<NT> state;
  state.clear();
  for (int step = 0; step < steps; ++step) {
    ptx::cp_async_wait<STAGES - 2>();  // this lane's copies of `step` have arrived
    __syncwarp();                      // so have those of the others, and nobody reads the stage before it any more
    if (step + STAGES - 1 < steps) fetch(step + STAGES - 1, end);
    ptx::cp_async_commit();
    attend<NT>(state, q_lane, ring + step % STAGES * STAGE, 0, end - first - step * STEP, scale_log2);
  }
#pragma unroll
  for (int n = 0; n < NT; ++n) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int step = 4; step < 32; step *= 2) state.sum[n][i] += __shfl_xor_sync(0xffffffffu, state.sum[n][i], step);
    }
  }

  // Merge the warps: [WARPS][G][D] of floats take the place of the rings.
  float* const warp_o = reinterpret_cast<float*>(shared);
  ptx::cp_async_wait<0>();
  __syncthreads();  // nobody reads the rings any more
#pragma unroll
  for (int n = 0; n < NT; ++n) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int head = 8 * n + 2 * t + i;
      if (head >= G) continue;
      if (g == 0) warp_stats[warp][head] = make_float2(state.max[n][i], state.sum[n][i]);
#pragma unroll
      for (int c = 0; c < D / 16; ++c) {
        warp_o[(warp * G + head) * O_ROW + 16 * c + g] = state.o[n][c][i];
        warp_o[(warp * G + head) * O_ROW + 16 * c + g + 8] = state.o[n][c][2 + i];
      }
    }
  }
  __syncthreads();  // every warp's output and statistics are visible
  for (int i = tid; i < G * D; i += WARPS * 32) {
    const int head = i / D, d = i % D;
    float max = LOWEST, sum = 0, value = 0;
#pragma unroll
    for (int w = 0; w < WARPS; ++w) max = fmaxf(max, warp_stats[w][head].x);
#pragma unroll
    for (int w = 0; w < WARPS; ++w) {
      const float shrink = ptx::ex2(warp_stats[w][head].x - max);
      sum += warp_stats[w][head].y * shrink;
      value += warp_o[(w * G + head) * O_ROW + d] * shrink;
    }
    const long long row = (long long)(b * Hkv + hk) * G + head;
    if (splits == 1) {
      o[row * D + d] = (unsigned short)ptx::pack_bf16(sum > 0 ? value / sum : 0.0f, 0);
      if (d == 0) lse[row] = sum > 0 ? max * LN2 + logf(sum) : -INFINITY;
    } else {
      part[(row * splits + split) * D + d] = value;
      if (d == 0) stats[row * splits + split] = make_float2(max, sum);
    }
  }
}

/// One block per row (b, h), launched while chunks are still under way: warps share the chunks that hold keys, a lane has
/// four channels.
extern "C" __global__ void __launch_bounds__(COMBINE_WARPS * 32)
combine(const float4* __restrict__ part, const float2* __restrict__ stats, const int* __restrict__ len,
        uint2* __restrict__ o, float* __restrict__ lse, int Hq, int splits, int chunk) {
  constexpr int AHEAD = 8;                           // partial results of a warp that are requested at once
  constexpr int SHARE = SPLITS_MAX / COMBINE_WARPS;  // most partial results of a warp
  __shared__ float weights[SPLITS_MAX];
  __shared__ float4 partial[COMBINE_WARPS][D / 4];
  const long long row = blockIdx.x;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int keys = len[row / Hq], used = (keys + chunk - 1) / chunk;
  part += row * splits * (D / 4) + lane;
  stats += row * splits;
  ptx::griddepcontrol_wait();  // the chunks are complete and visible

  float4 x[AHEAD];
  const auto load = [&](int from) {
#pragma unroll
    for (int n = 0; n < AHEAD; ++n) {
      const int split = warp + COMBINE_WARPS * (from + n);
      x[n] = split < used ? __ldcg(part + split * (D / 4)) : make_float4(0, 0, 0, 0);
    }
  };
  float2 stat[SPLITS_MAX / 32];
  float max = LOWEST, sum = 0;
#pragma unroll
  for (int i = 0; i < SPLITS_MAX / 32; ++i) {
    stat[i] = lane + 32 * i < used ? __ldcg(stats + lane + 32 * i) : make_float2(LOWEST, 0);
  }
  load(0);
#pragma unroll
  for (int i = 0; i < SPLITS_MAX / 32; ++i) max = fmaxf(max, stat[i].x);
#pragma unroll
  for (int step = 16; step > 0; step /= 2) max = fmaxf(max, __shfl_xor_sync(0xffffffffu, max, step));
#pragma unroll
  for (int i = 0; i < SPLITS_MAX / 32; ++i) {
    const float weight = lane + 32 * i < used ? ptx::ex2(stat[i].x - max) : 0.0f;
    sum += stat[i].y * weight;
    if (warp == 0) weights[lane + 32 * i] = weight;
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  __syncthreads();  // the weights are visible

  float4 value = make_float4(0, 0, 0, 0);
  for (int from = 0; from < SHARE && from * COMBINE_WARPS < used; from += AHEAD) {
    if (from > 0) load(from);
#pragma unroll
    for (int n = 0; n < AHEAD; ++n) {
      const float weight = weights[warp + COMBINE_WARPS * (from + n)];
      value.x += x[n].x * weight, value.y += x[n].y * weight, value.z += x[n].z * weight, value.w += x[n].w * weight;
    }
  }
  partial[warp][lane] = value;
  __syncthreads();  // every warp's share is visible
  if (warp > 0) return;
#pragma unroll
  for (int w = 1; w < COMBINE_WARPS; ++w) {
    const float4 other = partial[w][lane];
    value.x += other.x, value.y += other.y, value.z += other.z, value.w += other.w;
  }
  const float factor = keys > 0 ? 1.0f / sum : 0.0f;
  o[row * (D / 4) + lane] = make_uint2(ptx::pack_bf16(value.x * factor, value.y * factor),
                                       ptx::pack_bf16(value.z * factor, value.w * factor));
  if (lane == 0) lse[row] = keys > 0 ? max * LN2 + logf(sum) : -INFINITY;
}

/// Dynamic shared memory of decode: the rings, or the merge that takes their place.
constexpr int shared_bytes() { return kl::max(WARPS * STAGES * STAGE * 16, WARPS * HEADS * O_ROW * 4); }

/// The number of chunks that takes least time: waves of blocks, each as long as a chunk and BLOCK_COST keys.
constexpr int pick_splits(const Problem& p) {
  const int by_shared = kl::max(1, p.device.shared_bytes_max / (shared_bytes() + 1024));
  const long long slots = (long long)p.device.sms * kl::min(BLOCKS_PER_SM, by_shared);
  const int splits_max = kl::clamp(p.S / CHUNK_MIN, 1, SPLITS_MAX);
  int best = 1;
  long long least = 0;
  for (int wanted = 1; wanted <= splits_max; ++wanted) {
    const int chunk = kl::round_up(kl::cdiv(p.S, wanted), TILE), splits = kl::cdiv(p.S, chunk);
    const long long cost = kl::cdiv((long long)p.B * p.Hkv * splits, slots) * (chunk + BLOCK_COST);
    if (wanted == 1 || cost < least) best = wanted, least = cost;
  }
  return best;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int group = p.Hq / p.Hkv;
  if (!plan.require(group <= HEADS, "more than 8 query heads to a key-value head")) return;
  if (!plan.require(shared_bytes() <= p.device.shared_bytes_max, "the rings exceed shared memory")) return;
  const int chunk = kl::round_up(kl::cdiv(p.S, pick_splits(p)), TILE), splits = kl::cdiv(p.S, chunk);

  const bool is_split = splits > 1;
  const auto part = plan.workspace(kl::f32, is_split ? (long long)p.B * p.Hq * splits * D : 1);
  const auto stats = plan.workspace(kl::f32, is_split ? (long long)p.B * p.Hq * splits * 2 : 2);
  plan.launch("decode").grid(p.Hkv, splits, p.B).block(WARPS * 32).shared(shared_bytes())
      .arg(p.q).arg(p.k).arg(p.v).arg(p.len).arg(part).arg(stats).arg(p.o).arg(p.lse).arg(p.S).arg(group).arg(chunk)
      .arg(p.scale * 1.44269504f);
  if (!is_split) return;
  plan.launch("combine").grid(p.B * p.Hq).block(COMBINE_WARPS * 32).programmatic()
      .arg(part).arg(stats).arg(p.len).arg(p.o).arg(p.lse).arg(p.Hq).arg(splits).arg(chunk);
}
