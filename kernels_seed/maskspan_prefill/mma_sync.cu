// SPDX-License-Identifier: Apache-2.0
// Attention with column-span masks on mma.sync: q [B, S, Hq, D] over k, v [B, S, Hkv, D] (bf16), spans [B, S, 4], with
// lse [B, S, Hq].
//
// Technique (FlashMask on FlashAttention-2): a first kernel reduces the spans of every tile of KEYS keys to their least
// and largest values. From these a block of WARPS x 16 queries knows which tiles are hidden from all of its queries,
// and skips them, and which are hidden from none, and takes them without looking at a mask; 32 tiles are judged at
// once, one by each lane. Only the tiles that remain read their spans, key by key, from shared memory. The products
// are those of gqa_prefill_causal/mma_sync.cu: operands in registers, cp.async, exchanged 16-byte chunks.
//
// Ladder:
//   naive.cu    one warp per query, scalar products, every span read by every query
//   this file   tensor cores by mma.sync, hidden tiles skipped, clear tiles unmasked; runs from sm_80 on

// tune: WARPS = 4 | 8
// tune: KEYS = 64 | 32

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int QUERIES = WARPS * 16;
constexpr float LOWEST = -1e30f;  // finite, so that the difference of two maxima is never NaN

/// Rows of D / 8 chunks of 16 bytes, and the spans of the tile of keys.
template <int D>
struct Shared {
  uint4 q[QUERIES][D / 8], k[KEYS][D / 8], v[KEYS][D / 8];
  int4 spans[KEYS];
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

/// Turns scores into probabilities under the running maximum, in base-2 units, and brings sum and output to it. Hidden
/// keys have the score -infinity; queries that have seen no key so far keep the maximum LOWEST and the sum 0.
template <int D>
__device__ __forceinline__ void softmax(float (&s)[KEYS / 8][4], float (&max)[2], float (&sum)[2], float (&o)[D / 8][4],
                                        float scale) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float top = max[half];
#pragma unroll
    for (int n = 0; n < KEYS / 8; ++n) top = fmaxf(top, fmaxf(s[n][half * 2], s[n][half * 2 + 1]));
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

/// Least and largest spans of a tile.
struct Extent {
  int4 least, largest;
};

extern "C" __global__ void __launch_bounds__(KEYS)
reduce_spans(const int4* __restrict__ spans, Extent* __restrict__ extents, int S) {
  __shared__ int4 least[KEYS], largest[KEYS];
  const int tid = threadIdx.x, j = min((int)blockIdx.x * KEYS + tid, S - 1);  // the last key again, where there is none
  least[tid] = largest[tid] = spans[(long long)blockIdx.y * S + j];
  __syncthreads();  // all spans are here
  for (int step = KEYS / 2; step > 0; step /= 2) {
    if (tid < step) {
      const int4 a = least[tid], b = least[tid + step], c = largest[tid], d = largest[tid + step];
      least[tid] = {min(a.x, b.x), min(a.y, b.y), min(a.z, b.z), min(a.w, b.w)};
      largest[tid] = {max(c.x, d.x), max(c.y, d.y), max(c.z, d.z), max(c.w, d.w)};
    }
    __syncthreads();  // the halves are joined
  }
  if (tid == 0) extents[(long long)blockIdx.y * gridDim.x + blockIdx.x] = {least[0], largest[0]};
}

/// Walks the tiles that some query of `first` to `end - 1` may see, in ascending order.
struct Walk {
  const Extent* extents;
  int tiles, first, end, S, lane;
  int next_group = 0, base = 0;
  unsigned seen = 0, masked = 0;  // of the tiles from `base` on; `masked`: some pair is hidden
  bool is_masked = false;         // the tile that `next` gave

  /// The next tile, or -1. All lanes agree.
  __device__ __forceinline__ int next() {
    while (seen == 0) {
      if (next_group >= tiles) return -1;
      base = next_group;
      next_group += 32;
      bool is_seen = false, has_hidden = false;
      if (base + lane < tiles) {
        const int4 least = extents[base + lane].least, largest = extents[base + lane].largest;
        is_seen = !(largest.x <= first && end <= least.y) && !(largest.z <= first && end <= least.w);
        has_hidden = (least.x < end && first < largest.y) || (least.z < end && first < largest.w) ||
                     (base + lane + 1) * KEYS > S;
      }
      seen = __ballot_sync(0xffffffffu, is_seen);
      masked = __ballot_sync(0xffffffffu, has_hidden);
    }
    const int bit = __ffs(seen) - 1;
    seen &= seen - 1;
    is_masked = masked >> bit & 1;
    return base + bit;
  }
};

__device__ __forceinline__ bool is_hidden(const int4& span, int i) {
  return (span.x <= i && i < span.y) || (span.z <= i && i < span.w);
}

template <int D>
__global__ void __launch_bounds__(WARPS * 32, 8 / WARPS)
maskspan_mma(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
             const unsigned short* __restrict__ v, const int4* __restrict__ spans, const Extent* __restrict__ extents,
             unsigned short* __restrict__ o, float* __restrict__ lse, int S, int Hq, int Hkv, float scale_log2) {
  extern __shared__ __align__(128) unsigned char memory[];
  Shared<D>& shared = *reinterpret_cast<Shared<D>*>(memory);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  // Under most masks the last queries have the most keys: they start first.
  const int first = (gridDim.x - 1 - blockIdx.x) * QUERIES, h = blockIdx.y, hk = h / (Hq / Hkv);
  const long long b = blockIdx.z, q_stride = (long long)Hq * D, k_stride = (long long)Hkv * D;
  const unsigned short* const k_head = k + (b * S * Hkv + hk) * D;
  const unsigned short* const v_head = v + (b * S * Hkv + hk) * D;
  const int tiles = (S + KEYS - 1) / KEYS;
  Walk walk{extents + b * tiles, tiles, first, min(first + QUERIES, S), S, lane};

  const auto load_keys = [&](int tile) {
    load_tile(shared.k, k_head + (long long)tile * KEYS * k_stride, k_stride, S - tile * KEYS);
    const int j = tile * KEYS + threadIdx.x;
    if (threadIdx.x < KEYS) ptx::cp_async_16(&shared.spans[threadIdx.x], spans + b * S + min(j, S - 1));
  };
  load_tile(shared.q, q + ((b * S + first) * Hq + h) * D, q_stride, S - first);
  int tile = walk.next();
  if (tile >= 0) load_keys(tile);
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
  while (tile >= 0) {
    const int at = tile * KEYS;
    load_tile(shared.v, v_head + at * k_stride, k_stride, S - at);
    ptx::cp_async_commit();
    multiply_keys<D>(s, a, shared.k, lane);
    if (walk.is_masked) {
#pragma unroll
      for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int key = n * 8 + (lane & 3) * 2 + e;
          const int4 span = shared.spans[key];
          if (at + key >= S || is_hidden(span, query)) s[n][e] = -INFINITY;
          if (at + key >= S || is_hidden(span, query + 8)) s[n][e + 2] = -INFINITY;
        }
      }
    }
    softmax<D>(s, max, sum, acc, scale_log2);
    tile = walk.next();
    ptx::cp_async_wait<0>();
    __syncthreads();  // the values are here, and nobody reads the keys and spans any more
    if (tile >= 0) load_keys(tile);
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
    if (i >= S) continue;
    const float inverse = total > 0 ? 1.0f / total : 0.0f;  // nothing was seen where the sum is 0
    const long long row = (b * S + i) * Hq + h;
#pragma unroll
    for (int c = 0; c < D / 8; ++c) {
      const unsigned pair = ptx::pack_bf16(acc[c][half * 2] * inverse, acc[c][half * 2 + 1] * inverse);
      *reinterpret_cast<unsigned*>(o + row * D + c * 8 + (lane & 3) * 2) = pair;
    }
    if ((lane & 3) == 0) lse[row] = total > 0 ? max[half] * scale_log2 * 0.69314718056f + logf(total) : -INFINITY;
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 64 || p.D == 128, "D must be 64 or 128")) return;
  const int tiles = kl::cdiv(p.S, KEYS);
  auto extents = plan.workspace(kl::i32, (long long)p.B * tiles * 8);
  plan.launch("reduce_spans").grid(tiles, p.B).block(KEYS).arg(p.spans).arg(extents).arg(p.S);
  plan.launch(p.D == 64 ? "maskspan_mma<64>" : "maskspan_mma<128>")
      .grid(kl::cdiv(p.S, QUERIES), p.Hq, p.B).block(WARPS * 32)
      .shared(p.D == 64 ? sizeof(Shared<64>) : sizeof(Shared<128>))
      .arg(p.q).arg(p.k).arg(p.v).arg(p.spans).arg(extents).arg(p.o).arg(p.lse).arg(p.S).arg(p.Hq).arg(p.Hkv)
      .arg(p.scale * 1.44269504f);
}
