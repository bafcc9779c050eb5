// SPDX-License-Identifier: Apache-2.0
// Attention with column-span masks on wgmma and TMA: q [B, S, Hq, D] over k, v [B, S, Hkv, D] (bf16), spans [B, S, 4], with
// lse [B, S, Hq].
//
// Technique (FlashMask on FlashAttention-3): the mask is the same for all heads, so two small kernels look at it once. The
// first reduces the spans of every piece of 64 keys to their least and largest values. The second lists for every tile of
// queries the pieces that some of its queries see, two to a tile of keys, and works out the bits of those tiles in which
// something is hidden, in the order in which the lanes of the consumers hold their scores; its last block puts tiles of
// queries with more than twice the average of keys first. Otherwise later ones come first, whatever their keys, so that short
// ones, which ask for much memory, do not come all at once. Then one warp of a producer warpgroup keeps rings of key and
// value tiles filled by TMA, masks with the keys, CONSUMERS warpgroups of 64 queries each multiply, and persistent blocks
// take tiles of queries from a common counter, in groups of heads whose keys and values fit into L2. The first scores of a
// tile of queries are made under the last product of the one before. A tile with hidden pairs costs two words a lane; only
// beyond MASKS such tiles for one tile of queries does a lane look at the spans itself.
//
// Ladder:
//   naive.cu     one warp per query, scalar products, every span read by every query
//   mma_sync.cu  tensor cores by mma.sync, hidden tiles skipped, clear tiles unmasked; runs from sm_80 on
//   this file    wgmma and TMA, warp specialisation, persistent blocks, masks as bits that all heads share: TFLOP/s of visible
//                pairs 690 without a mask, 681 causal, 552 in windows of 1024 keys, 480 in causal documents of 1024, 410 at
//                D = 64; 2.6 to 2.9 times as fast as mma_sync.cu, 1.9 times at D = 64 (an H100, medians of 10 and 12 rounds).
//                Masks that come with the keys, keys ahead of values, tiles of queries run into one another gave 1 to 7 %;
//                three consumers cost 42 to 64 % at D = 128 and gain 6 % at D = 64 (an H200)

// tune: CONSUMERS_128 = 2 | 3
// tune: CONSUMERS_64 = 3 | 2
// tune: MASKS = 8 | 1
// tune: L2_SHARE = 50 | 25 | 75

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int HALF = 64;          // channels of a row that one TMA box and one swizzle span hold
constexpr int PIECE = 64;         // keys that one TMA box holds
constexpr int KEYS = 2 * PIECE;   // keys of a tile
constexpr int NOWHERE = 1 << 30;  // first key of a piece beyond the end of a list
constexpr float LOWEST = -1e30f;  // finite, so that the difference of two maxima is never NaN
constexpr float SLACK = 8;        // a maximum may be too low by this much, in base-2 units

/// Everything that depends on the head dimension.
template <int D>
struct Config {
  static constexpr int CONSUMERS = D == 64 ? CONSUMERS_64 : CONSUMERS_128, QUERIES = CONSUMERS * 64;
  static constexpr int SLOTS = 2;  // tiles of queries in shared memory
  static constexpr int STAGES = kl::min(4, (224 * 1024 - SLOTS * QUERIES * D * 2) / (4 * D * KEYS + CONSUMERS * 1024));
  static constexpr int THREADS = (CONSUMERS + 1) * 128;
  static constexpr int LIST_THREADS = 2 * CONSUMERS * 128;  // two tiles of bits at once
  static constexpr int CONSUMER_REGISTERS = CONSUMERS == 2 ? 232 : 160, PRODUCER_REGISTERS = CONSUMERS == 2 ? 40 : 32;
};

/// Sizes, as the plan gives them.
struct Shape {
  int B, S, Hq, Hkv, heads_per_group;
};

// ---- The mask, once for all heads ----

/// Least and largest spans of a piece.
struct Extent {
  int4 least, largest;
};

/// A tile of keys: first keys of its two pieces. The low bits of the first, which are free, say what is hidden: 0 nothing,
/// 1 look at the spans, 2 and more look at mask number `- 2` of the tile of queries.
struct Entry {
  int first, second;

  __device__ __forceinline__ int start() const { return first & -PIECE; }
  __device__ __forceinline__ int code() const { return first & (PIECE - 1); }
};
static_assert(MASKS + 2 <= PIECE, "a mask's number fits into the low bits of a start");

/// A tile of queries, all (b, tile) in one row, and how many tiles of keys it has.
struct Ranked {
  int query_tile, tiles;
};

/// Which units are taken: `next` counts those beyond the first ones, `done` the blocks that found no more; `listed` counts
/// the blocks of list_tiles. All are zero again at the end.
struct Progress {
  int next, done, listed;
};

__device__ __forceinline__ bool is_hidden(const int4& span, int i) {
  return (span.x <= i && i < span.y) || (span.z <= i && i < span.w);
}

/// Which of a lane's scores are hidden: bit 2j + e of word `half` is that of query row + 8 half and key 8j + 2 (lane % 4) + e.
__device__ __forceinline__ uint2 hidden_bits(const int4* spans, const Entry& entry, int row, int S) {
  uint2 bits = {0, 0};
#pragma unroll 4
  for (int i = 0; i < KEYS / 4; ++i) {
    const int within = i / 2 % 8 * 8 + threadIdx.x % 4 * 2 + i % 2;
    const int key = (i < KEYS / 8 ? entry.start() : entry.second) + within;
    const int4 span = spans[min(key, S - 1)];
    bits.x |= unsigned(key >= S || is_hidden(span, row)) << i;
    bits.y |= unsigned(key >= S || is_hidden(span, row + 8)) << i;
  }
  return bits;
}

/// One warp per piece.
extern "C" __global__ void __launch_bounds__(128)
reduce_spans(const int4* __restrict__ spans, Extent* __restrict__ extents, int S, int pieces) {
  ptx::griddepcontrol_launch_dependents();
  const int lane = threadIdx.x % 32, piece = blockIdx.x * 4 + threadIdx.x / 32;
  if (piece >= pieces) return;
  const int4* const row = spans + (long long)blockIdx.y * S;
  const int4 a = row[min(piece * PIECE + lane, S - 1)], b = row[min(piece * PIECE + 32 + lane, S - 1)];
  int4 least = {min(a.x, b.x), min(a.y, b.y), min(a.z, b.z), min(a.w, b.w)};
  int4 largest = {max(a.x, b.x), max(a.y, b.y), max(a.z, b.z), max(a.w, b.w)};
  least = {__reduce_min_sync(0xffffffffu, least.x), __reduce_min_sync(0xffffffffu, least.y),
           __reduce_min_sync(0xffffffffu, least.z), __reduce_min_sync(0xffffffffu, least.w)};
  largest = {__reduce_max_sync(0xffffffffu, largest.x), __reduce_max_sync(0xffffffffu, largest.y),
             __reduce_max_sync(0xffffffffu, largest.z), __reduce_max_sync(0xffffffffu, largest.w)};
  if (lane == 0) extents[(long long)blockIdx.y * pieces + piece] = {least, largest};
}

/// Numbers those threads of a block that say yes, in order, from `from` on; `total` becomes the next number. `counts` has a
/// place for each warp.
template <int THREADS>
__device__ __forceinline__ int number_in_order(bool is_one, int from, int& total, int* counts) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const unsigned ones = __ballot_sync(0xffffffffu, is_one);
  if (lane == 0) counts[warp] = __popc(ones);
  __syncthreads();  // the counts are here
  int before = from;
  total = from;
#pragma unroll
  for (int w = 0; w < THREADS / 32; ++w) {
    if (w < warp) before += counts[w];
    total += counts[w];
  }
  __syncthreads();  // nobody reads the counts any more
  return before + __popc(ones & ((1u << lane) - 1));
}

/// The sum of all threads' values. `sums` has a place for each warp.
template <int THREADS>
__device__ __forceinline__ int sum_of_block(int value, int* sums) {
  const int in_warp = __reduce_add_sync(0xffffffffu, value);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = in_warp;
  __syncthreads();  // the sums are here
  int sum = 0;
#pragma unroll
  for (int w = 0; w < THREADS / 32; ++w) sum += sums[w];
  return sum;
}

/// One block per tile of queries: its entries, its masks, and, by the last block, the order of all.
template <int D>
__global__ void __launch_bounds__(Config<D>::LIST_THREADS)
list_tiles(const int4* __restrict__ spans, const Extent* __restrict__ extents, Entry* __restrict__ entries,
           uint2* __restrict__ masks, int* tiles_of, Ranked* __restrict__ order, Progress* __restrict__ progress, int S,
           int pieces) {
  constexpr int THREADS = Config<D>::LIST_THREADS, QUERIES = Config<D>::QUERIES;
  extern __shared__ __align__(16) int listed[];  // pieces that are seen: first key, and 1 if something is hidden
  __shared__ int counts[THREADS / 32], masked[MASKS], is_last;
  ptx::griddepcontrol_wait();  // the extents are complete and visible
  ptx::griddepcontrol_launch_dependents();
  const int tid = threadIdx.x, query_tile = blockIdx.y * gridDim.x + blockIdx.x, entries_max = (pieces + 1) / 2;
  const int first = blockIdx.x * QUERIES, end = min(first + QUERIES, S);
  const int4* const row = spans + (long long)blockIdx.y * S;
  const Extent* const extent = extents + (long long)blockIdx.y * pieces;
  Entry* const own = entries + (long long)query_tile * entries_max;

  int seen = 0;
  for (int base = 0; base < pieces; base += THREADS) {
    const int piece = base + tid;
    bool is_seen = false, has_hidden = false;
    if (piece < pieces) {
      const int4 least = extent[piece].least, largest = extent[piece].largest;
      is_seen = !(largest.x <= first && end <= least.y) && !(largest.z <= first && end <= least.w);
      has_hidden = (least.x < end && first < largest.y) || (least.z < end && first < largest.w) || (piece + 1) * PIECE > S;
    }
    const int place = number_in_order<THREADS>(is_seen, seen, seen, counts);
    if (is_seen) listed[place] = piece * PIECE + has_hidden;
  }
  __syncthreads();  // the list is whole
  const int tiles = (seen + 1) / 2;
  int with_mask = 0;
  for (int base = 0; base < tiles; base += THREADS) {
    const int n = base + tid;
    int a = 0, b = 0;
    if (n < tiles) {
      a = listed[2 * n];
      b = 2 * n + 1 < seen ? listed[2 * n + 1] : NOWHERE + 1;
    }
    const bool has_hidden = (a | b) & 1;
    const int number = number_in_order<THREADS>(has_hidden, with_mask, with_mask, counts);
    if (has_hidden && number < MASKS) masked[number] = n;
    if (n < tiles) own[n] = {(a & -PIECE) + (has_hidden ? number < MASKS ? 2 + number : 1 : 0), b & -PIECE};
  }
  if (tid == 0) tiles_of[query_tile] = tiles;
  __syncthreads();  // the entries are here

  const int lane_of_tile = tid % (THREADS / 2);  // as in the consumers
  const int query = first + lane_of_tile / 32 * 16 + lane_of_tile % 32 / 4;
  for (int number = tid / (THREADS / 2); number < min(with_mask, MASKS); number += 2) {
    masks[((long long)query_tile * MASKS + number) * (THREADS / 2) + lane_of_tile] =
        hidden_bits(row, own[masked[number]], query, S);
  }

  __threadfence();  // the number of tiles comes before the count
  if (tid == 0) is_last = atomicAdd(&progress->listed, 1) == gridDim.x * gridDim.y - 1;
  __syncthreads();  // all know whether this block is the last
  if (!is_last) return;
  __threadfence();  // all numbers of tiles are here
  __shared__ int chunk[THREADS];
  const int query_tiles = gridDim.x * gridDim.y;
  int sum = 0;
  for (int at = 0; at < query_tiles; at += THREADS) sum += at + tid < query_tiles ? __ldcg(tiles_of + at + tid) : 0;
  const long long mean_twice = 2LL * sum_of_block<THREADS>(sum, counts);  // times query_tiles
  for (int base = 0; base < query_tiles; base += THREADS) {
    const int at = base + tid, own_tiles = at < query_tiles ? __ldcg(tiles_of + at) : 0;
    const bool is_long = (long long)own_tiles * query_tiles > mean_twice;
    int rank = 0;
    for (int others = 0; others < query_tiles; others += THREADS) {
      const int width = min(THREADS, query_tiles - others);
      __syncthreads();  // nobody reads the last chunk any more
      if (tid < width) chunk[tid] = (long long)__ldcg(tiles_of + others + tid) * query_tiles > mean_twice;
      __syncthreads();  // the chunk is here
      for (int i = 0; i < width; ++i) rank += chunk[i] > is_long || (chunk[i] == is_long && others + i > at);
    }
    if (at < query_tiles) order[rank] = {at, own_tiles};
  }
  if (tid == 0) progress->listed = 0;
}

// ---- Attention ----

/// One unit of work: queries `first` on of head h. `tiles` is -1 beyond the last unit.
struct Unit {
  int b, h, first, tiles, query_tile;
};

template <int D>
struct alignas(1024) Shared {
  using C = Config<D>;
  unsigned short q[C::SLOTS][C::CONSUMERS][D / HALF][64][HALF];
  unsigned short k[C::STAGES][D / HALF][KEYS][HALF], v[C::STAGES][D / HALF][KEYS][HALF];
  Unit unit[C::SLOTS];      // whose queries are in q
  Entry entry[C::STAGES];   // of the keys in k
  alignas(16) uint2 mask[C::STAGES][C::CONSUMERS * 128];  // which of a lane's scores are hidden
  uint64_t q_full[C::SLOTS], q_empty[C::SLOTS], k_full[C::STAGES], k_empty[C::STAGES], v_full[C::STAGES], v_empty[C::STAGES];
};

/// The unit after the present one, found step by step: nothing that a step asks for is used before the next step. Lanes
/// hold 32 entries.
template <int D>
struct Ahead {
  int steps, taken, head;
  Ranked ranked;
  Entry entry;

  __device__ __forceinline__ void find(const Shape& shape, const Ranked* order, int index) {
    const int query_tiles = (shape.S + Config<D>::QUERIES - 1) / Config<D>::QUERIES * shape.B;
    ranked = {0, -1};
    if (index >= query_tiles * shape.Hq) return;
    const int group_units = shape.heads_per_group * query_tiles, group = index / group_units;
    const int begin = group * shape.heads_per_group, width = min(shape.heads_per_group, shape.Hq - begin);
    const int within = index - group * group_units;
    head = begin + within % width;
    ranked = order[within / width];
  }
  __device__ __forceinline__ void read(const Entry* entries, int entries_max) {
    const int lane = threadIdx.x % 32;
    if (lane < ranked.tiles) entry = entries[(long long)ranked.query_tile * entries_max + lane];
  }
  __device__ __forceinline__ void step(const Shape& shape, const Ranked* order, const Entry* entries, int entries_max,
                                       Progress* progress) {
    if (steps == 0) {
      if (threadIdx.x % 32 == 0) taken = atomicAdd(&progress->next, 1);
    } else if (steps == 1) {
      find(shape, order, gridDim.x + __shfl_sync(0xffffffffu, taken, 0));
    } else {
      read(entries, entries_max);
    }
    ++steps;
  }
};

/// Sends queries, keys, masks and values on their way; one warp, of which lane 0 copies. Keys go ahead of the values of
/// the tile before, as consumers want them.
template <int D>
struct Producer {
  using C = Config<D>;
  Shared<D>& shared;
  const CUtensorMap *q, *k, *v;
  const uint2* masks;
  int stage, parity, slot, slot_parity;
  bool has_values;  // some are still to be sent: those of `value_tile` at `value_stage`
  int value_stage, value_parity, value_hk, value_b;
  Entry value_tile;

  /// Tells consumers of a unit, and loads its queries.
  __device__ __forceinline__ void send_queries(const Unit& unit) {
    if (unit.tiles <= 0) send_values();  // consumers need them to get on
    ptx::mbarrier_wait(&shared.q_empty[slot], slot_parity);
    if (threadIdx.x % 32 == 0) {
      shared.unit[slot] = unit;
      if (unit.tiles >= 0) {
        ptx::mbarrier_arrive_expect(&shared.q_full[slot], sizeof(shared.q[0]));
        for (int w = 0; w < C::CONSUMERS; ++w) {
          for (int half = 0; half < D / HALF; ++half) {
            ptx::tma_load_4d(shared.q[slot][w][half], q, &shared.q_full[slot], half * HALF, unit.first + w * 64, unit.h,
                             unit.b);
          }
        }
      } else {
        ptx::mbarrier_arrive(&shared.q_full[slot]);
      }
    }
    __syncwarp();
    if (++slot == C::SLOTS) slot = 0, slot_parity ^= 1;
  }

  __device__ __forceinline__ void send_values() {
    if (!has_values) return;
    has_values = false;
    ptx::mbarrier_wait(&shared.v_empty[value_stage], value_parity);
    if (threadIdx.x % 32 == 0) {
      uint64_t* const full = &shared.v_full[value_stage];
      ptx::mbarrier_arrive_expect(full, sizeof(shared.v[0]));
      for (int half = 0; half < D / HALF; ++half) {
        ptx::tma_load_4d(shared.v[value_stage][half][0], v, full, half * HALF, value_tile.start(), value_hk, value_b);
        ptx::tma_load_4d(shared.v[value_stage][half][PIECE], v, full, half * HALF, value_tile.second, value_hk, value_b);
      }
    }
    __syncwarp();
  }

  /// The keys of a tile, and the values of the one before.
  __device__ __forceinline__ void send_tile(const Unit& unit, int hk, const Entry& tile) {
    ptx::mbarrier_wait(&shared.k_empty[stage], parity);
    if (threadIdx.x % 32 == 0) {
      uint64_t* const full = &shared.k_full[stage];
      shared.entry[stage] = tile;
      const bool has_mask = tile.code() >= 2;
      ptx::mbarrier_arrive_expect(full, sizeof(shared.k[0]) + (has_mask ? sizeof(shared.mask[0]) : 0));
      for (int half = 0; half < D / HALF; ++half) {
        ptx::tma_load_4d(shared.k[stage][half][0], k, full, half * HALF, tile.start(), hk, unit.b);
        ptx::tma_load_4d(shared.k[stage][half][PIECE], k, full, half * HALF, tile.second, hk, unit.b);
      }
      if (has_mask) {
        const long long number = (long long)unit.query_tile * MASKS + tile.code() - 2;
        ptx::bulk_load(shared.mask[stage], masks + number * (C::CONSUMERS * 128), sizeof(shared.mask[0]), full);
      }
    }
    __syncwarp();
    send_values();
    has_values = true;
    value_stage = stage, value_parity = parity, value_hk = hk, value_b = unit.b, value_tile = tile;
    if (++stage == C::STAGES) stage = 0, parity ^= 1;
  }
};

/// Fills the rings; one warp. The queries of the next unit are sent as soon as it is known.
template <int D>
__device__ __forceinline__ void produce(Shared<D>& shared, const CUtensorMap* q, const CUtensorMap* k,
                                        const CUtensorMap* v, const uint2* masks, const Ranked* order,
                                        const Entry* entries, Progress* progress, const Shape& shape) {
  using C = Config<D>;
  const int lane = threadIdx.x % 32, entries_max = ((shape.S + PIECE - 1) / PIECE + 1) / 2;
  const int query_tiles = (shape.S + C::QUERIES - 1) / C::QUERIES;  // of a sequence
  Producer<D> producer{shared, q, k, v, masks, 0, 1, 0, 1, false};
  Ahead<D> ahead;
  const auto unit_ahead = [&]() -> Unit {
    return {ahead.ranked.query_tile / query_tiles, ahead.head, ahead.ranked.query_tile % query_tiles * C::QUERIES,
            ahead.ranked.tiles, ahead.ranked.query_tile};
  };
  ahead.find(shape, order, blockIdx.x);
  ahead.read(entries, entries_max);
  Unit unit = unit_ahead();
  producer.send_queries(unit);
  while (unit.tiles >= 0) {
    Entry entry = ahead.entry;
    Unit next;
    bool is_sent = false;
    ahead.steps = 0;
    const int hk = unit.h / (shape.Hq / shape.Hkv);
    for (int n = 0; n < unit.tiles; ++n) {
      if (n > 0 && n % 32 == 0 && n + lane < unit.tiles) {
        entry = entries[(long long)unit.query_tile * entries_max + n + lane];
      }
      const int first = __shfl_sync(0xffffffffu, entry.first, n % 32), second = __shfl_sync(0xffffffffu, entry.second, n % 32);
      producer.send_tile(unit, hk, {first, second});
      if (n < 3) {
        ahead.step(shape, order, entries, entries_max, progress);
      } else if (n == 3) {
        next = unit_ahead();
        is_sent = next.tiles > 0;
        if (is_sent) producer.send_queries(next);
      }
    }
    while (ahead.steps < 3) ahead.step(shape, order, entries, entries_max, progress);
    if (!is_sent) {
      next = unit_ahead();
      producer.send_queries(next);
    }
    unit = next;
  }
  if (lane != 0) return;
  __threadfence();  // this block's counting comes before the reset by the last one
  if (atomicAdd(&progress->done, 1) == gridDim.x - 1) progress->next = progress->done = 0;
}

/// The same descriptor, `bytes` further on; shared memory is too small for a carry.
__device__ __forceinline__ uint64_t further(uint64_t descriptor, uint32_t bytes) {
  return (descriptor & 0xffffffff00000000ull) | (static_cast<uint32_t>(descriptor) + (bytes >> 4));
}

/// s = 64 queries x KEYS keys. Both lie in shared memory as halves of 64 channels, rows of 128 bytes.
template <int D>
__device__ __forceinline__ void multiply_keys(float (&s)[KEYS / 2], uint32_t q, uint32_t k) {
  const uint64_t queries = ptx::wgmma_descriptor(q), keys = ptx::wgmma_descriptor(k);
#pragma unroll
  for (int i = 0; i < D / 16; ++i) {
    const uint32_t half = i * 16 / HALF, within = i * 16 % HALF * 2;
    ptx::wgmma_bf16_ss(s, further(queries, half * 64 * 128 + within), further(keys, half * KEYS * 128 + within), i != 0);
  }
}

/// o += p v. The values are the transposed operand: 16 keys are 2048 bytes, 64 channels are KEYS rows.
template <int D>
__device__ __forceinline__ void multiply_values(float (&o)[D / 2], const uint32_t (&p)[KEYS / 16][4], uint32_t v) {
  const uint64_t values = ptx::wgmma_descriptor(v, KEYS * 128);
#pragma unroll
  for (int i = 0; i < KEYS / 16; ++i) ptx::wgmma_bf16_rs<true>(o, p[i], further(values, i * 2048), true);
}

__device__ __forceinline__ void hide(float (&s)[KEYS / 2], const uint2& bits) {
#pragma unroll
  for (int i = 0; i < KEYS / 4; ++i) {
    if (bits.x >> i & 1) s[i / 2 * 4 + i % 2] = -INFINITY;
    if (bits.y >> i & 1) s[i / 2 * 4 + 2 + i % 2] = -INFINITY;
  }
}

/// Turns scores into probabilities under the running maximum, in base-2 units. The maximum follows only when it has
/// grown by `slack`; `shrink` is what brings older sums and outputs to it, and the answer says whether any lane's is not 1.
/// Queries that have seen no key so far keep the maximum LOWEST and the sum 0.
__device__ __forceinline__ bool softmax(float (&s)[KEYS / 2], float (&max)[2], float (&sum)[2], float (&shrink)[2],
                                        float scale, float slack) {
  bool has_grown = false;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float top = LOWEST;
#pragma unroll
    for (int j = 0; j < KEYS / 8; ++j) top = fmaxf(top, fmaxf(s[j * 4 + half * 2], s[j * 4 + half * 2 + 1]));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
    const bool grows = top > max[half] + slack;
    shrink[half] = grows ? ptx::ex2((max[half] - top) * scale) : 1.0f;
    if (grows) max[half] = top;
    has_grown |= grows;
    const float offset = max[half] * scale;
    float part[2] = {sum[half] * shrink[half], 0};
#pragma unroll
    for (int j = 0; j < KEYS / 8; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& score = s[j * 4 + half * 2 + e];
        score = ptx::ex2(fmaf(score, scale, -offset));
        part[e] += score;
      }
    }
    sum[half] = part[0] + part[1];
  }
  return __any_sync(0xffffffffu, has_grown);
}

/// The probabilities as A operands.
__device__ __forceinline__ void pack(uint32_t (&p)[KEYS / 16][4], const float (&s)[KEYS / 2]) {
#pragma unroll
  for (int i = 0; i < KEYS / 16; ++i) {
#pragma unroll
    for (int r = 0; r < 4; ++r) p[i][r] = ptx::pack_bf16(s[i * 8 + r * 2], s[i * 8 + r * 2 + 1]);
  }
}

/// Normalises, and writes output and lse. Neighbouring lanes exchange pairs, so that each writes 8 bytes and a row's
/// sectors are whole.
template <int D>
__device__ __forceinline__ void finish(const float (&out)[D / 2], const float (&max)[2], const float (&sum)[2],
                                       unsigned short* o, float* lse, const Unit& unit, const Shape& shape, int row,
                                       float scale) {
  const int lane = threadIdx.x % 32;
  const bool is_odd = lane % 2 == 1;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float total = sum[half] + __shfl_xor_sync(0xffffffffu, sum[half], 1);
    total += __shfl_xor_sync(0xffffffffu, total, 2);
    const int i = row + half * 8;
    const float inverse = total > 0 ? 1.0f / total : 0.0f;  // nothing was seen where the sum is 0
    const long long at = ((long long)unit.b * shape.S + i) * shape.Hq + unit.h;
    unsigned short* const to = o + at * D + is_odd * 8 + lane % 4 / 2 * 4;
#pragma unroll
    for (int j = 0; j < D / 8; j += 2) {
      const float* const even_pair = &out[j * 4 + half * 2];
      const float* const odd_pair = &out[j * 4 + 4 + half * 2];
      const unsigned even = ptx::pack_bf16(even_pair[0] * inverse, even_pair[1] * inverse);
      const unsigned odd = ptx::pack_bf16(odd_pair[0] * inverse, odd_pair[1] * inverse);
      const unsigned other = __shfl_xor_sync(0xffffffffu, is_odd ? even : odd, 1);
      const uint2 four = is_odd ? make_uint2(other, odd) : make_uint2(even, other);
      if (i < shape.S) *reinterpret_cast<uint2*>(to + j * 8) = four;
    }
    if (i < shape.S && lane % 4 == 0) {
      lse[at] = total > 0 ? max[half] * scale * 0.69314718056f + logf(total) : -INFINITY;
    }
  }
  __syncwarp();  // lanes may have gone apart, and wgmma wants them together
}

/// One consumer: its number, what it keeps of its 64 queries, and where it stands in the rings.
template <int D>
struct Consumer {
  int w, stage, parity, slot, slot_parity;
  float o[D / 2], max[2], sum[2];
};

/// A lane's queries, and what hides keys from them.
struct Rows {
  int row;              // the first query; the other one is eight further
  const int4* spans;    // of the unit's sequence
};

template <int D>
__device__ __forceinline__ Rows rows_of(const Consumer<D>& c, const Unit& unit, const int4* spans, int S) {
  return {unit.first + c.w * 64 + int(threadIdx.x) / 32 % 4 * 16 + int(threadIdx.x) % 32 / 4,
          spans + (long long)unit.b * S};
}

/// What is hidden of a tile.
template <int D>
__device__ __forceinline__ uint2 find_hidden(const Shared<D>& shared, int stage, const Entry& entry, const Rows& rows, int S) {
  if (entry.code() >= 2) return shared.mask[stage][threadIdx.x - 128];
  if (entry.code() == 0) return make_uint2(0, 0);
  const uint2 bits = hidden_bits(rows.spans, entry, rows.row, S);
  __syncwarp();  // lanes may have gone apart, and wgmma wants them together
  return bits;
}

/// Gives the queries of the present unit back, which nobody reads any more.
template <int D>
__device__ __forceinline__ void release_queries(Consumer<D>& c, Shared<D>& shared) {
  __syncwarp();  // all lanes are done
  if (threadIdx.x % 32 == 0) ptx::mbarrier_arrive(&shared.q_empty[c.slot]);
  if (++c.slot == Config<D>::SLOTS) c.slot = 0, c.slot_parity ^= 1;
}

/// The next unit that has keys, or the end. Queries without keys are done on the way.
template <int D>
__device__ __forceinline__ Unit next_unit(Consumer<D>& c, Shared<D>& shared, unsigned short* o, float* lse,
                                          const Shape& shape) {
  while (true) {
    ptx::mbarrier_wait(&shared.q_full[c.slot], c.slot_parity);
    const Unit unit = shared.unit[c.slot];
    if (unit.tiles != 0) return unit;
    const int i = unit.first + c.w * 64 + threadIdx.x % 128 / 2;  // two threads a row
    if (i < shape.S) {
      const long long at = ((long long)unit.b * shape.S + i) * shape.Hq + unit.h;
      for (int j = 0; j < D / 16; ++j) {
        *reinterpret_cast<uint4*>(o + at * D + (threadIdx.x % 2 * (D / 16) + j) * 8) = make_uint4(0, 0, 0, 0);
      }
      if (threadIdx.x % 2 == 0) lse[at] = -INFINITY;
    }
    release_queries<D>(c, shared);
  }
}

/// Multiplies and weighs until no unit is left. The first scores of a unit are made while the last values of the one before
/// are multiplied, so that a short unit costs little more than its part of a long one.
template <int D>
__device__ __forceinline__ void consume(Consumer<D>& c, Shared<D>& shared, const int4* spans,
                                        unsigned short* o, float* lse, const Shape& shape, float scale) {
  using C = Config<D>;
  const bool is_leader = threadIdx.x % 128 == 0, is_warp_leader = threadIdx.x % 32 == 0;
  const float slack = SLACK / scale;
  float s[KEYS / 2], shrink[2];
  uint32_t p[KEYS / 16][4];
  Unit unit = next_unit<D>(c, shared, o, lse, shape);
  if (unit.tiles < 0) return;
  Rows rows = rows_of<D>(c, unit, spans, shape.S);
  uint32_t q = ptx::smem_address(shared.q[c.slot][c.w]);
  c.max[0] = c.max[1] = LOWEST;
  c.sum[0] = c.sum[1] = 0;
#pragma unroll
  for (int i = 0; i < D / 2; ++i) c.o[i] = 0;

  ptx::mbarrier_wait(&shared.k_full[c.stage], c.parity);
  Entry entry = shared.entry[c.stage];
  ptx::wgmma_fence();
  multiply_keys<D>(s, q, ptx::smem_address(shared.k[c.stage]));
  ptx::wgmma_commit();
  uint2 hidden = find_hidden<D>(shared, c.stage, entry, rows, shape.S);
  ptx::wgmma_wait<0>();
  if (is_warp_leader) ptx::mbarrier_arrive(&shared.k_empty[c.stage]);
  if (entry.code() != 0) hide(s, hidden);
  softmax(s, c.max, c.sum, shrink, scale, slack);
  pack(p, s);
  while (true) {
    for (int n = 1; n < unit.tiles; ++n) {
      const int value_stage = c.stage, value_parity = c.parity;
      if (++c.stage == C::STAGES) c.stage = 0, c.parity ^= 1;
      ptx::mbarrier_wait(&shared.k_full[c.stage], c.parity);
      entry = shared.entry[c.stage];
      ptx::wgmma_fence();
      multiply_keys<D>(s, q, ptx::smem_address(shared.k[c.stage]));
      ptx::wgmma_commit();
      ptx::mbarrier_wait(&shared.v_full[value_stage], value_parity);
      multiply_values<D>(c.o, p, ptx::smem_address(shared.v[value_stage]));
      ptx::wgmma_commit();
      hidden = find_hidden<D>(shared, c.stage, entry, rows, shape.S);
      ptx::wgmma_wait<1>();  // the scores are here, the output is still under way
      if (is_warp_leader) ptx::mbarrier_arrive(&shared.k_empty[c.stage]);
      if (entry.code() != 0) hide(s, hidden);
      const bool has_grown = softmax(s, c.max, c.sum, shrink, scale, slack);
      ptx::wgmma_wait<0>();
      if (is_leader) ptx::mbarrier_arrive(&shared.v_empty[value_stage]);
      if (has_grown) {
#pragma unroll
        for (int i = 0; i < D / 2; ++i) c.o[i] *= shrink[i / 2 % 2];
      }
      pack(p, s);
    }
    release_queries<D>(c, shared);
    const Unit following = next_unit<D>(c, shared, o, lse, shape);
    if (following.tiles < 0) break;
    const int value_stage = c.stage, value_parity = c.parity;
    if (++c.stage == C::STAGES) c.stage = 0, c.parity ^= 1;
    q = ptx::smem_address(shared.q[c.slot][c.w]);
    ptx::mbarrier_wait(&shared.k_full[c.stage], c.parity);
    entry = shared.entry[c.stage];
    ptx::wgmma_fence();
    multiply_keys<D>(s, q, ptx::smem_address(shared.k[c.stage]));
    ptx::wgmma_commit();
    ptx::mbarrier_wait(&shared.v_full[value_stage], value_parity);
    multiply_values<D>(c.o, p, ptx::smem_address(shared.v[value_stage]));
    ptx::wgmma_commit();
    const int row = rows.row;
    const float max[2] = {c.max[0], c.max[1]}, sum[2] = {c.sum[0], c.sum[1]};
    rows = rows_of<D>(c, following, spans, shape.S);
    hidden = find_hidden<D>(shared, c.stage, entry, rows, shape.S);
    c.max[0] = c.max[1] = LOWEST;
    c.sum[0] = c.sum[1] = 0;
    ptx::wgmma_wait<1>();  // the first scores of the next unit are here
    if (is_warp_leader) ptx::mbarrier_arrive(&shared.k_empty[c.stage]);
    if (entry.code() != 0) hide(s, hidden);
    softmax(s, c.max, c.sum, shrink, scale, slack);
    ptx::wgmma_wait<0>();
    if (is_leader) ptx::mbarrier_arrive(&shared.v_empty[value_stage]);
    pack(p, s);
    finish<D>(c.o, max, sum, o, lse, unit, shape, row, scale);
#pragma unroll
    for (int i = 0; i < D / 2; ++i) c.o[i] = 0;
    unit = following;
  }
  ptx::mbarrier_wait(&shared.v_full[c.stage], c.parity);
  ptx::wgmma_fence();
  multiply_values<D>(c.o, p, ptx::smem_address(shared.v[c.stage]));
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  finish<D>(c.o, c.max, c.sum, o, lse, unit, shape, rows.row, scale);
}

template <int D>
__global__ void __launch_bounds__(Config<D>::THREADS, 1)
maskspan_roles(const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap k,
               const __grid_constant__ CUtensorMap v, const int4* __restrict__ spans, const Entry* __restrict__ entries,
               const uint2* __restrict__ masks, const Ranked* __restrict__ order, unsigned short* __restrict__ o,
               float* __restrict__ lse, Progress* __restrict__ progress, int B, int S, int Hq, int Hkv,
               int heads_per_group, float scale_log2) {
  extern __shared__ __align__(1024) unsigned char memory[];
  using C = Config<D>;
  Shared<D>& shared = *reinterpret_cast<Shared<D>*>(memory);
  const Shape shape{B, S, Hq, Hkv, heads_per_group};
  if (threadIdx.x == 0) {
    for (int i = 0; i < C::SLOTS; ++i) {
      ptx::mbarrier_init(&shared.q_full[i], 1);
      ptx::mbarrier_init(&shared.q_empty[i], C::CONSUMERS * 4);
    }
    for (int i = 0; i < C::STAGES; ++i) {
      ptx::mbarrier_init(&shared.k_full[i], 1);
      ptx::mbarrier_init(&shared.v_full[i], 1);
      ptx::mbarrier_init(&shared.k_empty[i], C::CONSUMERS * 4);
      ptx::mbarrier_init(&shared.v_empty[i], C::CONSUMERS);
    }
    ptx::fence_mbarrier_init();
    ptx::fence_proxy_async();
  }
  ptx::griddepcontrol_wait();  // entries, masks and order are complete and visible
  __syncthreads();             // the barriers are set up

  if (threadIdx.x < 128) {
    ptx::register_decrease<C::PRODUCER_REGISTERS>();
    if (threadIdx.x < 32) produce<D>(shared, &q, &k, &v, masks, order, entries, progress, shape);
  } else {
    ptx::register_increase<C::CONSUMER_REGISTERS>();
    Consumer<D> c;
    c.w = __shfl_sync(0xffffffffu, threadIdx.x / 128 - 1, 0);  // one value, as the compiler can see
    c.stage = c.parity = c.slot = c.slot_parity = 0;
    consume<D>(c, shared, spans, o, lse, shape, scale_log2);
  }
}

/// The launches for head dimension D.
template <int D>
constexpr void plan_for(const Problem& p, kl::Plan& plan, const char* list_kernel, const char* kernel) {
  using C = Config<D>;
  const auto& q = plan.tensor_map(p.q, {3, 1, 2, 0}, {HALF, 64, 1, 1}, kl::swizzle_128);
  const auto& k = plan.tensor_map(p.k, {3, 1, 2, 0}, {HALF, PIECE, 1, 1}, kl::swizzle_128);
  const auto& v = plan.tensor_map(p.v, {3, 1, 2, 0}, {HALF, PIECE, 1, 1}, kl::swizzle_128);
  const int pieces = kl::cdiv(p.S, PIECE), query_tiles = kl::cdiv(p.S, C::QUERIES);
  const long long rows = (long long)p.B * query_tiles;
  // Heads whose keys and values share L2, in whole groups of query heads.
  const long long head_bytes = 2LL * p.B * p.S * D * 2, group = p.Hq / p.Hkv;
  const long long fitting = kl::max(1LL, p.device.l2_bytes / 100 * L2_SHARE / head_bytes) * group;
  const auto extents = plan.workspace(kl::i32, 8LL * p.B * pieces);
  const auto entries = plan.workspace(kl::i32, 2 * rows * kl::cdiv(pieces, 2));
  const auto masks = plan.workspace(kl::i32, 2 * rows * MASKS * C::CONSUMERS * 128);
  const auto tiles_of = plan.workspace(kl::i32, rows);
  const auto order = plan.workspace(kl::i32, 2 * rows);
  const auto progress = plan.workspace(kl::i32, 3, kl::self_clearing);
  plan.launch("reduce_spans").grid(kl::cdiv(pieces, 4), p.B).block(128).arg(p.spans).arg(extents).arg(p.S).arg(pieces);
  plan.launch(list_kernel).grid(query_tiles, p.B).block(C::LIST_THREADS).shared(4LL * kl::round_up(pieces, 4))
      .programmatic().arg(p.spans).arg(extents).arg(entries).arg(masks).arg(tiles_of).arg(order).arg(progress).arg(p.S).arg(pieces);
  plan.launch(kernel).grid(kl::min(rows * p.Hq, (long long)p.device.sms)).block(C::THREADS).shared(sizeof(Shared<D>))
      .programmatic().arg(q).arg(k).arg(v).arg(p.spans).arg(entries).arg(masks).arg(order).arg(p.o).arg(p.lse)
      .arg(progress).arg(p.B).arg(p.S).arg(p.Hq).arg(p.Hkv).arg((int)kl::min(fitting, (long long)p.Hq)).arg(p.scale * 1.44269504f);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (p.D == 64) return plan_for<64>(p, plan, "list_tiles<64>", "maskspan_roles<64>");
  if (plan.require(p.D == 128, "D must be 64 or 128")) plan_for<128>(p, plan, "list_tiles<128>", "maskspan_roles<128>");
}
