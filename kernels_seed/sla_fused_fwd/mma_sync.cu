// SPDX-License-Identifier: Apache-2.0
// Sparse-linear attention on mma.sync: q, k, v, os, ol [B, S, H, D] (bf16), lut [B, H, S / 64, K], lse [B, S, H].
//
// Technique: five kernels. `features` rounds phi(q) and phi(k) to bf16. `states` sums phi(k)^T v and phi(k) over parts of
// the keys, `total` adds the parts. `sparse` is FlashAttention-2 over the selected blocks. `linear` starts from the
// product of phi(q) with the state of all keys and takes off what the selected blocks contributed, block by block, so
// that no block's state is ever stored: for few selected blocks that is a fraction of the work. What is taken off must
// meet what is in the total: the total and the weights go into their products as two bf16 each, value and rest. The
// products are those of gqa_prefill_causal/mma_sync.cu: operands in registers, cp.async, exchanged 16-byte chunks.
//
// Ladder:
//   naive.cu    one warp per query, every key visited by every query
//   this file   tensor cores by mma.sync; the keys that are not selected cost one state per head; from sm_80 on

// tune: WARPS = 4 | 2
// tune: KEYS = 64 | 32
// tune: PART = 1024 | 512 | 2048

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int QUERIES = WARPS * 16, BLOCK = 64;
static_assert(BLOCK % QUERIES == 0 && BLOCK % KEYS == 0 && PART % KEYS == 0, "tiles must not cross blocks");
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

/// phi of every query and key, by one warp each.
template <int D>
__global__ void __launch_bounds__(128)
features(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k, unsigned short* __restrict__ phi_q,
         unsigned short* __restrict__ phi_k, long long rows) {
  constexpr int PAIRS = D / 64;  // of channels, in a lane
  const int lane = threadIdx.x % 32;
  const long long row = (long long)blockIdx.x * 4 + threadIdx.x / 32;
  if (row >= 2 * rows) return;
  const bool is_query = row < rows;
  const long long at = (is_query ? row : row - rows) * D;
  const unsigned* const from = reinterpret_cast<const unsigned*>((is_query ? q : k) + at);
  unsigned* const to = reinterpret_cast<unsigned*>((is_query ? phi_q : phi_k) + at);
  float x[PAIRS * 2], top = -INFINITY, sum = 0;
#pragma unroll
  for (int c = 0; c < PAIRS; ++c) {
    const unsigned pair = from[c * 32 + lane];
    x[c * 2] = ptx::low_bf16(pair);
    x[c * 2 + 1] = ptx::high_bf16(pair);
    top = fmaxf(top, fmaxf(x[c * 2], x[c * 2 + 1]));
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, step));
#pragma unroll
  for (int c = 0; c < PAIRS * 2; ++c) sum += x[c] = ptx::ex2((x[c] - top) * 1.44269504f);
#pragma unroll
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
#pragma unroll
  for (int c = 0; c < PAIRS; ++c) to[c * 32 + lane] = ptx::pack_bf16(x[c * 2] / sum, x[c * 2 + 1] / sum);
}

/// phi(k)^T v of keys part * PART onwards: rows are channels of phi(k), 16 a warp; and the sum of phi(k).
template <int D>
__global__ void __launch_bounds__(D * 2)
states(const unsigned short* __restrict__ phi_k, const unsigned short* __restrict__ v, float* __restrict__ parts,
       float* __restrict__ part_sums, int S, int H) {
  __shared__ __align__(128) uint4 tile_k[KEYS][D / 8], tile_v[KEYS][D / 8];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, h = blockIdx.y, first = blockIdx.x * PART;
  const long long b = blockIdx.z, stride = (long long)H * D, head = (b * S * H + h) * D;
  const int end = min(first + PART, S);
  float acc[D / 8][4] = {}, sum = 0;
  for (int at = first; at < end; at += KEYS) {
#pragma unroll
    for (int i = threadIdx.x; i < KEYS * D / 8; i += D * 2) {
      const int row = i / (D / 8), chunk = i % (D / 8);
      const bool is_valid = at + row < end;
      const long long from = head + (is_valid ? (at + row) * stride + chunk * 8 : 0);
      ptx::cp_async_16(&tile_k[row][place(row, chunk)], phi_k + from, is_valid);
      ptx::cp_async_16(&tile_v[row][place(row, chunk)], v + from, is_valid);
    }
    ptx::cp_async_commit();
    ptx::cp_async_wait<0>();
    __syncthreads();  // the tile is here
    if (threadIdx.x < D) {
      const int chunk = threadIdx.x / 8;
      for (int row = 0; row < KEYS; ++row) {
        const unsigned short* const of = reinterpret_cast<const unsigned short*>(&tile_k[row][place(row, chunk)]);
        sum += __uint_as_float((unsigned)of[threadIdx.x % 8] << 16);
      }
    }
#pragma unroll
    for (int step = 0; step < KEYS / 16; ++step) {
      // A is phi(k) transposed: its four 8 x 8 parts are keys 0-7 and 8-15 of channels 0-7 and 8-15, turned.
      const int row_a = step * 16 + (lane & 7) + (lane >> 4) * 8, chunk_a = warp * 2 + ((lane >> 3) & 1);
      unsigned a[4];
      ptx::ldmatrix_x4_trans(a, &tile_k[row_a][place(row_a, chunk_a)]);
#pragma unroll
      for (int pair = 0; pair < D / 16; ++pair) {
        const int row = step * 16 + (lane & 15), chunk = pair * 2 + (lane >> 4);
        unsigned b_pair[4];
        ptx::ldmatrix_x4_trans(b_pair, &tile_v[row][place(row, chunk)]);
        ptx::mma_bf16(acc[pair * 2], a, b_pair[0], b_pair[1]);
        ptx::mma_bf16(acc[pair * 2 + 1], a, b_pair[2], b_pair[3]);
      }
    }
    __syncthreads();  // nobody reads the tile any more
  }
  const long long part = (b * H + h) * gridDim.x + blockIdx.x;
  float* const to = parts + part * D * D + (warp * 16 + lane / 4) * D + (lane & 3) * 2;
#pragma unroll
  for (int c = 0; c < D / 8; ++c) {
    *reinterpret_cast<float2*>(to + c * 8) = {acc[c][0], acc[c][1]};
    *reinterpret_cast<float2*>(to + 8 * D + c * 8) = {acc[c][2], acc[c][3]};
  }
  if (threadIdx.x < D) part_sums[part * D + threadIdx.x] = sum;
}

__device__ __forceinline__ unsigned short rounded(float x) { return (unsigned short)ptx::pack_bf16(x, 0.0f); }

/// Adds the parts of a head; the state is written as two bf16, value and rest.
extern "C" __global__ void __launch_bounds__(256)
total(const float* __restrict__ parts, const float* __restrict__ part_sums, unsigned short* __restrict__ state,
      unsigned short* __restrict__ rest, float* __restrict__ state_sum, int count, int D) {
  const long long head = blockIdx.y;
  const int at = blockIdx.x * 256 + threadIdx.x;
  if (at < D * D) {
    float value = 0;
    for (int part = 0; part < count; ++part) value += parts[(head * count + part) * D * D + at];
    const unsigned short high = rounded(value);
    state[head * D * D + at] = high;
    rest[head * D * D + at] = rounded(value - __uint_as_float((unsigned)high << 16));
  }
  if (at < D) {
    float value = 0;
    for (int part = 0; part < count; ++part) value += part_sums[(head * count + part) * D + at];
    state_sum[head * D + at] = value;
  }
}

/// Walks the tiles of a list's blocks.
struct Walk {
  const int* blocks;
  int count, S;
  int at = 0;

  /// The first key of the next tile, or -1.
  __device__ __forceinline__ int next() {
    constexpr int PER_BLOCK = BLOCK / KEYS;
    while (at < count) {
      const int block = blocks[at / PER_BLOCK], first = (block * PER_BLOCK + at % PER_BLOCK) * KEYS;
      ++at;
      if (block >= 0 && first < S) return first;
    }
    return -1;
  }
};

/// Where a block of the two attention kernels works.
template <int D>
struct Tile {
  int first, h, lane, warp;
  long long b, stride, head;
  Walk walk;

  __device__ __forceinline__ Tile(const int* lut, int S, int H, int K)
      : first(blockIdx.x * QUERIES), h(blockIdx.y), lane(threadIdx.x % 32), warp(threadIdx.x / 32), b(blockIdx.z),
        stride((long long)H * D), head((b * S * H + h) * D),
        walk{lut + ((b * H + h) * ((S + BLOCK - 1) / BLOCK) + first / BLOCK) * K, K * (BLOCK / KEYS), S} {}
};

/// A operands of the warp's 16 rows.
template <int D>
__device__ __forceinline__ void load_operand(unsigned (&a)[D / 16][4], const uint4 (&q)[QUERIES][D / 8], int warp, int lane) {
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
    const int row = warp * 16 + (lane & 15);
    ptx::ldmatrix_x4(a[step], &q[row][place(row, step * 2 + (lane >> 4))]);
  }
}

/// Writes rows of 16 queries, each times a factor of its own.
template <int D>
__device__ __forceinline__ void store(unsigned short* __restrict__ o, const float (&acc)[D / 8][4], long long row, int half,
                                      int lane, float factor) {
#pragma unroll
  for (int c = 0; c < D / 8; ++c) {
    const unsigned pair = ptx::pack_bf16(acc[c][half * 2] * factor, acc[c][half * 2 + 1] * factor);
    *reinterpret_cast<unsigned*>(o + row * D + c * 8 + (lane & 3) * 2) = pair;
  }
}

template <int D>
__global__ void __launch_bounds__(WARPS * 32, 8 / WARPS)
sparse(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k, const unsigned short* __restrict__ v,
       const int* __restrict__ lut, unsigned short* __restrict__ os, float* __restrict__ lse, int S, int H, int K,
       float scale_log2) {
  extern __shared__ __align__(128) unsigned char memory[];
  Shared<D>& shared = *reinterpret_cast<Shared<D>*>(memory);
  Tile<D> my(lut, S, H, K);
  const int lane = my.lane;
  load_tile(shared.q, q + my.head + my.first * my.stride, my.stride, S - my.first);
  int at = my.walk.next();
  if (at >= 0) load_tile(shared.k, k + my.head + at * my.stride, my.stride, S - at);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  __syncthreads();  // queries and the first keys are here

  unsigned a[D / 16][4];
  load_operand<D>(a, shared.q, my.warp, lane);
  float s[KEYS / 8][4], acc[D / 8][4] = {}, max[2] = {LOWEST, LOWEST}, sum[2] = {0, 0};
  while (at >= 0) {
    load_tile(shared.v, v + my.head + at * my.stride, my.stride, S - at);
    ptx::cp_async_commit();
    const int next = my.walk.next();
    multiply_keys<D>(s, a, shared.k, lane);
    if (at + KEYS > S) {
#pragma unroll
      for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if (at + n * 8 + (lane & 3) * 2 + e % 2 >= S) s[n][e] = -INFINITY;
        }
      }
    }
    softmax<D>(s, max, sum, acc, scale_log2);
    ptx::cp_async_wait<0>();
    __syncthreads();  // the values are here, and nobody reads the keys any more
    if (next >= 0) load_tile(shared.k, k + my.head + next * my.stride, my.stride, S - next);
    ptx::cp_async_commit();
    multiply_values<D>(acc, s, shared.v, lane);
    ptx::cp_async_wait<0>();
    __syncthreads();  // the next keys are here, and nobody reads the values any more
    at = next;
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float whole = sum[half] + __shfl_xor_sync(0xffffffffu, sum[half], 1);
    whole += __shfl_xor_sync(0xffffffffu, whole, 2);
    const int i = my.first + my.warp * 16 + lane / 4 + half * 8;
    if (i >= S) continue;
    const long long row = (my.b * S + i) * H + my.h;
    store<D>(os, acc, row, half, lane, whole > 0 ? 1.0f / whole : 0.0f);
    if ((lane & 3) == 0) lse[row] = whole > 0 ? max[half] * scale_log2 * 0.69314718056f + logf(whole) : -INFINITY;
  }
}

/// What rounding to bf16 takes from each of a tile's weights.
__device__ __forceinline__ void keep_rest(float (&s)[KEYS / 8][4]) {
#pragma unroll
  for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; e += 2) {
      const unsigned pair = ptx::pack_bf16(s[n][e], s[n][e + 1]);
      s[n][e] -= ptx::low_bf16(pair);
      s[n][e + 1] -= ptx::high_bf16(pair);
    }
  }
}

template <int D>
__global__ void __launch_bounds__(WARPS * 32, 8 / WARPS)
linear(const unsigned short* __restrict__ phi_q, const unsigned short* __restrict__ phi_k,
       const unsigned short* __restrict__ v, const int* __restrict__ lut, const unsigned short* __restrict__ state,
       const unsigned short* __restrict__ rest, const float* __restrict__ state_sum, unsigned short* __restrict__ ol, int S,
       int H, int K) {
  extern __shared__ __align__(128) unsigned char memory[];
  Shared<D>& shared = *reinterpret_cast<Shared<D>*>(memory);
  Tile<D> my(lut, S, H, K);
  const int lane = my.lane;
  const long long head_of_state = (my.b * H + my.h) * D;
  load_tile(shared.q, phi_q + my.head + my.first * my.stride, my.stride, S - my.first);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  __syncthreads();  // phi(q) is here

  unsigned a[D / 16][4];
  load_operand<D>(a, shared.q, my.warp, lane);
  float s[KEYS / 8][4], acc[D / 8][4] = {}, sum[2] = {0, 0};
  // phi(q) times the sum of phi(k): each lane has four columns of each step.
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
#pragma unroll
    for (int part = 0; part < 4; ++part) {
      const float* const of = state_sum + head_of_state + step * 16 + part / 2 * 8 + (lane & 3) * 2;
      sum[part % 2] += ptx::low_bf16(a[step][part]) * of[0] + ptx::high_bf16(a[step][part]) * of[1];
    }
  }
  // phi(q) times the state, KEYS channels of phi(k) at a time, which stand where values stand later.
#pragma unroll
  for (int part = 0; part < 2; ++part) {
#pragma unroll
    for (int at = 0; at < D; at += KEYS) {
      load_tile(shared.v, (part == 0 ? state : rest) + (head_of_state + at) * D, D, KEYS);
      ptx::cp_async_commit();
      ptx::cp_async_wait<0>();
      __syncthreads();  // these channels of the state are here
#pragma unroll
      for (int step = 0; step < KEYS / 16; ++step) {
#pragma unroll
        for (int pair = 0; pair < D / 16; ++pair) {
          const int row = step * 16 + (lane & 15), chunk = pair * 2 + (lane >> 4);
          unsigned b[4];
          ptx::ldmatrix_x4_trans(b, &shared.v[row][place(row, chunk)]);
          ptx::mma_bf16(acc[pair * 2], a[at / 16 + step], b[0], b[1]);
          ptx::mma_bf16(acc[pair * 2 + 1], a[at / 16 + step], b[2], b[3]);
        }
      }
      __syncthreads();  // nobody reads the state any more
    }
  }

  int at = my.walk.next(), selected = 0;
  if (at >= 0) load_tile(shared.k, phi_k + my.head + at * my.stride, my.stride, S - at);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  __syncthreads();  // the first keys are here
  while (at >= 0) {
    selected += min(KEYS, S - at);
    load_tile(shared.v, v + my.head + at * my.stride, my.stride, S - at);
    ptx::cp_async_commit();
    const int next = my.walk.next();
    multiply_keys<D>(s, a, shared.k, lane);  // keys beyond S have no features: their weights are 0
#pragma unroll
    for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        s[n][e] = -s[n][e];
        if (e < 2) sum[0] += s[n][e]; else sum[1] += s[n][e];
      }
    }
    ptx::cp_async_wait<0>();
    __syncthreads();  // the values are here, and nobody reads the keys any more
    if (next >= 0) load_tile(shared.k, phi_k + my.head + next * my.stride, my.stride, S - next);
    ptx::cp_async_commit();
    multiply_values<D>(acc, s, shared.v, lane);
    keep_rest(s);
    multiply_values<D>(acc, s, shared.v, lane);
    ptx::cp_async_wait<0>();
    __syncthreads();  // the next keys are here, and nobody reads the values any more
    at = next;
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float whole = sum[half] + __shfl_xor_sync(0xffffffffu, sum[half], 1);
    whole += __shfl_xor_sync(0xffffffffu, whole, 2);
    const int i = my.first + my.warp * 16 + lane / 4 + half * 8;
    if (i >= S) continue;
    const long long row = (my.b * S + i) * H + my.h;
    store<D>(ol, acc, row, half, lane, selected < S ? 1.0f / whole : 0.0f);  // nothing is left where all is selected
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 64 || p.D == 128, "D must be 64 or 128")) return;
  const bool is_narrow = p.D == 64;
  const long long rows = (long long)p.B * p.S * p.H, heads = (long long)p.B * p.H, state_size = heads * p.D * p.D;
  const int parts = kl::cdiv(p.S, PART);
  auto phi_q = plan.workspace(kl::bf16, rows * p.D), phi_k = plan.workspace(kl::bf16, rows * p.D);
  auto part_states = plan.workspace(kl::f32, parts * state_size), part_sums = plan.workspace(kl::f32, parts * heads * p.D);
  auto state = plan.workspace(kl::bf16, state_size), rest = plan.workspace(kl::bf16, state_size);
  auto state_sum = plan.workspace(kl::f32, heads * p.D);
  const auto shared = is_narrow ? sizeof(Shared<64>) : sizeof(Shared<128>);
  plan.launch(is_narrow ? "features<64>" : "features<128>").grid(kl::cdiv(2 * rows, 4)).block(128)
      .arg(p.q).arg(p.k).arg(phi_q).arg(phi_k).arg(rows);
  plan.launch(is_narrow ? "states<64>" : "states<128>").grid(parts, p.H, p.B).block(p.D * 2)
      .arg(phi_k).arg(p.v).arg(part_states).arg(part_sums).arg(p.S).arg(p.H);
  plan.launch("total").grid(kl::cdiv(p.D * p.D, 256), heads).block(256)
      .arg(part_states).arg(part_sums).arg(state).arg(rest).arg(state_sum).arg(parts).arg(p.D);
  plan.launch(is_narrow ? "sparse<64>" : "sparse<128>").grid(kl::cdiv(p.S, QUERIES), p.H, p.B).block(WARPS * 32)
      .shared(shared).arg(p.q).arg(p.k).arg(p.v).arg(p.lut).arg(p.os).arg(p.lse).arg(p.S).arg(p.H).arg(p.K)
      .arg(p.scale * 1.44269504f);
  plan.launch(is_narrow ? "linear<64>" : "linear<128>").grid(kl::cdiv(p.S, QUERIES), p.H, p.B).block(WARPS * 32)
      .shared(shared).arg(phi_q).arg(phi_k).arg(p.v).arg(p.lut).arg(state).arg(rest).arg(state_sum).arg(p.ol).arg(p.S)
      .arg(p.H).arg(p.K);
}
