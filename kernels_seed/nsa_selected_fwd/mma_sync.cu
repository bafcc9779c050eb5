// SPDX-License-Identifier: Apache-2.0
// Native sparse attention, selected branch, on mma.sync: q [B, S, Hq, D] over k, v [B, S, Hkv, D] (bf16), idx
// [B, S, Hkv, T], with lse [B, S, Hq].
//
// Technique: the query heads of a group share their token's blocks, so a warp takes one token and one group: up to 16
// heads are the rows of its A operand, what is missing to 16 is zero. Each warp walks its own list in tiles of KEYS keys
// through shared memory of its own, so that no warp waits for another: cp.async brings the next keys while the values
// are used and the other way round. Only the token's own block is masked. Warps of a block take neighbouring tokens of
// one group, whose lists overlap in practice: what one has read, the others find in the caches.
//
// Ladder:
//   naive.cu    one warp per query head, scalar products; keys are read by every head of a group
//   this file   tensor cores by mma.sync, keys read once for a group; runs from sm_80 on

// tune: WARPS = 4 | 2
// tune: KEYS = 32 | 16

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr float LOWEST = -1e30f;  // finite, so that the difference of two maxima is never NaN

/// Rows of D / 8 chunks of 16 bytes, for one warp.
template <int D>
struct Shared {
  uint4 k[KEYS][D / 8], v[KEYS][D / 8];
};

/// Where chunk `chunk` of row `row` lies: eight neighbouring rows hold a chunk in eight different places.
__device__ __forceinline__ int place(int row, int chunk) { return chunk ^ (row & 7); }

/// Copies a warp's tile of keys or values, rows `stride` elements apart; rows from `valid` on become zero.
template <int CHUNKS>
__device__ __forceinline__ void load_tile(uint4 (&to)[KEYS][CHUNKS], const unsigned short* from, long long stride,
                                          int valid, int lane) {
#pragma unroll
  for (int i = lane; i < KEYS * CHUNKS; i += 32) {
    const int row = i / CHUNKS, chunk = i % CHUNKS;
    const bool is_valid = row < valid;
    ptx::cp_async_16(&to[row][place(row, chunk)], from + (is_valid ? row * stride + chunk * 8 : 0), is_valid);
  }
}

/// Scores of the warp's heads against a tile of keys: s[n] are keys 8n to 8n + 7.
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

/// Walks the tiles of a list that hold a key up to token i.
struct Walk {
  const int* blocks;
  int count, per_block, i;  // tiles in all, tiles of a block
  int at = 0;

  /// The first key of the next tile, or -1.
  __device__ __forceinline__ int next() {
    while (at < count) {
      const int block = blocks[at / per_block], first = (block * per_block + at % per_block) * KEYS;
      ++at;
      if (block >= 0 && first <= i) return first;
    }
    return -1;
  }
};

template <int D>
__global__ void __launch_bounds__(WARPS * 32, 8 / WARPS)
nsa_mma(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k, const unsigned short* __restrict__ v,
        const int* __restrict__ idx, unsigned short* __restrict__ o, float* __restrict__ lse, int S, int Hq, int Hkv,
        int L, int T, float scale_log2) {
  extern __shared__ __align__(128) unsigned char memory[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = Hq / Hkv, hk = blockIdx.y;
  Shared<D>& shared = reinterpret_cast<Shared<D>*>(memory)[warp];
  const int i = blockIdx.x * WARPS + warp;
  if (i >= S) return;  // warps do not wait for each other
  const long long b = blockIdx.z, token = b * S + i, k_stride = (long long)Hkv * D;
  const unsigned short* const k_head = k + (b * S * Hkv + hk) * D;
  const unsigned short* const v_head = v + (b * S * Hkv + hk) * D;
  Walk walk{idx + (token * Hkv + hk) * T, T * (L / KEYS), L / KEYS, i};

  int at = walk.next();
  if (at >= 0) load_tile(shared.k, k_head + at * k_stride, k_stride, S - at, lane);
  ptx::cp_async_commit();

  const int head = lane / 4;  // of the group, and the one eight further
  unsigned a[D / 16][4];
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
#pragma unroll
    for (int part = 0; part < 4; ++part) {  // rows head and head + 8 of the left 8 columns, then of the right ones
      const int row = head + part % 2 * 8, column = step * 16 + part / 2 * 8 + (lane & 3) * 2;
      const long long at_q = (token * Hq + hk * group + row) * D + column;
      a[step][part] = row < group ? *reinterpret_cast<const unsigned*>(q + at_q) : 0;
    }
  }
  ptx::cp_async_wait<0>();
  __syncwarp();  // the first keys are here

  float s[KEYS / 8][4], acc[D / 8][4] = {}, max[2] = {LOWEST, LOWEST}, sum[2] = {0, 0};
  while (at >= 0) {
    load_tile(shared.v, v_head + at * k_stride, k_stride, S - at, lane);
    ptx::cp_async_commit();
    const int next = walk.next();
    multiply_keys<D>(s, a, shared.k, lane);
    if (at + KEYS > i + 1) {
#pragma unroll
      for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if (at + n * 8 + (lane & 3) * 2 + e % 2 > i) s[n][e] = -INFINITY;
        }
      }
    }
    softmax<D>(s, max, sum, acc, scale_log2);
    ptx::cp_async_wait<0>();
    __syncwarp();  // the values are here, and no lane reads the keys any more
    if (next >= 0) load_tile(shared.k, k_head + next * k_stride, k_stride, S - next, lane);
    ptx::cp_async_commit();
    multiply_values<D>(acc, s, shared.v, lane);
    ptx::cp_async_wait<0>();
    __syncwarp();  // the next keys are here, and no lane reads the values any more
    at = next;
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float total = sum[half] + __shfl_xor_sync(0xffffffffu, sum[half], 1);
    total += __shfl_xor_sync(0xffffffffu, total, 2);
    if (head + half * 8 >= group) continue;
    const float inverse = total > 0 ? 1.0f / total : 0.0f;  // nothing was seen where the sum is 0
    const long long row = token * Hq + hk * group + head + half * 8;
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
  if (!plan.require(p.Hq <= 16 * p.Hkv, "a group must have at most 16 query heads")) return;
  if (!plan.require(p.L % KEYS == 0, "L must be a multiple of the tile of keys")) return;
  plan.launch(p.D == 64 ? "nsa_mma<64>" : "nsa_mma<128>")
      .grid(kl::cdiv(p.S, WARPS), p.Hkv, p.B).block(WARPS * 32)
      .shared(WARPS * (p.D == 64 ? sizeof(Shared<64>) : sizeof(Shared<128>)))
      .arg(p.q).arg(p.k).arg(p.v).arg(p.idx).arg(p.o).arg(p.lse).arg(p.S).arg(p.Hq).arg(p.Hkv).arg(p.L).arg(p.T)
      .arg(p.scale * 1.44269504f);
}
