// SPDX-License-Identifier: Apache-2.0
// Block-sparse causal attention on mma.sync: q [B, S, Hq, D] over k, v [B, S, Hkv, D] (bf16), lists of key blocks in
// indptr and indices, with lse [B, S, Hq].
//
// Technique (FlashAttention-2 over a list): a block takes WARPS x 16 queries of one head, all of one list, and walks the
// listed blocks of keys in tiles of KEYS; a tile that lies wholly in the future of its queries is passed over, one that
// lies wholly in their past is not masked. The number of the next tile is read while the current one is used. The
// products are those of gqa_prefill_causal/mma_sync.cu: operands in registers, cp.async, exchanged 16-byte chunks.
//
// Ladder:
//   naive.cu    one warp per query, scalar products
//   this file   tensor cores by mma.sync, tiles shared by the queries of a block; runs from sm_80 on

// tune: WARPS = 4 | 2
// tune: KEYS = 64 | 32

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int QUERIES = WARPS * 16;
static_assert(64 % QUERIES == 0 && 64 % KEYS == 0, "tiles must not cross the blocks of the lists");
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

/// Walks the tiles of a list that hold a key before `end`.
struct Walk {
  const int* list;
  int count, per_block, end;  // tiles in all, tiles of a block
  int at = 0;

  /// The first key of the next tile, or -1.
  __device__ __forceinline__ int next() {
    while (at < count) {
      const int first = (list[at / per_block] * per_block + at % per_block) * KEYS;
      ++at;
      if (first < end) return first;
    }
    return -1;
  }
};

template <int D>
__global__ void __launch_bounds__(WARPS * 32, 8 / WARPS)
block_sparse_mma(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
                 const unsigned short* __restrict__ v, const int* __restrict__ indptr, const int* __restrict__ indices,
                 unsigned short* __restrict__ o, float* __restrict__ lse, int S, int Hq, int Hkv, int Bq, int Bk, int K,
                 float scale_log2) {
  extern __shared__ __align__(128) unsigned char memory[];
  Shared<D>& shared = *reinterpret_cast<Shared<D>*>(memory);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  // The last queries have the longest lists: they start first.
  const int first = (gridDim.x - 1 - blockIdx.x) * QUERIES, h = blockIdx.y, hk = h / (Hq / Hkv), nq = (S + Bq - 1) / Bq;
  const long long b = blockIdx.z, q_stride = (long long)Hq * D, k_stride = (long long)Hkv * D;
  const unsigned short* const k_head = k + (b * S * Hkv + hk) * D;
  const unsigned short* const v_head = v + (b * S * Hkv + hk) * D;
  const int* const bounds = indptr + (b * Hq + h) * (nq + 1) + first / Bq;
  const int begin = bounds[0], per_block = Bk / KEYS;
  Walk walk{indices + (b * Hq + h) * nq * K + begin, (bounds[1] - begin) * per_block, per_block, min(first + QUERIES, S)};

  load_tile(shared.q, q + ((b * S + first) * Hq + h) * D, q_stride, S - first);
  int at = walk.next();
  if (at >= 0) load_tile(shared.k, k_head + at * k_stride, k_stride, S - at);
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
  while (at >= 0) {
    load_tile(shared.v, v_head + at * k_stride, k_stride, S - at);
    ptx::cp_async_commit();
    const int next = walk.next();
    multiply_keys<D>(s, a, shared.k, lane);
    if (at + KEYS > first + 1) {  // some pair is hidden; keys beyond S are in the future of every query
#pragma unroll
      for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int j = at + n * 8 + (lane & 3) * 2 + e;
          if (j > query) s[n][e] = -INFINITY;
          if (j > query + 8) s[n][e + 2] = -INFINITY;
        }
      }
    }
    softmax<D>(s, max, sum, acc, scale_log2);
    ptx::cp_async_wait<0>();
    __syncthreads();  // the values are here, and nobody reads the keys any more
    if (next >= 0) load_tile(shared.k, k_head + next * k_stride, k_stride, S - next);
    ptx::cp_async_commit();
    multiply_values<D>(acc, s, shared.v, lane);
    ptx::cp_async_wait<0>();
    __syncthreads();  // the next keys are here, and nobody reads the values any more
    at = next;
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
  if (!plan.require(p.Bq % 64 == 0 && p.Bk % 64 == 0, "blocks must be multiples of 64")) return;
  plan.launch(p.D == 64 ? "block_sparse_mma<64>" : "block_sparse_mma<128>")
      .grid(kl::cdiv(p.S, QUERIES), p.Hq, p.B).block(WARPS * 32)
      .shared(p.D == 64 ? sizeof(Shared<64>) : sizeof(Shared<128>))
      .arg(p.q).arg(p.k).arg(p.v).arg(p.indptr).arg(p.indices).arg(p.o).arg(p.lse).arg(p.S).arg(p.Hq).arg(p.Hkv)
      .arg(p.Bq).arg(p.Bk).arg(p.K).arg(p.scale * 1.44269504f);
}
