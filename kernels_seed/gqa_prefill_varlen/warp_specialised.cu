// SPDX-License-Identifier: Apache-2.0
// Causal attention over packed sequences on wgmma and TMA: q [T, Hq, D] over k, v [T, Hkv, D] (bf16), cu_seqlens [B + 1],
// with lse [T, Hq].
//
// Technique (FlashAttention-3): as in gqa_prefill_causal's seed, one thread of a producer warpgroup keeps rings of key and
// value tiles filled by TMA, CONSUMERS warpgroups of 64 queries each multiply, and persistent blocks take tiles of queries
// from a common counter. A small kernel before lists the tiles, sequence after sequence and in each from its end, where
// they are long; the producer finds tile and head there and hands them on with the queries. Heads of a sequence come in
// groups whose keys and values fit into L2. Tiles read on into the next sequence, whose keys are masked; what is written
// by TMA is whole blocks of 64 queries, the rest of a sequence leaves from registers.
//
// Ladder:
//   naive.cu      one warp per query, scalar products
//   mma_sync.cu   tensor cores by mma.sync, tiles shared by the queries of a block; runs from sm_80 on
//   wgmma_tma.cu  wgmma and TMA, every warpgroup does everything
//   this file     wgmma with the probabilities in registers, TMA, warp specialisation, persistent blocks: D = 128 662
//                 at 16 x 4k, 715 at 2 x 16k, 663 at 8 x 4k (28 heads), D = 64 343 at 64 x 1k (TFLOP/s on an H100, medians
//                 of 8 to 40 rounds), 1.8 to 3.0 times as fast as mma_sync.cu. Three consumers cost 25 to 80 %, tiles of 160 or 192
//                 keys 1 to 16 %

// tune: CONSUMERS_128 = 2 | 3
// tune: KEYS_128 = 128 | 160
// tune: CONSUMERS_64 = 2 | 3
// tune: KEYS_64 = 128 | 192
// tune: TURNS = 0 | 1
// tune: L2_SHARE = 50 | 25 | 75

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

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

/// Sizes, as the plan gives them.
struct Shape {
  int B, Hq, Hkv, heads_per_group, tiles_max;
};

/// One unit of work: Config::QUERIES queries of one head, from the first on, of the sequence that begins at token `begin`;
/// its length is 0 beyond the last unit.
struct Tile {
  int begin, length, first, h;

  /// Tiles of keys that its queries see.
  template <int D>
  __device__ int key_tiles() const {
    return (min(length, first + Config<D>::QUERIES) + Config<D>::KEYS - 1) / Config<D>::KEYS;
  }
};

template <int D>
struct alignas(1024) Shared {
  using C = Config<D>;
  unsigned short q[2][C::CONSUMERS][D / HALF][64][HALF];  // of this tile of queries and the next; later the output
  unsigned short k[C::STAGES][D / HALF][C::KEYS][HALF], v[C::STAGES][D / HALF][C::KEYS][HALF];
  Tile tile[2];  // whose queries are in q
  uint64_t q_full[2], q_empty[2], k_full[C::STAGES], k_empty[C::STAGES], v_full[C::STAGES], v_empty[C::STAGES];
};

/// Lists the tiles: begin and length of each one's sequence, and the number of that sequence's first tile. One warp per
/// tile finds its sequence by a running sum over the lengths.
template <int D>
__global__ void __launch_bounds__(128)
list_tiles(const int* __restrict__ cu_seqlens, int4* __restrict__ list, int B, int tiles_max) {
  const int lane = threadIdx.x % 32, tile = blockIdx.x * 4 + threadIdx.x / 32;
  if (tile >= tiles_max) return;
  int before = 0;
  for (int at = 0; at < B; at += 32) {
    const int b = at + lane, begin = cu_seqlens[min(b, B)], length = cu_seqlens[min(b + 1, B)] - begin;
    const int tiles = (length + Config<D>::QUERIES - 1) / Config<D>::QUERIES;
    int upto = tiles;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const int other = __shfl_up_sync(0xffffffffu, upto, step);
      if (lane >= step) upto += other;
    }
    const unsigned ahead = __ballot_sync(0xffffffffu, tile < before + upto);
    if (ahead != 0) {
      if (lane == __ffs(ahead) - 1) list[tile] = make_int4(begin, length, before + upto - tiles, 0);
      return;
    }
    before += __shfl_sync(0xffffffffu, upto, 31);
  }
  if (lane == 0) list[tile] = make_int4(0, 0, 0, 0);
}

/// Unit number `index`: by sequence, group of heads, tile from the end on, head.
template <int D>
__device__ __forceinline__ Tile find_tile(const Shape& shape, const int4* list, int index) {
  if (index / shape.Hq >= shape.tiles_max) return {0, 0, 0, 0};
  const int4 listed = list[index / shape.Hq];  // a tile of the same sequence
  const int length = listed.y, tiles = (length + Config<D>::QUERIES - 1) / Config<D>::QUERIES;
  if (length == 0) return {0, 0, 0, 0};
  const int within = index - listed.z * shape.Hq, begin = within / (shape.heads_per_group * tiles) * shape.heads_per_group;
  const int width = min(shape.heads_per_group, shape.Hq - begin), at = within - begin * tiles;
  return {listed.x, length, (tiles - 1 - at / width) * Config<D>::QUERIES, begin + at % width};
}

/// Which tiles are taken: `next` counts those beyond the first of every block, `done` the blocks that found no more.
/// The last of them leaves both zero.
struct Progress {
  int next, done;
};

/// Fills the rings; one thread.
template <int D>
__device__ __forceinline__ void produce(Shared<D>& shared, const CUtensorMap* q, const CUtensorMap* k,
                                        const CUtensorMap* v, const int4* list, Progress* progress,
                                        const Shape& shape) {
  constexpr int KEYS = Config<D>::KEYS, STAGES = Config<D>::STAGES;
  int stage = 0, parity = 1, index = blockIdx.x;  // of the rings
  for (int round = 0;; ++round) {
    const int slot = round & 1;
    const Tile tile = find_tile<D>(shape, list, index);
    ptx::mbarrier_wait(&shared.q_empty[slot], (round >> 1 & 1) ^ 1);
    shared.tile[slot] = tile;
    if (tile.length == 0) {
      ptx::mbarrier_arrive(&shared.q_full[slot]);
      break;
    }
    index = gridDim.x + atomicAdd(&progress->next, 1);  // on its way while this tile is loaded
    ptx::mbarrier_arrive_expect(&shared.q_full[slot], sizeof(shared.q[0]));
    for (int w = 0; w < Config<D>::CONSUMERS; ++w) {
      for (int half = 0; half < D / HALF; ++half) {
        ptx::tma_load_3d(shared.q[slot][w][half], q, &shared.q_full[slot], half * HALF, tile.begin + tile.first + w * 64,
                         tile.h);
      }
    }
    const int hk = tile.h / (shape.Hq / shape.Hkv);
    for (int n = tile.key_tiles<D>() - 1; n >= 0; --n) {
      const int first_key = tile.begin + n * KEYS;
      ptx::mbarrier_wait(&shared.k_empty[stage], parity);
      ptx::mbarrier_arrive_expect(&shared.k_full[stage], sizeof(shared.k[0]));
      for (int half = 0; half < D / HALF; ++half) {
        ptx::tma_load_3d(shared.k[stage][half], k, &shared.k_full[stage], half * HALF, first_key, hk);
      }
      ptx::mbarrier_wait(&shared.v_empty[stage], parity);
      ptx::mbarrier_arrive_expect(&shared.v_full[stage], sizeof(shared.v[0]));
      for (int half = 0; half < D / HALF; ++half) {
        ptx::tma_load_3d(shared.v[stage][half], v, &shared.v_full[stage], half * HALF, first_key, hk);
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
          if (key >= limit + half * 8 || key >= keys) score = -INFINITY;
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
__device__ __forceinline__ void attend(Consumer<D>& c, Shared<D>& shared, const Tile& tile, int slot, int row,
                                       float scale) {
  using C = Config<D>;
  constexpr int KEYS = C::KEYS, STAGES = C::STAGES;
  const bool is_leader = threadIdx.x % 128 == 0;
  const int top_row = tile.first + c.w * 64;
  const uint32_t q = ptx::smem_address(shared.q[slot][c.w]);
  float s[KEYS / 2], shrink[2];
  uint32_t p[KEYS / 16][4];
  int n = tile.key_tiles<D>() - 1, stage = c.stage, parity = c.parity;

  ptx::mbarrier_wait(&shared.k_full[stage], parity);
  ptx::wgmma_fence();
  multiply_keys<D, KEYS>(s, q, ptx::smem_address(shared.k[stage]));
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  if (is_leader) ptx::mbarrier_arrive(&shared.k_empty[stage]);
  softmax<true, KEYS>(s, c.max, c.sum, shrink, scale, row + 1 - n * KEYS, tile.length - n * KEYS);
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
    if (n * KEYS + KEYS > tile.length || n * KEYS + KEYS > top_row + 1) {
      softmax<true, KEYS>(s, c.max, c.sum, shrink, scale, row + 1 - n * KEYS, tile.length - n * KEYS);
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
__device__ __forceinline__ void finish(Consumer<D>& c, Shared<D>& shared, const CUtensorMap* o_map,
                                       const Tile& tile, unsigned short* o, float* lse, int Hq, int slot, int row,
                                       float scale) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
  const bool is_whole = tile.first + c.w * 64 + 64 <= tile.length;  // all 64 rows are the sequence's
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float total = c.sum[half] + __shfl_xor_sync(0xffffffffu, c.sum[half], 1);
    total += __shfl_xor_sync(0xffffffffu, total, 2);
    const int i = row + half * 8;
    const float inverse = 1.0f / total;
#pragma unroll
    for (int j = 0; j < D / 8; ++j) {
      c.o[j * 4 + half * 2] *= inverse;
      c.o[j * 4 + half * 2 + 1] *= inverse;
    }
    if (i >= tile.length) continue;
    const long long at = (long long)(tile.begin + i) * Hq + tile.h;
    if (lane % 4 == 0) lse[at] = c.max[half] * scale * 0.69314718056f + logf(total);
    if (is_whole) continue;
#pragma unroll
    for (int j = 0; j < D / 8; ++j) {
      const unsigned pair = ptx::pack_bf16(c.o[j * 4 + half * 2], c.o[j * 4 + half * 2 + 1]);
      *reinterpret_cast<unsigned*>(o + at * D + j * 8 + lane % 4 * 2) = pair;
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
    for (int half = 0; is_whole && half < D / HALF; ++half) {
      ptx::tma_store_3d(o_map, shared.q[slot][c.w][half], half * HALF, tile.begin + tile.first + c.w * 64, tile.h);
    }
    ptx::tma_store_commit();
    ptx::tma_store_wait_read<0>();
    ptx::mbarrier_arrive(&shared.q_empty[slot]);
  }
}

template <int D>
__global__ void __launch_bounds__(Config<D>::THREADS, 1)
varlen_warp_specialised(const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap k,
                        const __grid_constant__ CUtensorMap v, const __grid_constant__ CUtensorMap o_map,
                        unsigned short* __restrict__ o, float* __restrict__ lse, const int4* __restrict__ list,
                        Progress* __restrict__ progress, int B, int Hq, int Hkv, int heads_per_group, int tiles_max,
                        float scale_log2) {
  extern __shared__ __align__(1024) unsigned char memory[];
  Shared<D>& shared = *reinterpret_cast<Shared<D>*>(memory);
  using C = Config<D>;
  const Shape shape{B, Hq, Hkv, heads_per_group, tiles_max};
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
    if (threadIdx.x == 0) produce<D>(shared, &q, &k, &v, list, progress, shape);
  } else {
    ptx::register_increase<C::CONSUMER_REGISTERS>();
    Consumer<D> c;
    c.w = threadIdx.x / 128 - 1;
    c.stage = c.parity = 0;
    if (TURNS && c.w == C::CONSUMERS - 1) ptx::named_barrier_arrive(C::TURN, 256);  // the first one begins
    for (int round = 0;; ++round) {
      const int slot = round & 1;
      ptx::mbarrier_wait(&shared.q_full[slot], round >> 1 & 1);
      const Tile tile = shared.tile[slot];
      if (tile.length == 0) break;
      const int row = tile.first + c.w * 64 + threadIdx.x / 32 % 4 * 16 + threadIdx.x % 32 / 4;
#pragma unroll
      for (int i = 0; i < D / 2; ++i) c.o[i] = 0;
      c.max[0] = c.max[1] = LOWEST;
      c.sum[0] = c.sum[1] = 0;
      attend<D>(c, shared, tile, slot, row, scale_log2);
      finish<D>(c, shared, &o_map, tile, o, lse, Hq, slot, row, scale_log2);
    }
    if (threadIdx.x % 128 == 0) ptx::tma_store_wait<0>();
  }
}

/// The launches for head dimension D.
template <int D>
constexpr void plan_for(const Problem& p, kl::Plan& plan, const char* list_kernel, const char* kernel) {
  using C = Config<D>;
  const auto& q = plan.tensor_map(p.q, {2, 0, 1}, {HALF, 64, 1}, kl::swizzle_128);
  const auto& k = plan.tensor_map(p.k, {2, 0, 1}, {HALF, C::KEYS, 1}, kl::swizzle_128);
  const auto& v = plan.tensor_map(p.v, {2, 0, 1}, {HALF, C::KEYS, 1}, kl::swizzle_128);
  const auto& o = plan.tensor_map(p.o, {2, 0, 1}, {HALF, 64, 1}, kl::swizzle_128);
  // Each sequence can have one partial tile, but none is shorter than one token.
  const int tiles_max = p.T / C::QUERIES + kl::min(p.B, p.T);
  // Heads of a sequence of average length whose keys and values share L2, in whole groups of query heads.
  const long long head_bytes = 2LL * kl::cdiv(p.T, p.B) * D * 2, group = p.Hq / p.Hkv;
  const long long fitting = kl::max(1LL, p.device.l2_bytes / 100 * L2_SHARE / head_bytes) * group;
  const auto list = plan.workspace(kl::i32, 4LL * tiles_max);
  const auto progress = plan.workspace(kl::i32, 2, kl::self_clearing);
  plan.launch(list_kernel).grid(kl::cdiv(tiles_max, 4)).block(128).arg(p.cu_seqlens).arg(list).arg(p.B).arg(tiles_max);
  plan.launch(kernel).grid(kl::min((long long)tiles_max * p.Hq, (long long)p.device.sms)).block(C::THREADS)
      .shared(sizeof(Shared<D>)).arg(q).arg(k).arg(v).arg(o).arg(p.o).arg(p.lse).arg(list).arg(progress).arg(p.B)
      .arg(p.Hq).arg(p.Hkv).arg((int)kl::min(fitting, (long long)p.Hq)).arg(tiles_max).arg(p.scale * 1.44269504f);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (p.D == 64) return plan_for<64>(p, plan, "list_tiles<64>", "varlen_warp_specialised<64>");
  if (plan.require(p.D == 128, "D must be 64 or 128")) {
    plan_for<128>(p, plan, "list_tiles<128>", "varlen_warp_specialised<128>");
  }
}
