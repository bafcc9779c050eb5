// SPDX-License-Identifier: Apache-2.0
// Sparse-linear attention on wgmma and TMA: q, k, v, os, ol [B, S, H, D] (bf16), lut [B, H, S / 64, K], lse [B, S, H].
//
// Technique: three kernels. `prepare` writes the state phi(k)^T v of every block of keys in bf16, the sum of phi(k) as two
// bf16, value and rest, and the lists as bits and in falling order: a last block of fewer keys comes first, and what runs
// at a time reads neighbouring keys. `mix` adds, for every block of queries, the states that it does not select: a product
// of wgmma whose other operand, zeros and ones, is made in registers from the bits; what it costs does not depend on the
// lists' length. `attend` is persistent: each warpgroup takes blocks of queries for itself and has a ring of tiles and a
// warp that fills it by TMA. Of the selected blocks, the scores of the next tile are under way with the output of the last;
// then the features of the queries are multiplied with the mixed state, which was read while the L2 cache's bandwidth, not
// the memory's, was the bound. Features go into products as value and rest, so that of the linear part only states are
// rounded.
//
// Ladder:
//   naive.cu      one warp per query, every key visited by every query
//   mma_sync.cu   tensor cores by mma.sync; the keys that are not selected cost one state per head
//   this file     wgmma and TMA on sm_90, warp specialisation, states of blocks and their sums as products

// tune: GROUPS_128 = 2 | 3
// tune: GROUPS_64 = 4 | 3
// tune: MIX_STAGES = 5 | 3

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int BLOCK = 64;             // queries and keys of a block
constexpr int HALF = 64;              // channels of a row that one TMA box and one swizzle span hold
constexpr int TILE = BLOCK * HALF * 2;  // bytes of a box
constexpr int MIX_ROWS = 128, MIX_THREADS = 256;
constexpr float LOWEST = -1e30f;  // finite, so that the difference of two maxima is never NaN
constexpr float LOG2_E = 1.44269504f;

typedef unsigned short Box[BLOCK][HALF];

/// Where chunk `chunk` of eight channels of row `row` lies in a box.
__device__ __forceinline__ unsigned short* place(Box& box, int row, int chunk) { return &box[row][(chunk ^ (row & 7)) * 8]; }

/// Two floats as bf16, and what the rounding took as bf16.
__device__ __forceinline__ void split(float low, float high, uint32_t& value, uint32_t& remainder) {
  value = ptx::pack_bf16(low, high);
  remainder = ptx::pack_bf16(low - ptx::low_bf16(value), high - ptx::high_bf16(value));
}

/// Writes 64 rows of accumulators into boxes, as bf16.
template <int N>
__device__ __forceinline__ void store_boxes(Box* boxes, const float (&d)[N]) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4, row = warp * 16 + lane % 16;
#pragma unroll
  for (int j = 0; j < N / 4; j += 2) {
    const uint32_t r[4] = {ptx::pack_bf16(d[j * 4], d[j * 4 + 1]), ptx::pack_bf16(d[j * 4 + 2], d[j * 4 + 3]),
                           ptx::pack_bf16(d[j * 4 + 4], d[j * 4 + 5]), ptx::pack_bf16(d[j * 4 + 6], d[j * 4 + 7])};
    ptx::stmatrix_x4(place(boxes[j / 8], row, j % 8 + lane / 16), r);
  }
}

template <int D>
struct alignas(1024) PrepareShared {
  static constexpr int THREADS = D * D / 32, ROWS = THREADS / (D / 8);  // a warpgroup for every 64 x 64 of the state
  Box phi[D / HALF][2];  // by channels of phi(k): value and rest; later their rows of the state
  Box v[D / HALF];
  float sums[ROWS][D];
  uint64_t full;
  unsigned bits[1];  // `words` of them
};

/// State, sum of features and list of block blockIdx.x. Rows are shared by D / 8 threads.
template <int D>
__global__ void __launch_bounds__(PrepareShared<D>::THREADS, 1024 / PrepareShared<D>::THREADS)
prepare(const __grid_constant__ CUtensorMap v_map, const unsigned short* __restrict__ k, const int* __restrict__ lut,
        unsigned short* __restrict__ states, unsigned short* __restrict__ sums, unsigned* __restrict__ bits, int* __restrict__ lists,
        int S, int H, int K, int words) {
  extern __shared__ __align__(1024) unsigned char memory[];
  PrepareShared<D>& shared = *reinterpret_cast<PrepareShared<D>*>(memory);
  constexpr int CHUNKS = D / 8, THREADS = PrepareShared<D>::THREADS, ROWS = PrepareShared<D>::ROWS;
  const int first = blockIdx.x * BLOCK, h = blockIdx.y, b = blockIdx.z, thread = threadIdx.x;
  const long long unit = ((long long)b * H + h) * gridDim.x + blockIdx.x;
  if (thread == 0) {
    ptx::mbarrier_init(&shared.full, 1);
    ptx::fence_mbarrier_init();
    ptx::fence_proxy_async();
    ptx::mbarrier_arrive_expect(&shared.full, sizeof(shared.v));
    for (int half = 0; half < D / HALF; ++half) ptx::tma_load_4d(shared.v[half], &v_map, &shared.full, half * HALF, first, h, b);
  }
  const int entry = thread < K ? lut[unit * K + thread] : -1;  // of the list
  for (int i = thread; i < words; i += THREADS) shared.bits[i] = 0;

  const int chunk = thread % CHUNKS;
  uint4 raw[BLOCK / ROWS];
#pragma unroll
  for (int i = 0; i < BLOCK / ROWS; ++i) {
    const int row = first + i * ROWS + thread / CHUNKS;
    raw[i] = row < S ? *reinterpret_cast<const uint4*>(k + (((long long)b * S + row) * H + h) * D + chunk * 8) : uint4{};
  }
  float sum_k[8] = {};
#pragma unroll
  for (int i = 0; i < BLOCK / ROWS; ++i) {
    const int row = i * ROWS + thread / CHUNKS;
    const unsigned pairs[4] = {raw[i].x, raw[i].y, raw[i].z, raw[i].w};
    float x[8], top = -INFINITY, sum = 0;
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      x[c * 2] = ptx::low_bf16(pairs[c]);
      x[c * 2 + 1] = ptx::high_bf16(pairs[c]);
      top = fmaxf(top, fmaxf(x[c * 2], x[c * 2 + 1]));
    }
#pragma unroll
    for (int step = CHUNKS / 2; step > 0; step /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, step));
#pragma unroll
    for (int c = 0; c < 8; ++c) sum += x[c] = ptx::ex2((x[c] - top) * LOG2_E);
#pragma unroll
    for (int step = CHUNKS / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    const float inverse = first + row < S ? 1.0f / sum : 0.0f;
    uint32_t value[4], remainder[4];
#pragma unroll
    for (int c = 0; c < 8; ++c) sum_k[c] += x[c] *= inverse;
#pragma unroll
    for (int c = 0; c < 4; ++c) split(x[c * 2], x[c * 2 + 1], value[c], remainder[c]);
    *reinterpret_cast<uint4*>(place(shared.phi[chunk / 8][0], row, chunk % 8)) = {value[0], value[1], value[2], value[3]};
    *reinterpret_cast<uint4*>(place(shared.phi[chunk / 8][1], row, chunk % 8)) = {remainder[0], remainder[1], remainder[2], remainder[3]};
  }
  float4* const of_row = reinterpret_cast<float4*>(&shared.sums[thread / CHUNKS][chunk * 8]);
  of_row[0] = {sum_k[0], sum_k[1], sum_k[2], sum_k[3]};
  of_row[1] = {sum_k[4], sum_k[5], sum_k[6], sum_k[7]};
  ptx::fence_proxy_async();
  __syncthreads();  // features and their sums are here, the bits are clear

  const int w = thread / 128, m = w / (D / HALF), n = w % (D / HALF);  // which 64 x 64 of the state
  float acc[32];
  ptx::mbarrier_wait(&shared.full, 0);
  ptx::wgmma_fence();
#pragma unroll
  for (int part = 0; part < 2; ++part) {
#pragma unroll
    for (int i = 0; i < BLOCK / 16; ++i) {
      ptx::wgmma_bf16_ss<true, true>(acc, ptx::wgmma_descriptor(ptx::smem_address(shared.phi[m][part]) + i * 2048, TILE),
                                     ptx::wgmma_descriptor(ptx::smem_address(shared.v[n]) + i * 2048, TILE), part + i != 0);
    }
  }
  ptx::wgmma_commit();
  for (int i = thread; i < K; i += THREADS) {
    const int block = i < THREADS ? entry : lut[unit * K + i];
    if (block >= 0) atomicOr(&shared.bits[block / 32], 1u << block % 32);
  }
  if (thread < D) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < ROWS; ++i) sum += shared.sums[i][thread];
    uint32_t value, remainder;
    split(sum, 0.0f, value, remainder);
    // Of 32 channels the values, then the rests: one box of `mix` has both.
    unsigned short* const to = sums + unit * D * 2 + thread / 32 * 64 + thread % 32;
    to[0] = (unsigned short)value;
    to[32] = (unsigned short)remainder;
  }
  __syncwarp();
  ptx::wgmma_wait<0>();
  __syncthreads();  // nobody reads features any more, and the bits are complete
  for (int i = thread; i < words; i += THREADS) bits[unit * words + i] = shared.bits[i];
  for (int i = thread; i < K; i += THREADS) {
    const int block = i < THREADS ? entry : lut[unit * K + i];
    int above = 0, all = 0;  // blocks of the list: those that come before this one, and all
    for (int word = 0; word < words; ++word) {
      const int count = __popc(shared.bits[word]);
      all += count;
      if (word > block / 32) above += count;
    }
    if (block >= 0) lists[unit * K + above + __popc(shared.bits[block / 32] >> block % 32 >> 1)] = block;
    if (i >= all) lists[unit * K + i] = -1;
  }
  Box& out = shared.phi[m][n];
  store_boxes(&out, acc);
  ptx::named_barrier_sync(1 + w, 128);
  unsigned short* const state = states + unit * D * D + m * 64 * D + n * 64;
#pragma unroll
  for (int i = thread % 128; i < 64 * 8; i += 128) {
    *reinterpret_cast<uint4*>(state + i / 8 * D + i % 8 * 8) = *reinterpret_cast<const uint4*>(place(out, i / 8, i % 8));
  }
}

/// Warpgroups of a block of `attend`, besides that of the loaders; the places of each one's ring, and registers.
template <int D>
struct Ring {
  static constexpr int GROUPS = D == 64 ? GROUPS_64 : GROUPS_128, THREADS = (GROUPS + 1) * 128;
  static constexpr int PLACES = kl::min(8, 227 * 8 / D / GROUPS - 1);
  static constexpr int REGISTERS = GROUPS == 2 ? 232 : GROUPS == 3 ? 152 : 112;
  static constexpr int LOADER_REGISTERS = GROUPS == 2 ? 40 : GROUPS == 3 ? 56 : 32;
};

template <int D>
struct alignas(1024) AttendShared {
  using R = Ring<D>;
  Box q[R::GROUPS][D / HALF];
  Box ring[R::GROUPS][R::PLACES][D / HALF];
  uint64_t q_full[R::GROUPS], q_empty[R::GROUPS], full[R::GROUPS][R::PLACES], empty[R::GROUPS][R::PLACES];
};

/// Sizes, as the plan gives them; units are blocks of queries of all heads.
struct Sizes {
  int S, H, K, blocks, units;
};

/// Brings what a warpgroup will read into its ring, by one thread, in the order in which it is read: of every unit the
/// queries, then keys and values of the blocks that it selects, each block's values after the next one's keys, then the
/// state of all others, 64 rows at a time.
template <int D>
__device__ __forceinline__ void load_units(AttendShared<D>& shared, int group, const CUtensorMap* q_map, const CUtensorMap* k_map,
                                           const CUtensorMap* v_map, const CUtensorMap* mixed_map, const int* lists,
                                           const Sizes& sizes) {
  int place = 0, parity = 1, q_parity = 1;
  for (int unit = blockIdx.x * Ring<D>::GROUPS + group; unit < sizes.units; unit += gridDim.x * Ring<D>::GROUPS) {
    const int head = unit / sizes.blocks, b = head / sizes.H, h = head - b * sizes.H;
    const int* const list = lists + (long long)unit * sizes.K;
    int next = __ldg(list), older = 0;
    const auto load = [&](const CUtensorMap* map, int row, int third, int fourth) {
      uint64_t* const full = &shared.full[group][place];
      ptx::mbarrier_wait(&shared.empty[group][place], parity);
      ptx::mbarrier_arrive_expect(full, sizeof(shared.q[0]));
#pragma unroll
      for (int half = 0; half < D / HALF; ++half) {
        ptx::tma_load_4d(&shared.ring[group][place][half], map, full, half * HALF, row, third, fourth);
      }
      if (++place == Ring<D>::PLACES) place = 0, parity ^= 1;
    };
    ptx::mbarrier_wait(&shared.q_empty[group], q_parity);
    q_parity ^= 1;
    ptx::mbarrier_arrive_expect(&shared.q_full[group], sizeof(shared.q[0]));
#pragma unroll
    for (int half = 0; half < D / HALF; ++half) {
      ptx::tma_load_4d(&shared.q[group][half], q_map, &shared.q_full[group], half * HALF, (unit - head * sizes.blocks) * BLOCK, h, b);
    }
    for (int at = 1; next >= 0; ++at) {
      const int block = next;
      next = at < sizes.K ? __ldg(list + at) : -1;
      load(k_map, block * BLOCK, h, b);
      if (at > 1) load(v_map, older * BLOCK, h, b);
      older = block;
    }
    load(v_map, older * BLOCK, h, b);
    for (int part = 0; part < D / 64; ++part) load(mixed_map, part * 64, 0, unit);
  }
}

/// Turns scores into probabilities under the running maximum, in base-2 units; `shrink` is what brings older sums and
/// outputs to it. Of the tile's keys, `keys` are there.
__device__ __forceinline__ void softmax(float (&s)[BLOCK / 2], float (&max)[2], float (&sum)[2], float (&shrink)[2], float scale,
                                        int keys) {
  if (keys < BLOCK) {
    const int column = threadIdx.x % 4 * 2;
#pragma unroll
    for (int i = 0; i < BLOCK / 2; ++i) {
      if (i / 4 * 8 + column + i % 2 >= keys) s[i] = -INFINITY;
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float top = max[half];
#pragma unroll
    for (int j = 0; j < BLOCK / 8; ++j) top = fmaxf(top, fmaxf(s[j * 4 + half * 2], s[j * 4 + half * 2 + 1]));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
    shrink[half] = ptx::ex2((max[half] - top) * scale);
    max[half] = top;
    sum[half] *= shrink[half];
    const float offset = top * scale;
#pragma unroll
    for (int j = 0; j < BLOCK / 8; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& score = s[j * 4 + half * 2 + e];
        score = ptx::ex2(fmaf(score, scale, -offset));
        sum[half] += score;
      }
    }
  }
}

/// The maximum seldom grows after some tiles.
template <int D>
__device__ __forceinline__ void rescale(float (&o)[D / 2], const float (&shrink)[2]) {
  if (__any_sync(0xffffffffu, shrink[0] != 1.0f || shrink[1] != 1.0f)) {
#pragma unroll
    for (int i = 0; i < D / 2; ++i) o[i] *= shrink[i / 2 % 2];
  }
}

/// Probabilities as A operands.
__device__ __forceinline__ void pack(uint32_t (&p)[BLOCK / 16][4], const float (&s)[BLOCK / 2]) {
#pragma unroll
  for (int step = 0; step < BLOCK / 16; ++step) {
#pragma unroll
    for (int r = 0; r < 4; ++r) p[step][r] = ptx::pack_bf16(s[step * 8 + r * 2], s[step * 8 + r * 2 + 1]);
  }
}

/// s = q k.
template <int D>
__device__ __forceinline__ void multiply_keys(float (&s)[BLOCK / 2], uint32_t q, uint32_t k) {
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
    const uint32_t at = step / 4 * TILE + step % 4 * 32;
    ptx::wgmma_bf16_ss(s, ptx::wgmma_descriptor(q + at), ptx::wgmma_descriptor(k + at), step != 0);
  }
}

/// o += p v.
template <int D>
__device__ __forceinline__ void multiply_values(float (&o)[D / 2], const uint32_t (&p)[BLOCK / 16][4], uint32_t v) {
#pragma unroll
  for (int step = 0; step < BLOCK / 16; ++step) {
    ptx::wgmma_bf16_rs<true>(o, p[step], ptx::wgmma_descriptor(v + step * 2048, TILE), true);
  }
}

/// Features of the warp's 16 queries as A operands, value and rest, and their products with the sums of the keys' features,
/// of which each lane has a part.
template <int D>
__device__ __forceinline__ void features(uint32_t (&value)[D / 16][4], uint32_t (&remainder)[D / 16][4], float (&norm)[2],
                                         Box (&q)[D / HALF], const float* sums) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
  float top[2] = {-INFINITY, -INFINITY};
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {  // rows lane / 4 and eight further, then the same eight channels further
    ptx::ldmatrix_x4(value[step], place(q[step / 4], warp * 16 + lane % 16, step % 4 * 2 + lane / 16));
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      top[r % 2] = fmaxf(top[r % 2], fmaxf(ptx::low_bf16(value[step][r]), ptx::high_bf16(value[step][r])));
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    top[half] = fmaxf(top[half], __shfl_xor_sync(0xffffffffu, top[half], 1));
    top[half] = fmaxf(top[half], __shfl_xor_sync(0xffffffffu, top[half], 2));
    norm[half] = 0;
  }
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const float2 of_keys = *reinterpret_cast<const float2*>(sums + step * 16 + r / 2 * 8 + lane % 4 * 2);
      const float low = ptx::ex2((ptx::low_bf16(value[step][r]) - top[r % 2]) * LOG2_E);
      const float high = ptx::ex2((ptx::high_bf16(value[step][r]) - top[r % 2]) * LOG2_E);
      norm[r % 2] += low * of_keys.x + high * of_keys.y;
      split(low, high, value[step][r], remainder[step][r]);
    }
  }
}

/// Writes one of this lane's two rows, times a factor.
template <int D>
__device__ __forceinline__ void store_row(unsigned short* row, const float (&o)[D / 2], int half, float factor) {
#pragma unroll
  for (int j = 0; j < D / 8; ++j) {
    *reinterpret_cast<uint32_t*>(row + j * 8 + threadIdx.x % 4 * 2) =
        ptx::pack_bf16(o[j * 4 + half * 2] * factor, o[j * 4 + half * 2 + 1] * factor);
  }
}

/// Every warpgroup for itself: it takes blocks of queries in turn.
template <int D>
__global__ void __launch_bounds__(Ring<D>::THREADS, 1)
attend(const __grid_constant__ CUtensorMap q_map, const __grid_constant__ CUtensorMap k_map, const __grid_constant__ CUtensorMap v_map,
       const __grid_constant__ CUtensorMap mixed_map, const int* __restrict__ lists, const float* __restrict__ mixed_sums,
       unsigned short* __restrict__ os, unsigned short* __restrict__ ol, float* __restrict__ lse, int S, int H, int K, int blocks,
       int units, float scale) {
  extern __shared__ __align__(1024) unsigned char memory[];
  AttendShared<D>& shared = *reinterpret_cast<AttendShared<D>*>(memory);
  constexpr int GROUPS = Ring<D>::GROUPS, PLACES = Ring<D>::PLACES;
  const int group = __shfl_sync(0xffffffffu, threadIdx.x / 128, 0), lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
  if (threadIdx.x == 0) {
    for (int g = 0; g < GROUPS; ++g) {
      ptx::mbarrier_init(&shared.q_full[g], 1);
      ptx::mbarrier_init(&shared.q_empty[g], 4);
      for (int i = 0; i < PLACES; ++i) {
        ptx::mbarrier_init(&shared.full[g][i], 1);
        ptx::mbarrier_init(&shared.empty[g][i], 4);
      }
    }
    ptx::fence_mbarrier_init();
    ptx::fence_proxy_async();
  }
  __syncthreads();

  if (group == GROUPS) {  // a warp loads for each of the others
    ptx::register_decrease<Ring<D>::LOADER_REGISTERS>();
    if (lane == 0 && warp < GROUPS) {
      load_units<D>(shared, warp, &q_map, &k_map, &v_map, &mixed_map, lists, Sizes{S, H, K, blocks, units});
    }
    __syncwarp();
  } else {
    ptx::register_increase<Ring<D>::REGISTERS>();
    Box (*const ring)[D / HALF] = shared.ring[group];
    uint64_t* const full = shared.full[group];
    uint64_t* const empty = shared.empty[group];
    const uint32_t q = ptx::smem_address(shared.q[group]);
    int place = 0, parity = 0, q_parity = 0;
    // This warp is done with the oldest place.
    const auto leave = [&] {
      __syncwarp();
      if (lane == 0) ptx::mbarrier_arrive(&empty[place]);
      if (++place == PLACES) place = 0, parity ^= 1;
    };
    for (int unit = blockIdx.x * GROUPS + group; unit < units; unit += gridDim.x * GROUPS, q_parity ^= 1) {
      const int head = unit / blocks, b = head / H, h = head - b * H;
      const int* const list = lists + (long long)unit * K;
      const int block = __ldg(list);
      int next = K > 1 ? __shfl_sync(0xffffffffu, __ldg(list + 1), 0) : -1;
      float s[BLOCK / 2], o[D / 2], max[2] = {LOWEST, LOWEST}, sum[2] = {0, 0}, shrink[2];
      uint32_t p[BLOCK / 16][4];
#pragma unroll
      for (int i = 0; i < D / 2; ++i) o[i] = 0;
      ptx::mbarrier_wait(&shared.q_full[group], q_parity);
      ptx::mbarrier_wait(&full[place], parity);
      ptx::wgmma_fence();
      multiply_keys<D>(s, q, ptx::smem_address(ring[place]));
      ptx::wgmma_commit();
      ptx::wgmma_wait<0>();
      leave();
      softmax(s, max, sum, shrink, scale, S - block * BLOCK);
      pack(p, s);
      for (int at = 1; next >= 0; ++at) {
        next = at + 1 < K ? __shfl_sync(0xffffffffu, __ldg(list + at + 1), 0) : -1;
        const int value_place = place + 1 == PLACES ? 0 : place + 1, value_parity = value_place == 0 ? parity ^ 1 : parity;
        ptx::mbarrier_wait(&full[place], parity);
        ptx::wgmma_fence();
        multiply_keys<D>(s, q, ptx::smem_address(ring[place]));
        ptx::wgmma_commit();
        ptx::mbarrier_wait(&full[value_place], value_parity);
        multiply_values<D>(o, p, ptx::smem_address(ring[value_place]));
        ptx::wgmma_commit();
        ptx::wgmma_wait<1>();  // the scores are here, the output is still under way
        leave();
        softmax(s, max, sum, shrink, scale, BLOCK);
        ptx::wgmma_wait<0>();
        leave();
        rescale<D>(o, shrink);
        pack(p, s);
      }
      uint32_t value[D / 16][4], remainder[D / 16][4];  // features of the queries, not normalised: that cancels
      float norm[2];
      features<D>(value, remainder, norm, shared.q[group], mixed_sums + (long long)unit * D);
      __syncwarp();
      if (lane == 0) ptx::mbarrier_arrive(&shared.q_empty[group]);
      ptx::mbarrier_wait(&full[place], parity);
      ptx::wgmma_fence();
      multiply_values<D>(o, p, ptx::smem_address(ring[place]));
      ptx::wgmma_commit();
      ptx::wgmma_wait<0>();
      leave();
      const int first = (unit - head * blocks) * BLOCK + warp * 16 + lane / 4;  // of this lane's two queries, eight apart
      const long long row = ((long long)b * S + first) * H + h, next_row = (long long)H * 8;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float total = sum[half] + __shfl_xor_sync(0xffffffffu, sum[half], 1);
        total += __shfl_xor_sync(0xffffffffu, total, 2);
        if (first + half * 8 >= S) continue;
        store_row<D>(os + (row + half * next_row) * D, o, half, 1.0f / total);
        if (lane % 4 == 0) lse[row + half * next_row] = max[half] * scale * 0.69314718056f + logf(total);
      }
      __syncwarp();
#pragma unroll
      for (int part = 0; part < D / 64; ++part) {
        ptx::mbarrier_wait(&full[place], parity);
        ptx::wgmma_fence();
#pragma unroll
        for (int step = 0; step < 4; ++step) {
          const uint64_t state = ptx::wgmma_descriptor(ptx::smem_address(ring[place]) + step * 2048, TILE);
          ptx::wgmma_bf16_rs<true>(o, value[part * 4 + step], state, part + step != 0);
          ptx::wgmma_bf16_rs<true>(o, remainder[part * 4 + step], state, true);
        }
        ptx::wgmma_commit();
        ptx::wgmma_wait<0>();
        leave();
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float total = norm[half] + __shfl_xor_sync(0xffffffffu, norm[half], 1);
        total += __shfl_xor_sync(0xffffffffu, total, 2);
        if (first + half * 8 >= S) continue;
        store_row<D>(ol + (row + half * next_row) * D, o, half, total > 0 ? 1.0f / total : 0.0f);  // 0: all is selected
      }
      __syncwarp();
    }
  }
}

struct alignas(1024) MixShared {
  Box states[MIX_STAGES][2];  // 64 blocks of keys, 128 elements of their states
  Box out[MIX_ROWS / BLOCK][2];
  uint64_t full[MIX_STAGES], empty[MIX_STAGES];
};

/// 1 or 0 in bf16 for the lowest two bits.
__device__ __forceinline__ uint32_t ones(unsigned bits) { return ((bits & 1) | (bits & 2) << 15) * 0x3f80; }

/// For MIX_ROWS blocks of queries the sums, over the blocks of keys that they do not select, of 128 elements of the states.
/// The last D / 64 values of blockIdx.y stand for the sums of features.
extern "C" __global__ void __launch_bounds__(MIX_THREADS, 2)
mix(const __grid_constant__ CUtensorMap states_map, const __grid_constant__ CUtensorMap sums_map,
    const __grid_constant__ CUtensorMap mixed_map, const unsigned* __restrict__ bits, float* __restrict__ mixed_sums, int blocks,
    int words, int D) {
  extern __shared__ __align__(1024) unsigned char memory[];
  MixShared& shared = *reinterpret_cast<MixShared*>(memory);
  const int state_tiles = D * D / 128, head = blockIdx.z, steps = (blocks + 63) / 64;
  const bool is_state = (int)blockIdx.y < state_tiles;
  const int tile = is_state ? blockIdx.y : blockIdx.y - state_tiles;
  if (threadIdx.x == 0) {
    for (int i = 0; i < MIX_STAGES; ++i) {
      ptx::mbarrier_init(&shared.full[i], 1);
      ptx::mbarrier_init(&shared.empty[i], blocks - (int)blockIdx.x * MIX_ROWS > BLOCK ? 8 : 4);
    }
    ptx::fence_mbarrier_init();
    ptx::fence_proxy_async();
  }
  __syncthreads();

  const auto load = [&](int step) {
    const int stage = step % MIX_STAGES;
    ptx::mbarrier_arrive_expect(&shared.full[stage], TILE * 2);
    for (int half = 0; half < 2; ++half) {
      ptx::tma_load_3d(shared.states[stage][half], is_state ? &states_map : &sums_map, &shared.full[stage],
                       tile * 128 + half * HALF, step * 64, head);
    }
  };
  if (threadIdx.x == 0) {
    for (int i = 0; i < min(steps, MIX_STAGES); ++i) load(i);
  }
  const int w = __shfl_sync(0xffffffffu, threadIdx.x / 128, 0), lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
  const int first = blockIdx.x * MIX_ROWS + w * BLOCK, pair = lane % 4 * 2;  // first: of this warpgroup's 64 rows
  if (first >= blocks) return;
  const uint2* lists[2];
  uint2 next[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = min(first + warp * 16 + lane / 4 + half * 8, blocks - 1);
    lists[half] = reinterpret_cast<const uint2*>(bits + ((long long)head * blocks + row) * words);
    next[half] = __ldg(lists[half]);
  }
  float acc[64];
#pragma unroll
  for (int i = 0; i < 64; ++i) acc[i] = 0;
  for (int i = 0; i < steps; ++i) {
    const int stage = i % MIX_STAGES;
    const uint32_t b = ptx::smem_address(shared.states[stage]);
    uint32_t a[4][4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint2 two = next[half];
      if (i + 1 < steps) next[half] = __ldg(lists[half] + i + 1);
#pragma unroll
      for (int step = 0; step < 4; ++step) {
        const unsigned word = ~(step < 2 ? two.x : two.y) >> (step % 2 * 16 + pair);
        a[step][half] = ones(word);
        a[step][half + 2] = ones(word >> 8);
      }
    }
    ptx::mbarrier_wait(&shared.full[stage], i / MIX_STAGES & 1);
    ptx::wgmma_fence();
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      ptx::wgmma_bf16_rs<true>(acc, a[step], ptx::wgmma_descriptor(b + step * 2048, TILE), true);
    }
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    __syncwarp();
    if (lane == 0) ptx::mbarrier_arrive(&shared.empty[stage]);
    if (threadIdx.x == 0 && i > 0 && i - 1 + MIX_STAGES < steps) {  // the last tile's place is free, or soon is
      ptx::mbarrier_wait(&shared.empty[(i - 1) % MIX_STAGES], (i - 1) / MIX_STAGES & 1);
      load(i - 1 + MIX_STAGES);
    }
    __syncwarp();
  }
  if (is_state) {
    store_boxes(shared.out[w], acc);
    ptx::fence_proxy_async();
    ptx::named_barrier_sync(1 + w, 128);  // the output is in place
    if (threadIdx.x % 128 == 0) {
      for (int half = 0; half < 2; ++half) {
        ptx::tma_store_3d(&mixed_map, shared.out[w][half], tile * 128 + half * HALF, first, head);
      }
      ptx::tma_store_commit();
      ptx::tma_store_wait<0>();
    }
  } else {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first + warp * 16 + lane / 4 + half * 8;
      if (row >= blocks) continue;
      float* const to = mixed_sums + ((long long)head * blocks + row) * D + tile * 64 + pair;
#pragma unroll
      for (int j = 0; j < 8; ++j) {  // of 64 channels; their rests are 32 columns further
        const int at = j / 4 * 32 + j % 4 * 4 + half * 2;
        *reinterpret_cast<float2*>(to + j * 8) = {acc[at] + acc[at + 16], acc[at + 1] + acc[at + 17]};
      }
    }
  }
}

template <int D>
constexpr void plan_for(const Problem& p, kl::Plan& plan, const char* prepare, const char* attend) {
  const long long blocks = kl::cdiv(p.S, BLOCK), heads = (long long)p.B * p.H, units = heads * blocks;
  const int words = kl::cdiv(p.S, BLOCK * 64) * 2;
  const auto states = plan.workspace(kl::bf16, units * D * D), mixed = plan.workspace(kl::bf16, units * D * D);
  const auto sums = plan.workspace(kl::bf16, units * D * 2), mixed_sums = plan.workspace(kl::f32, units * D);
  const auto bits = plan.workspace(kl::i32, units * words), lists = plan.workspace(kl::i32, units * p.K);
  const auto& q_map = plan.tensor_map(p.q, {3, 1, 2, 0}, {HALF, BLOCK, 1, 1}, kl::swizzle_128);
  const auto& k_map = plan.tensor_map(p.k, {3, 1, 2, 0}, {HALF, BLOCK, 1, 1}, kl::swizzle_128);
  const auto& v_map = plan.tensor_map(p.v, {3, 1, 2, 0}, {HALF, BLOCK, 1, 1}, kl::swizzle_128);
  const auto& states_map = plan.tensor_map(states.view(heads, blocks, D * D), {2, 1, 0}, {HALF, 64, 1}, kl::swizzle_128);
  const auto& sums_map = plan.tensor_map(sums.view(heads, blocks, D * 2), {2, 1, 0}, {HALF, 64, 1}, kl::swizzle_128);
  const auto& out_map = plan.tensor_map(mixed.view(heads, blocks, D * D), {2, 1, 0}, {HALF, 64, 1}, kl::swizzle_128);
  const auto& mixed_map = plan.tensor_map(mixed.view(units, 1, D, D), {3, 2, 1, 0}, {HALF, 64, 1, 1}, kl::swizzle_128);
  plan.launch(prepare).grid(blocks, p.H, p.B).block(PrepareShared<D>::THREADS).shared(sizeof(PrepareShared<D>) + words * 4)
      .arg(v_map).arg(p.k).arg(p.lut).arg(states).arg(sums).arg(bits).arg(lists).arg(p.S).arg(p.H).arg(p.K).arg(words);
  plan.launch("mix").grid(kl::cdiv(blocks, MIX_ROWS), D * D / 128 + D / 64, heads).block(MIX_THREADS).shared(sizeof(MixShared))
      .arg(states_map).arg(sums_map).arg(out_map).arg(bits).arg(mixed_sums).arg((int)blocks).arg(words).arg(D);
  plan.launch(attend).grid(kl::min(kl::cdiv(units, Ring<D>::GROUPS), (long long)p.device.sms)).block(Ring<D>::THREADS)
      .shared(sizeof(AttendShared<D>)).arg(q_map).arg(k_map).arg(v_map).arg(mixed_map).arg(lists).arg(mixed_sums)
      .arg(p.os).arg(p.ol).arg(p.lse).arg(p.S).arg(p.H).arg(p.K)
      .arg((int)blocks).arg((int)units).arg(p.scale * LOG2_E);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (p.D == 64) return plan_for<64>(p, plan, "prepare<64>", "attend<64>");
  if (plan.require(p.D == 128, "D must be 64 or 128")) plan_for<128>(p, plan, "prepare<128>", "attend<128>");
}
