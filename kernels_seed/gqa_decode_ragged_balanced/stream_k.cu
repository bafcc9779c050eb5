// SPDX-License-Identifier: Apache-2.0
// Ragged decode attention in equal shares (stream-K): q [B, Hq, 128] over tokens offsets[b] to offsets[b + 1] - 1 of k, v
// [T, Hkv, 128] (bf16), with lse.
//
// Technique (LeanAttention): the keys of every (sequence, key-value head) are tiles of STEP; all tiles in a row are dealt
// out in equal runs to as many blocks as the device holds at once, wherever the cuts fall. Every block finds its run in
// the prefix sum of the lengths, which it computes itself. A run that covers a whole (sequence, head) writes the result;
// of one that is cut the block leaves a partial state, at most one at its begin and one at its end, and a second kernel
// merges those. Within a run each warp walks tiles of 16 keys through a ring of its own, 16-byte cp.async, without any
// barrier of the block; keys are the rows of mma.sync and query heads its eight columns.
//
// Ladder:
//   naive.cu     one warp per query head, the longest sequence decides
//   this file    equal shares for all blocks, keys shared by the group, tensor cores, 72 KiB of rows under way; pieces of a
//                row merged in parallel: 205 us instead of 225 with 26 pieces on an H100, 124 instead of 172 with 59
//   left to do   a pipeline that runs on from one run to the next, a fused merge

// tune: WARPS = 4 | 2 | 8
// tune: STAGES = 3 | 2 | 4
// tune: BLOCKS_PER_SM = 2 | 1 | 3

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int D = Problem::D;
constexpr int ROW = D / 8;                     // 16-byte vectors of a key
constexpr int TILE = 16;                       // keys of one step of a warp
constexpr int STEP = WARPS * TILE;             // keys of one step of a block: a tile of the schedule
constexpr int STAGE = 2 * TILE * ROW;          // vectors: keys, then values
constexpr int SEQUENCES_MAX = 2048;
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

/// Tiles of sequence b.
__device__ __forceinline__ int tiles_of(const int* offsets, int b) { return (offsets[b + 1] - offsets[b] + STEP - 1) / STEP; }

/// The first tile of block c's run.
__device__ __forceinline__ int run_begin(int c, long long tiles, int blocks) { return (int)(tiles * c / blocks); }

/// Fills before[b], the tiles of all sequences before b, for b = 0 .. B. All threads of the block call it.
__device__ __forceinline__ void count_tiles(int* before, const int* offsets, int B) {
  if (threadIdx.x < 32) {
    const int lane = threadIdx.x;
    int carry = 0;
    for (int from = 0; from < B; from += 32) {
      const int tiles = from + lane < B ? tiles_of(offsets, from + lane) : 0;
      int sum = tiles;
#pragma unroll
      for (int step = 1; step < 32; step *= 2) {
        const int below = __shfl_up_sync(0xffffffffu, sum, step);
        if (lane >= step) sum += below;
      }
      if (from + lane < B) before[from + lane] = carry + sum - tiles;
      carry += __shfl_sync(0xffffffffu, sum, 31);
    }
    if (lane == 0) before[B] = carry;
  }
  __syncthreads();  // the sums are visible
}

/// Writes o and lse of whole rows; of others part [blocks, 2, G, D] (not divided by the sum) and stats [blocks, 2, G] =
/// (maximum, sum): entry 0 where the block's run begins, 1 where it ends.
template <int NT>
__global__ void __launch_bounds__(WARPS * 32, BLOCKS_PER_SM)
ragged_decode(const unsigned* __restrict__ q, const uint4* __restrict__ k, const uint4* __restrict__ v,
              const int* __restrict__ offsets, float* __restrict__ part, float2* __restrict__ stats,
              unsigned short* __restrict__ o, float* __restrict__ lse, int B, int Hkv, int G, float scale_log2) {
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ float2 warp_stats[WARPS][NT * 8];
  __shared__ int before[SEQUENCES_MAX + 1];
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4, t = lane % 4;
  uint4* const ring = reinterpret_cast<uint4*>(shared) + warp * STAGES * STAGE;
  float* const warp_o = reinterpret_cast<float*>(shared);  // [WARPS][G][D], in place of the rings when a run ends
  const long long row_vectors = (long long)Hkv * ROW;

  count_tiles(before, offsets, B);
  const long long tiles = (long long)before[B] * Hkv;
  const int run = run_begin(blockIdx.x, tiles, gridDim.x), run_end = run_begin(blockIdx.x + 1, tiles, gridDim.x);
  int b = 0;
  for (int tile = run; tile < run_end;) {
    while (before[b + 1] * Hkv <= tile) ++b;
    const int tiles_here = before[b + 1] - before[b], local = tile - before[b] * Hkv;
    const int hk = local / tiles_here, tile_of_row = local % tiles_here, count = min(tiles_here - tile_of_row, run_end - tile);
    const int end = min((tile_of_row + count) * STEP, offsets[b + 1] - offsets[b]);
    const int first = tile_of_row * STEP + warp * TILE;  // of this warp's keys
    const long long origin = ((long long)offsets[b] * Hkv + hk) * ROW + lane % 16;
    // A lane copies vector lane % 16 of keys lane / 16, + 2, + 4, ...
    const auto fetch = [&](int step) {
      uint4* const stage = ring + step % STAGES * STAGE;
#pragma unroll
      for (int i = 0; i < TILE / 2; ++i) {
        const int row = 2 * i + lane / 16, key = first + step * STEP + row;
        const long long at = origin + (key < end ? key : 0) * row_vectors;
        ptx::cp_async_16(stage + swizzled(row, lane % 16), k + at, key < end);
        ptx::cp_async_16(stage + TILE * ROW + swizzled(row, lane % 16), v + at, key < end);
      }
    };
#pragma unroll
    for (int step = 0; step < STAGES - 1; ++step) {
      if (step < count) fetch(step);
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
    for (int step = 0; step < count; ++step) {
      ptx::cp_async_wait<STAGES - 2>();  // this lane's copies of `step` have arrived
      __syncwarp();                      // so have those of the others, and nobody reads the stage before it any more
      if (step + STAGES - 1 < count) fetch(step + STAGES - 1);
      ptx::cp_async_commit();
      attend<NT>(state, q_lane, ring + step % STAGES * STAGE, first + step * STEP, end, scale_log2);
    }

    ptx::cp_async_wait<0>();
    __syncthreads();  // nobody reads the rings any more
#pragma unroll
    for (int n = 0; n < NT; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int step = 4; step < 32; step *= 2) state.sum[n][i] += __shfl_xor_sync(0xffffffffu, state.sum[n][i], step);
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
    const bool is_whole = count == tiles_here;
    const long long entry = (long long)blockIdx.x * 2 + (tile == run ? 0 : 1);
    for (int i = tid; i < G * D; i += WARPS * 32) {
      const int head = i / D, d = i % D;
      float max = LOWEST, sum = 0, value = 0;
      for (int w = 0; w < WARPS; ++w) max = fmaxf(max, warp_stats[w][head].x);
      for (int w = 0; w < WARPS; ++w) {
        const float shrink = ptx::ex2(warp_stats[w][head].x - max);
        sum += warp_stats[w][head].y * shrink;
        value += warp_o[(w * G + head) * D + d] * shrink;
      }
      if (is_whole) {
        const long long row = (long long)(b * Hkv + hk) * G + head;
        o[row * D + d] = (unsigned short)ptx::pack_bf16(value / sum, 0);
        if (d == 0) lse[row] = max * LN2 + logf(sum);
      } else {
        part[(entry * G + head) * D + d] = value;
        if (d == 0) stats[entry * G + head] = make_float2(max, sum);
      }
    }
    __syncthreads();  // the next run may fill the rings
    tile += count;
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

/// One block per row (b, h), one thread per channel: merges rows that were cut, and answers for empty sequences.
extern "C" __global__ void __launch_bounds__(D)
merge_cut(const float* __restrict__ part, const float2* __restrict__ stats, const int* __restrict__ offsets,
          unsigned short* __restrict__ o, float* __restrict__ lse, int B, int Hq, int Hkv, int blocks) {
  __shared__ int sums[2][D / 32];
  const long long row = blockIdx.x;
  const int d = threadIdx.x, b = (int)(row / Hq), h = (int)(row % Hq), G = Hq / Hkv, hk = h / G;
  int before = 0, all = 0;  // tiles of the sequences before b, and of all
  for (int i = d; i < B; i += D) {
    const int here = tiles_of(offsets, i);
    all += here;
    if (i < b) before += here;
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    before += __shfl_xor_sync(0xffffffffu, before, step);
    all += __shfl_xor_sync(0xffffffffu, all, step);
  }
  if (d % 32 == 0) sums[0][d / 32] = before, sums[1][d / 32] = all;
  __syncthreads();  // the sums of every warp are visible
  before = all = 0;
#pragma unroll
  for (int w = 0; w < D / 32; ++w) before += sums[0][w], all += sums[1][w];

  const int here = tiles_of(offsets, b);
  if (here == 0) {
    o[row * D + d] = 0;
    if (d == 0) lse[row] = -INFINITY;
    return;
  }
  const long long tiles = (long long)all * Hkv;
  const int first = before * Hkv + hk * here, last = first + here - 1;
  const auto owner = [&](int tile) {
    int c = (int)((long long)tile * blocks / tiles);
    while (run_begin(c, tiles, blocks) > tile) --c;
    while (run_begin(c + 1, tiles, blocks) <= tile) ++c;
    return c;
  };
  const int from = owner(first), to = owner(last);
  if (from == to) return;  // the block wrote the result itself
  const auto entry_of = [&](int c) {  // -1: a block without tiles
    const int run = run_begin(c, tiles, blocks);
    if (run == run_begin(c + 1, tiles, blocks)) return -1ll;
    return ((long long)c * 2 + (run >= first ? 0 : 1)) * G + h % G;
  };
  // A thread weighs a piece of the row, then sums a channel over all pieces: their loads do not wait for each other.
  __shared__ long long entries[D];
  __shared__ float weights[D];
  float max = LOWEST, sum = 0, value = 0;
  for (int c = from + d; c <= to; c += D) {
    const long long entry = entry_of(c);
    if (entry >= 0) max = fmaxf(max, stats[entry].x);
  }
  max = over_block(max, [](float x, float y) { return fmaxf(x, y); });
  for (int base = from; base <= to; base += D) {
    const long long entry = base + d <= to ? entry_of(base + d) : -1;
    const float2 piece = entry >= 0 ? stats[entry] : make_float2(LOWEST, 0);
    entries[d] = entry >= 0 ? entry : entry_of(from);  // a piece that is there, for a weight of zero
    weights[d] = entry >= 0 ? ptx::ex2(piece.x - max) : 0.0f;
    sum += piece.y * weights[d];
    __syncthreads();  // the weights are visible
    const int pieces = min(D, to + 1 - base);
#pragma unroll 8
    for (int i = 0; i < pieces; ++i) value += part[entries[i] * D + d] * weights[i];
    __syncthreads();  // nobody reads them any more
  }
  sum = over_block(sum, [](float x, float y) { return x + y; });
  o[row * D + d] = (unsigned short)ptx::pack_bf16(value / sum, 0);
  if (d == 0) lse[row] = max * LN2 + logf(sum);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int group = p.Hq / p.Hkv, bytes = kl::max(WARPS * STAGES * STAGE * 16, WARPS * group * D * 4);
  if (!plan.require(group <= 16, "more than 16 query heads to a key-value head")) return;
  if (!plan.require(p.B <= SEQUENCES_MAX, "more than 2048 sequences")) return;
  // Static shared memory, and what the device keeps of each block for itself.
  const int room = p.device.shared_bytes_max - (SEQUENCES_MAX + 1) * 4 - 2048;
  if (!plan.require(bytes <= room, "the rings exceed shared memory")) return;
  const int blocks = p.device.sms * kl::min(BLOCKS_PER_SM, kl::max(1, p.device.shared_bytes_max / (bytes + 11 * 1024)));

  const auto part = plan.workspace(kl::f32, (long long)blocks * 2 * group * D);
  const auto stats = plan.workspace(kl::f32, (long long)blocks * 2 * group * 2);
  plan.launch(group > 8 ? "ragged_decode<2>" : "ragged_decode<1>").grid(blocks).block(WARPS * 32).shared(bytes)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.offsets).arg(part).arg(stats).arg(p.o).arg(p.lse).arg(p.B).arg(p.Hkv).arg(group)
      .arg(p.scale * 1.44269504f);
  plan.launch("merge_cut").grid(p.B * p.Hq).block(D)
      .arg(part).arg(stats).arg(p.offsets).arg(p.o).arg(p.lse).arg(p.B).arg(p.Hq).arg(p.Hkv).arg(blocks);
}
