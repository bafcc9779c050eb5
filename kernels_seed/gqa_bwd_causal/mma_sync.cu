// SPDX-License-Identifier: Apache-2.0
// Backward of causal attention on mma.sync: q, o, dout, dq [B, S, Hq, D], k, v, dk, dv [B, S, Hkv, D] (bf16),
// lse [B, S, Hq].
//
// Technique: three kernels, nothing is added across blocks, so that every run gives the same bits. `prepare` writes the
// log-sum-exp in base-2 units and delta = dout . o head by head, padded to whole tiles with values that make every
// probability zero. In the two others a block holds ROWS rows (keys with their values, or queries with the gradients of
// their outputs) in shared memory and lets tiles of the other side pass by, two stages of cp.async deep; scores and
// their gradients stay in registers and are the A operands of the products that follow. `key_gradients` has the scores
// transposed, a row for a key, and walks all query heads of its group; `query_gradients` recomputes them: seven products
// instead of five, which spares a sum of dq over blocks. 16-byte chunks are exchanged by row, so that ldmatrix meets no
// bank conflict.
//
// Ladder:
//   naive.cu    one warp per query or key, scalar products
//   this file   tensor cores by mma.sync, tiles shared by the rows of a block; runs from sm_80 on

// tune: WARPS = 4 | 8
// tune: PASSING = 32 | 64

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int ROWS = WARPS * 16, PAD = 128;  // queries are padded to a multiple of PAD
static_assert(PAD % ROWS == 0 && PAD % PASSING == 0, "padding must hold whole tiles");

/// A block's own rows of two tensors, and what passes by. Rows have D / 8 chunks of 16 bytes.
template <int D>
struct Shared {
  uint4 own_a[ROWS][D / 8], own_b[ROWS][D / 8];
  uint4 a[2][PASSING][D / 8], b[2][PASSING][D / 8];
  float4 lse[2][PASSING / 4], delta[2][PASSING / 4];
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

/// Products of the warp's 16 rows with all passing rows: s[n] are passing rows 8n to 8n + 7.
template <int D>
__device__ __forceinline__ void multiply(float (&s)[PASSING / 8][4], const uint4 (&own)[ROWS][D / 8],
                                         const uint4 (&passing)[PASSING][D / 8], int warp, int lane) {
#pragma unroll
  for (int n = 0; n < PASSING / 8; ++n) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
    unsigned a[4];
    const int own_row = warp * 16 + (lane & 15);
    ptx::ldmatrix_x4(a, &own[own_row][place(own_row, step * 2 + (lane >> 4))]);
#pragma unroll
    for (int pair = 0; pair < PASSING / 16; ++pair) {
      const int row = pair * 16 + (lane & 7) + (lane >> 4) * 8, chunk = step * 2 + ((lane >> 3) & 1);
      unsigned b[4];
      ptx::ldmatrix_x4(b, &passing[row][place(row, chunk)]);
      ptx::mma_bf16(s[pair * 2], a, b[0], b[1]);
      ptx::mma_bf16(s[pair * 2 + 1], a, b[2], b[3]);
    }
  }
}

/// Adds weights times passing rows to acc[c], channels 8c to 8c + 7 of the warp's 16 rows.
template <int D>
__device__ __forceinline__ void accumulate(float (&acc)[D / 8][4], const float (&w)[PASSING / 8][4],
                                           const uint4 (&passing)[PASSING][D / 8], int lane) {
#pragma unroll
  for (int step = 0; step < PASSING / 16; ++step) {
    const unsigned a[4] = {
        ptx::pack_bf16(w[step * 2][0], w[step * 2][1]), ptx::pack_bf16(w[step * 2][2], w[step * 2][3]),
        ptx::pack_bf16(w[step * 2 + 1][0], w[step * 2 + 1][1]), ptx::pack_bf16(w[step * 2 + 1][2], w[step * 2 + 1][3])};
#pragma unroll
    for (int pair = 0; pair < D / 16; ++pair) {
      const int row = step * 16 + (lane & 15), chunk = pair * 2 + (lane >> 4);
      unsigned b[4];
      ptx::ldmatrix_x4_trans(b, &passing[row][place(row, chunk)]);
      ptx::mma_bf16(acc[pair * 2], a, b[0], b[1]);
      ptx::mma_bf16(acc[pair * 2 + 1], a, b[2], b[3]);
    }
  }
}

/// Writes a lane's two rows, eight apart, times `factor`; `left` rows exist from the first on.
template <int D>
__device__ __forceinline__ void store(unsigned short* __restrict__ to, const float (&acc)[D / 8][4], long long stride,
                                      int left, int lane, float factor) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (half * 8 >= left) continue;
#pragma unroll
    for (int c = 0; c < D / 8; ++c) {
      const unsigned pair = ptx::pack_bf16(acc[c][half * 2] * factor, acc[c][half * 2 + 1] * factor);
      *reinterpret_cast<unsigned*>(to + half * 8 * stride + c * 8 + (lane & 3) * 2) = pair;
    }
  }
}

/// One warp per (b, h, i): lse in base-2 units and delta as [B, Hq, padded], infinity and 0 beyond S.
template <int D>
__global__ void __launch_bounds__(128)
prepare(const unsigned short* __restrict__ o, const unsigned short* __restrict__ dout, const float* __restrict__ lse,
        float* __restrict__ lse_log2, float* __restrict__ delta, int S, int Hq, int padded) {
  const int lane = threadIdx.x % 32, i = blockIdx.x * 4 + threadIdx.x / 32, h = blockIdx.y;
  const long long b = blockIdx.z, row = (b * S + i) * Hq + h, to = (b * Hq + h) * padded + i;
  float sum = 0;
  if (i < S) {
#pragma unroll
    for (int c = 0; c < D / 64; ++c) {
      const unsigned x = reinterpret_cast<const unsigned*>(o + row * D)[c * 32 + lane];
      const unsigned y = reinterpret_cast<const unsigned*>(dout + row * D)[c * 32 + lane];
      sum += ptx::low_bf16(x) * ptx::low_bf16(y) + ptx::high_bf16(x) * ptx::high_bf16(y);
    }
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if (lane == 0) {
    delta[to] = sum;
    lse_log2[to] = i < S ? lse[row] * 1.44269504f : INFINITY;
  }
}

template <int D>
__global__ void __launch_bounds__(WARPS * 32, 8 / WARPS)
key_gradients(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
              const unsigned short* __restrict__ v, const unsigned short* __restrict__ dout,
              const float* __restrict__ lse_log2, const float* __restrict__ delta, unsigned short* __restrict__ dk,
              unsigned short* __restrict__ dv, int S, int Hq, int Hkv, int padded, float scale) {
  extern __shared__ __align__(128) unsigned char memory[];
  Shared<D>& shared = *reinterpret_cast<Shared<D>*>(memory);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = blockIdx.y, group = Hq / Hkv;
  const int first = blockIdx.x * ROWS;  // the first keys are seen by the most queries: they start first
  const long long b = blockIdx.z, q_stride = (long long)Hq * D, k_stride = (long long)Hkv * D;
  const long long head = (b * S * Hkv + g) * D;
  const int first_tile = first / PASSING, tiles = (S + PASSING - 1) / PASSING - first_tile, count = tiles * group;

  const auto load = [&](int n) {  // tile n of all that pass: queries from the diagonal on, head after head
    const int stage = n & 1, h = g * group + n / tiles, at = (first_tile + n % tiles) * PASSING;
    const long long from = ((b * S + at) * Hq + h) * D, statistics = (b * Hq + h) * padded + at;
    load_tile(shared.a[stage], q + from, q_stride, S - at);
    load_tile(shared.b[stage], dout + from, q_stride, S - at);
    if (threadIdx.x < PASSING / 4) {
      ptx::cp_async_16(&shared.lse[stage][threadIdx.x], lse_log2 + statistics + threadIdx.x * 4);
      ptx::cp_async_16(&shared.delta[stage][threadIdx.x], delta + statistics + threadIdx.x * 4);
    }
  };
  load_tile(shared.own_a, k + head + first * k_stride, k_stride, S - first);
  load_tile(shared.own_b, v + head + first * k_stride, k_stride, S - first);
  load(0);
  ptx::cp_async_commit();

  float acc_k[D / 8][4] = {}, acc_v[D / 8][4] = {}, s[PASSING / 8][4], ds[PASSING / 8][4];
  const int key = first + warp * 16 + lane / 4;  // and the one eight further
  for (int n = 0; n < count; ++n) {
    const int stage = n & 1, at = (first_tile + n % tiles) * PASSING;
    if (n + 1 < count) load(n + 1);
    ptx::cp_async_commit();
    ptx::cp_async_wait<1>();
    __syncthreads();  // tile n is here
    multiply<D>(s, shared.own_a, shared.a[stage], warp, lane);
    multiply<D>(ds, shared.own_b, shared.b[stage], warp, lane);
    const float* const lse_of = reinterpret_cast<const float*>(shared.lse[stage]);
    const float* const delta_of = reinterpret_cast<const float*>(shared.delta[stage]);
    const bool is_diagonal = at < first + ROWS - 1;
#pragma unroll
    for (int c = 0; c < PASSING / 8; ++c) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int query = c * 8 + (lane & 3) * 2 + e % 2;
        float p = ptx::ex2(fmaf(s[c][e], scale * 1.44269504f, -lse_of[query]));
        if (is_diagonal && key + e / 2 * 8 > at + query) p = 0;
        s[c][e] = p;
        ds[c][e] = p * (ds[c][e] - delta_of[query]);
      }
    }
    accumulate<D>(acc_v, s, shared.b[stage], lane);
    accumulate<D>(acc_k, ds, shared.a[stage], lane);
    __syncthreads();  // nobody reads tile n any more
  }
  const long long to = head + key * k_stride;
  store<D>(dk + to, acc_k, k_stride, S - key, lane, scale);
  store<D>(dv + to, acc_v, k_stride, S - key, lane, 1.0f);
}

template <int D>
__global__ void __launch_bounds__(WARPS * 32, 8 / WARPS)
query_gradients(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
                const unsigned short* __restrict__ v, const unsigned short* __restrict__ dout,
                const float* __restrict__ lse_log2, const float* __restrict__ delta, unsigned short* __restrict__ dq, int S,
                int Hq, int Hkv, int padded, float scale) {
  extern __shared__ __align__(128) unsigned char memory[];
  Shared<D>& shared = *reinterpret_cast<Shared<D>*>(memory);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, h = blockIdx.y;
  const int first = (gridDim.x - 1 - blockIdx.x) * ROWS;  // the last queries see the most keys: they start first
  const long long b = blockIdx.z, q_stride = (long long)Hq * D, k_stride = (long long)Hkv * D;
  const long long q_head = (b * S * Hq + h) * D, k_head = (b * S * Hkv + h / (Hq / Hkv)) * D;
  const int count = (min(first + ROWS, S) + PASSING - 1) / PASSING;

  const auto load = [&](int n) {
    const long long from = k_head + n * PASSING * k_stride;
    load_tile(shared.a[n & 1], k + from, k_stride, S - n * PASSING);
    load_tile(shared.b[n & 1], v + from, k_stride, S - n * PASSING);
  };
  load_tile(shared.own_a, q + q_head + first * q_stride, q_stride, S - first);
  load_tile(shared.own_b, dout + q_head + first * q_stride, q_stride, S - first);
  load(0);
  ptx::cp_async_commit();

  const int query = first + warp * 16 + lane / 4;  // and the one eight further
  const long long statistics = (b * Hq + h) * padded + query;
  const float lse_of[2] = {lse_log2[statistics], lse_log2[statistics + 8]};
  const float delta_of[2] = {delta[statistics], delta[statistics + 8]};
  float acc[D / 8][4] = {}, s[PASSING / 8][4], ds[PASSING / 8][4];
  for (int n = 0; n < count; ++n) {
    const int stage = n & 1, at = n * PASSING;
    if (n + 1 < count) load(n + 1);
    ptx::cp_async_commit();
    ptx::cp_async_wait<1>();
    __syncthreads();  // tile n is here
    multiply<D>(s, shared.own_a, shared.a[stage], warp, lane);
    multiply<D>(ds, shared.own_b, shared.b[stage], warp, lane);
    const bool is_diagonal = at + PASSING > first + 1;
#pragma unroll
    for (int c = 0; c < PASSING / 8; ++c) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        float p = ptx::ex2(fmaf(s[c][e], scale * 1.44269504f, -lse_of[e / 2]));
        if (is_diagonal && at + c * 8 + (lane & 3) * 2 + e % 2 > query + e / 2 * 8) p = 0;
        ds[c][e] = p * (ds[c][e] - delta_of[e / 2]);
      }
    }
    accumulate<D>(acc, ds, shared.a[stage], lane);
    __syncthreads();  // nobody reads tile n any more
  }
  store<D>(dq + q_head + query * q_stride, acc, q_stride, S - query, lane, scale);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 64 || p.D == 128, "D must be 64 or 128")) return;
  const bool is_narrow = p.D == 64;
  const int padded = kl::round_up(p.S, PAD), tiles = kl::cdiv(p.S, ROWS);
  auto lse_log2 = plan.workspace(kl::f32, (long long)p.B * p.Hq * padded);
  auto delta = plan.workspace(kl::f32, (long long)p.B * p.Hq * padded);
  const auto shared = is_narrow ? sizeof(Shared<64>) : sizeof(Shared<128>);
  plan.launch(is_narrow ? "prepare<64>" : "prepare<128>").grid(padded / 4, p.Hq, p.B).block(128)
      .arg(p.o).arg(p.dout).arg(p.lse).arg(lse_log2).arg(delta).arg(p.S).arg(p.Hq).arg(padded);
  plan.launch(is_narrow ? "key_gradients<64>" : "key_gradients<128>").grid(tiles, p.Hkv, p.B).block(WARPS * 32)
      .shared(shared).arg(p.q).arg(p.k).arg(p.v).arg(p.dout).arg(lse_log2).arg(delta).arg(p.dk).arg(p.dv).arg(p.S)
      .arg(p.Hq).arg(p.Hkv).arg(padded).arg(p.scale);
  plan.launch(is_narrow ? "query_gradients<64>" : "query_gradients<128>").grid(tiles, p.Hq, p.B).block(WARPS * 32)
      .shared(shared).arg(p.q).arg(p.k).arg(p.v).arg(p.dout).arg(lse_log2).arg(delta).arg(p.dq).arg(p.S).arg(p.Hq)
      .arg(p.Hkv).arg(padded).arg(p.scale);
}
