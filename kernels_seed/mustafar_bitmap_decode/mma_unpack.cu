// SPDX-License-Identifier: Apache-2.0
// Decode over a bitmap-packed cache on tensor cores: q [B, Hq, 128] (bf16) over 64 * groups[b] packed tokens (bits, offsets,
// values; see the task) and window[b] dense ones k_win, v_win [B, W, Hkv, 128], with lse.
//
// Technique: a block takes one key-value head of one sequence over some tiles of 64 tokens, for all query heads of the
// group at once. The packed values of a tile are one stretch of memory, for keys and for values: 16-byte cp.async brings
// the next tile's as soon as this one's are unpacked, a thread per word, into one dense tile in shared memory: first keys,
// channel after channel, as they are packed, then values, token after token. Each of four warps attends to 16 tokens of it,
// which are the rows of mma.sync, query heads its eight columns. Bits and offsets are loaded a tile ahead. The window
// follows as further tiles. A second kernel merges the chunks.
//
// Ladder:
//   naive.cu     bits, offsets and values read once per query head, an element at a time
//   two stages of packed values, dense keys beside dense values: two blocks a multiprocessor, 0.8 to 1.1 TB/s on an H100
//   this file    values read once, in whole stretches; one stage and one dense tile, so that four blocks hide each other's
//                waits; offsets known before they are needed; chunks merged in parallel: 1.3 to 2.0 TB/s
//   left to do   unpacking by tables instead of bit by bit, which bounds this kernel; its own warps for it; TMA

// tune: BLOCKS_PER_SM = 4 | 3 | 2
// tune: TILES_MIN = 4 | 2 | 8

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int D = Problem::D;
constexpr int WARPS = 4, THREADS = WARPS * 32;
constexpr int KEYS = 64;                       // of a tile
constexpr int K_ROW = KEYS / 8, V_ROW = D / 8;  // 16-byte vectors of a channel's keys, of a token's values
constexpr int TILE_VECTORS = KEYS * D / 8;     // of a tile without any pruning
constexpr int SPLITS_MAX = 128;
constexpr float LOWEST = -1e30f;               // finite, so that the difference of two maxima is never NaN
constexpr float LN2 = 0.69314718f;
static_assert(THREADS == D && THREADS == KEYS * 2 && SPLITS_MAX <= D, "a thread per word, and per chunk");

struct Shared {
  uint4 packed[2][TILE_VECTORS];               // keys, values
  uint4 dense[TILE_VECTORS];                   // keys [channel][token], then values [token][channel], swizzled
};

/// The 8 x 8 matrix of 16-bit elements whose rows the lanes hold in fours, transposed (9.7.14.5.17).
__device__ __forceinline__ unsigned transposed(unsigned pair) {
  unsigned result;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(pair));
  return result;
}

/// Vector `chunk` of row `row`: swizzled, so that the same vector of eight rows lies in eight banks.
template <int WIDTH>
__device__ __forceinline__ int swizzled(int row, int chunk) { return row * WIDTH + (chunk ^ (row & 7)); }

/// Calls put(i, vector) for the eight vectors of a word's 64 elements.
template <typename Put>
__device__ __forceinline__ void unpack(unsigned long long bits, const unsigned short* values, Put put) {
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    unsigned pairs[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      unsigned low = 0, high = 0;
      if (bits >> (8 * i + 2 * j) & 1) low = *values++;
      if (bits >> (8 * i + 2 * j + 1) & 1) high = *values++;
      pairs[j] = low | high << 16;
    }
    put(i, make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]));
  }
}

/// Online softmax of eight query heads over the keys of one warp, in base-2 units. With g = lane / 4, t = lane % 4 a lane
/// holds heads 2t and 2t + 1, and of those channels 16c + g and 16c + g + 8.
struct State {
  float max[2], sum[2], o[D / 16][4];
};

/// Packed keys or values as one thread reads them: a word of every tile, with its place in the tile's stretch of vectors.
struct Packed {
  const unsigned long long* bits;  // this thread's of the first tile
  const int* offsets;              // all of them
  const uint4* vectors;
  unsigned long long word;         // of the tile at hand
  int place, from, to, after;      // the word's first vector, the tile's, the next tile's, that of the one after it

  /// Brings the stretch of `tile`, whose bounds are known, and loads its word and the bound after it; nothing from `last` on.
  __device__ __forceinline__ void fetch(int tile, int last, uint4* stage) {
    if (tile >= last) return;
    for (int i = threadIdx.x; i < to - from; i += THREADS) ptx::cp_async_16(stage + i, vectors + from + i);
    word = bits[(long long)tile * D];
    place = offsets[tile * D + threadIdx.x];
    if (tile + 1 < last) after = offsets[(tile + 2) * D];
  }
  __device__ __forceinline__ void start(int tile, int last, uint4* stage) {
    if (tile >= last) return;
    from = offsets[tile * D];
    to = offsets[(tile + 1) * D];
    fetch(tile, last, stage);
  }
  __device__ __forceinline__ void advance(int tile, int last, uint4* stage) {
    from = to;
    to = after;
    fetch(tile, last, stage);
  }
  /// Where this thread's values begin in the stage.
  __device__ __forceinline__ const unsigned short* values(const uint4* stage) const {
    return reinterpret_cast<const unsigned short*>(stage + (place - from));
  }
};

/// Probabilities of the warp's 16 keys of the tile as operands; those from `keys` on do not count.
__device__ __forceinline__ void score(State& state, unsigned (&p)[2], float (&shrink)[2], const unsigned (&q)[D / 16][2],
                                      const uint4* dense, int keys, float scale_log2) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4;
  float s[4] = {};
#pragma unroll
  for (int c = 0; c < D / 16; ++c) {
    unsigned a[4];
    ptx::ldmatrix_x4_trans(a, dense + swizzled<K_ROW>(16 * c + lane % 8 + lane / 16 * 8, 2 * warp + lane / 8 % 2));
    ptx::mma_bf16(s, a, q[c][0], q[c][1]);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) s[i] = 16 * warp + g + i / 2 * 8 < keys ? s[i] * scale_log2 : -INFINITY;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    float next = fmaxf(s[i], s[2 + i]);
#pragma unroll
    for (int step = 4; step < 32; step *= 2) next = fmaxf(next, __shfl_xor_sync(0xffffffffu, next, step));
    next = fmaxf(next, state.max[i]);
    shrink[i] = ptx::ex2(state.max[i] - next);
    state.max[i] = next;
    s[i] = ptx::ex2(s[i] - next);
    s[2 + i] = ptx::ex2(s[2 + i] - next);
    state.sum[i] = state.sum[i] * shrink[i] + s[i] + s[2 + i];
  }
  p[0] = transposed(ptx::pack_bf16(s[0], s[1]));
  p[1] = transposed(ptx::pack_bf16(s[2], s[3]));
}

/// Adds the values of the warp's 16 keys.
__device__ __forceinline__ void add_values(State& state, const unsigned (&p)[2], const float (&shrink)[2], const uint4* dense) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
  for (int c = 0; c < D / 16; ++c) {
#pragma unroll
    for (int i = 0; i < 4; ++i) state.o[c][i] *= shrink[i % 2];
    unsigned a[4];
    ptx::ldmatrix_x4_trans(a, dense + swizzled<V_ROW>(16 * warp + lane % 8 + lane / 16 * 8, 2 * c + lane / 8 % 2));
    ptx::mma_bf16(state.o[c], a, p[0], p[1]);
  }
}

/// Tiles of a sequence: its groups, then its window.
__device__ __forceinline__ int tiles_of(int groups, int window) { return groups + (window + KEYS - 1) / KEYS; }

/// Writes part [B, Hq, splits, D] (not divided by the sum) and stats [B, Hq, splits] = (maximum, sum).
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM)
bitmap_decode(const unsigned* __restrict__ q, const unsigned long long* __restrict__ k_bits,
              const unsigned long long* __restrict__ v_bits, const int* __restrict__ k_off, const int* __restrict__ v_off,
              const uint4* __restrict__ k_val, const uint4* __restrict__ v_val, const unsigned short* __restrict__ k_win,
              const uint4* __restrict__ v_win, const int* __restrict__ groups, const int* __restrict__ window,
              float* __restrict__ part, float2* __restrict__ stats, int C, int W, int G, int chunk, float scale_log2) {
  extern __shared__ __align__(16) unsigned char raw[];
  Shared& shared = *reinterpret_cast<Shared*>(raw);
  __shared__ float2 warp_stats[WARPS][8];
  const int hk = blockIdx.x, Hkv = gridDim.x, split = blockIdx.y, splits = gridDim.y, b = blockIdx.z;
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4, t = lane % 4;
  const int packed = groups[b], dense = window[b];
  const int begin = split * chunk, end = min(begin + chunk, tiles_of(packed, dense));
  if (begin >= end) return;
  const long long head = (long long)b * Hkv + hk;
  const int last = min(end, packed);
  Packed keys = {k_bits + head * C * D + tid, k_off + head * (C * D + 1), k_val + head * C * TILE_VECTORS};
  Packed values = {v_bits + head * C * D + tid, v_off + head * (C * D + 1), v_val + head * C * TILE_VECTORS};
  keys.start(begin, last, shared.packed[0]);
  ptx::cp_async_commit();
  values.start(begin, last, shared.packed[1]);
  ptx::cp_async_commit();

  unsigned q_lane[D / 16][2];
  const bool is_head = g < G;
  const unsigned* const query = q + (head * G + (is_head ? g : 0)) * (D / 2);
#pragma unroll
  for (int c = 0; c < D / 16; ++c) {
    q_lane[c][0] = is_head ? query[8 * c + t] : 0;
    q_lane[c][1] = is_head ? query[8 * c + 4 + t] : 0;
  }
  State state = {{LOWEST, LOWEST}, {0, 0}, {}};
  for (int tile = begin; tile < end; ++tile) {
    const int token = tid / 2, half = tid % 2;
    const int count = tile < packed ? KEYS : min(dense - (tile - packed) * KEYS, KEYS);
    const long long first = (long long)b * W + (tile - packed) * KEYS;  // in the window
    const auto put_key = [&](int i, const uint4& vector) { shared.dense[swizzled<K_ROW>(tid, i)] = vector; };
    const auto put_value = [&](int i, const uint4& vector) { shared.dense[swizzled<V_ROW>(token, half * 8 + i)] = vector; };
    ptx::cp_async_wait<1>();  // the keys, older than the values
    __syncthreads();          // they are there; nobody reads the last tile's values any more
    if (tile < packed) {
      unpack(keys.word, keys.values(shared.packed[0]), put_key);
    } else {
      for (int i = 0; i < 8; ++i) {
        unsigned pairs[4];
        for (int j = 0; j < 4; ++j) {
          const int at = 8 * i + 2 * j;
          const unsigned low = at < count ? k_win[((first + at) * Hkv + hk) * D + tid] : 0;
          const unsigned high = at + 1 < count ? k_win[((first + at + 1) * Hkv + hk) * D + tid] : 0;
          pairs[j] = low | high << 16;
        }
        put_key(i, make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]));
      }
    }
    __syncthreads();  // the dense keys are complete, the packed ones read
    keys.advance(tile + 1, last, shared.packed[0]);
    ptx::cp_async_commit();
    unsigned p[2];
    float shrink[2];
    score(state, p, shrink, q_lane, shared.dense, count, scale_log2);

    ptx::cp_async_wait<1>();  // the values, older than the next keys
    __syncthreads();          // they are there; nobody reads the dense keys any more
    if (tile < packed) {
      unpack(values.word, values.values(shared.packed[1]), put_value);
    } else {
      for (int i = 0; i < 8; ++i) {
        put_value(i, token < count ? v_win[((first + token) * Hkv + hk) * V_ROW + half * 8 + i] : make_uint4(0, 0, 0, 0));
      }
    }
    __syncthreads();  // the dense values are complete, the packed ones read
    values.advance(tile + 1, last, shared.packed[1]);
    ptx::cp_async_commit();
    add_values(state, p, shrink, shared.dense);
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int step = 4; step < 32; step *= 2) state.sum[i] += __shfl_xor_sync(0xffffffffu, state.sum[i], step);
  }

  // Merge the warps: [WARPS][G][D] of floats take the place of the packed values.
  float* const warp_o = reinterpret_cast<float*>(raw);
  ptx::cp_async_wait<0>();
  __syncthreads();  // nobody reads packed values any more
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (2 * t + i >= G) continue;
    if (g == 0) warp_stats[warp][2 * t + i] = make_float2(state.max[i], state.sum[i]);
#pragma unroll
    for (int c = 0; c < D / 16; ++c) {
      warp_o[(warp * G + 2 * t + i) * D + 16 * c + g] = state.o[c][i];
      warp_o[(warp * G + 2 * t + i) * D + 16 * c + g + 8] = state.o[c][2 + i];
    }
  }
  __syncthreads();  // every warp's output and statistics are visible
  for (int i = tid; i < G * D; i += THREADS) {
    const int in_group = i / D, d = i % D;
    float max = LOWEST, sum = 0, value = 0;
    for (int w = 0; w < WARPS; ++w) max = fmaxf(max, warp_stats[w][in_group].x);
    for (int w = 0; w < WARPS; ++w) {
      const float shrink = ptx::ex2(warp_stats[w][in_group].x - max);
      sum += warp_stats[w][in_group].y * shrink;
      value += warp_o[(w * G + in_group) * D + d] * shrink;
    }
    const long long row = (head * G + in_group) * splits + split;
    part[row * D + d] = value;
    if (d == 0) stats[row] = make_float2(max, sum);
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
combine(const float* __restrict__ part, const float2* __restrict__ stats, const int* __restrict__ groups,
        const int* __restrict__ window, unsigned short* __restrict__ o, float* __restrict__ lse, int Hq, int splits, int chunk) {
  const long long row = blockIdx.x;
  const int d = threadIdx.x, tiles = tiles_of(groups[row / Hq], window[row / Hq]), used = (tiles + chunk - 1) / chunk;
  part += row * splits * D;
  stats += row * splits;
  // A thread weighs a chunk, then sums a channel over all chunks: their loads do not wait for each other.
  __shared__ float weights[SPLITS_MAX];
  const float2 piece = d < used ? stats[d] : make_float2(LOWEST, 0);
  const float max = over_block(piece.x, [](float x, float y) { return fmaxf(x, y); });
  weights[d] = d < used ? ptx::ex2(piece.x - max) : 0.0f;
  const float sum = over_block(piece.y * weights[d], [](float x, float y) { return x + y; });  // the weights are visible
  float value = 0;
#pragma unroll 8
  for (int split = 0; split < used; ++split) value += part[split * D + d] * weights[split];
  o[row * D + d] = (unsigned short)ptx::pack_bf16(tiles > 0 ? value / sum : 0.0f, 0);
  if (d == 0) lse[row] = tiles > 0 ? max * LN2 + logf(sum) : -INFINITY;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int group = p.Hq / p.Hkv, tiles = p.C + kl::cdiv(p.W, KEYS);
  if (!plan.require(group <= 8, "more than 8 query heads to a key-value head")) return;
  if (!plan.require((int)sizeof(Shared) <= p.device.shared_bytes_max, "a tile exceeds shared memory")) return;
  // Up to three waves of blocks, so that uneven sequences even out, and no fourth one of a few.
  const long long wanted = 3ll * p.device.sms * BLOCKS_PER_SM / ((long long)p.B * p.Hkv);
  const int chunk = kl::cdiv(tiles, (int)kl::clamp(wanted, 1ll, (long long)kl::clamp(tiles / TILES_MIN, 1, SPLITS_MAX)));
  const int splits = kl::cdiv(tiles, chunk);
  const auto part = plan.workspace(kl::f32, (long long)p.B * p.Hq * splits * D);
  const auto stats = plan.workspace(kl::f32, (long long)p.B * p.Hq * splits * 2);
  plan.launch("bitmap_decode").grid(p.Hkv, splits, p.B).block(THREADS).shared(sizeof(Shared))
      .arg(p.q).arg(p.k_bits).arg(p.v_bits).arg(p.k_off).arg(p.v_off).arg(p.k_val).arg(p.v_val).arg(p.k_win).arg(p.v_win)
      .arg(p.groups).arg(p.window).arg(part).arg(stats).arg(p.C).arg(p.W).arg(group).arg(chunk).arg(p.scale * 1.44269504f);
  plan.launch("combine").grid(p.B * p.Hq).block(D)
      .arg(part).arg(stats).arg(p.groups).arg(p.window).arg(p.o).arg(p.lse).arg(p.Hq).arg(splits).arg(chunk);
}
