// SPDX-License-Identifier: Apache-2.0
// Decode over a bitmap-packed cache on tensor cores: q [B, Hq, 128] (bf16) over 64 * groups[b] packed tokens (bits, offsets,
// values; see the task) and window[b] dense ones k_win, v_win [B, W, Hkv, 128], with lse.
//
// Technique: a block takes one key-value head of one sequence over some tiles of 64 tokens, for all query heads of the
// group at once. The packed values of a tile are one stretch of memory, for keys and for values: 16-byte cp.async brings
// the next tile's while this one's are unpacked, a thread per word, into dense tiles in shared memory: keys channel after
// channel, as they are packed, values token after token. Each of four warps then attends to 16 tokens of it, which are the
// rows of mma.sync, query heads its eight columns. The window follows as further tiles. A second kernel merges the chunks.
//
// Ladder:
//   naive.cu     bits, offsets and values read once per query head, an element at a time
//   this file    values read once, in whole stretches, a tile ahead; tensor cores
//   left to do   unpacking by tables instead of bit by bit, which bounds this kernel; its own warps for it; TMA

// tune: BLOCKS_PER_SM = 2 | 1
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
static_assert(THREADS == D && THREADS == KEYS * 2, "a thread per word");

struct Shared {
  uint4 packed[2][2][TILE_VECTORS];            // [stage][keys, values]
  uint4 k[D * K_ROW];                          // [channel][token], swizzled
  uint4 v[KEYS * V_ROW];                       // [token][channel], swizzled
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

/// The warp's 16 keys of the tile; those from `keys` on do not count.
__device__ __forceinline__ void attend(State& state, const unsigned (&q)[D / 16][2], const Shared& shared, int keys,
                                       float scale_log2) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4;
  float s[4] = {};
#pragma unroll
  for (int c = 0; c < D / 16; ++c) {
    unsigned a[4];
    ptx::ldmatrix_x4_trans(a, shared.k + swizzled<K_ROW>(16 * c + lane % 8 + lane / 16 * 8, 2 * warp + lane / 8 % 2));
    ptx::mma_bf16(s, a, q[c][0], q[c][1]);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) s[i] = 16 * warp + g + i / 2 * 8 < keys ? s[i] * scale_log2 : -INFINITY;
  float shrink[2];
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
  const unsigned p0 = transposed(ptx::pack_bf16(s[0], s[1])), p1 = transposed(ptx::pack_bf16(s[2], s[3]));
#pragma unroll
  for (int c = 0; c < D / 16; ++c) {
#pragma unroll
    for (int i = 0; i < 4; ++i) state.o[c][i] *= shrink[i % 2];
    unsigned a[4];
    ptx::ldmatrix_x4_trans(a, shared.v + swizzled<V_ROW>(16 * warp + lane % 8 + lane / 16 * 8, 2 * c + lane / 8 % 2));
    ptx::mma_bf16(state.o[c], a, p0, p1);
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
  k_bits += head * C * D + tid;
  v_bits += head * C * D + tid;
  k_off += head * (C * D + 1);
  v_off += head * (C * D + 1);
  k_val += head * C * TILE_VECTORS;
  v_val += head * C * TILE_VECTORS;

  const auto fetch = [&](int tile) {  // the packed values of a group; nothing of the window
    if (tile >= min(end, packed)) return;
    const int k_from = k_off[tile * D], k_to = k_off[tile * D + D], v_from = v_off[tile * D], v_to = v_off[tile * D + D];
    uint4* const keys = shared.packed[tile % 2][0];
    uint4* const values = shared.packed[tile % 2][1];
    for (int i = tid; i < k_to - k_from; i += THREADS) ptx::cp_async_16(keys + i, k_val + k_from + i);
    for (int i = tid; i < v_to - v_from; i += THREADS) ptx::cp_async_16(values + i, v_val + v_from + i);
  };
  fetch(begin);
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
    ptx::cp_async_wait<0>();
    __syncthreads();  // the tile's values are there; nobody reads the dense tiles or the other stage any more
    fetch(tile + 1);
    ptx::cp_async_commit();
    const int token = tid / 2, half = tid % 2;
    const int keys = tile < packed ? KEYS : min(dense - (tile - packed) * KEYS, KEYS);
    const auto put_key = [&](int i, const uint4& vector) { shared.k[swizzled<K_ROW>(tid, i)] = vector; };
    const auto put_value = [&](int i, const uint4& vector) { shared.v[swizzled<V_ROW>(token, half * 8 + i)] = vector; };
    if (tile < packed) {
      const auto* const k_packed = reinterpret_cast<const unsigned short*>(shared.packed[tile % 2][0]);
      const auto* const v_packed = reinterpret_cast<const unsigned short*>(shared.packed[tile % 2][1]);
      unpack(k_bits[(long long)tile * D], k_packed + 8 * (k_off[tile * D + tid] - k_off[tile * D]), put_key);
      unpack(v_bits[(long long)tile * D], v_packed + 8 * (v_off[tile * D + tid] - v_off[tile * D]), put_value);
    } else {
      const long long first = (long long)b * W + (tile - packed) * KEYS;
      for (int i = 0; i < 8; ++i) {
        unsigned pairs[4];
        for (int j = 0; j < 4; ++j) {
          const int at = 8 * i + 2 * j;
          const unsigned low = at < keys ? k_win[((first + at) * Hkv + hk) * D + tid] : 0;
          const unsigned high = at + 1 < keys ? k_win[((first + at + 1) * Hkv + hk) * D + tid] : 0;
          pairs[j] = low | high << 16;
        }
        put_key(i, make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]));
        put_value(i, token < keys ? v_win[((first + token) * Hkv + hk) * V_ROW + half * 8 + i] : make_uint4(0, 0, 0, 0));
      }
    }
    __syncthreads();  // the dense tiles are complete
    attend(state, q_lane, shared, keys, scale_log2);
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

/// One block per row (b, h), one thread per channel: merges the chunks that hold keys.
extern "C" __global__ void __launch_bounds__(D)
combine(const float* __restrict__ part, const float2* __restrict__ stats, const int* __restrict__ groups,
        const int* __restrict__ window, unsigned short* __restrict__ o, float* __restrict__ lse, int Hq, int splits, int chunk) {
  const long long row = blockIdx.x;
  const int d = threadIdx.x, tiles = tiles_of(groups[row / Hq], window[row / Hq]), used = (tiles + chunk - 1) / chunk;
  part += row * splits * D;
  stats += row * splits;
  float max = LOWEST, sum = 0, value = 0;
  for (int split = 0; split < used; ++split) max = fmaxf(max, stats[split].x);
  for (int split = 0; split < used; ++split) {
    const float shrink = ptx::ex2(stats[split].x - max);
    sum += stats[split].y * shrink;
    value += part[split * D + d] * shrink;
  }
  o[row * D + d] = (unsigned short)ptx::pack_bf16(tiles > 0 ? value / sum : 0.0f, 0);
  if (d == 0) lse[row] = tiles > 0 ? max * LN2 + logf(sum) : -INFINITY;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int group = p.Hq / p.Hkv, tiles = p.C + kl::cdiv(p.W, KEYS);
  if (!plan.require(group <= 8, "more than 8 query heads to a key-value head")) return;
  if (!plan.require((int)sizeof(Shared) <= p.device.shared_bytes_max, "a tile exceeds shared memory")) return;
  // About three waves of blocks, so that uneven sequences even out.
  const long long wanted = kl::cdiv(3ll * p.device.sms * BLOCKS_PER_SM, (long long)p.B * p.Hkv);
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
