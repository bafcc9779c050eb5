// SPDX-License-Identifier: Apache-2.0
// Decode attention, split over the keys: q [B, Hq, 128] over k, v [B, S, Hkv, 128] (bf16) up to len[b], with lse.
//
// Technique (Flash-Decoding in one launch): a cluster of up to eight blocks takes one key-value head of one sequence, for all
// G = Hq / Hkv <= 8 query heads at once. Tiles of 16 keys are dealt out to all warps of the cluster in turns, so that where a
// warp reads does not depend on len[b], and all have equally much of any length; a warp walks its tiles through a swizzled
// cp.async ring of its own, without any barrier of the block. Keys are the rows of mma.sync and query heads its eight columns:
// S' = K Q', and with the weights transposed in registers (movmatrix) O' = V' P'. The first stages are requested before len[b]
// is known. At the end each block of a cluster owns a share of the outputs: all send it their part of that share by stores that
// its mbarrier counts (st.async), so that no fence and no barrier of the cluster is in the way. Nothing goes through global
// memory.
//
// Ladder (H100: docs/decode_seeds.md):
//   naive.cu        one warp per query head, keys read G times, one load in flight
//   split_kv.cu     keys shared by the group, split-KV with a wave-filling heuristic, 16-byte cp.async pipeline
//   mma_ahead.cu    tensor cores, first copies ahead of the length, programmatic merge
//   this file       the merge inside a cluster, no second launch: most is gained where a sequence is short
//   left to do      few key-value heads of a long sequence: eight blocks each leave multiprocessors idle, mma_ahead.cu does not

// tune: STAGES = 3 | 2
// tune: STAGES_BUSY = 2 | 3
// tune: BLOCK_COST = 256 | 64 | 1024
// tune: CLUSTER_MAX = 8 | 4 | 2

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int D = Problem::D;
constexpr int ROW = D / 8;                     // 16-byte vectors of a key
constexpr int LOG_TILE = 4, TILE = 1 << LOG_TILE;  // keys of one step of a warp
constexpr int STAGE = 2 * TILE * ROW;          // vectors: keys, then values
constexpr int HEADS = 8;                       // columns of the mma: the group, padded
constexpr int UNITS = D / 16;                  // pairs of channels, 16c + g and 16c + g + 8, that a lane holds of a head
constexpr int UNIT_HEAD = 10;                  // float2 of a head in a warp's unit: eight lanes' and, against bank conflicts, two
constexpr float LOWEST = -1e30f;               // finite, so that the difference of two maxima is never NaN
constexpr float LN2 = 0.69314718f;

/// The 8 x 8 matrix of 16-bit elements whose rows the lanes hold in fours, transposed (9.7.14.5.17).
__device__ __forceinline__ unsigned transposed(unsigned pair) {
  unsigned result;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(pair));
  return result;
}

/// Copies 16 bytes, and asks for the 256 bytes around them; where it is not `valid`, 16 bytes of zero.
__device__ __forceinline__ void copy_16(unsigned to, const unsigned char* from) {
  asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
__device__ __forceinline__ void copy_16(unsigned to, const unsigned char* from, bool valid) {
  asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid ? 16 : 0)
               : "memory");
}

/// Writes to the shared memory of another block of the cluster, counted by its mbarrier.
__device__ __forceinline__ void send(const void* to, uint64_t* counter, int rank, float4 value) {
  asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(
                   ptx::map_shared(ptx::smem_address(to), rank)),
               "f"(value.x), "f"(value.y), "f"(value.z), "f"(value.w),
               "r"(ptx::map_shared(ptx::smem_address(counter), rank))
               : "memory");
}

/// Vector `chunk` of key `row` of a tile: swizzled, so that the same vector of eight rows lies in eight banks.
__device__ __forceinline__ int swizzled(int row, int chunk) { return row * ROW + (chunk ^ (row & 7)); }

/// Online softmax of eight query heads over the keys of one warp, in base-2 units. With g = lane / 4, t = lane % 4 a lane
/// holds heads 2t and 2t + 1, and of those channels 16c + g and 16c + g + 8.
struct State {
  float max[2], sum[2], o[D / 16][4];

  __device__ __forceinline__ void clear() {
    max[0] = max[1] = LOWEST;
    sum[0] = sum[1] = 0;
#pragma unroll
    for (int c = 0; c < D / 16; ++c) o[c][0] = o[c][1] = o[c][2] = o[c][3] = 0;
  }
};

/// Scores of a tile, of which the first `keys` keys count, in base-2 units: of keys g and g + 8 with heads 2t and 2t + 1.
__device__ __forceinline__ void score(float (&s)[4], const unsigned (&q)[D / 16][2], const uint4* tile, int keys,
                                      float scale_log2) {
  const int lane = threadIdx.x % 32, g = lane / 4;
  float even[4] = {0, 0, 0, 0}, odd[4] = {0, 0, 0, 0};  // two chains of products, half as long
#pragma unroll
  for (int c = 0; c < D / 16; c += 2) {
    unsigned a[4], b[4];
    ptx::ldmatrix_x4(a, tile + swizzled(lane % 16, 2 * c + lane / 16));
    ptx::ldmatrix_x4(b, tile + swizzled(lane % 16, 2 * c + 2 + lane / 16));
    ptx::mma_bf16(even, a, q[c][0], q[c][1]);
    ptx::mma_bf16(odd, b, q[c + 1][0], q[c + 1][1]);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) s[i] = g + i / 2 * 8 < keys ? (even[i] + odd[i]) * scale_log2 : -INFINITY;
}

/// One tile: its first `keys` keys count.
__device__ __forceinline__ void attend(State& state, const unsigned (&q)[D / 16][2], const uint4* tile, int keys,
                                       float scale_log2) {
  const int lane = threadIdx.x % 32;
  float s[4], next[2];
  score(s, q, tile, keys, scale_log2);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    next[i] = fmaxf(s[i], s[2 + i]);
#pragma unroll
    for (int step = 4; step < 32; step *= 2) next[i] = fmaxf(next[i], __shfl_xor_sync(0xffffffffu, next[i], step));
    next[i] = fmaxf(next[i], state.max[i]);
  }
  if (__any_sync(0xffffffffu, next[0] > state.max[0] || next[1] > state.max[1])) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float shrink = ptx::ex2(state.max[i] - next[i]);
      state.max[i] = next[i];
      state.sum[i] *= shrink;
#pragma unroll
      for (int c = 0; c < D / 16; ++c) state.o[c][i] *= shrink, state.o[c][2 + i] *= shrink;
    }
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    s[i] = ptx::ex2(s[i] - state.max[i % 2]);
    state.sum[i % 2] += s[i];
  }
  const unsigned p0 = transposed(ptx::pack_bf16(s[0], s[1])), p1 = transposed(ptx::pack_bf16(s[2], s[3]));
  const uint4* const values = tile + TILE * ROW;
#pragma unroll
  for (int c = 0; c < D / 16; ++c) {
    unsigned a[4];
    ptx::ldmatrix_x4_trans(a, values + swizzled(lane % 8 + lane / 16 * 8, 2 * c + lane / 8 % 2));
    ptx::mma_bf16(state.o[c], a, p0, p1);
  }
}

/// The first half of a barrier of the cluster. It hands on nothing but what was fenced before; to hand on all takes a fence of
/// every thread, some 500 cycles.
__device__ __forceinline__ void arrive_relaxed() { asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory"); }

/// Requests the queries of a group into `place`, rows of zeros behind them.
__device__ __forceinline__ void fetch_queries(uint4* place, const unsigned char* q, int G) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < HEADS / 2; ++i) {
    const int head = 2 * i + lane / 16;
    const bool valid = head < G;
    copy_16(ptx::smem_address(place + swizzled(head, lane % 16)), q + (valid ? head : 0) * (D * 2) + lane % 16 * 16, valid);
  }
}

/// Takes them from there as mma.sync wants them: a lane has head g, words t and t + 4 of each sixteen channels.
__device__ __forceinline__ void take_queries(unsigned (&to)[D / 16][2], const uint4* place) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int c = 0; c < D / 16; c += 2) {
    unsigned word[4];
    ptx::ldmatrix_x4(word, place + swizzled(lane % 8, 2 * c + lane / 8));
    to[c][0] = word[0], to[c][1] = word[1];
    to[c + 1][0] = word[2], to[c + 1][1] = word[3];
  }
}

/// A warp's ring of tiles. Tile i of the warp begins at key first + i * stride. KV_HEADS: of key-value heads, so that distances
/// of keys are constants; 0: any number.
template <int KV_HEADS, int DEPTH>
struct Ring {
  uint4* base;
  int first, stride;

  /// Of the warps of a cluster this is number `index` of `warps`, and number `warp` of its block.
  __device__ __forceinline__ Ring(unsigned char* shared, const unsigned char* k, const unsigned char* v, int index, int warps,
                                  int warp, int hk, int b, int S)
      : base(reinterpret_cast<uint4*>(shared) + warp * DEPTH * STAGE),
        first(index * TILE),
        stride(warps * TILE),
        keys_(k),
        values_(v),
        S_(S) {
    const int lane = threadIdx.x % 32, Hkv = KV_HEADS > 0 ? KV_HEADS : gridDim.x;
    key_bytes_ = Hkv * D * 2;
    const long long origin = ((long long)b * S + first + lane / 16) * key_bytes_ + hk * (D * 2) + lane % 16 * 16;
    from_k_ = k + origin, from_v_ = v + origin;
    address_ = ptx::smem_address(base);
    next_ = first;
#pragma unroll
    for (int i = 0; i < 4; ++i) place_[i] = address_ + swizzled(2 * i + lane / 16, lane % 16) * 16;
  }

  __device__ __forceinline__ bool has_next() const { return next_ < S_; }

  /// Requests the next tile. A lane copies vector lane % 16 of keys lane / 16, + 2, + 4, ...
  __device__ __forceinline__ void fetch() {
    if (next_ + TILE <= S_) {
#pragma unroll
      for (int i = 0; i < TILE / 2; ++i) {
        copy_16(place_[i % 4] + to_ + i / 4 * 8 * ROW * 16, from_k_ + 2 * i * key_bytes_);
        copy_16(place_[i % 4] + to_ + (TILE + i / 4 * 8) * ROW * 16, from_v_ + 2 * i * key_bytes_);
      }
    } else {
#pragma unroll 1
      for (int i = 0; i < TILE / 2; ++i) {
        const int lane = threadIdx.x % 32, row = 2 * i + lane / 16;
        const bool valid = next_ + row < S_;
        const unsigned at = address_ + to_ + swizzled(row, lane % 16) * 16;
        copy_16(at, valid ? from_k_ + 2 * i * key_bytes_ : keys_, valid);
        copy_16(at + TILE * ROW * 16, valid ? from_v_ + 2 * i * key_bytes_ : values_, valid);
      }
    }
    next_ += stride;
    to_ = to_ == (DEPTH - 1) * STAGE * 16 ? 0 : to_ + STAGE * 16;
    from_k_ += (long long)stride * key_bytes_;
    from_v_ += (long long)stride * key_bytes_;
  }

 private:
  const unsigned char *keys_, *values_, *from_k_, *from_v_;
  int S_, key_bytes_, next_;     // the key where the tile to be fetched begins, and
  unsigned address_, to_ = 0;    // its stage, in bytes behind the ring's begin
  unsigned place_[4];            // of vector lane % 16 in rows lane / 16 + 0, 2, 4, 6
};

/// One head's softmax over a part of the keys, and a unit of its output, not divided by the sum.
struct Part {
  float max = LOWEST, sum = 0, low = 0, high = 0;

  /// Adds another part, whose maximum is not above this one's.
  __device__ __forceinline__ void add(float other_max, float other_sum, float2 unit) {
    const float shrink = ptx::ex2(other_max - max);
    sum += other_sum * shrink;
    low += unit.x * shrink;
    high += unit.y * shrink;
  }
  /// Writes unit c, and lse beside the first one: whole sectors, as neighbours exchange channels. All lanes of a warp; `is_head`:
  /// whether this one has any.
  __device__ __forceinline__ void finish(unsigned* o, float* lse, long long row, int c, bool is_head) const {
    const int g = threadIdx.x % 32 / 4;
    const float factor = sum > 0 ? __fdividef(1.0f, sum) : 0.0f;
    const float other = __shfl_xor_sync(0xffffffffu, (g % 2 == 0 ? high : low) * factor, 4);
    if (!is_head) return;
    o[row * (D / 2) + 8 * c + g / 2 + g % 2 * 4] =
        g % 2 == 0 ? ptx::pack_bf16(low * factor, other) : ptx::pack_bf16(other, high * factor);
    if (c == 0 && g == 0) lse[row] = sum > 0 ? max * LN2 + logf(sum) : -INFINITY;
  }
};

/// What the blocks of a cluster send to the one that finishes a unit. Block r finishes units r, r + ranks, ...; `ranks` is a
/// power of two. A lane has head t, and head t + 4 behind it.
struct Inbox {
  float4 parts[2][UNITS][32];  // [head / 4][block, unit][lane]: maximum, sum, and the two channels
  uint64_t arrived;

  /// One thread, before it arrives at the cluster's barrier.
  __device__ __forceinline__ void open(int G) {
    ptx::mbarrier_init(&arrived, 1);
    ptx::fence_mbarrier_init();
    ptx::mbarrier_arrive_expect(&arrived, UNITS * 8 * G * sizeof(float4));
  }
};

/// DEPTH: stages of a ring.
template <int WARPS, int KV_HEADS, int DEPTH>
__global__ void __launch_bounds__(WARPS * 32, 8 / WARPS)
decode(const unsigned char* __restrict__ q, const unsigned char* __restrict__ k, const unsigned char* __restrict__ v,
       const int* __restrict__ len, unsigned* __restrict__ o, float* __restrict__ lse, int S, int G, float scale_log2) {
  extern __shared__ __align__(128) unsigned char shared[];  // whole lines: where rows straddle them, copies take twice as long
  __shared__ float2 warp_stats[WARPS][HEADS];               // maximum, sum
  __shared__ __align__(16) Inbox inbox;
  const int hk = blockIdx.x, Hkv = KV_HEADS > 0 ? KV_HEADS : gridDim.x, rank = blockIdx.y, ranks = gridDim.y, b = blockIdx.z;
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4, t = lane % 4;
  int keys;  // under way while the first copies are requested
  asm volatile("ld.global.nc.s32 %0, [%1];" : "=r"(keys) : "l"(len + b));
  Ring<KV_HEADS, DEPTH> ring(shared, k, v, warp * ranks + rank, WARPS * ranks, warp, hk, b, S);
  // The queries go first, and into the stage that is needed last: behind the first tiles they would come with the last of these,
  // when nothing else is under way.
  uint4* const queries = ring.base + (DEPTH - 1) * STAGE;
  fetch_queries(queries, q + (long long)(b * Hkv + hk) * G * (D * 2), G);
  ptx::cp_async_commit();
#pragma unroll
  for (int step = 0; step < DEPTH - 1; ++step) {
    if (ring.has_next()) ring.fetch();
    ptx::cp_async_commit();
  }
  if (ranks > 1) {
    if (tid == 0) inbox.open(G);
    arrive_relaxed();
    ptx::cluster_wait();  // all of the cluster have begun, and can count what is sent to them
  }
  ptx::cp_async_wait<DEPTH - 1>();
  __syncwarp();  // the queries are there
  unsigned q_lane[D / 16][2];
  take_queries(q_lane, queries);

  const int end = min(S, keys), first = ring.first, stride = ring.stride;
  const int shift = 31 - __clz(ranks);
  const int steps = end > first ? (end - first + stride - 1) >> (shift + LOG_TILE + (WARPS == 8 ? 3 : 2)) : 0;
  State state;
  state.clear();
  uint4* tile = ring.base;
  for (int step = 0; step < steps; ++step) {
    ptx::cp_async_wait<DEPTH - 2>();  // this lane's copies of `step` have arrived
    __syncwarp();                     // so have those of the others, and nobody reads the stage before it any more
    if (step + DEPTH - 1 < steps) ring.fetch();
    ptx::cp_async_commit();
    const int left = end - first - step * stride;
    if (left < TILE) {  // what lies behind the end is arbitrary: no weight of zero makes up for NaN
#pragma unroll 1
      for (int i = lane; i < (TILE - left) * ROW; i += 32) tile[(TILE + left) * ROW + i] = make_uint4(0, 0, 0, 0);
      __syncwarp();
    }
    attend(state, q_lane, tile, left, scale_log2);
    tile = tile == ring.base + (DEPTH - 1) * STAGE ? ring.base : tile + STAGE;
  }

  // Merge the warps: a warp's units take the place of its ring.
  ptx::cp_async_wait<0>();
  __syncwarp();  // nobody reads the ring any more
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (2 * t + i >= G) continue;
    float2* const to = reinterpret_cast<float2*>(ring.base) + (2 * t + i) * UNIT_HEAD + g;
#pragma unroll
    for (int c = 0; c < UNITS; ++c) to[c * HEADS * UNIT_HEAD] = make_float2(state.o[c][i], state.o[c][2 + i]);
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int step = 4; step < 32; step *= 2) state.sum[i] += __shfl_xor_sync(0xffffffffu, state.sum[i], step);
    if (g == 0) warp_stats[warp][2 * t + i] = make_float2(state.max[i], state.sum[i]);
  }
  __syncthreads();  // every warp's units and statistics are visible
  const long long row = (long long)(b * Hkv + hk) * G;
#pragma unroll
  for (int c = warp; c < UNITS; c += WARPS) {
#pragma unroll 1
    for (int from = 0; from < G; from += 4) {
      const bool is_head = from + t < G;
      const int head = is_head ? from + t : from;
      Part part;
      float2 stats[WARPS], units[WARPS];
#pragma unroll
      for (int w = 0; w < WARPS; ++w) {
        stats[w] = warp_stats[w][head];
        units[w] = *(reinterpret_cast<const float2*>(shared) + w * DEPTH * STAGE * 2 + (c * HEADS + head) * UNIT_HEAD + g);
      }
#pragma unroll
      for (int w = 0; w < WARPS; ++w) part.max = fmaxf(part.max, stats[w].x);
#pragma unroll
      for (int w = 0; w < WARPS; ++w) part.add(stats[w].x, stats[w].y, units[w]);
      if (ranks == 1) {
        part.finish(o, lse, row + head, c, is_head);
      } else if (is_head) {
        send(&inbox.parts[head / 4][(rank << (3 - shift)) + (c >> shift)][lane], &inbox.arrived, c & (ranks - 1),
             make_float4(part.max, part.sum, part.low, part.high));
      }
    }
  }
  if (ranks == 1 || warp >= UNITS >> shift) return;
  ptx::mbarrier_wait(&inbox.arrived, 0);  // all blocks' parts of this one's units
#pragma unroll 1
  for (int i = warp; i < UNITS >> shift; i += WARPS) {
#pragma unroll 1
    for (int from = 0; from < G; from += 4) {
      const bool is_head = from + t < G;
      const int head = is_head ? from + t : from, sender = is_head ? lane : lane - t;
      Part part;
      float4 other[CLUSTER_MAX];
#pragma unroll
      for (int r = 0; r < CLUSTER_MAX; ++r) {
        other[r] = r < ranks ? inbox.parts[head / 4][(r << (3 - shift)) + i][sender] : make_float4(LOWEST, 0, 0, 0);
        part.max = fmaxf(part.max, other[r].x);
      }
#pragma unroll
      for (int r = 0; r < CLUSTER_MAX; ++r) part.add(other[r].x, other[r].y, make_float2(other[r].z, other[r].w));
      part.finish(o, lse, row + head, (i << shift) + rank, is_head);
    }
  }
}

/// Dynamic shared memory of decode.
constexpr int shared_bytes(int warps, int depth) { return warps * depth * STAGE * 16; }
static_assert(UNITS == 8 && UNITS * HEADS * UNIT_HEAD <= 2 * STAGE * 2,
              "units are shared out by powers of two, and take the place of a ring");

/// How the keys are shared out: blocks of eight warps, one to a multiprocessor, or of four, two to one; blocks of a cluster.
struct Division {
  int warps, ranks;
};

/// The division that takes least time: waves of blocks, each as long as the keys of a multiprocessor and BLOCK_COST more.
/// Clusters of four and more leave some multiprocessors without work: here twelve of 132. Blocks of four warps must be worth it.
constexpr Division pick(const Problem& p) {
  Division best{8, 1};
  long long least = 0;
  for (int form = 1; form <= 2; ++form) {
    for (int ranks = 1; ranks <= CLUSTER_MAX && (ranks - 1) * TILE < p.S; ranks *= 2) {
      const long long slots = (ranks > 2 ? p.device.sms * 10 / 11 : p.device.sms) * form;
      const long long waves = kl::cdiv((long long)p.B * p.Hkv * ranks, slots);
      const long long cost = waves * ((long long)kl::cdiv(p.S, ranks) * form + BLOCK_COST) * (form == 1 ? 20 : 21);
      if (least == 0 || cost < least) {
        best.warps = 8 / form;
        best.ranks = ranks;
        least = cost;
      }
    }
  }
  return best;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int group = p.Hq / p.Hkv;
  const Division by = pick(p);
  if (!plan.require(group <= HEADS, "more than 8 query heads to a key-value head")) return;
  if (!plan.require(shared_bytes(8, 3) <= p.device.shared_bytes_max - 12288, "the rings exceed shared memory")) return;
  // More bytes under way than memory needs make it slower; the fewer multiprocessors of large clusters need them.
  const int depth = by.ranks > 2 ? STAGES : STAGES_BUSY;
  const char* const eight = by.warps == 8 ? depth == 3 ? "decode<8, 8, 3>" : "decode<8, 8, 2>"
                                          : depth == 3 ? "decode<4, 8, 3>" : "decode<4, 8, 2>";
  const char* const any = by.warps == 8 ? depth == 3 ? "decode<8, 0, 3>" : "decode<8, 0, 2>"
                                        : depth == 3 ? "decode<4, 0, 3>" : "decode<4, 0, 2>";
  plan.launch(p.Hkv == 8 ? eight : any)
      .grid(p.Hkv, by.ranks, p.B).block(by.warps * 32).cluster(1, by.ranks, 1).shared(shared_bytes(by.warps, depth))
      .arg(p.q).arg(p.k).arg(p.v).arg(p.len).arg(p.o).arg(p.lse).arg(p.S).arg(group).arg(p.scale * 1.44269504f);
}
