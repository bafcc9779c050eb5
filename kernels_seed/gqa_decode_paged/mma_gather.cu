// SPDX-License-Identifier: Apache-2.0
// Paged decode attention on tensor cores: q [B, Hq, 128] over the pages of k, v [P, PS, Hkv, 128] (bf16) that page_table
// [B, pages] names, up to len[b], with lse.
//
// Technique (Flash-Decoding over gathered pages): a block takes one key-value head of one sequence over one chunk of keys,
// for all query heads of the group at once. Each warp walks tiles of 16 keys of its own: it fetches their rows of 256
// bytes through the page table with 16-byte cp.async, a half-warp per row, into a ring that only this warp uses, so the
// pipeline needs no barrier of the block. Table entries are read a step before the rows that need them. Keys are the rows
// of mma.sync and query heads its eight columns: S' = K Q', and with the weights transposed in registers (movmatrix)
// O' = V' P'; nothing is padded to 16 heads. Chunks beyond len[b] end at once; a second kernel merges the chunks, where
// there are several.
//
// Ladder:
//   naive.cu     one warp per query head, keys read G times, one load in flight behind its table entry
//   this file    keys shared by the group, split-KV with a wave-filling heuristic, tensor cores, 72 KiB of rows under way
//   left to do   programmatic launch or a fused combine, chunks balanced over ragged lengths, TMA for pages of 16 and more

// tune: WARPS = 4 | 2 | 8
// tune: STAGES = 3 | 2 | 4
// tune: BLOCKS_PER_SM = 2 | 1 | 3
// tune: CHUNK_MIN = 256 | 128 | 512

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int D = Problem::D;
constexpr int ROW = D / 8;                     // 16-byte vectors of a key
constexpr int TILE = 16;                       // keys of one step of a warp
constexpr int STEP = WARPS * TILE;             // keys of one step of a block
constexpr int STAGE = 2 * TILE * ROW;          // vectors: keys, then values
constexpr int SPLITS_MAX = 128;
constexpr float LOWEST = -1e30f;               // finite, so that the difference of two maxima is never NaN
constexpr float LN2 = 0.69314718f;

/// The 8 x 8 matrix of 16-bit elements whose rows the lanes hold in fours, transposed (9.7.14.5.17).
__device__ __forceinline__ unsigned transposed(unsigned pair) {
  unsigned result;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(pair));
  return result;
}

/// Vector `chunk` of key `row` of a tile: swizzled, so that the same vector of eight rows lies in eight banks.
__device__ __forceinline__ int swizzled(int row, int chunk) { return row * ROW + (chunk ^ (row & 7)); }

/// Online softmax of 8 * NT query heads over the keys of one warp, in base-2 units. With g = lane / 4, t = lane % 4 a lane
/// holds heads 8n + 2t and 8n + 2t + 1, and of those channels 16c + g and 16c + g + 8.
template <int NT>
struct State {
  float max[NT][2], sum[NT][2], o[NT][D / 16][4];

  __device__ void clear() {
#pragma unroll
    for (int n = 0; n < NT; ++n) {
      max[n][0] = max[n][1] = LOWEST;
      sum[n][0] = sum[n][1] = 0;
#pragma unroll
      for (int c = 0; c < D / 16; ++c) o[n][c][0] = o[n][c][1] = o[n][c][2] = o[n][c][3] = 0;
    }
  }
};

/// One tile: the first of its keys is `key`; those from `end` on do not count.
template <int NT>
__device__ __forceinline__ void attend(State<NT>& state, const unsigned (&q)[NT][D / 16][2], const uint4* tile, int key,
                                       int end, float scale_log2) {
  const int lane = threadIdx.x % 32, g = lane / 4;
  float s[NT][4] = {};
#pragma unroll
  for (int c = 0; c < D / 16; ++c) {
    unsigned a[4];
    ptx::ldmatrix_x4(a, tile + swizzled(lane % 16, 2 * c + lane / 16));
#pragma unroll
    for (int n = 0; n < NT; ++n) ptx::mma_bf16(s[n], a, q[n][c][0], q[n][c][1]);
  }
  unsigned p[NT][2];
#pragma unroll
  for (int n = 0; n < NT; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) s[n][i] = key + g + i / 2 * 8 < end ? s[n][i] * scale_log2 : -INFINITY;
    float shrink[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float next = fmaxf(s[n][i], s[n][2 + i]);
#pragma unroll
      for (int step = 4; step < 32; step *= 2) next = fmaxf(next, __shfl_xor_sync(0xffffffffu, next, step));
      next = fmaxf(next, state.max[n][i]);
      shrink[i] = ptx::ex2(state.max[n][i] - next);
      state.max[n][i] = next;
      s[n][i] = ptx::ex2(s[n][i] - next);
      s[n][2 + i] = ptx::ex2(s[n][2 + i] - next);
      state.sum[n][i] = state.sum[n][i] * shrink[i] + s[n][i] + s[n][2 + i];
    }
    p[n][0] = transposed(ptx::pack_bf16(s[n][0], s[n][1]));
    p[n][1] = transposed(ptx::pack_bf16(s[n][2], s[n][3]));
#pragma unroll
    for (int c = 0; c < D / 16; ++c) {
#pragma unroll
      for (int i = 0; i < 4; ++i) state.o[n][c][i] *= shrink[i % 2];
    }
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
template <int NT>
__global__ void __launch_bounds__(WARPS * 32, BLOCKS_PER_SM)
paged_decode(const unsigned* __restrict__ q, const uint4* __restrict__ k, const uint4* __restrict__ v,
             const int* __restrict__ page_table, const int* __restrict__ len, float* __restrict__ part,
             float2* __restrict__ stats, unsigned short* __restrict__ o, float* __restrict__ lse, int pages, int page_log2,
             int G, int chunk, float scale_log2) {
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ float2 warp_stats[WARPS][NT * 8];
  const int hk = blockIdx.x, Hkv = gridDim.x, split = blockIdx.y, splits = gridDim.y, b = blockIdx.z;
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4, t = lane % 4;
  const int begin = split * chunk, end = min(begin + chunk, len[b]);
  if (begin >= end && split > 0) return;
  page_table += (long long)b * pages;

  const int first = begin + warp * TILE, last = end - 1;  // of this warp's keys; of all
  uint4* const ring = reinterpret_cast<uint4*>(shared) + warp * STAGES * STAGE;
  // A lane reads the table for key lane % 16 of a tile, and copies vector lane % 16 of keys lane / 16, + 2, + 4, ...
  const auto page_of = [&](int step) {
    return page_table[max(0, min(first + step * STEP + lane % TILE, last)) >> page_log2];
  };
  const auto fetch = [&](int step, int page_of_lane) {
    uint4* const stage = ring + step % STAGES * STAGE;
#pragma unroll
    for (int i = 0; i < TILE / 2; ++i) {
      const int row = 2 * i + lane / 16, key = first + step * STEP + row;
      const long long page = __shfl_sync(0xffffffffu, page_of_lane, row);
      const int slot = min(key, last) & ((1 << page_log2) - 1);
      const long long at = (((page << page_log2) + slot) * Hkv + hk) * ROW + lane % 16;
      ptx::cp_async_16(stage + swizzled(row, lane % 16), k + at, key < end);
      ptx::cp_async_16(stage + TILE * ROW + swizzled(row, lane % 16), v + at, key < end);
    }
  };

  const int steps = (end - first + STEP - 1) / STEP;  // of this warp, at most 0 where it has no keys
  int page = steps > 0 ? page_of(0) : 0;
#pragma unroll
  for (int step = 0; step < STAGES - 1; ++step) {
    if (step < steps) {
      const int next = page_of(step + 1);
      fetch(step, page);
      page = next;
    }
    ptx::cp_async_commit();
  }

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
  State<NT> state;
  state.clear();
  for (int step = 0; step < steps; ++step) {
    ptx::cp_async_wait<STAGES - 2>();  // this lane's copies of `step` have arrived
    __syncwarp();                      // so have those of the others, and nobody reads the stage before it any more
    if (step + STAGES - 1 < steps) {
      const int next = page_of(step + STAGES);
      fetch(step + STAGES - 1, page);
      page = next;
    }
    ptx::cp_async_commit();
    attend<NT>(state, q_lane, ring + step % STAGES * STAGE, first + step * STEP, end, scale_log2);
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
        warp_o[(warp * G + head) * D + 16 * c + g] = state.o[n][c][i];
        warp_o[(warp * G + head) * D + 16 * c + g + 8] = state.o[n][c][2 + i];
      }
    }
  }
  __syncthreads();  // every warp's output and statistics are visible
  for (int i = tid; i < G * D; i += WARPS * 32) {
    const int head = i / D, d = i % D;
    float max = LOWEST, sum = 0, value = 0;
    for (int w = 0; w < WARPS; ++w) max = fmaxf(max, warp_stats[w][head].x);
    for (int w = 0; w < WARPS; ++w) {
      const float shrink = ptx::ex2(warp_stats[w][head].x - max);
      sum += warp_stats[w][head].y * shrink;
      value += warp_o[(w * G + head) * D + d] * shrink;
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

/// `pick` over the values of a block of D threads, in every thread.
template <typename Pick>
__device__ float over_block(float value, Pick pick) {
  __shared__ float of_warp[D / 32];
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value = pick(value, __shfl_xor_sync(0xffffffffu, value, step));
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();  // every warp's value is visible
  value = of_warp[0];
#pragma unroll
  for (int w = 1; w < D / 32; ++w) value = pick(value, of_warp[w]);
  __syncthreads();  // nobody reads them any more
  return value;
}

/// One block per row (b, h), one thread per channel: merges the chunks that hold keys.
extern "C" __global__ void __launch_bounds__(D)
combine(const float* __restrict__ part, const float2* __restrict__ stats, const int* __restrict__ len,
        unsigned short* __restrict__ o, float* __restrict__ lse, int Hq, int splits, int chunk) {
  const long long row = blockIdx.x;
  const int d = threadIdx.x, keys = len[row / Hq], used = (keys + chunk - 1) / chunk;
  part += row * splits * D;
  stats += row * splits;
  // A thread weighs a chunk, then sums a channel over all chunks: their loads do not wait for each other.
  static_assert(SPLITS_MAX <= D, "a thread per chunk");
  __shared__ float weights[D];
  const float2 piece = d < used ? stats[d] : make_float2(LOWEST, 0);
  const float max = over_block(piece.x, [](float x, float y) { return fmaxf(x, y); });
  weights[d] = d < used ? ptx::ex2(piece.x - max) : 0.0f;
  const float sum = over_block(piece.y * weights[d], [](float x, float y) { return x + y; });  // the weights are visible
  float value = 0;
#pragma unroll 8
  for (int split = 0; split < used; ++split) value += part[split * D + d] * weights[split];
  o[row * D + d] = (unsigned short)ptx::pack_bf16(keys > 0 ? value / sum : 0.0f, 0);
  if (d == 0) lse[row] = keys > 0 ? max * LN2 + logf(sum) : -INFINITY;
}

/// Dynamic shared memory of paged_decode: the rings, or the merge that takes their place.
constexpr int shared_bytes(int group) { return kl::max(WARPS * STAGES * STAGE * 16, WARPS * group * D * 4); }

/// The number of chunks that fills whole waves of blocks best: the least one within 5 % of the best.
constexpr int pick_splits(const Problem& p, int group) {
  const int by_shared = kl::max(1, p.device.shared_bytes_max / shared_bytes(group));
  const double slots = p.device.sms * kl::min(BLOCKS_PER_SM, by_shared);
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

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int group = p.Hq / p.Hkv;
  if (!plan.require(group <= 16, "more than 16 query heads to a key-value head")) return;
  if (!plan.require(kl::is_pow2(p.PS), "PS must be a power of two")) return;
  if (!plan.require(shared_bytes(group) <= p.device.shared_bytes_max, "the rings exceed shared memory")) return;
  const int chunk = kl::round_up(kl::cdiv(p.S, pick_splits(p, group)), STEP), splits = kl::cdiv(p.S, chunk);

  const bool is_split = splits > 1;
  const auto part = plan.workspace(kl::f32, is_split ? (long long)p.B * p.Hq * splits * D : 1);
  const auto stats = plan.workspace(kl::f32, is_split ? (long long)p.B * p.Hq * splits * 2 : 2);
  plan.launch(group > 8 ? "paged_decode<2>" : "paged_decode<1>").grid(p.Hkv, splits, p.B).block(WARPS * 32)
      .shared(shared_bytes(group)).arg(p.q).arg(p.k).arg(p.v).arg(p.page_table).arg(p.len).arg(part).arg(stats).arg(p.o)
      .arg(p.lse).arg(kl::cdiv(p.S, p.PS)).arg(kl::log2(p.PS)).arg(group).arg(chunk).arg(p.scale * 1.44269504f);
  if (!is_split) return;
  plan.launch("combine").grid(p.B * p.Hq).block(D)
      .arg(part).arg(stats).arg(p.len).arg(p.o).arg(p.lse).arg(p.Hq).arg(splits).arg(chunk);
}
