// SPDX-License-Identifier: Apache-2.0
// Causal attention on wgmma and TMA: q [B, Sq, Hq, D] over k, v [B, Sk, Hkv, D] (bf16), with lse [B, Sq, Hq].
//
// Technique (FlashAttention-3): one thread of a producer warpgroup keeps rings of key and value tiles filled by TMA;
// CONSUMERS warpgroups of 64 queries each multiply. A consumer issues the scores of the next tile before the product of
// the last one's probabilities and values, so that exponentials run under products. Blocks are persistent and take the
// query tiles from a common counter, long ones first, in groups of heads whose keys and values fit into L2; the queries
// of the next tile arrive while this one is finished, and the output leaves by TMA through the memory of its queries.
//
// Ladder (H100, TFLOP/s, medians of 10 to 12 rounds):
//   naive.cu      one warp per query, scalar products
//   mma_sync.cu   tensor cores by mma.sync, tiles shared by the queries of a block
//   wgmma_tma.cu  wgmma and TMA, every warpgroup does everything
//   this file     wgmma with the probabilities in registers, TMA, warp specialisation, persistent blocks: D = 128
//                 527 at 2k to 721 at 16k, D = 64 430 at 4k to 485 at 8k. Heads in groups that fit into L2 give 0 to 40 %,
//                 tiles from a common counter instead of a fixed order 1 to 15 %; consumers taking turns (TURNS) cost 1
//                 to 6 %, every fourth exponential by polynomial up to 10 %
//                 At D = 64 two consumers with tiles of 192 keys are 2 % faster at 4k and 1 % slower at 8k than three
//                 with 128
//   left to do    two tiles of scores in flight, clusters that share keys

// tune: CONSUMERS_128 = 2 | 3
// tune: KEYS_128 = 128 | 160
// tune: CONSUMERS_64 = 2 | 3
// tune: KEYS_64 = 192 | 128
// tune: TURNS = 0 | 1
// tune: L2_SHARE = 50 | 25 | 75

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr bool IS_CAUSAL = true;
constexpr int HALF = 64;          // channels of a row that one TMA box and one swizzle span hold
constexpr float LOWEST = -1e30f;  // finite, so that the difference of two maxima is never NaN

/// Everything that depends on the head dimension.
template <int D>
struct Config {
  static constexpr int CONSUMERS = D == 64 ? CONSUMERS_64 : CONSUMERS_128;
  static constexpr int KEYS = D == 64 ? KEYS_64 : KEYS_128;
  static constexpr int STAGES = kl::min(4, 160 * 1024 / (4 * D * KEYS));  // of 4 D bytes a key
  static constexpr int QUERIES = CONSUMERS * 64, THREADS = (CONSUMERS + 1) * 128;
  static constexpr int CONSUMER_REGISTERS = CONSUMERS == 2 ? 240 : 160, PRODUCER_REGISTERS = CONSUMERS == 2 ? 24 : 32;
  // Named barriers: 0 is __syncthreads, then the turn of each consumer, then each consumer by itself.
  static constexpr int TURN = 1, ALONE = TURN + CONSUMERS;
};

template <int D>
struct alignas(1024) Shared {
  using C = Config<D>;
  unsigned short q[2][C::CONSUMERS][D / HALF][64][HALF];  // of this tile of queries and the next; later the output
  unsigned short k[C::STAGES][D / HALF][C::KEYS][HALF], v[C::STAGES][D / HALF][C::KEYS][HALF];
  int tile[2];  // number of the tile whose queries are in q; beyond the last: the end
  uint64_t q_full[2], q_empty[2], k_full[C::STAGES], k_empty[C::STAGES], v_full[C::STAGES], v_empty[C::STAGES];
};

/// Sizes, as the plan gives them.
struct Shape {
  int B, Sq, Sk, Hq, Hkv, heads_per_group;
};

/// One unit of work: Config::QUERIES queries of one head.
struct Tile {
  int first, h, hk, b, key_tiles;
};

/// Tile number `index`: sorted by group of heads, then from long to short. False beyond the last.
template <int D>
__device__ __forceinline__ bool find_tile(Tile& tile, const Shape& shape, int index) {
  constexpr int QUERIES = Config<D>::QUERIES, KEYS = Config<D>::KEYS;
  const int query_tiles = (shape.Sq + QUERIES - 1) / QUERIES, heads = shape.B * shape.Hq;
  if (index >= query_tiles * heads) return false;
  const int group_tiles = shape.heads_per_group * query_tiles, group = index / group_tiles;
  const int begin = group * shape.heads_per_group, width = min(shape.heads_per_group, heads - begin);
  const int within = index - group * group_tiles, head = begin + within % width;
  tile.first = (query_tiles - 1 - within / width) * QUERIES;
  tile.b = head / shape.Hq;
  tile.h = head % shape.Hq;
  tile.hk = tile.h / (shape.Hq / shape.Hkv);
  const int seen = IS_CAUSAL ? min(shape.Sk, tile.first + QUERIES + shape.Sk - shape.Sq) : shape.Sk;
  tile.key_tiles = seen > 0 ? (seen + KEYS - 1) / KEYS : 0;
  return true;
}

/// Which tiles are taken: `next` counts those beyond the first of every block, `done` the blocks that found no more.
/// The last of them leaves both zero.
struct Progress {
  int next, done;
};

/// Fills the rings; one thread.
template <int D>
__device__ __forceinline__ void produce(Shared<D>& shared, const CUtensorMap* q, const CUtensorMap* k,
                                        const CUtensorMap* v, Progress* progress, const Shape& shape) {
  constexpr int KEYS = Config<D>::KEYS, STAGES = Config<D>::STAGES;
  int stage = 0, parity = 1, index = blockIdx.x;  // of the rings
  for (int round = 0;; ++round) {
    const int slot = round & 1;
    Tile tile;
    const bool is_tile = find_tile<D>(tile, shape, index);
    ptx::mbarrier_wait(&shared.q_empty[slot], (round >> 1 & 1) ^ 1);
    shared.tile[slot] = index;
    if (!is_tile) {
      ptx::mbarrier_arrive(&shared.q_full[slot]);
      break;
    }
    index = gridDim.x + atomicAdd(&progress->next, 1);  // on its way while this tile is loaded
    ptx::mbarrier_arrive_expect(&shared.q_full[slot], sizeof(shared.q[0]));
    for (int w = 0; w < Config<D>::CONSUMERS; ++w) {
      for (int half = 0; half < D / HALF; ++half) {
        ptx::tma_load_4d(shared.q[slot][w][half], q, &shared.q_full[slot], half * HALF, tile.first + w * 64, tile.h,
                         tile.b);
      }
    }
    for (int n = tile.key_tiles - 1; n >= 0; --n) {
      ptx::mbarrier_wait(&shared.k_empty[stage], parity);
      ptx::mbarrier_arrive_expect(&shared.k_full[stage], sizeof(shared.k[0]));
      for (int half = 0; half < D / HALF; ++half) {
        ptx::tma_load_4d(shared.k[stage][half], k, &shared.k_full[stage], half * HALF, n * KEYS, tile.hk, tile.b);
      }
      ptx::mbarrier_wait(&shared.v_empty[stage], parity);
      ptx::mbarrier_arrive_expect(&shared.v_full[stage], sizeof(shared.v[0]));
      for (int half = 0; half < D / HALF; ++half) {
        ptx::tma_load_4d(shared.v[stage][half], v, &shared.v_full[stage], half * HALF, n * KEYS, tile.hk, tile.b);
      }
      if (++stage == STAGES) stage = 0, parity ^= 1;
    }
  }
  __threadfence();  // this block's counting comes before the reset by the last one
  if (atomicAdd(&progress->done, 1) == gridDim.x - 1) progress->next = progress->done = 0;
}

/// s = 64 queries x KEYS keys. Both lie in shared memory as halves of 64 channels, rows of 128 bytes.
template <int D, int KEYS>
__device__ __forceinline__ void multiply_keys(float (&s)[KEYS / 2], uint32_t q, uint32_t k) {
#pragma unroll
  for (int i = 0; i < D / 16; ++i) {
    const uint32_t half = i * 16 / HALF, within = i * 16 % HALF * 2;
    ptx::wgmma_bf16_ss(s, ptx::wgmma_descriptor(q + half * 64 * 128 + within),
                       ptx::wgmma_descriptor(k + half * KEYS * 128 + within), i != 0);
  }
}

/// o += p v. The values are the transposed operand: 16 keys are 2048 bytes, 64 channels are KEYS rows.
template <int D, int KEYS>
__device__ __forceinline__ void multiply_values(float (&o)[D / 2], const uint32_t (&p)[KEYS / 16][4], uint32_t v) {
#pragma unroll
  for (int i = 0; i < KEYS / 16; ++i) {
    ptx::wgmma_bf16_rs<true>(o, p[i], ptx::wgmma_descriptor(v + i * 2048, KEYS * 128), true);
  }
}

/// Turns scores into probabilities under the running maximum, in base-2 units; `shrink` is what brings older sums and
/// outputs to it. A lane holds two queries, eight apart; `limit` counts the tile's keys that the first one sees.
template <bool is_masked, int KEYS>
__device__ __forceinline__ void softmax(float (&s)[KEYS / 2], float (&max)[2], float (&sum)[2], float (&shrink)[2],
                                        float scale, int limit, int keys) {
  const int column = threadIdx.x % 4 * 2;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float top = max[half];
#pragma unroll
    for (int j = 0; j < KEYS / 8; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& score = s[j * 4 + half * 2 + e];
        if (is_masked) {
          const int key = j * 8 + column + e;
          if ((IS_CAUSAL && key >= limit + half * 8) || key >= keys) score = -INFINITY;
        }
        top = fmaxf(top, score);
      }
    }
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
    shrink[half] = ptx::ex2((max[half] - top) * scale);
    max[half] = top;
    sum[half] *= shrink[half];
    const float offset = top * scale;
#pragma unroll
    for (int j = 0; j < KEYS / 8; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& score = s[j * 4 + half * 2 + e];
        score = ptx::ex2(fmaf(score, scale, -offset));
        sum[half] += score;
      }
    }
  }
}

/// The probabilities as A operands.
template <int KEYS>
__device__ __forceinline__ void pack(uint32_t (&p)[KEYS / 16][4], const float (&s)[KEYS / 2]) {
#pragma unroll
  for (int i = 0; i < KEYS / 16; ++i) {
#pragma unroll
    for (int r = 0; r < 4; ++r) p[i][r] = ptx::pack_bf16(s[i * 8 + r * 2], s[i * 8 + r * 2 + 1]);
  }
}

template <int D>
__device__ __forceinline__ void rescale(float (&o)[D / 2], const float (&shrink)[2]) {
#pragma unroll
  for (int i = 0; i < D / 2; ++i) o[i] *= shrink[i / 2 % 2];
}

/// One consumer: its number, what it keeps of its 64 queries, and where it stands in the rings.
template <int D>
struct Consumer {
  int w, stage, parity;
  float o[D / 2], max[2], sum[2];
};

/// Scores, softmax and output of one tile of queries. `row` is the lane's first query.
template <int D>
__device__ __forceinline__ void attend(Consumer<D>& c, Shared<D>& shared, const Tile& tile, const Shape& shape, int slot,
                                       int row, float scale) {
  using C = Config<D>;
  constexpr int KEYS = C::KEYS, STAGES = C::STAGES;
  const bool is_leader = threadIdx.x % 128 == 0;
  const int shift = shape.Sk - shape.Sq, top_row = tile.first + c.w * 64;
  const uint32_t q = ptx::smem_address(shared.q[slot][c.w]);
  float s[KEYS / 2], shrink[2];
  uint32_t p[KEYS / 16][4];
  int n = tile.key_tiles - 1, stage = c.stage, parity = c.parity;

  ptx::mbarrier_wait(&shared.k_full[stage], parity);
  ptx::wgmma_fence();
  multiply_keys<D, KEYS>(s, q, ptx::smem_address(shared.k[stage]));
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  if (is_leader) ptx::mbarrier_arrive(&shared.k_empty[stage]);
  softmax<true, KEYS>(s, c.max, c.sum, shrink, scale, row + shift + 1 - n * KEYS, shape.Sk - n * KEYS);
  pack<KEYS>(p, s);
  for (--n; n >= 0; --n) {
    const int value_stage = stage, value_parity = parity;
    if (++stage == STAGES) stage = 0, parity ^= 1;
    ptx::mbarrier_wait(&shared.k_full[stage], parity);
    if (TURNS) ptx::named_barrier_sync(C::TURN + c.w, 256);
    ptx::wgmma_fence();
    multiply_keys<D, KEYS>(s, q, ptx::smem_address(shared.k[stage]));
    ptx::wgmma_commit();
    ptx::mbarrier_wait(&shared.v_full[value_stage], value_parity);
    multiply_values<D, KEYS>(c.o, p, ptx::smem_address(shared.v[value_stage]));
    ptx::wgmma_commit();
    if (TURNS) ptx::named_barrier_arrive(C::TURN + (c.w + 1) % C::CONSUMERS, 256);
    ptx::wgmma_wait<1>();  // the scores are here, the output is still under way
    if (is_leader) ptx::mbarrier_arrive(&shared.k_empty[stage]);
    if (n * KEYS + KEYS > shape.Sk || (IS_CAUSAL && n * KEYS + KEYS > top_row + shift + 1)) {
      softmax<true, KEYS>(s, c.max, c.sum, shrink, scale, row + shift + 1 - n * KEYS, shape.Sk - n * KEYS);
    } else {
      softmax<false, KEYS>(s, c.max, c.sum, shrink, scale, 0, 0);
    }
    ptx::wgmma_wait<0>();
    if (is_leader) ptx::mbarrier_arrive(&shared.v_empty[value_stage]);
    rescale<D>(c.o, shrink);
    pack<KEYS>(p, s);
  }
  ptx::mbarrier_wait(&shared.v_full[stage], parity);
  ptx::wgmma_fence();
  multiply_values<D, KEYS>(c.o, p, ptx::smem_address(shared.v[stage]));
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  if (is_leader) ptx::mbarrier_arrive(&shared.v_empty[stage]);
  if (++stage == STAGES) stage = 0, parity ^= 1;
  c.stage = stage, c.parity = parity;
}

/// Normalises, and sends output and lse away. The output takes the place of its queries, which nobody reads any more.
template <int D>
__device__ __forceinline__ void finish(Consumer<D>& c, Shared<D>& shared, const CUtensorMap* o_map, float* lse,
                                       const Tile& tile, const Shape& shape, int slot, int row, float scale) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float total = c.sum[half] + __shfl_xor_sync(0xffffffffu, c.sum[half], 1);
    total += __shfl_xor_sync(0xffffffffu, total, 2);
    const int i = row + half * 8;
    const bool is_empty = IS_CAUSAL && i + shape.Sk - shape.Sq < 0;  // sees no key
    const float inverse = is_empty ? 0.0f : 1.0f / total;
#pragma unroll
    for (int j = 0; j < D / 8; ++j) {
      c.o[j * 4 + half * 2] *= inverse;
      c.o[j * 4 + half * 2 + 1] *= inverse;
    }
    if (i < shape.Sq && lane % 4 == 0) {
      lse[((long long)tile.b * shape.Sq + i) * shape.Hq + tile.h] =
          is_empty ? -INFINITY : c.max[half] * scale * 0.69314718056f + logf(total);
    }
  }
  ptx::named_barrier_sync(Config<D>::ALONE + c.w, 128);  // all four warps are done with the queries
#pragma unroll
  for (int j = 0; j < D / 8; j += 2) {
    const uint32_t r[4] = {ptx::pack_bf16(c.o[j * 4], c.o[j * 4 + 1]), ptx::pack_bf16(c.o[j * 4 + 2], c.o[j * 4 + 3]),
                           ptx::pack_bf16(c.o[j * 4 + 4], c.o[j * 4 + 5]),
                           ptx::pack_bf16(c.o[j * 4 + 6], c.o[j * 4 + 7])};
    const int line = warp * 16 + lane % 16, chunk = (j % 8 + lane / 16) ^ (line % 8);
    ptx::stmatrix_x4(&shared.q[slot][c.w][j / 8][line][chunk * 8], r);
  }
  ptx::fence_proxy_async();
  ptx::named_barrier_sync(Config<D>::ALONE + c.w, 128);  // the output is in place
  if (threadIdx.x % 128 == 0) {
    for (int half = 0; half < D / HALF; ++half) {
      ptx::tma_store_4d(o_map, shared.q[slot][c.w][half], half * HALF, tile.first + c.w * 64, tile.h, tile.b);
    }
    ptx::tma_store_commit();
    ptx::tma_store_wait_read<0>();
    ptx::mbarrier_arrive(&shared.q_empty[slot]);
  }
}

template <int D>
__global__ void __launch_bounds__(Config<D>::THREADS, 1)
prefill_warp_specialised(const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap k,
                         const __grid_constant__ CUtensorMap v, const __grid_constant__ CUtensorMap o,
                         float* __restrict__ lse, Progress* __restrict__ progress, int B, int Sq, int Sk, int Hq, int Hkv, int heads_per_group,
                         float scale_log2) {
  extern __shared__ __align__(1024) unsigned char memory[];
  Shared<D>& shared = *reinterpret_cast<Shared<D>*>(memory);
  using C = Config<D>;
  const Shape shape{B, Sq, Sk, Hq, Hkv, heads_per_group};
  if (threadIdx.x == 0) {
    for (int i = 0; i < 2; ++i) {
      ptx::mbarrier_init(&shared.q_full[i], 1);
      ptx::mbarrier_init(&shared.q_empty[i], C::CONSUMERS);
    }
    for (int i = 0; i < C::STAGES; ++i) {
      ptx::mbarrier_init(&shared.k_full[i], 1);
      ptx::mbarrier_init(&shared.v_full[i], 1);
      ptx::mbarrier_init(&shared.k_empty[i], C::CONSUMERS);
      ptx::mbarrier_init(&shared.v_empty[i], C::CONSUMERS);
    }
    ptx::fence_mbarrier_init();
    ptx::fence_proxy_async();
  }
  __syncthreads();

  if (threadIdx.x < 128) {
    ptx::register_decrease<C::PRODUCER_REGISTERS>();
    if (threadIdx.x == 0) produce<D>(shared, &q, &k, &v, progress, shape);
  } else {
    ptx::register_increase<C::CONSUMER_REGISTERS>();
    Consumer<D> c;
    c.w = threadIdx.x / 128 - 1;
    c.stage = c.parity = 0;
    if (TURNS && c.w == C::CONSUMERS - 1) ptx::named_barrier_arrive(C::TURN, 256);  // the first one begins
    for (int round = 0;; ++round) {
      const int slot = round & 1;
      ptx::mbarrier_wait(&shared.q_full[slot], round >> 1 & 1);
      Tile tile;
      if (!find_tile<D>(tile, shape, shared.tile[slot])) break;
      const int row = tile.first + c.w * 64 + threadIdx.x / 32 % 4 * 16 + threadIdx.x % 32 / 4;
#pragma unroll
      for (int i = 0; i < D / 2; ++i) c.o[i] = 0;
      c.max[0] = c.max[1] = LOWEST;
      c.sum[0] = c.sum[1] = 0;
      if (tile.key_tiles > 0) attend<D>(c, shared, tile, shape, slot, row, scale_log2);
      finish<D>(c, shared, &o, lse, tile, shape, slot, row, scale_log2);
    }
    if (threadIdx.x % 128 == 0) ptx::tma_store_wait<0>();
  }
}

/// The launch for head dimension D.
template <int D>
constexpr void plan_for(const Problem& p, kl::Plan& plan, const char* kernel) {
  using C = Config<D>;
  const auto& q = plan.tensor_map(p.q, {3, 1, 2, 0}, {HALF, 64, 1, 1}, kl::swizzle_128);
  const auto& k = plan.tensor_map(p.k, {3, 1, 2, 0}, {HALF, C::KEYS, 1, 1}, kl::swizzle_128);
  const auto& v = plan.tensor_map(p.v, {3, 1, 2, 0}, {HALF, C::KEYS, 1, 1}, kl::swizzle_128);
  const auto& o = plan.tensor_map(p.o, {3, 1, 2, 0}, {HALF, 64, 1, 1}, kl::swizzle_128);
  // Heads whose keys and values share L2, in whole groups of query heads.
  const long long head_bytes = 2LL * p.Sk * D * 2, group = p.Hq / p.Hkv;
  const long long fitting = kl::max(1LL, p.device.l2_bytes / 100 * L2_SHARE / head_bytes) * group;
  const long long heads = (long long)p.B * p.Hq, tiles = kl::cdiv(p.Sq, C::QUERIES) * heads;
  const auto progress = plan.workspace(kl::i32, 2, kl::self_clearing);
  plan.launch(kernel).grid(kl::min(tiles, (long long)p.device.sms)).block(C::THREADS).shared(sizeof(Shared<D>))
      .arg(q).arg(k).arg(v).arg(o).arg(p.lse).arg(progress).arg(p.B).arg(p.Sq).arg(p.Sk).arg(p.Hq).arg(p.Hkv)
      .arg((int)kl::min(fitting, heads)).arg(p.scale * 1.44269504f);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (p.D == 64) return plan_for<64>(p, plan, "prefill_warp_specialised<64>");
  if (plan.require(p.D == 128, "D must be 64 or 128")) plan_for<128>(p, plan, "prefill_warp_specialised<128>");
}
