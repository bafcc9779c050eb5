// SPDX-License-Identifier: Apache-2.0
// Causal attention over packed sequences on wgmma and TMA: q [T, Hq, D] over k, v [T, Hkv, D] (bf16), cu_seqlens [B + 1],
// with lse [T, Hq].
//
// Technique: every warpgroup of a block does everything. 64 queries a warpgroup, scores and output by wgmma,
// probabilities in registers; one thread asks TMA for a ring of two key and value tiles, and whoever is done with a tile
// waits for the block before its place is filled again. Nothing runs under a warpgroup's exponentials but the products
// of another. A small kernel before lists the tiles, sequence after sequence and in each from its end. Tiles read on into
// the next sequence, whose keys are masked; what is written by TMA is whole blocks of 64 queries, the rest of a sequence
// leaves from registers.
//
// Ladder (H100, TFLOP/s, medians of 10 rounds):
//   naive.cu              one warp per query, scalar products
//   mma_sync.cu           tensor cores by mma.sync, tiles shared by the queries of a block
//   this file             wgmma and TMA: D = 128 505 at 16 x 4k to 572 at 2 x 16k,
//                         D = 64 231 at 64 x 1k, 1.2 to 2.3 times as fast as mma_sync.cu
//   warp_specialised.cu   a producer warpgroup, scores of the next tile under exponentials, persistent blocks

// tune: GROUPS_128 = 2 | 3
// tune: KEYS_128 = 128 | 64
// tune: GROUPS_64 = 2 | 3
// tune: KEYS_64 = 128 | 64

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int HALF = 64;  // channels of a row that one TMA box and one swizzle span hold
constexpr int STAGES = 2;
constexpr float LOWEST = -1e30f;  // finite, so that the difference of two maxima is never NaN

/// Everything that depends on the head dimension.
template <int D>
struct Config {
  static constexpr int GROUPS = D == 64 ? GROUPS_64 : GROUPS_128, KEYS = D == 64 ? KEYS_64 : KEYS_128;
  static constexpr int QUERIES = GROUPS * 64, THREADS = GROUPS * 128;
};

template <int D>
struct alignas(1024) Shared {
  using C = Config<D>;
  unsigned short q[C::GROUPS][D / HALF][64][HALF];  // later the output
  unsigned short k[STAGES][D / HALF][C::KEYS][HALF], v[STAGES][D / HALF][C::KEYS][HALF];
  uint64_t q_full, k_full[STAGES], v_full[STAGES];
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
__device__ __forceinline__ void multiply_values(float (&o)[D / 2], const uint32_t (&p)[KEYS / 16][4],
                                                uint32_t v) {
#pragma unroll
  for (int i = 0; i < KEYS / 16; ++i) {
    ptx::wgmma_bf16_rs<true>(o, p[i], ptx::wgmma_descriptor(v + i * 2048, KEYS * 128), true);
  }
}

/// Turns scores into probabilities under the running maximum, in base-2 units; `shrink` is what brings older sums and
/// outputs to it. A lane holds two queries, eight apart; `limit` counts the tile's keys that the first one sees.
template <bool is_masked, int KEYS>
__device__ __forceinline__ void softmax(float (&s)[KEYS / 2], float (&max)[2], float (&sum)[2],
                                        float (&shrink)[2], float scale, int limit, int keys) {
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

/// Asks for key and value tiles of head hk from `first_key` on.
template <int D>
__device__ __forceinline__ void load_tile(Shared<D>& shared, int stage, const CUtensorMap* k,
                                          const CUtensorMap* v, int first_key, int hk) {
  ptx::mbarrier_arrive_expect(&shared.k_full[stage], sizeof(shared.k[0]));
  ptx::mbarrier_arrive_expect(&shared.v_full[stage], sizeof(shared.v[0]));
  for (int half = 0; half < D / HALF; ++half) {
    ptx::tma_load_3d(shared.k[stage][half], k, &shared.k_full[stage], half * HALF, first_key, hk);
  }
  for (int half = 0; half < D / HALF; ++half) {
    ptx::tma_load_3d(shared.v[stage][half], v, &shared.v_full[stage], half * HALF, first_key, hk);
  }
}

/// Normalises, and sends output and lse away. The output takes the place of the warpgroup's queries. `begin` and `length` are
/// the sequence's, `top_row` the warpgroup's first query in it.
template <int D>
__device__ __forceinline__ void finish(float (&sums)[D / 2], const float (&max)[2], const float (&sum)[2],
                                       Shared<D>& shared, const CUtensorMap* o_map, unsigned short* o,
                                       float* lse, int begin, int length, int Hq, int h, int top_row,
                                       float scale) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4, w = threadIdx.x / 128;
  const bool is_whole = top_row + 64 <= length;  // all 64 rows are the sequence's
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float total = sum[half] + __shfl_xor_sync(0xffffffffu, sum[half], 1);
    total += __shfl_xor_sync(0xffffffffu, total, 2);
    const int i = top_row + warp * 16 + lane / 4 + half * 8;
    const float inverse = 1.0f / total;
#pragma unroll
    for (int j = 0; j < D / 8; ++j) {
      sums[j * 4 + half * 2] *= inverse;
      sums[j * 4 + half * 2 + 1] *= inverse;
    }
    if (i >= length) continue;
    const long long at = (long long)(begin + i) * Hq + h;
    if (lane % 4 == 0) lse[at] = max[half] * scale * 0.69314718056f + logf(total);
    if (is_whole) continue;
#pragma unroll
    for (int j = 0; j < D / 8; ++j) {
      const unsigned pair = ptx::pack_bf16(sums[j * 4 + half * 2], sums[j * 4 + half * 2 + 1]);
      *reinterpret_cast<unsigned*>(o + at * D + j * 8 + lane % 4 * 2) = pair;
    }
  }
  if (!is_whole) return;
  ptx::named_barrier_sync(1 + w, 128);  // all four warps are done with the queries
#pragma unroll
  for (int j = 0; j < D / 8; j += 2) {
    const uint32_t r[4] = {
        ptx::pack_bf16(sums[j * 4], sums[j * 4 + 1]), ptx::pack_bf16(sums[j * 4 + 2], sums[j * 4 + 3]),
        ptx::pack_bf16(sums[j * 4 + 4], sums[j * 4 + 5]), ptx::pack_bf16(sums[j * 4 + 6], sums[j * 4 + 7])};
    const int line = warp * 16 + lane % 16, chunk = (j % 8 + lane / 16) ^ (line % 8);
    ptx::stmatrix_x4(&shared.q[w][j / 8][line][chunk * 8], r);
  }
  ptx::fence_proxy_async();
  ptx::named_barrier_sync(1 + w, 128);  // the output is in place
  if (threadIdx.x % 128 == 0) {
    for (int half = 0; half < D / HALF; ++half) {
      ptx::tma_store_3d(o_map, shared.q[w][half], half * HALF, begin + top_row, h);
    }
    ptx::tma_store_commit();
    ptx::tma_store_wait<0>();
  }
}

template <int D>
__global__ void __launch_bounds__(Config<D>::THREADS, 1)
    varlen_wgmma(const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap k,
                 const __grid_constant__ CUtensorMap v, const __grid_constant__ CUtensorMap o_map,
                 unsigned short* __restrict__ o, float* __restrict__ lse, const int4* __restrict__ list,
                 int Hq, int Hkv, float scale) {
  extern __shared__ __align__(1024) unsigned char memory[];
  Shared<D>& shared = *reinterpret_cast<Shared<D>*>(memory);
  using C = Config<D>;
  constexpr int KEYS = C::KEYS;
  const int w = threadIdx.x / 128, h = blockIdx.x % Hq, hk = h / (Hq / Hkv), at = blockIdx.x / Hq;
  const int4 listed = list[at];
  const int begin = listed.x, length = listed.y;
  if (length == 0) return;  // beyond the last tile
  const int first = ((length + C::QUERIES - 1) / C::QUERIES - 1 - (at - listed.z)) * C::QUERIES;
  const int tiles = (min(length, first + C::QUERIES) + KEYS - 1) / KEYS;
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(&shared.q_full, 1);
    for (int i = 0; i < STAGES; ++i)
      ptx::mbarrier_init(&shared.k_full[i], 1), ptx::mbarrier_init(&shared.v_full[i], 1);
    ptx::fence_mbarrier_init();
    ptx::fence_proxy_async();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    ptx::mbarrier_arrive_expect(&shared.q_full, sizeof(shared.q));
    for (int i = 0; i < C::GROUPS * (D / HALF); ++i) {
      const int group = i / (D / HALF), half = i % (D / HALF);
      ptx::tma_load_3d(shared.q[group][half], &q, &shared.q_full, half * HALF, begin + first + group * 64, h);
    }
    for (int i = 0; i < STAGES && i < tiles; ++i)
      load_tile<D>(shared, i, &k, &v, begin + (tiles - 1 - i) * KEYS, hk);
  }
  const int top_row = first + w * 64, row = top_row + threadIdx.x / 32 % 4 * 16 + threadIdx.x % 32 / 4;
  float sums[D / 2], s[KEYS / 2], max[2] = {LOWEST, LOWEST}, sum[2] = {0, 0}, shrink[2];
  uint32_t p[KEYS / 16][4];
#pragma unroll
  for (int i = 0; i < D / 2; ++i) sums[i] = 0;
  ptx::mbarrier_wait(&shared.q_full, 0);
  for (int i = 0; i < tiles; ++i) {
    const int n = tiles - 1 - i, stage = i % STAGES, parity = i / STAGES & 1;
    ptx::mbarrier_wait(&shared.k_full[stage], parity);
    ptx::wgmma_fence();
    multiply_keys<D, KEYS>(s, ptx::smem_address(shared.q[w]), ptx::smem_address(shared.k[stage]));
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    if (n * KEYS + KEYS > length || n * KEYS + KEYS > top_row + 1) {
      softmax<true, KEYS>(s, max, sum, shrink, scale, row + 1 - n * KEYS, length - n * KEYS);
    } else {
      softmax<false, KEYS>(s, max, sum, shrink, scale, 0, 0);
    }
    rescale<D>(sums, shrink);
    pack<KEYS>(p, s);
    ptx::mbarrier_wait(&shared.v_full[stage], parity);
    ptx::wgmma_fence();
    multiply_values<D, KEYS>(sums, p, ptx::smem_address(shared.v[stage]));
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    __syncthreads();  // nobody reads this stage any more
    if (threadIdx.x == 0 && i + STAGES < tiles)
      load_tile<D>(shared, stage, &k, &v, begin + (n - STAGES) * KEYS, hk);
  }
  finish<D>(sums, max, sum, shared, &o_map, o, lse, begin, length, Hq, h, top_row, scale);
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
  const auto list = plan.workspace(kl::i32, 4LL * tiles_max);
  plan.launch(list_kernel)
      .grid(kl::cdiv(tiles_max, 4))
      .block(128)
      .arg(p.cu_seqlens)
      .arg(list)
      .arg(p.B)
      .arg(tiles_max);
  plan.launch(kernel)
      .grid((long long)tiles_max * p.Hq)
      .block(C::THREADS)
      .shared(sizeof(Shared<D>))
      .arg(q)
      .arg(k)
      .arg(v)
      .arg(o)
      .arg(p.o)
      .arg(p.lse)
      .arg(list)
      .arg(p.Hq)
      .arg(p.Hkv)
      .arg(p.scale * 1.44269504f);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (p.D == 64) return plan_for<64>(p, plan, "list_tiles<64>", "varlen_wgmma<64>");
  if (plan.require(p.D == 128, "D must be 64 or 128"))
    plan_for<128>(p, plan, "list_tiles<128>", "varlen_wgmma<128>");
}
