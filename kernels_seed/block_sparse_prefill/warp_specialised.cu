// SPDX-License-Identifier: Apache-2.0
// Block-sparse causal attention on wgmma and TMA: q [B, S, Hq, D] over k, v [B, S, Hkv, D] (bf16), lists of key blocks in
// indptr and indices, with lse [B, S, Hq].
//
// Technique (FlashAttention-3 over lists): warpgroups of 64 queries multiply, and warps of a producer warpgroup keep rings
// of key and value tiles filled by TMA. A tile is KEYS / 64 pieces of 64 keys, whichever come next in the list; pieces
// beyond the end lie outside the tensors, where TMA brings zeros and reads nothing. Lists of 128 queries feed a team of two
// consumers from one ring; lists of 64 feed one, and each consumer of a block then has a ring and a producer of its own.
// With 64 queries a key is used half as much: there the queries stay in registers, so that wgmma reads less of shared
// memory and the next queries can come early. The next list is found and its queries are loaded while this one is read,
// in steps of which none waits for what it has just asked for. Blocks are persistent and take lists from a common counter,
// those of late queries first, in groups of heads whose keys and values fit into L2. The first scores of a list are made
// under the last product of the one before. Outputs are brought to a new maximum only when it has grown by 2^8.
//
// Ladder:
//   naive.cu     one warp per query, scalar products
//   mma_sync.cu  tensor cores by mma.sync, tiles shared by the queries of a block; runs from sm_80 on
//   this file    wgmma and TMA, warp specialisation, persistent blocks, one list per consumer or per two: TFLOP/s of visible
//                pairs 480 to 515 with lists of 64 queries, 670 to 675 with 128 (D = 128), 340 at D = 64; 2.3 to 2.9 times
//                as fast as mma_sync.cu, 1.9 times at D = 64 (an H100, medians of 12 and 16 rounds). Keys ahead of values,
//                lists asked for early and lists run into one another gave 0.5 to 3 % together
//                Three consumers at D = 64 with tiles of 128 keys took 22 % longer (they spill), tiles of 64 16 % (an H200)

// tune: SOLO_KEYS_128 = 64 | 128
// tune: SOLO_KEYS_64 = 128 | 64
// tune: SOLO_CONSUMERS_64 = 2 | 3
// tune: TEAM_KEYS_64 = 128 | 64
// tune: L2_SHARE = 50 | 25 | 75

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int HALF = 64;          // channels of a row that one TMA box and one swizzle span hold
constexpr int PIECE = 64;         // keys that one TMA box holds
constexpr int NOWHERE = 1 << 30;  // first key of a piece beyond the end of a list
constexpr float LOWEST = -1e30f;  // finite, so that the difference of two maxima is never NaN
constexpr float SLACK = 8;        // a maximum may be too low by this much, in base-2 units

/// Everything that depends on the head dimension and on the consumers that share a list.
template <int D, int TEAM>
struct Config {
  static constexpr int CONSUMERS = D == 64 && TEAM == 1 ? SOLO_CONSUMERS_64 : 2, RINGS = CONSUMERS / TEAM;
  static constexpr int KEYS = TEAM == 2 ? (D == 64 ? TEAM_KEYS_64 : 128) : D == 64 ? SOLO_KEYS_64 : SOLO_KEYS_128;
  static constexpr int PIECES = KEYS / PIECE, QUERIES = TEAM * 64;
  static constexpr bool IN_REGISTERS = TEAM == 1;      // the queries
  static constexpr int SLOTS = IN_REGISTERS ? 1 : 2;   // tiles of queries in shared memory
  static constexpr int STAGES = kl::min(6, (224 * 1024 / RINGS - SLOTS * QUERIES * D * 2) / (4 * D * KEYS));
  static constexpr int THREADS = (CONSUMERS + 1) * 128;
  static constexpr int CONSUMER_REGISTERS = CONSUMERS == 2 ? 216 : 160, PRODUCER_REGISTERS = CONSUMERS == 2 ? 72 : 32;
};

/// Sizes, as the plan gives them.
struct Shape {
  int B, S, Hq, Hkv, Bq, Bk, K, heads_per_group;
};

/// One unit of work: queries `first` on of head h, one list. `tiles` is -1 beyond the last unit.
struct Unit {
  int b, h, first, tiles;
};

/// What a team of consumers and their producer share.
template <int D, int TEAM>
struct alignas(1024) Ring {
  using C = Config<D, TEAM>;
  unsigned short q[C::SLOTS][TEAM][D / HALF][64][HALF];
  unsigned short k[C::STAGES][D / HALF][C::KEYS][HALF], v[C::STAGES][D / HALF][C::KEYS][HALF];
};

template <int D, int TEAM>
struct Control {
  using C = Config<D, TEAM>;
  Unit unit[C::SLOTS];             // whose queries are in q
  int start[C::STAGES][C::PIECES];  // first keys of the pieces in k
  uint64_t q_full[C::SLOTS], q_empty[C::SLOTS], k_full[C::STAGES], k_empty[C::STAGES], v_full[C::STAGES], v_empty[C::STAGES];
};

template <int D, int TEAM>
struct Shared {
  Ring<D, TEAM> ring[Config<D, TEAM>::RINGS];
  Control<D, TEAM> control[Config<D, TEAM>::RINGS];
};

/// Which units are taken: `next` counts those beyond the first ones, `done` the producers that found no more. The last
/// of them leaves both zero.
struct Progress {
  int next, done;
};

/// Unit number `index` without its tiles: sorted by group of heads, then from late queries to early ones.
template <int QUERIES>
__device__ __forceinline__ Unit find_unit(const Shape& shape, int index) {
  const int per_head = (shape.S + QUERIES - 1) / QUERIES, heads = shape.B * shape.Hq;
  if (index >= per_head * heads) return {0, 0, 0, -1};
  const int group_units = shape.heads_per_group * per_head, group = index / group_units;
  const int begin = group * shape.heads_per_group, width = min(shape.heads_per_group, heads - begin);
  const int within = index - group * group_units, head = begin + within % width;
  return {head / shape.Hq, head % shape.Hq, (per_head - 1 - within / width) * QUERIES, 0};
}

/// The list of a unit, as the lanes of a warp hold it: 32 pieces from number `base` on, and what was read for the next 32.
struct List {
  const int* blocks;
  int pieces, per_block, base, start, block_ahead;

  /// Asks for pieces `at` to `at + 31`.
  __device__ __forceinline__ void ask(int at) {
    const int piece = at + threadIdx.x % 32;
    if (piece < pieces) block_ahead = blocks[piece / per_block];
  }
  /// Takes what was asked for, and asks for what follows.
  __device__ __forceinline__ void take(int at, int Bk) {
    const int piece = at + threadIdx.x % 32;
    base = at;
    start = piece < pieces ? block_ahead * Bk + piece % per_block * PIECE : NOWHERE;
    if (at + 32 < pieces) ask(at + 32);
  }
};

/// The unit after the present one, found step by step: nothing that a step asks for is used before the next step.
template <int D, int TEAM>
struct Ahead {
  int steps, taken, begin, end;
  Unit unit;
  List list;

  __device__ __forceinline__ void find(const Shape& shape, const int* indptr, int index) {
    unit = find_unit<Config<D, TEAM>::QUERIES>(shape, index);
    begin = end = 0;
    if (unit.tiles < 0) return;
    const long long head = (long long)unit.b * shape.Hq + unit.h;
    const int* const bounds = indptr + head * ((shape.S + shape.Bq - 1) / shape.Bq + 1) + unit.first / shape.Bq;
    begin = bounds[0], end = bounds[1];
  }
  __device__ __forceinline__ void read(const Shape& shape, const int* indices) {
    const long long head = (long long)unit.b * shape.Hq + unit.h;
    list.blocks = indices + head * ((shape.S + shape.Bq - 1) / shape.Bq) * shape.K + begin;
    list.per_block = shape.Bk / PIECE;
    list.pieces = (end - begin) * list.per_block;
    if (unit.tiles >= 0) unit.tiles = (list.pieces + Config<D, TEAM>::PIECES - 1) / Config<D, TEAM>::PIECES;
    list.ask(0);
  }
  __device__ __forceinline__ void step(const Shape& shape, const int* indptr, const int* indices, Progress* progress) {
    if (steps == 0) {
      if (threadIdx.x % 32 == 0) taken = atomicAdd(&progress->next, 1);
    } else if (steps == 1) {
      find(shape, indptr, gridDim.x * Config<D, TEAM>::RINGS + __shfl_sync(0xffffffffu, taken, 0));
    } else {
      read(shape, indices);
    }
    ++steps;
  }
};

/// Sends queries, keys and values on their way; one warp, of which lane 0 copies. Keys go ahead of the values of the tile
/// before, as consumers want them.
template <int D, int TEAM>
struct Producer {
  using C = Config<D, TEAM>;
  Ring<D, TEAM>& ring;
  Control<D, TEAM>& control;
  const CUtensorMap *q, *k, *v;
  int stage, parity, slot, slot_parity;
  bool has_values;  // some are still to be sent: those of the pieces `value_start` at `value_stage`
  int value_stage, value_parity, value_hk, value_b, value_start[C::PIECES];

  /// Tells consumers of a unit, and loads its queries.
  __device__ __forceinline__ void send_queries(const Unit& unit) {
    if (unit.tiles <= 0) send_values();  // consumers need them to get on
    ptx::mbarrier_wait(&control.q_empty[slot], slot_parity);
    if (threadIdx.x % 32 == 0) {
      control.unit[slot] = unit;
      if (unit.tiles >= 0) {
        ptx::mbarrier_arrive_expect(&control.q_full[slot], sizeof(ring.q[0]));
        for (int w = 0; w < TEAM; ++w) {
          for (int half = 0; half < D / HALF; ++half) {
            ptx::tma_load_4d(ring.q[slot][w][half], q, &control.q_full[slot], half * HALF, unit.first + w * 64, unit.h,
                             unit.b);
          }
        }
      } else {
        ptx::mbarrier_arrive(&control.q_full[slot]);
      }
    }
    __syncwarp();
    if (++slot == C::SLOTS) slot = 0, slot_parity ^= 1;
  }

  __device__ __forceinline__ void send_values() {
    if (!has_values) return;
    has_values = false;
    ptx::mbarrier_wait(&control.v_empty[value_stage], value_parity);
    if (threadIdx.x % 32 == 0) {
      uint64_t* const full = &control.v_full[value_stage];
      ptx::mbarrier_arrive_expect(full, sizeof(ring.v[0]));
#pragma unroll
      for (int i = 0; i < C::PIECES; ++i) {
        for (int half = 0; half < D / HALF; ++half) {
          ptx::tma_load_4d(ring.v[value_stage][half][i * PIECE], v, full, half * HALF, value_start[i], value_hk, value_b);
        }
      }
    }
    __syncwarp();
  }

  /// The keys of a tile, and the values of the one before.
  __device__ __forceinline__ void send_tile(const int (&start)[C::PIECES], int hk, int b) {
    ptx::mbarrier_wait(&control.k_empty[stage], parity);
    if (threadIdx.x % 32 == 0) {
      uint64_t* const full = &control.k_full[stage];
#pragma unroll
      for (int i = 0; i < C::PIECES; ++i) control.start[stage][i] = start[i];
      ptx::mbarrier_arrive_expect(full, sizeof(ring.k[0]));
#pragma unroll
      for (int i = 0; i < C::PIECES; ++i) {
        for (int half = 0; half < D / HALF; ++half) {
          ptx::tma_load_4d(ring.k[stage][half][i * PIECE], k, full, half * HALF, start[i], hk, b);
        }
      }
    }
    __syncwarp();
    send_values();
    has_values = true;
    value_stage = stage, value_parity = parity, value_hk = hk, value_b = b;
#pragma unroll
    for (int i = 0; i < C::PIECES; ++i) value_start[i] = start[i];
    if (++stage == C::STAGES) stage = 0, parity ^= 1;
  }
};

/// Fills the rings of one team; one warp. The queries of the next unit are sent as soon as it is known.
template <int D, int TEAM>
__device__ __forceinline__ void produce(Ring<D, TEAM>& ring, Control<D, TEAM>& control, const CUtensorMap* q,
                                        const CUtensorMap* k, const CUtensorMap* v, const int* indptr,
                                        const int* indices, Progress* progress, const Shape& shape, int first_index) {
  using C = Config<D, TEAM>;
  Producer<D, TEAM> producer{ring, control, q, k, v, 0, 1, 0, 1, false};
  Ahead<D, TEAM> ahead;
  ahead.find(shape, indptr, first_index);
  ahead.read(shape, indices);
  Unit unit = ahead.unit;
  producer.send_queries(unit);
  while (unit.tiles >= 0) {
    List list = ahead.list;
    list.take(0, shape.Bk);
    bool is_sent = false;
    ahead.steps = 0;
    const int hk = unit.h / (shape.Hq / shape.Hkv);
    for (int n = 0; n < unit.tiles; ++n) {
      if (n * C::PIECES - list.base == 32) list.take(list.base + 32, shape.Bk);
      int start[C::PIECES];
#pragma unroll
      for (int i = 0; i < C::PIECES; ++i) start[i] = __shfl_sync(0xffffffffu, list.start, n * C::PIECES - list.base + i);
      producer.send_tile(start, hk, unit.b);
      if (n < 3) {
        ahead.step(shape, indptr, indices, progress);
      } else if (n == 3) {
        is_sent = ahead.unit.tiles > 0;
        if (is_sent) producer.send_queries(ahead.unit);
      }
    }
    while (ahead.steps < 3) ahead.step(shape, indptr, indices, progress);
    unit = ahead.unit;
    if (!is_sent) producer.send_queries(unit);
  }
  if (threadIdx.x % 32 != 0) return;
  __threadfence();  // this producer's counting comes before the reset by the last one
  if (atomicAdd(&progress->done, 1) == gridDim.x * C::RINGS - 1) progress->next = progress->done = 0;
}

/// The same descriptor, `bytes` further on; shared memory is too small for a carry.
__device__ __forceinline__ uint64_t further(uint64_t descriptor, uint32_t bytes) {
  return (descriptor & 0xffffffff00000000ull) | (static_cast<uint32_t>(descriptor) + (bytes >> 4));
}

/// The queries of a consumer: a descriptor, or the A operands themselves.
template <int D, bool IN_REGISTERS>
struct Queries {
  uint64_t descriptor;
  uint32_t a[IN_REGISTERS ? D / 16 : 1][4];

  __device__ __forceinline__ void load(const unsigned short (&q)[D / HALF][64][HALF]) {
    const int lane = threadIdx.x % 32, row = threadIdx.x / 32 % 4 * 16 + lane % 16;
    descriptor = ptx::wgmma_descriptor(ptx::smem_address(q));
    if constexpr (IN_REGISTERS) {
#pragma unroll
      for (int i = 0; i < D / 16; ++i) {
        const int chunk = (i * 2 % 8 + lane / 16) ^ (row % 8);
        ptx::ldmatrix_x4(a[i], &q[i * 16 / HALF][row][chunk * 8]);
      }
    }
  }

  /// s = 64 queries x KEYS keys. Both lie in shared memory as halves of 64 channels, rows of 128 bytes.
  template <int KEYS>
  __device__ __forceinline__ void multiply(float (&s)[KEYS / 2], uint32_t k) const {
    const uint64_t keys = ptx::wgmma_descriptor(k);
#pragma unroll
    for (int i = 0; i < D / 16; ++i) {
      const uint32_t half = i * 16 / HALF, within = i * 16 % HALF * 2;
      const uint64_t own_keys = further(keys, half * KEYS * 128 + within);
      if constexpr (IN_REGISTERS) {
        ptx::wgmma_bf16_rs(s, a[i], own_keys, i != 0);
      } else {
        ptx::wgmma_bf16_ss(s, further(descriptor, half * 64 * 128 + within), own_keys, i != 0);
      }
    }
  }
};

/// o += p v. The values are the transposed operand: 16 keys are 2048 bytes, 64 channels are KEYS rows.
template <int D, int KEYS>
__device__ __forceinline__ void multiply_values(float (&o)[D / 2], const uint32_t (&p)[KEYS / 16][4], uint32_t v) {
  const uint64_t values = ptx::wgmma_descriptor(v, KEYS * 128);
#pragma unroll
  for (int i = 0; i < KEYS / 16; ++i) ptx::wgmma_bf16_rs<true>(o, p[i], further(values, i * 2048), true);
}

/// Hides the keys of a tile that lie after the lane's queries `row` and `row + 8`.
template <int KEYS>
__device__ __forceinline__ void hide(float (&s)[KEYS / 2], const int (&start)[KEYS / PIECE], int row) {
#pragma unroll
  for (int j = 0; j < KEYS / 8; ++j) {
    const int limit = row - start[j / 8] - threadIdx.x % 4 * 2;  // the last key that the first query sees
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      if (j % 8 * 8 + e > limit) s[j * 4 + e] = -INFINITY;
      if (j % 8 * 8 + e > limit + 8) s[j * 4 + 2 + e] = -INFINITY;
    }
  }
}

/// Turns scores into probabilities under the running maximum, in base-2 units. The maximum follows only when it has
/// grown by `slack`; `shrink` is what brings older sums and outputs to it, and the answer says whether any lane's is not 1.
/// Queries that have seen no key so far keep the maximum LOWEST and the sum 0.
template <int KEYS>
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
template <int KEYS>
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

/// A value that all lanes have, so that the compiler sees that they have it: it must not take a branch on it for one that
/// parts a warpgroup, or it waits after every wgmma.
__device__ __forceinline__ int uniform(int value) { return __shfl_sync(0xffffffffu, value, 0); }

/// One consumer: its place in the team, and where it stands in the rings.
struct Consumer {
  int w, stage, parity, slot, slot_parity;
};

/// Gives the queries of the present unit back, which nobody reads any more.
template <int D, int TEAM>
__device__ __forceinline__ void release_queries(Consumer& c, Control<D, TEAM>& control) {
  __syncwarp();  // all lanes are done
  if (threadIdx.x % 32 == 0) ptx::mbarrier_arrive(&control.q_empty[c.slot]);
  if (++c.slot == Config<D, TEAM>::SLOTS) c.slot = 0, c.slot_parity ^= 1;
}

/// The next unit that has keys, or the end. Queries without keys are done on the way.
template <int D, int TEAM>
__device__ __forceinline__ Unit next_unit(Consumer& c, Control<D, TEAM>& control, unsigned short* o, float* lse,
                                          const Shape& shape) {
  while (true) {
    ptx::mbarrier_wait(&control.q_full[c.slot], c.slot_parity);
    const Unit unit = control.unit[c.slot];
    if (unit.tiles != 0) return unit;
    const int i = unit.first + c.w * 64 + threadIdx.x % 128 / 2;  // two threads a row
    if (i < shape.S) {
      const long long at = ((long long)unit.b * shape.S + i) * shape.Hq + unit.h;
      for (int j = 0; j < D / 16; ++j) {
        *reinterpret_cast<uint4*>(o + at * D + (threadIdx.x % 2 * (D / 16) + j) * 8) = make_uint4(0, 0, 0, 0);
      }
      if (threadIdx.x % 2 == 0) lse[at] = -INFINITY;
    }
    release_queries<D, TEAM>(c, control);
  }
}

/// Hides what lies after the queries, where a tile holds any such key. `row` is the lane's first query.
template <int KEYS>
__device__ __forceinline__ void hide_later(float (&s)[KEYS / 2], const int (&start)[KEYS / PIECE], int top_row, int row) {
  bool is_late = false;
#pragma unroll
  for (int i = 0; i < KEYS / PIECE; ++i) is_late |= start[i] + PIECE - 1 > top_row;
  if (is_late) hide<KEYS>(s, start, row);
}

/// Multiplies and weighs until no unit is left. The first scores of a list are made while the last values of the one before
/// are multiplied, so that lists may be short.
template <int D, int TEAM>
__device__ __forceinline__ void consume(Consumer& c, Ring<D, TEAM>& ring, Control<D, TEAM>& control, unsigned short* o,
                                        float* lse, const Shape& shape, float scale) {
  using C = Config<D, TEAM>;
  constexpr int KEYS = C::KEYS;
  const bool is_leader = threadIdx.x % 128 == 0, is_warp_leader = threadIdx.x % 32 == 0;
  const int row_within = threadIdx.x / 32 % 4 * 16 + threadIdx.x % 32 / 4;
  const float slack = SLACK / scale;
  float s[KEYS / 2], out[D / 2], max[2] = {LOWEST, LOWEST}, sum[2] = {0, 0}, shrink[2];
  uint32_t p[KEYS / 16][4];
  int start[C::PIECES];
  Queries<D, C::IN_REGISTERS> q;

  Unit unit = next_unit<D, TEAM>(c, control, o, lse, shape);
  if (unit.tiles < 0) return;
  int top_row = unit.first + c.w * 64;
  q.load(ring.q[c.slot][c.w]);
  if (C::IN_REGISTERS) release_queries<D, TEAM>(c, control);
#pragma unroll
  for (int i = 0; i < D / 2; ++i) out[i] = 0;
  ptx::mbarrier_wait(&control.k_full[c.stage], c.parity);
#pragma unroll
  for (int i = 0; i < C::PIECES; ++i) start[i] = control.start[c.stage][i];
  ptx::wgmma_fence();
  q.template multiply<KEYS>(s, ptx::smem_address(ring.k[c.stage]));
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  if (is_warp_leader) ptx::mbarrier_arrive(&control.k_empty[c.stage]);
  hide_later<KEYS>(s, start, top_row, top_row + row_within);
  softmax<KEYS>(s, max, sum, shrink, scale, slack);
  pack<KEYS>(p, s);
  while (true) {
    const int tiles = uniform(unit.tiles);
    for (int n = 1; n < tiles; ++n) {
      const int value_stage = c.stage, value_parity = c.parity;
      if (++c.stage == C::STAGES) c.stage = 0, c.parity ^= 1;
      ptx::mbarrier_wait(&control.k_full[c.stage], c.parity);
#pragma unroll
      for (int i = 0; i < C::PIECES; ++i) start[i] = control.start[c.stage][i];
      ptx::wgmma_fence();
      q.template multiply<KEYS>(s, ptx::smem_address(ring.k[c.stage]));
      ptx::wgmma_commit();
      ptx::mbarrier_wait(&control.v_full[value_stage], value_parity);
      multiply_values<D, KEYS>(out, p, ptx::smem_address(ring.v[value_stage]));
      ptx::wgmma_commit();
      ptx::wgmma_wait<1>();  // the scores are here, the output is still under way
      if (is_warp_leader) ptx::mbarrier_arrive(&control.k_empty[c.stage]);
      hide_later<KEYS>(s, start, top_row, top_row + row_within);
      const bool has_grown = softmax<KEYS>(s, max, sum, shrink, scale, slack);
      ptx::wgmma_wait<0>();
      if (is_leader) ptx::mbarrier_arrive(&control.v_empty[value_stage]);
      if (has_grown) {
#pragma unroll
        for (int i = 0; i < D / 2; ++i) out[i] *= shrink[i / 2 % 2];
      }
      pack<KEYS>(p, s);
    }
    if (!C::IN_REGISTERS) release_queries<D, TEAM>(c, control);
    const Unit following = next_unit<D, TEAM>(c, control, o, lse, shape);
    if (uniform(following.tiles) < 0) break;
    const int row = top_row + row_within, value_stage = c.stage, value_parity = c.parity;
    top_row = following.first + c.w * 64;
    q.load(ring.q[c.slot][c.w]);
    if (C::IN_REGISTERS) release_queries<D, TEAM>(c, control);
    if (++c.stage == C::STAGES) c.stage = 0, c.parity ^= 1;
    ptx::mbarrier_wait(&control.k_full[c.stage], c.parity);
#pragma unroll
    for (int i = 0; i < C::PIECES; ++i) start[i] = control.start[c.stage][i];
    ptx::wgmma_fence();
    q.template multiply<KEYS>(s, ptx::smem_address(ring.k[c.stage]));
    ptx::wgmma_commit();
    ptx::mbarrier_wait(&control.v_full[value_stage], value_parity);
    multiply_values<D, KEYS>(out, p, ptx::smem_address(ring.v[value_stage]));
    ptx::wgmma_commit();
    const float last_max[2] = {max[0], max[1]}, last_sum[2] = {sum[0], sum[1]};
    max[0] = max[1] = LOWEST;
    sum[0] = sum[1] = 0;
    ptx::wgmma_wait<1>();  // the first scores of the next list are here
    if (is_warp_leader) ptx::mbarrier_arrive(&control.k_empty[c.stage]);
    hide_later<KEYS>(s, start, top_row, top_row + row_within);
    softmax<KEYS>(s, max, sum, shrink, scale, slack);
    ptx::wgmma_wait<0>();
    if (is_leader) ptx::mbarrier_arrive(&control.v_empty[value_stage]);
    pack<KEYS>(p, s);
    finish<D>(out, last_max, last_sum, o, lse, unit, shape, row, scale);
#pragma unroll
    for (int i = 0; i < D / 2; ++i) out[i] = 0;
    unit = following;
  }
  ptx::mbarrier_wait(&control.v_full[c.stage], c.parity);
  ptx::wgmma_fence();
  multiply_values<D, KEYS>(out, p, ptx::smem_address(ring.v[c.stage]));
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  finish<D>(out, max, sum, o, lse, unit, shape, top_row + row_within, scale);
}

template <int D, int TEAM>
__global__ void __launch_bounds__(Config<D, TEAM>::THREADS, 1)
block_sparse_roles(const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap k,
                   const __grid_constant__ CUtensorMap v, const int* __restrict__ indptr, const int* __restrict__ indices,
                   unsigned short* __restrict__ o, float* __restrict__ lse, Progress* __restrict__ progress, int B, int S,
                   int Hq, int Hkv, int Bq, int Bk, int K, int heads_per_group, float scale_log2) {
  extern __shared__ __align__(1024) unsigned char memory[];
  using C = Config<D, TEAM>;
  Shared<D, TEAM>& shared = *reinterpret_cast<Shared<D, TEAM>*>(memory);
  const Shape shape{B, S, Hq, Hkv, Bq, Bk, K, heads_per_group};
  if (threadIdx.x < C::RINGS) {
    Control<D, TEAM>& control = shared.control[threadIdx.x];
    for (int i = 0; i < C::SLOTS; ++i) {
      ptx::mbarrier_init(&control.q_full[i], 1);
      ptx::mbarrier_init(&control.q_empty[i], TEAM * 4);
    }
    for (int i = 0; i < C::STAGES; ++i) {
      ptx::mbarrier_init(&control.k_full[i], 1);
      ptx::mbarrier_init(&control.v_full[i], 1);
      ptx::mbarrier_init(&control.k_empty[i], TEAM * 4);
      ptx::mbarrier_init(&control.v_empty[i], TEAM);
    }
    ptx::fence_mbarrier_init();
    ptx::fence_proxy_async();
  }
  __syncthreads();  // the barriers are set up

  if (threadIdx.x < 128) {
    ptx::register_decrease<C::PRODUCER_REGISTERS>();
    const int r = threadIdx.x / 32;
    if (r < C::RINGS) {
      produce<D, TEAM>(shared.ring[r], shared.control[r], &q, &k, &v, indptr, indices, progress, shape,
                       blockIdx.x * C::RINGS + r);
    }
  } else {
    ptx::register_increase<C::CONSUMER_REGISTERS>();
    const int consumer = uniform(threadIdx.x / 128 - 1);
    Ring<D, TEAM>& ring = shared.ring[consumer / TEAM];
    Control<D, TEAM>& control = shared.control[consumer / TEAM];
    Consumer c{consumer % TEAM, 0, 0, 0, 0};
    consume<D, TEAM>(c, ring, control, o, lse, shape, scale_log2);
  }
}

/// The launch for head dimension D.
template <int D, int TEAM>
constexpr void plan_for(const Problem& p, kl::Plan& plan, const char* kernel) {
  using C = Config<D, TEAM>;
  const auto& q = plan.tensor_map(p.q, {3, 1, 2, 0}, {HALF, 64, 1, 1}, kl::swizzle_128);
  const auto& k = plan.tensor_map(p.k, {3, 1, 2, 0}, {HALF, PIECE, 1, 1}, kl::swizzle_128);
  const auto& v = plan.tensor_map(p.v, {3, 1, 2, 0}, {HALF, PIECE, 1, 1}, kl::swizzle_128);
  // Heads whose keys and values share L2, in whole groups of query heads.
  const long long head_bytes = 2LL * p.S * D * 2, group = p.Hq / p.Hkv;
  const long long fitting = kl::max(1LL, p.device.l2_bytes / 100 * L2_SHARE / head_bytes) * group;
  const long long heads = (long long)p.B * p.Hq, units = kl::cdiv(p.S, C::QUERIES) * heads;
  const auto progress = plan.workspace(kl::i32, 2, kl::self_clearing);
  plan.launch(kernel).grid(kl::min(kl::cdiv(units, C::RINGS), (long long)p.device.sms)).block(C::THREADS)
      .shared(sizeof(Shared<D, TEAM>)).arg(q).arg(k).arg(v).arg(p.indptr).arg(p.indices).arg(p.o).arg(p.lse).arg(progress)
      .arg(p.B).arg(p.S).arg(p.Hq).arg(p.Hkv).arg(p.Bq).arg(p.Bk).arg(p.K).arg((int)kl::min(fitting, heads))
      .arg(p.scale * 1.44269504f);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 64 || p.D == 128, "D must be 64 or 128")) return;
  if (!plan.require(p.Bq % 64 == 0 && p.Bk % 64 == 0, "blocks must be multiples of 64")) return;
  const bool is_wide = p.Bq % 128 == 0;  // lists of 128 queries
  if (p.D == 64 && is_wide) return plan_for<64, 2>(p, plan, "block_sparse_roles<64, 2>");
  if (p.D == 64) return plan_for<64, 1>(p, plan, "block_sparse_roles<64, 1>");
  if (is_wide) return plan_for<128, 2>(p, plan, "block_sparse_roles<128, 2>");
  plan_for<128, 1>(p, plan, "block_sparse_roles<128, 1>");
}
