// SPDX-License-Identifier: Apache-2.0
// The frozen landscape of causal attention on mma.sync: q [B, Sq, Hq, D] over k, v [B, Sk, Hkv, D] (bf16), with lse.
//
// A block takes WARPS x 16 queries of one head and walks the keys in tiles of KEYS. COPY 0 loads a tile and waits for it;
// 1 copies the next keys while the values are used and the other way round (cp.async); 2 keeps two tiles, the next one on
// its way. SWIZZLE exchanges 16-byte chunks by row, without which ldmatrix meets bank conflicts. HOLD keeps queries in
// registers, else they are read for every tile. LAZY rescales only where a maximum grew. BARRIER = 0 leaves out the barrier
// at the end of a tile: right with two tiles, wrong with one.

// tune: WARPS = 4 | 8
// tune: KEYS = 32 | 64 | 128
// tune: COPY = 0 | 1 | 2
// tune: SWIZZLE = 0 | 1
// tune: HOLD = 0 | 1
// tune: LAZY = 0 | 1
// tune: BARRIER = 1 | 0

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int QUERIES = WARPS * 16;
constexpr int BUFFERS = COPY == 2 ? 2 : 1;
constexpr float LOWEST = -1e30f;  // finite, so that the difference of two maxima is never NaN

/// Rows of D / 8 chunks of 16 bytes.
template <int D>
struct Shared {
  uint4 q[QUERIES][D / 8], k[BUFFERS][KEYS][D / 8], v[BUFFERS][KEYS][D / 8];
};

/// Where chunk `chunk` of row `row` lies.
__device__ __forceinline__ int place(int row, int chunk) { return SWIZZLE ? chunk ^ (row & 7) : chunk; }

/// Copies `rows` rows, `stride` elements apart; rows from `valid` on become zero.
template <bool is_async, int rows, int CHUNKS>
__device__ __forceinline__ void load_tile(uint4 (&to)[rows][CHUNKS], const unsigned short* from, long long stride, int valid) {
#pragma unroll
  for (int i = threadIdx.x; i < rows * CHUNKS; i += WARPS * 32) {
    const int row = i / CHUNKS, chunk = i % CHUNKS;
    const bool is_valid = row < valid;
    const unsigned short* const at = from + (is_valid ? row * stride + chunk * 8 : 0);
    if constexpr (is_async) {
      ptx::cp_async_16(&to[row][place(row, chunk)], at, is_valid);
    } else {
      to[row][place(row, chunk)] = is_valid ? *reinterpret_cast<const uint4*>(at) : make_uint4(0, 0, 0, 0);
    }
  }
}

template <int D>
__device__ __forceinline__ void load_queries(unsigned (&a)[4], const uint4 (&q)[QUERIES][D / 8], int step, int warp, int lane) {
  const int row = warp * 16 + (lane & 15);
  ptx::ldmatrix_x4(a, &q[row][place(row, step * 2 + (lane >> 4))]);
}

/// Scores of the warp's 16 queries against a tile of keys: s[n] are keys 8n to 8n + 7.
template <int D>
__device__ __forceinline__ void multiply_keys(float (&s)[KEYS / 8][4], const unsigned (&held)[HOLD ? D / 16 : 1][4],
                                              const uint4 (&q)[QUERIES][D / 8], const uint4 (&k)[KEYS][D / 8], int warp, int lane) {
#pragma unroll
  for (int n = 0; n < KEYS / 8; ++n) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
    unsigned a[4];
    if constexpr (HOLD) {
#pragma unroll
      for (int i = 0; i < 4; ++i) a[i] = held[step][i];
    } else {
      load_queries<D>(a, q, step, warp, lane);
    }
#pragma unroll
    for (int pair = 0; pair < KEYS / 16; ++pair) {
      const int row = pair * 16 + (lane & 7) + (lane >> 4) * 8, chunk = step * 2 + ((lane >> 3) & 1);
      unsigned b[4];
      ptx::ldmatrix_x4(b, &k[row][place(row, chunk)]);
      ptx::mma_bf16(s[pair * 2], a, b[0], b[1]);
      ptx::mma_bf16(s[pair * 2 + 1], a, b[2], b[3]);
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
template <int D>
__device__ __forceinline__ void softmax(float (&s)[KEYS / 8][4], float (&max)[2], float (&sum)[2], float (&o)[D / 8][4],
                                        float scale, int lane, bool is_masked, int limit, int keys) {
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
    if (!LAZY || __any_sync(0xffffffffu, top > max[half])) {
      const float shrink = ptx::ex2((max[half] - top) * scale);
      max[half] = top;
      sum[half] *= shrink;
#pragma unroll
      for (int c = 0; c < D / 8; ++c) {
        o[c][half * 2] *= shrink;
        o[c][half * 2 + 1] *= shrink;
      }
    }
    const float offset = max[half] * scale;
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

template <int D>
__global__ void __launch_bounds__(WARPS * 32)
prefill(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k, const unsigned short* __restrict__ v,
        unsigned short* __restrict__ o, float* __restrict__ lse, int Sq, int Sk, int Hq, int Hkv, float scale_log2) {
  extern __shared__ __align__(128) unsigned char memory[];
  Shared<D>& shared = *reinterpret_cast<Shared<D>*>(memory);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  // The last tiles have the most keys: they start first.
  const int first = (gridDim.x - 1 - blockIdx.x) * QUERIES, h = blockIdx.y, hk = h / (Hq / Hkv);
  const long long b = blockIdx.z, q_stride = (long long)Hq * D, k_stride = (long long)Hkv * D;
  const int shift = Sk - Sq, seen = min(Sk, first + QUERIES + shift), tiles = seen > 0 ? (seen + KEYS - 1) / KEYS : 0;
  const unsigned short* const k_head = k + (b * Sk * Hkv + hk) * D;
  const unsigned short* const v_head = v + (b * Sk * Hkv + hk) * D;
  const auto load_keys = [&](int tile) {
    load_tile<COPY != 0>(shared.k[tile % BUFFERS], k_head + tile * KEYS * k_stride, k_stride, Sk - tile * KEYS);
  };
  const auto load_values = [&](int tile) {
    load_tile<COPY != 0>(shared.v[tile % BUFFERS], v_head + tile * KEYS * k_stride, k_stride, Sk - tile * KEYS);
  };

  load_tile<COPY != 0>(shared.q, q + ((b * Sq + first) * Hq + h) * D, q_stride, Sq - first);
  if (COPY > 0 && tiles > 0) load_keys(tiles - 1);
  if (COPY == 2 && tiles > 0) load_values(tiles - 1);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  __syncthreads();  // queries and the first keys are here

  unsigned a[HOLD ? D / 16 : 1][4];
  if constexpr (HOLD) {
#pragma unroll
    for (int step = 0; step < D / 16; ++step) load_queries<D>(a[step], shared.q, step, warp, lane);
  }
  float s[KEYS / 8][4], acc[D / 8][4] = {}, max[2] = {LOWEST, LOWEST}, sum[2] = {0, 0};
  const int query = first + warp * 16 + lane / 4;  // and the one eight further
  for (int tile = tiles - 1; tile >= 0; --tile) {
    const int at = tile * KEYS;
    if constexpr (COPY == 0) {
      load_keys(tile);
      load_values(tile);
      __syncthreads();  // the tile is here
    } else if constexpr (COPY == 1) {
      load_values(tile);
      ptx::cp_async_commit();
    } else {
      ptx::cp_async_wait<0>();
      __syncthreads();  // this tile is here, and nobody reads the one before
      if (tile > 0) {
        load_keys(tile - 1);
        load_values(tile - 1);
      }
      ptx::cp_async_commit();
    }
    multiply_keys<D>(s, a, shared.q, shared.k[tile % BUFFERS], warp, lane);
    const bool is_boundary = at + KEYS > Sk || at + KEYS > first + shift + 1;
    softmax<D>(s, max, sum, acc, scale_log2, lane, is_boundary, query + shift + 1 - at, Sk - at);
    if constexpr (COPY == 1) {
      ptx::cp_async_wait<0>();
      __syncthreads();  // the values are here, and nobody reads the keys any more
      if (tile > 0) load_keys(tile - 1);
      ptx::cp_async_commit();
    }
    multiply_values<D>(acc, s, shared.v[tile % BUFFERS], lane);
    if constexpr (COPY == 1) ptx::cp_async_wait<0>();
    if constexpr (BARRIER == 1) __syncthreads();  // the next keys are here, and nobody reads this tile any more
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float total = sum[half] + __shfl_xor_sync(0xffffffffu, sum[half], 1);
    total += __shfl_xor_sync(0xffffffffu, total, 2);
    const int i = query + half * 8;
    if (i >= Sq) continue;
    const bool is_empty = i + shift < 0;  // sees no key
    const float inverse = is_empty ? 0.0f : 1.0f / total;
    const long long row = (b * Sq + i) * Hq + h;
#pragma unroll
    for (int c = 0; c < D / 8; ++c) {
      const unsigned pair = ptx::pack_bf16(acc[c][half * 2] * inverse, acc[c][half * 2 + 1] * inverse);
      *reinterpret_cast<unsigned*>(o + row * D + c * 8 + (lane & 3) * 2) = pair;
    }
    if ((lane & 3) == 0) lse[row] = is_empty ? -INFINITY : max[half] * scale_log2 * 0.69314718056f + logf(total);
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 64 || p.D == 128, "D must be 64 or 128")) return;
  plan.launch(p.D == 64 ? "prefill<64>" : "prefill<128>")
      .grid(kl::cdiv(p.Sq, QUERIES), p.Hq, p.B).block(WARPS * 32)
      .shared(p.D == 64 ? sizeof(Shared<64>) : sizeof(Shared<128>))
      .arg(p.q).arg(p.k).arg(p.v).arg(p.o).arg(p.lse).arg(p.Sq).arg(p.Sk).arg(p.Hq).arg(p.Hkv)
      .arg(p.scale * 1.44269504f);
}
