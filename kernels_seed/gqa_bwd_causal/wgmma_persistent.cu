// SPDX-License-Identifier: Apache-2.0
// Backward of causal attention on wgmma and TMA: q, o, dout, dq [B, S, Hq, D], k, v, dk, dv [B, S, Hkv, D] (bf16), lse
// [B, S, Hq]. With s = scale q k, p = exp(s - lse), delta = dout . o and dp = dout . v:
//   dv = sum p dout,  dk = scale sum p (dp - delta) q,  dq = scale sum p (dp - delta) k.
//
// Technique (FlashAttention-3): a unit of work is 128 keys of one key-value head, 64 to each of two consumer
// warpgroups, and all queries that see them, of the G = Hq / Hkv heads, tile by tile, which a producer thread loads by
// TMA. Scores are computed transposed, so that the probabilities of a warpgroup's keys are the A operand of its dv and
// dk, which stay in registers to the end. Exponentials run under the product for dp, at D = 128 the gradient of the
// scores under the one for dv, and the next scores are under way before dq is sent off. The gradient of the scores
// crosses shared memory once, for dq, of which each warpgroup computes a half; with LAG it does so a step later, so
// that the two need not meet. dq is summed in float in global memory by bulk reductions, in the order of the
// registers: its last bits may differ from run to run. Blocks are persistent and take units from a common counter, the
// longest of a few heads first. Two small kernels go before (delta, sums cleared) and after (dq to bf16).
//
// Ladder (H100, speed beside cuDNN's at the bench shapes 8k, 4k, 16k and D = 64; medians of 8 to 36 rounds):
//   naive.cu      one warp per query and per key, scalar products
//   mma_sync.cu   tensor cores by mma.sync, nothing summed over blocks, seven products instead of five: 0.31, 0.34,
//                 0.31, 0.35
//   this file     wgmma with transposed scores, TMA, warp specialisation: 1.07, 1.03, 1.01, 1.30, that is 572, 464,
//                 542 and 538 TFLOP/s. On the way: one block per unit, dq by vector reductions 0.93, 0.87, 0.90, 1.16;
//                 by bulk reductions 0.99, 0.90, 0.95, 1.26; persistent blocks and few heads at a time the rest.
//                 Three stages cost 0 to 11 %, LAG = 0 up to 9 %, 64 queries at D = 64 23 %
//   left to do    sums of dq cleared and converted while others multiply, clusters that share queries

// tune: QUERIES_64 = 128 | 64
// tune: STAGES = 2 | 3
// tune: LAG = 1 | 0
// tune: ORDER = 1 | 0 | 2
// tune: HEADS = 2 | 4 | 8 | 16

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int KEYS = 128, CONSUMERS = 2;
constexpr int HALF = 64;  // channels that one TMA box and one swizzle span hold; queries of one half of dq
constexpr float LOG2E = 1.44269504f;
constexpr int ALONE = 1;  // named barriers of one consumer each

/// Everything that depends on the head dimension.
template <int D>
struct Config {
  static constexpr int QUERIES = D == 64 ? QUERIES_64 : 64;
  static constexpr int BLOCKS = QUERIES / 64;                      // of 64 queries
  static constexpr int DQ = 64 * BLOCKS * D / CONSUMERS / 128;     // floats of dq that a thread holds
  static constexpr int DQ_CHANNELS = DQ * 2;                       // of 64 queries, by one consumer
  static constexpr bool IS_EARLY = QUERIES == 64;  // the product for dv comes before the gradient of the scores
};

template <int D>
struct alignas(1024) Shared {
  using C = Config<D>;
  unsigned short k[D / HALF][KEYS][HALF], v[D / HALF][KEYS][HALF];
  unsigned short q[STAGES][D / HALF][C::QUERIES][HALF], dout[STAGES][D / HALF][C::QUERIES][HALF];
  unsigned short ds[2][C::BLOCKS][KEYS][64];  // gradient of the scores, transposed
  float4 out[CONSUMERS][C::DQ / 4][128];  // what leaves: a consumer's share of dq, in the end its dk and dv
  float lse[STAGES][C::QUERIES], delta[STAGES][C::QUERIES];
  int unit;  // whose keys are in k; beyond the last: the end
  uint64_t kv_full, kv_empty, q_full[STAGES], dout_full[STAGES], empty[STAGES], ds_full[2], ds_empty[2];
};

/// Sizes; `group` is Hq / Hkv, `padded` is S in whole tiles of queries, `last_group` where the last group of heads begins.
struct Shape {
  int B, S, Hq, Hkv, group, padded, last_group;
};

/// 128 keys of one key-value head, and the tiles of queries that see any of them.
struct Work {
  int b, hk, first_key, first_tile, tiles;
};

/// Unit number `index`. They come in groups of heads, whose queries and sums of dq blocks share in L2; within a group the
/// first keys, seen by most, first. The last group is wide enough for its long units to end with the others. False beyond
/// the last.
template <int D>
__device__ __forceinline__ bool find_work(Work& work, const Shape& shape, int index) {
  constexpr int QUERIES = Config<D>::QUERIES;
  const int key_tiles = (shape.S + KEYS - 1) / KEYS, heads = shape.B * shape.Hkv;
  if (index >= key_tiles * heads) return false;
  const int begin = min(index / (HEADS * key_tiles) * HEADS, shape.last_group);
  const int width = begin == shape.last_group ? heads - begin : HEADS;
  const int within = index - begin * key_tiles, head = begin + within % width;
  work.b = head / shape.Hkv;
  work.hk = head % shape.Hkv;
  work.first_key = within / width * KEYS;
  work.first_tile = work.first_key / QUERIES;
  work.tiles = shape.padded / QUERIES - work.first_tile;
  return true;
}

/// The tile of queries that a step takes, of one of the unit's query heads. With ORDER 0 head after head from the queries
/// on that see the first key, with 1 from the last queries on; with 2 all heads of a tile before the one before it, those
/// of neighbouring keys beginning with another head.
template <int D>
struct Walk {
  static constexpr int STEP = ORDER == 0 ? Config<D>::QUERIES : -Config<D>::QUERIES;
  int query, head, limit;  // the first head of a tile, or the first query of a head

  __device__ __forceinline__ Walk(const Work& work, const Shape& shape) {
    const int low = work.first_tile * Config<D>::QUERIES, high = shape.padded - Config<D>::QUERIES;
    query = ORDER == 0 ? low : high;
    head = ORDER == 2 ? work.first_key / KEYS % shape.group : 0;
    limit = ORDER == 2 ? head : low;
  }
  __device__ __forceinline__ void next(const Shape& shape) {
    if (ORDER == 2) {
      if (++head == shape.group) head = 0;
      if (head == limit) query += STEP;
      return;
    }
    const int high = shape.padded - Config<D>::QUERIES, first = ORDER == 0 ? limit : high, last = ORDER == 0 ? high : limit;
    if (query == last) {
      query = first, ++head;
    } else {
      query += STEP;
    }
  }
};

/// Which units are taken: `next` counts those beyond the first of every block, `done` the blocks that found no more.
/// The last of them leaves both zero.
struct Progress {
  int next, done;
};

/// delta = dout . o and lse in base-2 units per query, [B, Hq, padded], such that queries beyond S get no weight; clears
/// the sums of dq. D / 8 lanes hold a row.
template <int D>
__global__ void __launch_bounds__(256)
backward_prepare(const unsigned short* __restrict__ o, const unsigned short* __restrict__ dout,
                 const float* __restrict__ lse, float* __restrict__ delta, float* __restrict__ lse_log2,
                 float4* __restrict__ dq_sum, int S, int Hq, int padded, long long rows) {
  constexpr int LANES = D / 8;
  const int lane = threadIdx.x % LANES;
  const long long row = (long long)blockIdx.x * (256 / LANES) + threadIdx.x / LANES;  // b, s, h
  if (row >= rows) return;  // all lanes of a warp or none: rows is a multiple of 64
  const int h = (int)(row % Hq), s = (int)(row / Hq % padded);
  const long long b = row / Hq / padded, at = (b * S + s) * Hq + h, to = (b * Hq + h) * padded + s;
  float sum = 0;
  if (s < S) {
    const uint4 x = reinterpret_cast<const uint4*>(o + at * D)[lane];
    const uint4 y = reinterpret_cast<const uint4*>(dout + at * D)[lane];
    const unsigned a[4] = {x.x, x.y, x.z, x.w}, c[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      sum += ptx::low_bf16(a[i]) * ptx::low_bf16(c[i]) + ptx::high_bf16(a[i]) * ptx::high_bf16(c[i]);
    }
  }
  dq_sum[row * (D / 4) + lane] = dq_sum[row * (D / 4) + LANES + lane] = make_float4(0, 0, 0, 0);
#pragma unroll
  for (int step = LANES / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if (lane == 0) {
    delta[to] = sum;
    lse_log2[to] = s < S ? lse[at] * LOG2E : INFINITY;
  }
}

/// Fills the rings; one thread.
template <int D>
__device__ __forceinline__ void produce(Shared<D>& shared, const CUtensorMap* q, const CUtensorMap* k,
                                        const CUtensorMap* v, const CUtensorMap* dout, const float* delta,
                                        const float* lse, Progress* progress, const Shape& shape) {
  constexpr int QUERIES = Config<D>::QUERIES;
  int step = 0, index = blockIdx.x;
  for (int round = 0;; ++round) {
    Work work;
    const bool is_work = find_work<D>(work, shape, index);
    ptx::mbarrier_wait(&shared.kv_empty, (round & 1) ^ 1);
    shared.unit = index;
    if (!is_work) {
      ptx::mbarrier_arrive(&shared.kv_full);
      break;
    }
    ptx::mbarrier_arrive_expect(&shared.kv_full, sizeof(shared.k) + sizeof(shared.v));
    for (int half = 0; half < D / HALF; ++half) {
      ptx::tma_load_4d(shared.k[half], k, &shared.kv_full, half * HALF, work.first_key, work.hk, work.b);
      ptx::tma_load_4d(shared.v[half], v, &shared.kv_full, half * HALF, work.first_key, work.hk, work.b);
    }
    Walk<D> walk(work, shape);
    for (int left = shape.group * work.tiles; left > 0; --left, ++step) {
      const int stage = step % STAGES;
      ptx::mbarrier_wait(&shared.empty[stage], (step / STAGES & 1) ^ 1);
      const int h = work.hk * shape.group + walk.head, row = (work.b * shape.Hq + h) * shape.padded + walk.query;
      ptx::mbarrier_arrive_expect(&shared.q_full[stage], sizeof(shared.q[0]) + sizeof(shared.lse[0]));
      for (int half = 0; half < D / HALF; ++half) {
        ptx::tma_load_4d(shared.q[stage][half], q, &shared.q_full[stage], half * HALF, walk.query, h, work.b);
      }
      ptx::bulk_load(shared.lse[stage], lse + row, sizeof(shared.lse[0]), &shared.q_full[stage]);
      ptx::mbarrier_arrive_expect(&shared.dout_full[stage], sizeof(shared.dout[0]) + sizeof(shared.delta[0]));
      for (int half = 0; half < D / HALF; ++half) {
        ptx::tma_load_4d(shared.dout[stage][half], dout, &shared.dout_full[stage], half * HALF, walk.query, h, work.b);
      }
      ptx::bulk_load(shared.delta[stage], delta + row, sizeof(shared.delta[0]), &shared.dout_full[stage]);
      walk.next(shape);
    }
    index = gridDim.x + atomicAdd(&progress->next, 1);  // the consumers are busy with what has been loaded
  }
  __threadfence();  // this block's counting comes before the reset by the last one
  if (atomicAdd(&progress->done, 1) == gridDim.x - 1) progress->next = progress->done = 0;
}

/// A descriptor `bytes` further on. Adding keeps what all steps share in few registers.
__device__ __forceinline__ uint64_t advance(uint64_t descriptor, uint32_t bytes) { return descriptor + (bytes >> 4); }

/// s = 64 keys (or values) x QUERIES queries (or dout): both K-major, halves of 64 channels, rows of 128 bytes.
template <int D, int QUERIES>
__device__ __forceinline__ void multiply_transposed(float (&s)[QUERIES / 2], uint64_t keys, uint32_t queries) {
  const uint64_t b = ptx::wgmma_descriptor(queries);
#pragma unroll
  for (int i = 0; i < D / 16; ++i) {
    const uint32_t half = i * 16 / HALF, within = i * 16 % HALF * 2;
    ptx::wgmma_bf16_ss(s, advance(keys, half * KEYS * 128 + within), advance(b, half * QUERIES * 128 + within), i != 0);
  }
}

/// sum += p x, for 64 keys x QUERIES queries in registers and QUERIES queries x D channels in shared memory.
template <int D, int QUERIES>
__device__ __forceinline__ void accumulate(float (&sum)[D / 2], const uint32_t (&p)[QUERIES / 16][4], uint32_t x) {
  const uint64_t b = ptx::wgmma_descriptor(x, QUERIES * 128);
#pragma unroll
  for (int i = 0; i < QUERIES / 16; ++i) ptx::wgmma_bf16_rs<true>(sum, p[i], advance(b, i * 2048), true);
}

/// dq of 64 queries from all keys of the block: the gradient of the scores is the transposed A operand.
template <int DQ>
__device__ __forceinline__ void multiply_dq(float (&dq)[DQ], uint32_t ds, uint64_t k) {
  const uint64_t a = ptx::wgmma_descriptor(ds, KEYS * 128);
#pragma unroll
  for (int i = 0; i < KEYS / 16; ++i) {
    ptx::wgmma_bf16_ss<true, true>(dq, advance(a, i * 2048), advance(k, i * 2048), i != 0);
  }
}

/// Scores to probabilities, in place. A lane's keys are `key` and key + 8; its queries are pairs, eight apart.
template <bool is_masked, int QUERIES>
__device__ __forceinline__ void probabilities(float (&s)[QUERIES / 2], const float* lse, float scale_log2, int key,
                                              int first_query) {
  const int column = threadIdx.x % 4 * 2;
#pragma unroll
  for (int j = 0; j < QUERIES / 8; ++j) {
    const float2 offset = *reinterpret_cast<const float2*>(lse + j * 8 + column);
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const float weight = ptx::ex2(fmaf(s[j * 4 + r], scale_log2, -(r % 2 == 0 ? offset.x : offset.y)));
      s[j * 4 + r] = is_masked && key + r / 2 * 8 > first_query + j * 8 + column + r % 2 ? 0 : weight;
    }
  }
}

/// Packs pairs of the j-th eight queries as A operands.
template <int N>
__device__ __forceinline__ void pack(uint32_t (&to)[N / 8][4], const float (&from)[N], int j) {
  to[j / 2][j % 2 * 2] = ptx::pack_bf16(from[j * 4], from[j * 4 + 1]);
  to[j / 2][j % 2 * 2 + 1] = ptx::pack_bf16(from[j * 4 + 2], from[j * 4 + 3]);
}

/// dp to the gradient of the scores, for the j-th eight queries.
template <int N>
__device__ __forceinline__ void score_gradient(float (&dp)[N], const float (&p)[N], const float* delta, int j) {
  const float2 offset = *reinterpret_cast<const float2*>(delta + j * 8 + threadIdx.x % 4 * 2);
#pragma unroll
  for (int r = 0; r < 4; ++r) dp[j * 4 + r] = p[j * 4 + r] * (dp[j * 4 + r] - (r % 2 == 0 ? offset.x : offset.y));
}

/// Writes 64 rows of a warpgroup, held as packed accumulators of 64 columns, to swizzled rows of 128 bytes.
__device__ __forceinline__ void store_rows(unsigned short (*to)[64], const uint32_t (*r)[4]) {
  const int lane = threadIdx.x % 32, line = threadIdx.x / 32 % 4 * 16 + lane % 16;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int chunk = (i * 2 + lane / 16) ^ (line % 8);
    ptx::stmatrix_x4(&to[line][chunk * 8], *reinterpret_cast<const uint32_t(*)[4]>(r[i]));
  }
}

/// Waits until what this consumer sent last has left its memory.
template <int D>
__device__ __forceinline__ void begin_sending(int w) {
  if (threadIdx.x % 128 == 0) ptx::tma_store_wait_read<0>();
  ptx::named_barrier_sync(ALONE + w, 128);
}

/// Adds a consumer's share of dq to the sums.
template <int D>
__device__ __forceinline__ void add_dq(Shared<D>& shared, const float (&dq)[Config<D>::DQ], float* to, int w) {
  const int tid = threadIdx.x % 128;
  begin_sending<D>(w);
#pragma unroll
  for (int i = 0; i < Config<D>::DQ / 4; ++i) {
    shared.out[w][i][tid] = make_float4(dq[i * 4], dq[i * 4 + 1], dq[i * 4 + 2], dq[i * 4 + 3]);
  }
  ptx::fence_proxy_async();
  ptx::named_barrier_sync(ALONE + w, 128);  // the share is in place
  if (tid != 0) return;
  ptx::bulk_add_f32(to, shared.out[w], sizeof(shared.out[0]));
  ptx::tma_store_commit();
}

/// dk and dv of this consumer's 64 keys.
template <int D>
struct Gradients {
  float dk[D / 2], dv[D / 2];
};

/// One consumer: its number, where its operands begin and its share of dq's sums, and how many steps it has done.
template <int D>
struct Consumer {
  int w, step;
  uint64_t k_rows, v_rows, k_columns;  // descriptors
  float* dq_sum;
  float scale_log2;
};

/// Scores of a tile, then their probabilities, and dp, then the gradient of the scores.
template <int QUERIES>
struct Tile {
  float p[QUERIES / 2], dp[QUERIES / 2];
};

template <int D, int QUERIES>
__device__ __forceinline__ void exponentiate(Tile<QUERIES>& t, const Consumer<D>& c, const float* lse, int first_key,
                                             int first_query) {
  const int key = first_key + c.w * 64 + threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
  if (first_query < first_key + KEYS) {
    probabilities<true, QUERIES>(t.p, lse, c.scale_log2, key, first_query);
  } else {
    probabilities<false, QUERIES>(t.p, lse, c.scale_log2, key, first_query);
  }
}

/// All tiles of queries. Step n multiplies, in this order: dv(n), dk(n), dq(n - LAG), scores(n + 1), dp(n + 1).
template <int D>
__device__ __forceinline__ void consume(Gradients<D>& sum, Consumer<D>& c, Shared<D>& shared, const Shape& shape,
                                        const Work& work) {
  using C = Config<D>;
  constexpr int QUERIES = C::QUERIES;
  const int end = c.step + shape.group * work.tiles;
  const int first_row = (work.b * shape.Hq + work.hk * shape.group) * shape.padded;  // of dq's sums
  const int block = C::BLOCKS == 2 ? c.w : 0;
  const bool is_leader = threadIdx.x % 128 == 0, is_first_lane = threadIdx.x % 32 == 0;
  Walk<D> walk(work, shape);
  int row = first_row + walk.head * shape.padded + walk.query, last_row = -1, n = c.step;
  Tile<QUERIES> t;
  ptx::mbarrier_wait(&shared.q_full[n % STAGES], n / STAGES & 1);
  ptx::mbarrier_wait(&shared.dout_full[n % STAGES], n / STAGES & 1);
  ptx::wgmma_fence();
  multiply_transposed<D, QUERIES>(t.p, c.k_rows, ptx::smem_address(shared.q[n % STAGES]));
  multiply_transposed<D, QUERIES>(t.dp, c.v_rows, ptx::smem_address(shared.dout[n % STAGES]));
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  exponentiate(t, c, shared.lse[n % STAGES], work.first_key, walk.query);
  for (;; ++n) {
    const int stage = n % STAGES, next = (n + 1) % STAGES, next_parity = (n + 1) / STAGES & 1;
    const int slot = n & 1, from_slot = (n + LAG) & 1;
    uint32_t p[QUERIES / 16][4], ds[QUERIES / 16][4];
#pragma unroll
    for (int j = 0; j < QUERIES / 8; ++j) {
      pack(p, t.p, j);
      if (!C::IS_EARLY) score_gradient(t.dp, t.p, shared.delta[stage], j), pack(ds, t.dp, j);
    }
    ptx::wgmma_fence();
    accumulate<D, QUERIES>(sum.dv, p, ptx::smem_address(shared.dout[stage]));
    ptx::wgmma_commit();
#pragma unroll
    for (int j = 0; j < QUERIES / 8; ++j) {
      if (C::IS_EARLY) score_gradient(t.dp, t.p, shared.delta[stage], j), pack(ds, t.dp, j);
    }
    ptx::mbarrier_wait(&shared.ds_empty[slot], (n - 2 + LAG) >> 1 & 1);
#pragma unroll
    for (int i = 0; i < C::BLOCKS; ++i) store_rows(&shared.ds[slot][i][c.w * 64], ds + i * 4);
    ptx::fence_proxy_async();
    __syncwarp();
    if (is_first_lane) ptx::mbarrier_arrive(&shared.ds_full[slot]);
    ptx::wgmma_fence();
    accumulate<D, QUERIES>(sum.dk, ds, ptx::smem_address(shared.q[stage]));
    ptx::wgmma_commit();

    float dq[C::DQ];
    if (n >= LAG) ptx::mbarrier_wait(&shared.ds_full[from_slot], (n - LAG) >> 1 & 1);
    ptx::wgmma_fence();
    multiply_dq(dq, ptx::smem_address(shared.ds[from_slot][block]), c.k_columns);  // in a unit's first step for nothing
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();  // registers of operands are free for the next scores
    if (is_leader) ptx::mbarrier_arrive(&shared.empty[stage]);
    if (is_first_lane) ptx::mbarrier_arrive(&shared.ds_empty[from_slot]);
    const int sum_row = LAG ? last_row : row;
    if (n + 1 == end) {
      if (sum_row >= 0) add_dq<D>(shared, dq, c.dq_sum + (long long)sum_row * D, c.w);
      break;
    }
    Tile<QUERIES> t_next;  // another one, or old values would be kept for it
    ptx::mbarrier_wait(&shared.q_full[next], next_parity);
    ptx::wgmma_fence();
    multiply_transposed<D, QUERIES>(t_next.p, c.k_rows, ptx::smem_address(shared.q[next]));
    ptx::wgmma_commit();
    if (sum_row >= 0) add_dq<D>(shared, dq, c.dq_sum + (long long)sum_row * D, c.w);
    last_row = row;
    walk.next(shape);
    row = first_row + walk.head * shape.padded + walk.query;

    ptx::mbarrier_wait(&shared.dout_full[next], next_parity);
    ptx::wgmma_fence();
    multiply_transposed<D, QUERIES>(t_next.dp, c.v_rows, ptx::smem_address(shared.dout[next]));
    ptx::wgmma_commit();
    ptx::wgmma_wait<1>();  // the next scores are here
    exponentiate(t_next, c, shared.lse[next], work.first_key, walk.query);
    ptx::wgmma_wait<0>();
    t = t_next;
  }
  if (LAG) {
    float dq[C::DQ];
    ptx::mbarrier_wait(&shared.ds_full[n & 1], n >> 1 & 1);
    ptx::wgmma_fence();
    multiply_dq(dq, ptx::smem_address(shared.ds[n & 1][block]), c.k_columns);
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    add_dq<D>(shared, dq, c.dq_sum + (long long)row * D, c.w);
  }
  c.step = end;
}

/// Sends a gradient of this consumer's 64 keys away.
template <int D>
__device__ __forceinline__ void send(const float (&sum)[D / 2], float factor, Shared<D>& shared, const CUtensorMap* to,
                                     const Work& work, int w) {
  auto* const rows = reinterpret_cast<unsigned short(*)[64][HALF]>(shared.out[w]);
  begin_sending<D>(w);
#pragma unroll
  for (int half = 0; half < D / HALF; ++half) {
    uint32_t packed[4][4];
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      packed[i / 4][i % 4] = ptx::pack_bf16(sum[half * 32 + i * 2] * factor, sum[half * 32 + i * 2 + 1] * factor);
    }
    store_rows(rows[half], packed);
  }
  ptx::fence_proxy_async();
  ptx::named_barrier_sync(ALONE + w, 128);  // the rows of this consumer are in place
  if (threadIdx.x % 128 != 0) return;
  for (int half = 0; half < D / HALF; ++half) {
    ptx::tma_store_4d(to, rows[half], half * HALF, work.first_key + w * 64, work.hk, work.b);
  }
  ptx::tma_store_commit();
}

template <int D>
__global__ void __launch_bounds__((CONSUMERS + 1) * 128, 1)
backward_main(const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap k,
              const __grid_constant__ CUtensorMap v, const __grid_constant__ CUtensorMap dout,
              const __grid_constant__ CUtensorMap dk, const __grid_constant__ CUtensorMap dv,
              const float* __restrict__ delta, const float* __restrict__ lse_log2, float* __restrict__ dq_sum,
              Progress* __restrict__ progress, int B, int S, int Hq, int Hkv, int group, int padded,
              int last_group, float scale) {
  using C = Config<D>;
  extern __shared__ __align__(1024) unsigned char memory[];
  Shared<D>& shared = *reinterpret_cast<Shared<D>*>(memory);
  const Shape shape{B, S, Hq, Hkv, group, padded, last_group};
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(&shared.kv_full, 1);
    ptx::mbarrier_init(&shared.kv_empty, CONSUMERS);
    for (int i = 0; i < STAGES; ++i) {
      ptx::mbarrier_init(&shared.q_full[i], 1);
      ptx::mbarrier_init(&shared.dout_full[i], 1);
      ptx::mbarrier_init(&shared.empty[i], CONSUMERS);
    }
    for (int i = 0; i < 2; ++i) {
      ptx::mbarrier_init(&shared.ds_full[i], CONSUMERS * 4);
      ptx::mbarrier_init(&shared.ds_empty[i], CONSUMERS * 4);
    }
    ptx::fence_mbarrier_init();
  }
  if (LAG) {  // the first step multiplies what lies in the last slot
    for (int i = threadIdx.x; i < (int)sizeof(shared.ds[1]) / 16; i += (CONSUMERS + 1) * 128) {
      reinterpret_cast<uint4*>(shared.ds[1])[i] = make_uint4(0, 0, 0, 0);
    }
  }
  ptx::fence_proxy_async();
  __syncthreads();

  if (threadIdx.x < 128) {
    ptx::register_decrease<24>();
    if (threadIdx.x == 0) produce<D>(shared, &q, &k, &v, &dout, delta, lse_log2, progress, shape);
  } else {
    ptx::register_increase<240>();
    // Of dq a consumer has its own block of queries or its own channels.
    const int w = threadIdx.x / 128 - 1, first_channel = C::BLOCKS == 2 ? 0 : w * C::DQ_CHANNELS;
    Consumer<D> c;
    c.w = w;
    c.step = 0;
    c.k_rows = ptx::wgmma_descriptor(ptx::smem_address(shared.k[0][w * 64]));
    c.v_rows = ptx::wgmma_descriptor(ptx::smem_address(shared.v[0][w * 64]));
    c.k_columns = ptx::wgmma_descriptor(ptx::smem_address(&shared.k[first_channel / HALF][0][first_channel % HALF]), KEYS * 128);
    c.dq_sum = dq_sum + w * (C::DQ * 128);
    c.scale_log2 = scale * LOG2E;
    for (int round = 0;; ++round) {
      ptx::mbarrier_wait(&shared.kv_full, round & 1);
      Work work;
      if (!find_work<D>(work, shape, shared.unit)) break;
      Gradients<D> sum;
#pragma unroll
      for (int i = 0; i < D / 2; ++i) sum.dk[i] = sum.dv[i] = 0;
      consume<D>(sum, c, shared, shape, work);
      if (threadIdx.x % 128 == 0) ptx::mbarrier_arrive(&shared.kv_empty);
      send<D>(sum.dk, scale, shared, &dk, work, w);
      send<D>(sum.dv, 1, shared, &dv, work, w);
    }
    if (threadIdx.x % 128 == 0) ptx::tma_store_wait<0>();
  }
}

/// dq = scale times the sums, from the order of the registers: one block per 64 queries of one head.
template <int D>
__global__ void __launch_bounds__(256)
backward_finish(const float4* __restrict__ dq_sum, unsigned short* __restrict__ dq, int S, int Hq, int padded,
                float scale) {
  constexpr int SHARE = Config<D>::DQ / 4 * 128;  // of one consumer
  __shared__ __align__(16) unsigned short rows[64][D + 8];
  const long long block = blockIdx.x;  // b, h, block of queries
  const int blocks = padded / 64, first = (int)(block % blocks) * 64;
  const long long bh = block / blocks;
#pragma unroll
  for (int i = 0; i < 64 * D / 4 / 256; ++i) {
    const int at = i * 256 + threadIdx.x, tid = at % 128;
    const float4 value = dq_sum[block * (64 * D / 4) + at];
    const int line = tid / 32 * 16 + tid % 32 / 4;
    const int column = at / SHARE * Config<D>::DQ_CHANNELS + at % SHARE / 128 * 8 + tid % 4 * 2;
    *reinterpret_cast<unsigned*>(&rows[line][column]) = ptx::pack_bf16(value.x * scale, value.y * scale);
    *reinterpret_cast<unsigned*>(&rows[line + 8][column]) = ptx::pack_bf16(value.z * scale, value.w * scale);
  }
  __syncthreads();  // the block is in order
#pragma unroll
  for (int i = threadIdx.x; i < 64 * D / 8; i += 256) {
    const int line = i / (D / 8), chunk = i % (D / 8);
    if (first + line >= S) continue;
    const long long row = (bh / Hq * S + first + line) * Hq + bh % Hq;
    *reinterpret_cast<uint4*>(dq + row * D + chunk * 8) = *reinterpret_cast<const uint4*>(&rows[line][chunk * 8]);
  }
}

/// The three launches for head dimension D.
template <int D>
constexpr void plan_for(const Problem& p, kl::Plan& plan, const char* prepare, const char* main, const char* finish) {
  using C = Config<D>;
  const auto& q = plan.tensor_map(p.q, {3, 1, 2, 0}, {HALF, C::QUERIES, 1, 1}, kl::swizzle_128);
  const auto& k = plan.tensor_map(p.k, {3, 1, 2, 0}, {HALF, KEYS, 1, 1}, kl::swizzle_128);
  const auto& v = plan.tensor_map(p.v, {3, 1, 2, 0}, {HALF, KEYS, 1, 1}, kl::swizzle_128);
  const auto& dout = plan.tensor_map(p.dout, {3, 1, 2, 0}, {HALF, C::QUERIES, 1, 1}, kl::swizzle_128);
  const auto& dk = plan.tensor_map(p.dk, {3, 1, 2, 0}, {HALF, 64, 1, 1}, kl::swizzle_128);
  const auto& dv = plan.tensor_map(p.dv, {3, 1, 2, 0}, {HALF, 64, 1, 1}, kl::swizzle_128);
  const int padded = kl::round_up(p.S, C::QUERIES);
  const long long rows = (long long)p.B * p.Hq * padded;
  const auto delta = plan.workspace(kl::f32, rows), lse_log2 = plan.workspace(kl::f32, rows);
  const auto dq_sum = plan.workspace(kl::f32, rows * D);
  const auto progress = plan.workspace(kl::i32, 2, kl::self_clearing);
  // The longest unit takes as many steps as 2 / key_tiles of all units of a head: so many heads keep all blocks as long.
  const int key_tiles = kl::cdiv(p.S, KEYS), heads = p.B * p.Hkv, wide = kl::min(heads, 2 * p.device.sms / key_tiles);
  const int last_group = kl::max(0, kl::min(heads - wide, heads - 1)) / HEADS * HEADS;
  const long long units = (long long)key_tiles * heads;
  plan.launch(prepare).grid(kl::cdiv(rows * D / 8, 256)).block(256)
      .arg(p.o).arg(p.dout).arg(p.lse).arg(delta).arg(lse_log2).arg(dq_sum).arg(p.S).arg(p.Hq).arg(padded).arg(rows);
  plan.launch(main).grid(kl::min(units, (long long)p.device.sms)).block((CONSUMERS + 1) * 128).shared(sizeof(Shared<D>))
      .arg(q).arg(k).arg(v).arg(dout).arg(dk).arg(dv).arg(delta).arg(lse_log2).arg(dq_sum).arg(progress).arg(p.B).arg(p.S)
      .arg(p.Hq).arg(p.Hkv).arg(p.Hq / p.Hkv).arg(padded).arg(last_group).arg(p.scale);
  plan.launch(finish).grid(rows / 64).block(256).arg(dq_sum).arg(p.dq).arg(p.S).arg(p.Hq).arg(padded).arg(p.scale);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (p.D == 64) {
    return plan_for<64>(p, plan, "backward_prepare<64>", "backward_main<64>", "backward_finish<64>");
  }
  if (plan.require(p.D == 128, "D must be 64 or 128")) {
    plan_for<128>(p, plan, "backward_prepare<128>", "backward_main<128>", "backward_finish<128>");
  }
}
