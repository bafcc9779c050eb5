// SPDX-License-Identifier: Apache-2.0
// Causal attention over packed sequences on mma.sync: q [T, Hq, D] over k, v [T, Hkv, D] (bf16), cu_seqlens [B + 1],
// with lse [T, Hq].
//
// Technique (FlashAttention-2): a block takes WARPS x 16 queries of one sequence and head and walks the keys in tiles of
// KEYS, boundary tiles first. No tile holds queries of two sequences: the grid has room for one partial tile of every
// sequence, and each block finds its sequence by a warp-wide running sum over the lengths. A warp keeps its 16 queries
// as A operands, its scores and its output in registers; the probabilities of one product are the A operand of the
// next. Keys and values arrive by cp.async, the next tile's keys while the current values are used and the other way
// round; their rows are stored with 16-byte chunks exchanged by row, so that ldmatrix meets no bank conflict.
//
// Ladder:
//   naive.cu    one warp per query, scalar products
//   this file   tensor cores by mma.sync, tiles shared by the queries of a block; runs from sm_80 on

// tune: WARPS = 4 | 8
// tune: KEYS = 64 | 32

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int QUERIES = WARPS * 16;
constexpr float LOWEST = -1e30f;  // finite, so that the difference of two maxima is never NaN

/// Rows of D / 8 chunks of 16 bytes.
template <int D>
struct Shared {
  uint4 q[QUERIES][D / 8], k[KEYS][D / 8], v[KEYS][D / 8];
};

/// Where chunk `chunk` of row `row` lies: eight neighbouring rows hold a chunk in eight different places.
__device__ __forceinline__ int place(int row, int chunk) { return chunk ^ (row & 7); }

/// Copies `rows` rows, `stride` elements apart; rows from `valid` on become zero.
template <int rows, int CHUNKS>
__device__ __forceinline__ void load_tile(uint4 (&to)[rows][CHUNKS], const unsigned short* from, long long stride, int valid) {
#pragma unroll
  for (int i = threadIdx.x; i < rows * CHUNKS; i += WARPS * 32) {
    const int row = i / CHUNKS, chunk = i % CHUNKS;
    const bool is_valid = row < valid;
    ptx::cp_async_16(&to[row][place(row, chunk)], from + (is_valid ? row * stride + chunk * 8 : 0), is_valid);
  }
}

/// Scores of the warp's 16 queries against a tile of keys: s[n] are keys 8n to 8n + 7.
template <int D>
__device__ __forceinline__ void multiply_keys(float (&s)[KEYS / 8][4], const unsigned (&q)[D / 16][4],
                                              const uint4 (&k)[KEYS][D / 8], int lane) {
#pragma unroll
  for (int n = 0; n < KEYS / 8; ++n) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
#pragma unroll
    for (int pair = 0; pair < KEYS / 16; ++pair) {
      const int row = pair * 16 + (lane & 7) + (lane >> 4) * 8, chunk = step * 2 + ((lane >> 3) & 1);
      unsigned b[4];
      ptx::ldmatrix_x4(b, &k[row][place(row, chunk)]);
      ptx::mma_bf16(s[pair * 2], q[step], b[0], b[1]);
      ptx::mma_bf16(s[pair * 2 + 1], q[step], b[2], b[3]);
    }
  }
}

/// Adds the probabilities of a tile times its values to o[c], channels 8c to 8c + 7.
template <int D>
__device__ __forceinline__ void multiply_values(float (&o)[D / 8][4], const float (&p)[KEYS / 8][4],
                                                const uint4 (&v)[KEYS][D / 8], int lane) {
#pragma unroll
  for (int step = 0; step < KEYS / 16; ++step) {
    const unsigned a[4] = {
        ptx::pack_bf16(p[step * 2][0], p[step * 2][1]), ptx::pack_bf16(p[step * 2][2], p[step * 2][3]),
        ptx::pack_bf16(p[step * 2 + 1][0], p[step * 2 + 1][1]), ptx::pack_bf16(p[step * 2 + 1][2], p[step * 2 + 1][3])};
#pragma unroll
    for (int pair = 0; pair < D / 16; ++pair) {
      const int row = step * 16 + (lane & 15), chunk = pair * 2 + (lane >> 4);
      unsigned b[4];
      ptx::ldmatrix_x4_trans(b, &v[row][place(row, chunk)]);
      ptx::mma_bf16(o[pair * 2], a, b[0], b[1]);
      ptx::mma_bf16(o[pair * 2 + 1], a, b[2], b[3]);
    }
  }
}

/// Turns scores into probabilities under the running maximum, in base-2 units, and brings sum and output to it.
/// `limit` counts the tile's keys that query lane / 4 sees; the other query of the lane, eight further, sees eight more.
template <bool is_masked, int D>
__device__ __forceinline__ void softmax(float (&s)[KEYS / 8][4], float (&max)[2], float (&sum)[2],
                                        float (&o)[D / 8][4], float scale, int lane, int limit, int keys) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float top = max[half];
#pragma unroll
    for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& score = s[n][half * 2 + e];
        const int key = n * 8 + (lane & 3) * 2 + e;
        if (is_masked && (key >= limit + half * 8 || key >= keys)) score = -INFINITY;
        top = fmaxf(top, score);
      }
    }
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
    const float shrink = ptx::ex2((max[half] - top) * scale), offset = top * scale;
    max[half] = top;
    sum[half] *= shrink;
#pragma unroll
    for (int c = 0; c < D / 8; ++c) {
      o[c][half * 2] *= shrink;
      o[c][half * 2 + 1] *= shrink;
    }
#pragma unroll
    for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& score = s[n][half * 2 + e];
        score = ptx::ex2(fmaf(score, scale, -offset));
        sum[half] += score;
      }
    }
  }
}

/// Tile number `tile` in the order of the sequences.
struct Place {
  int begin, length, first;  // of the sequence in T, its tokens, the tile's first query in it
  bool is_tile;              // false beyond the last tile
};

/// All lanes of the warp get it. The tiles of a sequence come from its end: they have the most keys and start first.
__device__ __forceinline__ Place find_place(const int* __restrict__ cu_seqlens, int B, int tile, int lane) {
  int before = 0;
  for (int at = 0; at < B; at += 32) {
    const int b = at + lane, begin = cu_seqlens[min(b, B)], length = cu_seqlens[min(b + 1, B)] - begin;
    const int tiles = (length + QUERIES - 1) / QUERIES;
    int upto = tiles;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const int other = __shfl_up_sync(0xffffffffu, upto, step);
      if (lane >= step) upto += other;
    }
    const unsigned ahead = __ballot_sync(0xffffffffu, tile < before + upto);
    if (ahead != 0) {
      const int owner = __ffs(ahead) - 1, last = __shfl_sync(0xffffffffu, before + upto, owner) - 1;
      return {__shfl_sync(0xffffffffu, begin, owner), __shfl_sync(0xffffffffu, length, owner), (last - tile) * QUERIES,
              true};
    }
    before += __shfl_sync(0xffffffffu, upto, 31);
  }
  return {0, 0, 0, false};
}

template <int D>
__global__ void __launch_bounds__(WARPS * 32)
varlen_mma(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
           const unsigned short* __restrict__ v, const int* __restrict__ cu_seqlens, unsigned short* __restrict__ o,
           float* __restrict__ lse, int B, int Hq, int Hkv, float scale_log2) {
  extern __shared__ __align__(128) unsigned char memory[];
  Shared<D>& shared = *reinterpret_cast<Shared<D>*>(memory);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const Place place_of = find_place(cu_seqlens, B, blockIdx.x, lane);
  if (!place_of.is_tile) return;  // the whole block
  const int first = place_of.first, length = place_of.length, h = blockIdx.y, hk = h / (Hq / Hkv);
  const long long begin = place_of.begin, q_stride = (long long)Hq * D, k_stride = (long long)Hkv * D;
  const int tiles = (min(length, first + QUERIES) + KEYS - 1) / KEYS;
  const unsigned short* const k_head = k + (begin * Hkv + hk) * D;
  const unsigned short* const v_head = v + (begin * Hkv + hk) * D;

  load_tile(shared.q, q + ((begin + first) * Hq + h) * D, q_stride, length - first);
  load_tile(shared.k, k_head + (tiles - 1) * KEYS * k_stride, k_stride, length - (tiles - 1) * KEYS);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  __syncthreads();  // queries and the first keys are here

  unsigned a[D / 16][4];
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
    const int row = warp * 16 + (lane & 15);
    ptx::ldmatrix_x4(a[step], &shared.q[row][place(row, step * 2 + (lane >> 4))]);
  }
  float s[KEYS / 8][4], acc[D / 8][4] = {}, max[2] = {LOWEST, LOWEST}, sum[2] = {0, 0};
  const int query = first + warp * 16 + lane / 4;  // and the one eight further
  for (int tile = tiles - 1; tile >= 0; --tile) {
    const int at = tile * KEYS;
    load_tile(shared.v, v_head + at * k_stride, k_stride, length - at);
    ptx::cp_async_commit();
    multiply_keys<D>(s, a, shared.k, lane);
    if (at + KEYS > length || at + KEYS > first + 1) {
      softmax<true, D>(s, max, sum, acc, scale_log2, lane, query + 1 - at, length - at);
    } else {
      softmax<false, D>(s, max, sum, acc, scale_log2, lane, 0, 0);
    }
    ptx::cp_async_wait<0>();
    __syncthreads();  // the values are here, and nobody reads the keys any more
    if (tile > 0) load_tile(shared.k, k_head + (at - KEYS) * k_stride, k_stride, KEYS);
    ptx::cp_async_commit();
    multiply_values<D>(acc, s, shared.v, lane);
    ptx::cp_async_wait<0>();
    __syncthreads();  // the next keys are here, and nobody reads the values any more
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float total = sum[half] + __shfl_xor_sync(0xffffffffu, sum[half], 1);
    total += __shfl_xor_sync(0xffffffffu, total, 2);
    const int i = query + half * 8;
    if (i >= length) continue;
    const float inverse = 1.0f / total;
    const long long row = (begin + i) * Hq + h;
#pragma unroll
    for (int c = 0; c < D / 8; ++c) {
      const unsigned pair = ptx::pack_bf16(acc[c][half * 2] * inverse, acc[c][half * 2 + 1] * inverse);
      *reinterpret_cast<unsigned*>(o + row * D + c * 8 + (lane & 3) * 2) = pair;
    }
    if ((lane & 3) == 0) lse[row] = max[half] * scale_log2 * 0.69314718056f + logf(total);
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 64 || p.D == 128, "D must be 64 or 128")) return;
  // Each sequence can have one partial tile, but none is shorter than one token.
  const long long tiles = p.T / QUERIES + kl::min<long long>(p.B, p.T);
  plan.launch(p.D == 64 ? "varlen_mma<64>" : "varlen_mma<128>")
      .grid(tiles, p.Hq).block(WARPS * 32).shared(p.D == 64 ? sizeof(Shared<64>) : sizeof(Shared<128>))
      .arg(p.q).arg(p.k).arg(p.v).arg(p.cu_seqlens).arg(p.o).arg(p.lse).arg(p.B).arg(p.Hq).arg(p.Hkv)
      .arg(p.scale * 1.44269504f);
}
