// SPDX-License-Identifier: Apache-2.0
// Kimi Delta Attention in chunks on mma.sync: q, k, v [B, T, H, D] (bf16), g [B, T, H, D], beta [B, T, H] (f32), states.
//
// Technique: within a chunk of 16 tokens the updates u solve a unit triangular system, and are U = M^-1 diag(beta)
// (V - K' S) with K' the keys decayed from the chunk's start. Two kernels:
//   kda_prepare  one block per chunk, all at once: products of queries and keys with keys, each decayed by the difference
//                of sums of g, which is never positive (no quotients of decays); M^-1 diag(beta) by substitution; decayed
//                queries and keys in bf16.
//   kda_chain    one warp owns 16 value columns of a head and walks the chunks. Its part of the state lies transposed,
//                S^T [16, D], in accumulators, which packed to bf16 are the A operand of the next products as they are:
//                nothing of the state passes through shared memory, and warps share only the chunk's tiles, fetched
//                by cp.async STAGES ahead.
// Runs from sm_80 on.
//
// Ladder:
//   naive.cu      token after token, three barriers each
//   this file     16 tokens a step on tensor cores, everything but the chain of states in parallel; chunks in global memory
//                 as the chain keeps them, so that a fetch is one straight copy: 15 % for few heads on an H100
//   left to do    64 tokens a step (blocks of 16 inside), decays fused into the chain for less traffic, wgmma and TMA

// tune: STAGES = 2 | 3 | 4
// tune: WARPS = 2 | 4

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int CHUNK = 16, PREPARERS = 128;
constexpr float LOG2E = 1.44269504f;

/// What kda_prepare leaves of a chunk, as kda_chain keeps it in shared memory: rows of vectors of eight elements; rows
/// beyond the last token are zero.
template <int D>
struct Prepared {
  uint4 q[CHUNK][D / 8], k[CHUNK][D / 8], k_left[CHUNK][D / 8];  // decayed from the start; k_left: until the end
  uint4 by_query[CHUNK][2], inverse[CHUNK][2];
  float whole[D];                                                // the decay of the whole chunk
};

/// Where vector `vector` of a row of D / 8 lies: exchanged by row so that ldmatrix meets no bank conflict.
__device__ __forceinline__ int place(int row, int vector) { return vector ^ (row & 7); }

/// Element d of row `row`.
template <int VECTORS>
__device__ __forceinline__ unsigned short& element(uint4 (&rows)[CHUNK][VECTORS], int row, int d) {
  return reinterpret_cast<unsigned short*>(rows[row] + (VECTORS >= 8 ? place(row, d / 8) : d / 8))[d % 8];
}

__device__ __forceinline__ unsigned short to_bf16(float x) { return (unsigned short)ptx::pack_bf16(x, 0); }

template <int D>
__global__ void __launch_bounds__(PREPARERS)
kda_prepare(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k, const float* __restrict__ g,
            const float* __restrict__ beta, Prepared<D>* __restrict__ out, int T, int H, float scale) {
  constexpr int PER_LANE = D / 32;
  __shared__ float q_t[CHUNK][D], k_t[CHUNK][D], sum[CHUNK][D];  // sum: of g in base-2 units, up to a token
  __shared__ float by_key[CHUNK][CHUNK + 1], rate[CHUNK];
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, chunk = blockIdx.x, head = blockIdx.y;
  const int first = chunk * CHUNK, tokens = min(CHUNK, T - first);
  const long long token = ((long long)(head / H) * T + first) * H + head % H;
  Prepared<D>& to = out[(long long)head * gridDim.x + chunk];

  if (tid < CHUNK) rate[tid] = tid < tokens ? beta[token + (long long)tid * H] : 0.0f;
  if (tid < D) {
    float decay = 0, left[CHUNK];
#pragma unroll
    for (int t = 0; t < CHUNK; ++t) {
      const long long at = (token + (long long)t * H) * D + tid;
      decay += t < tokens ? g[at] * LOG2E : 0.0f;
      sum[t][tid] = left[t] = decay;
      q_t[t][tid] = t < tokens ? ptx::low_bf16(q[at]) * scale : 0.0f;
      k_t[t][tid] = t < tokens ? ptx::low_bf16(k[at]) : 0.0f;
    }
#pragma unroll
    for (int t = 0; t < CHUNK; ++t) {
      const float since = ptx::ex2(left[t]);
      element(to.q, t, tid) = to_bf16(q_t[t][tid] * since);
      element(to.k, t, tid) = to_bf16(k_t[t][tid] * since);
      element(to.k_left, t, tid) = to_bf16(k_t[t][tid] * ptx::ex2(decay - left[t]));
    }
    to.whole[tid] = ptx::ex2(decay);
  }
  __syncthreads();  // queries, keys, decays and rates are visible

  // A warp takes every fourth token, its lanes the channels: products with the keys up to it.
  for (int t = warp; t < CHUNK; t += PREPARERS / 32) {
    for (int j = 0; j < CHUNK; ++j) {
      float of_key = 0, of_query = 0;
      if (j <= t) {
#pragma unroll
        for (int i = 0; i < PER_LANE; ++i) {
          const int d = i * 32 + lane;
          const float key = k_t[j][d] * ptx::ex2(sum[t][d] - sum[j][d]);
          of_key = fmaf(k_t[t][d], key, of_key);
          of_query = fmaf(q_t[t][d], key, of_query);
        }
#pragma unroll
        for (int step = 16; step > 0; step /= 2) {
          of_key += __shfl_xor_sync(0xffffffffu, of_key, step);
          of_query += __shfl_xor_sync(0xffffffffu, of_query, step);
        }
      }
      if (lane == 0) {
        by_key[t][j] = of_key * rate[t];
        element(to.by_query, t, j) = to_bf16(of_query);
      }
    }
  }
  __syncthreads();  // the triangular system is visible
  if (tid < CHUNK) {  // a column of the inverse per thread
    float x[CHUNK];
#pragma unroll
    for (int t = 0; t < CHUNK; ++t) {
      x[t] = t == tid ? 1.0f : 0.0f;
#pragma unroll
      for (int j = 0; j < t; ++j) x[t] -= j >= tid && t > tid ? by_key[t][j] * x[j] : 0.0f;
      element(to.inverse, t, tid) = to_bf16(x[t] * rate[tid]);
    }
  }
}

/// A chunk in shared memory, and its values.
template <int D>
struct Stage {
  Prepared<D> prepared;
  uint4 v[CHUNK][WARPS * 2];
};

/// acc[n] += a . tile^T for the 16 rows of a row-major tile, columns 16 `step` on.
template <int CHUNKS>
__device__ __forceinline__ void multiply(float (&acc)[2][4], const unsigned (&a)[4], const uint4 (&tile)[CHUNK][CHUNKS], int step, int lane) {
  const int row = (lane & 7) + (lane >> 4) * 8, chunk = step * 2 + ((lane >> 3) & 1);
  unsigned b[4];
  ptx::ldmatrix_x4(b, &tile[row][CHUNKS >= 8 ? place(row, chunk) : chunk]);
  ptx::mma_bf16(acc[0], a, b[0], b[1]);
  ptx::mma_bf16(acc[1], a, b[2], b[3]);
}

/// An accumulator of 16 x 16 as A operand.
__device__ __forceinline__ void pack(unsigned (&a)[4], const float (&left)[4], const float (&right)[4]) {
  a[0] = ptx::pack_bf16(left[0], left[1]);
  a[1] = ptx::pack_bf16(left[2], left[3]);
  a[2] = ptx::pack_bf16(right[0], right[1]);
  a[3] = ptx::pack_bf16(right[2], right[3]);
}

template <int D>
__global__ void __launch_bounds__(WARPS * 32)
kda_chain(const Prepared<D>* __restrict__ chunks, const unsigned short* __restrict__ v, const float* __restrict__ s0,
          unsigned short* __restrict__ o, float* __restrict__ state, int T, int H) {
  constexpr int COLUMNS = WARPS * 16;
  extern __shared__ __align__(128) unsigned char memory[];
  Stage<D>* const stages = reinterpret_cast<Stage<D>*>(memory);
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, g = lane / 4, t = lane % 4;
  const int head = blockIdx.y, columns = blockIdx.x * COLUMNS, count = (T + CHUNK - 1) / CHUNK;
  const long long token = (long long)(head / H) * T * H + head % H, stride = (long long)H * D;
  v += token * D + columns;
  o += token * D + columns;
  chunks += (long long)head * count;

  const auto fetch = [&](int c) {
    if (c < count) {
      Stage<D>& stage = stages[c % STAGES];
      constexpr int VECTORS = sizeof(Prepared<D>) / 16;
      uint4* const to = reinterpret_cast<uint4*>(&stage.prepared) + tid;
      const uint4* const from = reinterpret_cast<const uint4*>(chunks + c) + tid;
#pragma unroll
      for (int i = 0; i < VECTORS; i += WARPS * 32) {
        if (i + WARPS * 32 <= VECTORS || tid < VECTORS - i) ptx::cp_async_16(to + i, from + i);
      }
#pragma unroll
      for (int i = tid; i < CHUNK * WARPS * 2; i += WARPS * 32) {
        const int row = i / (WARPS * 2), chunk = i % (WARPS * 2);
        const bool is_valid = c * CHUNK + row < T;
        ptx::cp_async_16(&stage.v[row][chunk], v + (is_valid ? (c * CHUNK + row) * stride + chunk * 8 : 0), is_valid);
      }
    }
    ptx::cp_async_commit();
  };
#pragma unroll
  for (int c = 0; c < STAGES - 1; ++c) fetch(c);

  // s[n]: columns e = g and g + 8 of this warp's 16, key channels 8 n + 2 t and the next one.
  float s[D / 8][4];
  const long long state_at = ((long long)head * D + t * 2) * D + columns + warp * 16 + g;
#pragma unroll
  for (int n = 0; n < D / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) s[n][i] = s0[state_at + (n * 8 + i % 2) * D + i / 2 * 8];
  }

  for (int c = 0; c < count; ++c) {
    ptx::cp_async_wait<STAGES - 2>();
    __syncthreads();  // this chunk is here, and nobody reads the one before any more
    fetch(c + STAGES - 1);
    const Stage<D>& stage = stages[c % STAGES];
    const Prepared<D>& prepared = stage.prepared;

    float known[2][4] = {}, out[2][4] = {};  // transposed: columns e by tokens
#pragma unroll
    for (int step = 0; step < D / 16; ++step) {
      unsigned a[4];
      pack(a, s[step * 2], s[step * 2 + 1]);
      multiply(known, a, prepared.k, step, lane);
      multiply(out, a, prepared.q, step, lane);
    }
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const unsigned short* const row = reinterpret_cast<const unsigned short*>(stage.v[n * 8 + t * 2 + i % 2]);
        known[n][i] = ptx::low_bf16(row[warp * 16 + g + i / 2 * 8]) - known[n][i];
      }
    }
    unsigned a[4];
    float u[2][4] = {};
    pack(a, known[0], known[1]);
    multiply(u, a, prepared.inverse, 0, lane);
    pack(a, u[0], u[1]);
    multiply(out, a, prepared.by_query, 0, lane);
#pragma unroll
    for (int pair = 0; pair < D / 16; ++pair) {
#pragma unroll
      for (int n = pair * 2; n < pair * 2 + 2; ++n) {
        const float2 whole = *reinterpret_cast<const float2*>(&prepared.whole[n * 8 + t * 2]);
        s[n][0] *= whole.x, s[n][1] *= whole.y, s[n][2] *= whole.x, s[n][3] *= whole.y;
      }
      const int row = lane & 15;
      unsigned b[4];
      ptx::ldmatrix_x4_trans(b, &prepared.k_left[row][place(row, pair * 2 + (lane >> 4))]);
      ptx::mma_bf16(s[pair * 2], a, b[0], b[1]);
      ptx::mma_bf16(s[pair * 2 + 1], a, b[2], b[3]);
    }
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = c * CHUNK + n * 8 + t * 2 + i % 2;
        if (at < T) o[at * stride + warp * 16 + g + i / 2 * 8] = to_bf16(out[n][i]);
      }
    }
  }
#pragma unroll
  for (int n = 0; n < D / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) state[state_at + (n * 8 + i % 2) * D + i / 2 * 8] = s[n][i];
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 64 || p.D == 128, "D must be 64 or 128")) return;
  const bool is_wide = p.D == 128;
  const int chunks = kl::cdiv(p.T, CHUNK), heads = p.B * p.H;
  const auto prepared = plan.workspace(kl::u8, (long long)heads * chunks * (is_wide ? sizeof(Prepared<128>) : sizeof(Prepared<64>)));
  plan.launch(is_wide ? "kda_prepare<128>" : "kda_prepare<64>").grid(chunks, heads).block(PREPARERS)
      .arg(p.q).arg(p.k).arg(p.g).arg(p.beta).arg(prepared).arg(p.T).arg(p.H).arg(p.scale);
  plan.launch(is_wide ? "kda_chain<128>" : "kda_chain<64>").grid(p.D / (WARPS * 16), heads).block(WARPS * 32)
      .shared(STAGES * (is_wide ? sizeof(Stage<128>) : sizeof(Stage<64>)))
      .arg(prepared).arg(p.v).arg(p.s0).arg(p.o).arg(p.state).arg(p.T).arg(p.H);
}
