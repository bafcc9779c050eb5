// SPDX-License-Identifier: Apache-2.0
// Paged MLA decode on wgmma and TMA: q [B, Hq, 576] over rows of 576 channels in pages kv [P, 64, 576] (bf16) that page_table
// [B, pages] names, up to len[b]; the first 512 channels are the values. Outputs o [B, Hq, 512] (bf16) and lse.
//
// Technique: a block takes 64 heads. One warpgroup scores: it multiplies a page's scores (64 x 64 x 576) and turns them into
// weights, which it leaves in the page's rotated channels, dead by then. Two others add values to their halves of the channels
// (64 x 256 each), a page's only when the next page's scores are nearly done, so that the tensor cores have those products to do
// during the next softmax, and not during the scores. Three pages' latent channels fit beside two pages' rotated ones because
// seven of the queries' nine spans stay in the scorer's registers. TMA fills the places, started by the warps that release
// them; a page's rotated channels, which come last, are brought to the L2 ahead. A run's queries come like a page. All pages of
// all sequences in a row are dealt out in equal runs to as many groups of blocks as the device holds; where all sequences are
// alike, runs grow by up to 1 / RUN_ALIGN to end with them. A run's first items are asked for before the lengths are known, as
// if all sequences were as long as can be. A second, programmatic launch merges what was cut, from normalised fp16. Up to 32
// heads, or beyond SEQUENCES_MAX sequences, go to blocks of eight warps with mma.sync.
//
// Ladder (geometric means over six shapes on an H100, docs/decode_seeds.md):
//   naive.cu          one warp per head: every row is read Hq times
//   mma_latent.cu     rows read once or twice, mma.sync, the next page under way
//   wgmma_seesaw.cu   wgmma, TMA, two warpgroups in turns, equal runs for all blocks: 1.55x the second
//   wgmma_relay.cu    scores queued before the other's product, aligned runs, mma.sync for few heads: 1.09x the third
//   this file         a warpgroup that scores and two that add values, later, and places for three pages: 1.05 to 1.08x the form
//                     that adds them at once into places for two (1.02x for one sequence), which was 1.03x the fourth
//   left to do        one long sequence: sixteen pages a block, and eleven microseconds beside them (docs/decode_seeds.md)

// tune: MERGE_WARPS = 16 | 8 | 4
// tune: PIECES_OF_A_WARP = 8 | 4 | 16
// tune: RUN_ALIGN = 48 | 32 | 4096

#include <cuda_fp16.h>
#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int D = Problem::D, DV = Problem::DV, KEYS = Problem::PS;
constexpr int HEADS = 64;                      // of a block
constexpr int SPAN = 64, SPANS = D / SPAN;     // channels of one TMA box and one swizzle span
constexpr int SPAN_BYTES = KEYS * SPAN * 2;    // also of the queries' and the weights' spans
constexpr int HALF = DV / 2;                   // channels of a consumer
constexpr int RING = 3, ROPES = 2;             // pages whose latent channels, whose rotated channels are in shared memory
constexpr int LATENT = DV / SPAN, PARTS = 5;   // spans of these; pieces in which a page arrives: four of two, the rotated one
constexpr int STEPS = D / 16, HELD = 28;       // of wgmma over the channels of a key; with the queries in registers
constexpr int LEAD = 31;                       // a page's step of wgmma behind which the page before may be added
constexpr int THREADS = 3 * 128;               // one warpgroup scores, two add values
constexpr int SCORER_REGISTERS = 184, ADDER_REGISTERS = 160;
constexpr int SEQUENCES_MAX = 440;             // as many as there is room for
constexpr float LOWEST = -1e30f;               // finite, so that the difference of two maxima is never NaN
constexpr float LN2 = 0.69314718f;
constexpr float SLACK = 8.0f;                  // by so much, in base-2 units, scores may exceed the reference "maximum"
static_assert(KEYS == HEADS && D == 9 * SPAN && DV == 8 * SPAN, "spans of queries, pages and weights are alike");

// Named barriers: 0 is __syncthreads, then "weights in place 0, 1 may be used", and the scorer's warps by themselves.
constexpr int WEIGHTS = 1, ALONE = 1 + ROPES;

/// What a piece's places are filled with next: page i of the run that begins at page `at`, or for i < 0 its queries.
struct Loader {
  int at, b, i, count;
};

struct alignas(1024) Shared {
  unsigned short latent[RING][LATENT][KEYS][SPAN], rope[ROPES][KEYS][SPAN];
  unsigned short q[(STEPS - HELD) / 4][HEADS][SPAN];  // the channels of the queries that registers do not hold
  float shrink[ROPES][HEADS], sum[ROPES][HEADS];      // with a page's weights: what it leaves of older outputs; at a run's end
  uint64_t full[RING][PARTS - 1], rope_full[ROPES], empty[RING][2], rope_empty[ROPES];
  Loader loader[PARTS];
  int before[SEQUENCES_MAX + 2];                // pages of all sequences before; behind them the length of a group's run
};

/// Pages of sequence b.
__device__ __forceinline__ int pages_of(const int* len, int b) { return (len[b] + KEYS - 1) / KEYS; }

/// Pages of a group's run: group c has those from c times as many on. `least` and `most` are the pages of the shortest and the
/// longest sequence that has any. Where these are alike, runs become a little longer if they end with the sequences then: a run
/// is several whole sequences (nothing is cut or merged; so much is worth half as many pages again) or one of equal pieces.
__device__ __forceinline__ int run_length(int pages, int groups, int least, int most) {
  const int length = max((pages + groups - 1) / groups, 1);
  if (least != most) return length;
  if (length >= most) {
    const int whole = (length + most - 1) / most * most;
    if ((long long)(whole - length) * RUN_ALIGN * 2 <= (long long)length * 3) return whole;
  } else {
    const int pieces = most / length, aligned = most / pieces;
    if (aligned * pieces == most && (long long)(aligned - length) * RUN_ALIGN <= length) return aligned;
  }
  return length;
}

/// Fills before[b], the pages of all sequences before b, for b = 0 .. B, and before[B + 1], the length of a group's run. All
/// threads of the block call it.
__device__ __forceinline__ void count_pages(int* before, const int* len, int B, int groups) {
  if (threadIdx.x < 32) {
    const int lane = threadIdx.x;
    int carry = 0, least = 0x7fffffff, most = 0;
    for (int from = 0; from < B; from += 128) {  // four neighbours a lane: their lengths are loaded at once
      int pages[4], sum = 0;
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const int at = from + 4 * lane + k;
        pages[k] = at < B ? pages_of(len, at) : 0;
        sum += pages[k];
        if (pages[k] > 0) least = min(least, pages[k]), most = max(most, pages[k]);
      }
      const int own = sum;
#pragma unroll
      for (int step = 1; step < 32; step *= 2) {
        const int below = __shfl_up_sync(0xffffffffu, sum, step);
        if (lane >= step) sum += below;
      }
      int so_far = carry + sum - own;
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const int at = from + 4 * lane + k;
        if (at < B) before[at] = so_far;
        so_far += pages[k];
      }
      carry += __shfl_sync(0xffffffffu, sum, 31);
    }
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
      least = min(least, __shfl_xor_sync(0xffffffffu, least, step));
      most = max(most, __shfl_xor_sync(0xffffffffu, most, step));
    }
    if (lane == 0) before[B] = carry, before[B + 1] = run_length(carry, groups, least, most);
  }
  __syncthreads();  // the sums are visible
}

/// `count` consecutive pages of sequence b, the first of them `first`.
struct Run {
  int b, first, count;
};

/// A page's places, for its latent and its rotated channels: which, and how often they were filled before.
struct Slot {
  int stage, parity, rope, rope_parity;

  __device__ __forceinline__ void advance() {
    if (++stage == RING) stage = 0, parity ^= 1;
    if (++rope == ROPES) rope = 0, rope_parity ^= 1;
  }
};

/// The run that begins at page `at` of all; b only grows.
__device__ __forceinline__ Run run_at(const int* before, int at, int end, int& b) {
  while (before[b + 1] <= at) ++b;
  return {b, at - before[b], min(before[b + 1], end) - at};
}

/// What fills the ring, as the kernel got it.
struct Source {
  const CUtensorMap *q, *kv;
  const int* page_table;
  int table_pages, head, end;
};

/// An item to be loaded: a page's index, or ~b for the queries of sequence b, which go before its pages as if they were one.
constexpr int NOTHING = -0x7fffffff;

/// The piece of the items that a thread brings, or PARTS: a warp's first lane has two spans, or the rotated channels.
__device__ __forceinline__ int own_piece() {
  const int role = threadIdx.x / 128, warp = threadIdx.x / 32 % 4;
  if (role == 0 || threadIdx.x % 32 != 0) return PARTS;
  return warp < 2 ? 2 * (role - 1) + warp : role == 1 && warp == 2 ? PARTS - 1 : PARTS;
}

/// Starts the copies of a piece of an item into its place. One thread.
__device__ __forceinline__ void copy(Shared& shared, const Source& from, int part, int stage, int item) {
  const bool is_query = item < 0;
  const CUtensorMap* const map = is_query ? from.q : from.kv;
  const int row = is_query ? from.head : 0, index = is_query ? ~item : item;
  if (part < PARTS - 1) {
    ptx::mbarrier_arrive_expect(&shared.full[stage][part], 2 * SPAN_BYTES);
    ptx::tma_load_3d(shared.latent[stage][2 * part], map, &shared.full[stage][part], 2 * part * SPAN, row, index);
    ptx::tma_load_3d(shared.latent[stage][2 * part + 1], map, &shared.full[stage][part], (2 * part + 1) * SPAN, row, index);
  } else {
    ptx::mbarrier_arrive_expect(&shared.rope_full[stage], SPAN_BYTES);
    ptx::tma_load_3d(shared.rope[stage], map, &shared.rope_full[stage], DV, row, index);
  }
}

/// The same, if they were not started already, and returns the item behind that.
__device__ __forceinline__ int load(Shared& shared, const Source& from, int part, int stage, int item, bool is_started = false) {
  if (item == NOTHING) return item;
  if (!is_started) copy(shared, from, part, stage, item);
  Loader& l = shared.loader[part];
  if (++l.i == l.count) {
    l.at += l.count;
    if (l.at >= from.end) return NOTHING;
    const Run run = run_at(shared.before, l.at, from.end, l.b);
    l.i = -1;
    l.count = run.count;
    return ~run.b;
  }
  const int page = from.page_table[(long long)l.b * from.table_pages + l.at - shared.before[l.b] + l.i];
  if (part == PARTS - 1) {  // its place falls free late
    asm volatile("cp.async.bulk.prefetch.tensor.3d.L2.global.tile [%0, {%1, %2, %3}];" ::"l"(from.kv), "r"(DV), "r"(0), "r"(page)
                 : "memory");
  }
  return page;
}

/// Where a group's run begins if all sequences are as long as can be: page `at` of all, of sequence b, which is -1 where the run
/// does not begin with two pages of one.
struct Guess {
  int at, b;
};

__device__ __forceinline__ Guess guess_run(int B, int table_pages, int group, int groups) {
  const int length = run_length(B * table_pages, groups, table_pages, table_pages), at = group * length, b = at / table_pages;
  return {at, length > 1 && b < B && at + 1 < (b + 1) * table_pages ? b : -1};
}

/// Starts the copies of what a guessed run begins with into the empty ring.
__device__ __forceinline__ void start(Shared& shared, const Source& from, int part, const Guess& guess) {
  const int first = from.page_table[guess.at], second = from.page_table[guess.at + 1];
  copy(shared, from, part, 0, ~guess.b);
  copy(shared, from, part, 1, first);
  if (part < PARTS - 1) copy(shared, from, part, 2, second);
}
static_assert(RING == 3 && ROPES == 2, "places of the queries and two pages, or of one page's rotated channels");

/// Waits for what a wrong guess brought, and lets its barriers count anew.
__device__ __forceinline__ void forget(Shared& shared, int part) {
  for (int stage = 0; stage < (part == PARTS - 1 ? ROPES : RING); ++stage) {
    uint64_t* const full = part == PARTS - 1 ? &shared.rope_full[stage] : &shared.full[stage][part];
    ptx::mbarrier_wait(full, 0);
    asm volatile("mbarrier.inval.shared.b64 [%0];" ::"r"(ptx::smem_address(full)) : "memory");
    ptx::mbarrier_init(full, 1);
  }
  ptx::fence_mbarrier_init();
  ptx::fence_proxy_async();
}

/// Loads a piece of the next item where that of another was released.
__device__ __forceinline__ int refill(Shared& shared, const Source& from, int part, const Slot& slot, int item) {
  const bool is_rope = part == PARTS - 1;
  ptx::mbarrier_wait(is_rope ? &shared.rope_empty[slot.rope] : &shared.empty[slot.stage][part / 2],
                     is_rope ? slot.rope_parity : slot.parity);
  return load(shared, from, part, is_rope ? slot.rope : slot.stage, item);
}

/// One warp is done with a half of a page, or with the queries.
__device__ __forceinline__ void release(uint64_t* empty) {
  if (threadIdx.x % 32 == 0) ptx::mbarrier_arrive(empty);
}

/// Who scores: the queries of its 64 heads, as wgmma takes them, and the state of the softmax; a lane has rows g and g + 8 of its
/// warp's sixteen.
struct Scorer {
  uint32_t q[HELD][4];
  float max[2], sum[2];
};

/// Keeps a run's queries, which have come as a page.
__device__ __forceinline__ void take_queries(Scorer& c, Shared& shared, const Slot& slot) {
  const int row = threadIdx.x % 128 / 32 * 16 + threadIdx.x % 16, half = threadIdx.x % 32 / 16;
#pragma unroll
  for (int part = 0; part < PARTS - 1; ++part) ptx::mbarrier_wait(&shared.full[slot.stage][part], slot.parity);
  ptx::mbarrier_wait(&shared.rope_full[slot.rope], slot.rope_parity);
#pragma unroll
  for (int i = 0; i < HELD; ++i) {
    ptx::ldmatrix_x4(c.q[i], &shared.latent[slot.stage][i / 4][row][((i % 4 * 2 + half) ^ (row % 8)) * 8]);
  }
#pragma unroll
  for (int span = HELD / 4; span < SPANS; ++span) {
    const auto* const from = span < LATENT ? shared.latent[slot.stage][span % LATENT] : shared.rope[slot.rope];
    for (int i = threadIdx.x % 128; i < SPAN_BYTES / 16; i += 128) {
      reinterpret_cast<uint4*>(shared.q[span - HELD / 4])[i] = reinterpret_cast<const uint4*>(from)[i];
    }
  }
  ptx::fence_proxy_async();
  ptx::named_barrier_sync(ALONE, 128);  // all have theirs, and the others are in place
  release(&shared.empty[slot.stage][0]);
  release(&shared.empty[slot.stage][1]);
  release(&shared.rope_empty[slot.rope]);
  release(&shared.rope_empty[slot.rope]);  // for both who add values
}

/// Scores of a page; its pieces are waited for one after another. Where it is a run's second or later one, the page before is
/// left to those who add values.
__device__ __forceinline__ void multiply_keys(float (&s)[KEYS / 2], const Scorer& c, Shared& shared, const Slot& slot,
                                              bool is_later) {
  const uint32_t latent = ptx::smem_address(shared.latent[slot.stage]), rope = ptx::smem_address(shared.rope[slot.rope]);
  const uint32_t q = ptx::smem_address(shared.q);
  ptx::mbarrier_wait(&shared.full[slot.stage][0], slot.parity);
  ptx::wgmma_fence();
#pragma unroll
  for (int i = 0; i < STEPS; ++i) {
    if (i > 0 && i % 8 == 0 && i / 8 < PARTS - 1) ptx::mbarrier_wait(&shared.full[slot.stage][i / 8], slot.parity);
    if (i == LATENT * 4) ptx::mbarrier_wait(&shared.rope_full[slot.rope], slot.rope_parity);
    const uint64_t keys = ptx::wgmma_descriptor((i < LATENT * 4 ? latent + i / 4 * SPAN_BYTES : rope) + i % 4 * 32);
    if (i < HELD) {
      ptx::wgmma_bf16_rs<false>(s, c.q[i < HELD ? i : 0], keys, i != 0);
    } else {
      ptx::wgmma_bf16_ss(s, ptx::wgmma_descriptor(q + (i - HELD) / 4 * SPAN_BYTES + i % 4 * 32), keys, i != 0);
    }
    if (i == LEAD) ptx::wgmma_commit();
  }
  ptx::wgmma_commit();
  ptx::wgmma_wait<1>();
  if (is_later) ptx::named_barrier_arrive(WEIGHTS + (slot.rope ^ 1), 3 * 128);
  ptx::wgmma_wait<0>();
}

/// Raises the running maxima to a page's scores, of which those from `keys` on do not count; `shrink` brings older sums and
/// outputs to them.
template <bool is_masked>
__device__ __forceinline__ void raise_maxima(float (&s)[KEYS / 2], Scorer& c, float (&shrink)[2], float scale, int keys) {
  const int column = threadIdx.x % 4 * 2;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float top[2] = {c.max[half], c.max[half]};
#pragma unroll
    for (int j = 0; j < KEYS / 8; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& score = s[j * 4 + half * 2 + e];
        if (is_masked && j * 8 + column + e >= keys) score = -INFINITY;
        top[e] = fmaxf(top[e], score);
      }
    }
    top[0] = fmaxf(top[0], top[1]);
    top[0] = fmaxf(top[0], __shfl_xor_sync(0xffffffffu, top[0], 1));
    top[0] = fmaxf(top[0], __shfl_xor_sync(0xffffffffu, top[0], 2));
    // A reference that lags a little behind the maximum serves as well: weights of up to 2^SLACK are as precise, and the outputs
    // need hardly ever be scaled.
    const float next = (top[0] - c.max[half]) * scale > SLACK ? top[0] : c.max[half];
    shrink[half] = ptx::ex2((c.max[half] - next) * scale);
    c.max[half] = next;
    c.sum[half] *= shrink[half];
  }
}

/// Softmax of a page's scores: leaves the weights in the page's rotated channels, dead by then, and beside them what the page
/// leaves of older outputs and, where it is a run's last, the sums. `keys` counts the page's keys, and beyond where more follow.
__device__ __forceinline__ void make_weights(float (&s)[KEYS / 2], Scorer& c, Shared& shared, const Slot& slot, int keys,
                                             bool is_last, float scale) {
  const int thread = threadIdx.x % 128, lane = thread % 32, warp = thread / 32, row = warp * 16 + lane / 4;
  float shrink[2];
  if (keys < KEYS) {
    raise_maxima<true>(s, c, shrink, scale, keys);
  } else {
    raise_maxima<false>(s, c, shrink, scale, keys);
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float offset = c.max[half] * scale;
    float sum[2] = {0, 0};
#pragma unroll
    for (int j = 0; j < KEYS / 8; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& score = s[j * 4 + half * 2 + e];
        score = ptx::ex2(fmaf(score, scale, -offset));
        sum[e] += score;
      }
    }
    c.sum[half] += sum[0] + sum[1];
  }
  if (is_last) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      c.sum[half] += __shfl_xor_sync(0xffffffffu, c.sum[half], 1);
      c.sum[half] += __shfl_xor_sync(0xffffffffu, c.sum[half], 2);
    }
  }
  if (lane % 4 == 0) {
    shared.shrink[slot.rope][row] = shrink[0];
    shared.shrink[slot.rope][row + 8] = shrink[1];
    shared.sum[slot.rope][row] = c.sum[0];
    shared.sum[slot.rope][row + 8] = c.sum[1];
  }
  ptx::named_barrier_sync(ALONE, 128);  // all four warps are done with the page's rotated channels
  if (keys < KEYS) {  // what lies behind the end is arbitrary: no weight of zero makes up for NaN
    for (int i = thread; i < (KEYS - keys) * 8 * (DV / SPAN); i += 128) {
      const int line = keys + i / 8 % (KEYS - keys), span = i / 8 / (KEYS - keys);
      reinterpret_cast<uint4*>(shared.latent[slot.stage][span][line])[i % 8] = make_uint4(0, 0, 0, 0);
    }
  }
#pragma unroll
  for (int i = 0; i < KEYS / 16; ++i) {
    uint32_t p[4];
#pragma unroll
    for (int r = 0; r < 4; ++r) p[r] = ptx::pack_bf16(s[i * 8 + r * 2], s[i * 8 + r * 2 + 1]);
    const int line = warp * 16 + lane % 16, chunk = (2 * i + lane / 16) ^ (line % 8);
    ptx::stmatrix_x4(&shared.rope[slot.rope][line][chunk * 8], p);
  }
  ptx::fence_proxy_async();
}

/// o += p v for this consumer's half of a page's channels, with the weights that the scorer left. `total` becomes the
/// weights' sums so far, which are whole at a run's last page.
__device__ __forceinline__ void add_values(float (&o)[HALF / 2], float (&total)[2], Shared& shared, int w, const Slot& slot) {
  const int row = threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
  const uint32_t p = ptx::smem_address(shared.rope[slot.rope]);
  const uint32_t v = ptx::smem_address(shared.latent[slot.stage][w * HALF / SPAN]);
  ptx::named_barrier_sync(WEIGHTS + slot.rope, 3 * 128);
  const float shrink[2] = {shared.shrink[slot.rope][row], shared.shrink[slot.rope][row + 8]};
  total[0] = shared.sum[slot.rope][row];
  total[1] = shared.sum[slot.rope][row + 8];
  if (__any_sync(0xffffffffu, shrink[0] != 1.0f || shrink[1] != 1.0f)) {
#pragma unroll
    for (int i = 0; i < HALF / 2; ++i) o[i] *= shrink[i / 2 % 2];
  }
  ptx::wgmma_fence();
#pragma unroll
  for (int i = 0; i < KEYS / 16; ++i) {
    ptx::wgmma_bf16_ss<false, true>(o, ptx::wgmma_descriptor(p + i * 32), ptx::wgmma_descriptor(v + i * 2048, SPAN_BYTES), true);
  }
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  release(&shared.rope_empty[slot.rope]);
  release(&shared.empty[slot.stage][w]);
}

/// Where a run's result goes: of a whole sequence to o and lse, else to part and stats.
struct Output {
  unsigned* o;
  float* lse;
  uint4* part;    // [groups, 2, Hq, DV / 8]: fp16, divided by the sum; entry 0 where the group's run begins, 1 where it ends.
                  // Vector w 32 + 4 i + t of a row holds channels w 256 + 32 i + 8 k + 2 t + (0, 1) for k = 0 .. 3.
  float2* stats;  // [groups, 2, Hq] = (maximum, sum), in base-2 units
};

__device__ __forceinline__ unsigned pack_half(float low, float high) {
  const __half2 both = __floats2half2_rn(low, high);
  return *reinterpret_cast<const unsigned*>(&both);
}

__device__ __forceinline__ float2 unpack_half(unsigned both) {
  return __half22float2(*reinterpret_cast<const __half2*>(&both));
}

/// Writes this consumer's half of the channels of a run.
__device__ __forceinline__ void finish(const float (&from)[HALF / 2], const float (&sum)[2], int w, const Output& out,
                                       bool is_whole, long long row, int heads) {
  const int lane = threadIdx.x % 32, first = threadIdx.x / 32 % 4 * 16 + lane / 4, t = lane % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int head = first + 8 * half;
    if (head >= heads) continue;
    const float inverse = 1.0f / sum[half];
    if (is_whole) {
      unsigned* const to = out.o + ((row + head) * DV + w * HALF) / 2 + t;
#pragma unroll
      for (int j = 0; j < HALF / 8; ++j) {
        to[4 * j] = ptx::pack_bf16(from[j * 4 + half * 2] * inverse, from[j * 4 + half * 2 + 1] * inverse);
      }
    } else {
      uint4* const to = out.part + ((row + head) * DV + w * HALF) / 8 + t;
#pragma unroll
      for (int i = 0; i < HALF / 32; ++i) {
        unsigned word[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          const int at = (4 * i + k) * 4 + half * 2;
          word[k] = pack_half(from[at] * inverse, from[at + 1] * inverse);
        }
        to[4 * i] = make_uint4(word[0], word[1], word[2], word[3]);
      }
    }
  }
}

/// Writes the statistics of a run.
__device__ __forceinline__ void finish(const Scorer& c, const Output& out, bool is_whole, long long row, int heads, float scale) {
  const int lane = threadIdx.x % 32, first = threadIdx.x / 32 % 4 * 16 + lane / 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int head = first + 8 * half;
    if (head >= heads || lane % 4 != 0) continue;
    if (is_whole) {
      out.lse[row + head] = c.max[half] * scale * LN2 + logf(c.sum[half]);
    } else {
      out.stats[row + head] = make_float2(c.max[half] * scale, c.sum[half]);
    }
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
mla_decode(const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap kv,
           const int* __restrict__ page_table, const int* __restrict__ len, unsigned* __restrict__ o,
           float* __restrict__ lse, uint4* __restrict__ part, float2* __restrict__ stats, int B, int Hq, int table_pages,
           float scale_log2) {
  extern __shared__ __align__(1024) unsigned char memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  const int blocks = (Hq + HEADS - 1) / HEADS, head = blockIdx.x % blocks * HEADS;
  const int group = blockIdx.x / blocks, groups = gridDim.x / blocks;
  if (threadIdx.x == 128) {
    ptx::tma_prefetch(&q);
    ptx::tma_prefetch(&kv);
  }
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < RING; ++stage) {
      for (int part = 0; part < PARTS - 1; ++part) ptx::mbarrier_init(&shared.full[stage][part], 1);
      for (int w = 0; w < 2; ++w) ptx::mbarrier_init(&shared.empty[stage][w], 4);
    }
    for (int stage = 0; stage < ROPES; ++stage) {
      ptx::mbarrier_init(&shared.rope_full[stage], 1);
      ptx::mbarrier_init(&shared.rope_empty[stage], 8);
    }
    ptx::fence_mbarrier_init();
    ptx::fence_proxy_async();
  }
  const Guess guess = guess_run(B, table_pages, group, groups);
  __syncthreads();  // the barriers are there
  if (guess.b >= 0 && own_piece() < PARTS) start(shared, {&q, &kv, page_table, table_pages, head, 0}, own_piece(), guess);
  __syncwarp();
  count_pages(shared.before, len, B, groups);
  ptx::griddepcontrol_launch_dependents();  // the merge takes each SM as it falls free, and waits there for the last block
  const int pages = shared.before[B], length = shared.before[B + 1];
  const int begin = min(group * length, pages), end = min(begin + length, pages);

  const bool is_right = guess.b >= 0 && begin == guess.at && end > begin + 1 && shared.before[guess.b] == guess.b * table_pages &&
                        shared.before[guess.b + 1] > begin + 1;
  if (guess.b >= 0 && !is_right) {
    if (own_piece() < PARTS) forget(shared, own_piece());
    __syncthreads();  // the ring is empty
  }

  const int role = threadIdx.x / 128, heads = min(HEADS, Hq - head);
  const Output out{o, lse, part, stats};
  if (role == 0) {
    ptx::register_increase<SCORER_REGISTERS>();
    Scorer c;
    Slot slot{0, 0, 0, 0};
    int b = 0;
    for (int at = begin; at < end;) {
      const Run run = run_at(shared.before, at, end, b);
      int keys = len[run.b] - run.first * KEYS;  // from the page's begin to the sequence's end
      take_queries(c, shared, slot);
      slot.advance();
      c.max[0] = c.max[1] = LOWEST;
      c.sum[0] = c.sum[1] = 0;
      for (int i = 1; i <= run.count; ++i, keys -= KEYS) {
        float s[KEYS / 2];
        multiply_keys(s, c, shared, slot, i > 1);
        make_weights(s, c, shared, slot, keys, i == run.count, scale_log2);
        if (i == run.count) ptx::named_barrier_arrive(WEIGHTS + slot.rope, 3 * 128);
        slot.advance();
      }
      const bool is_whole = run.count == shared.before[run.b + 1] - shared.before[run.b];
      const long long entry = group * 2 + (at == begin ? 0 : 1);
      finish(c, out, is_whole, (is_whole ? run.b : entry) * Hq + head, heads, scale_log2);
      at += run.count;
    }
  } else {
    ptx::register_decrease<ADDER_REGISTERS>();
    const int w = role - 1, part = own_piece();
    const bool is_loader = part < PARTS;
    const Source from{&q, &kv, page_table, table_pages, head, end};
    int item = NOTHING;
    if (is_loader && begin < end) {
      int b = 0;
      const Run run = run_at(shared.before, begin, end, b);
      shared.loader[part] = {begin, b, -1, run.count};
      item = ~run.b;
      for (int stage = 0; stage < (part == PARTS - 1 ? ROPES : RING); ++stage) {
        item = load(shared, from, part, stage, item, is_right);
      }
    }
    for (int b = group; b < B; b += groups) {  // sequences without keys
      if (shared.before[b + 1] > shared.before[b]) continue;
      const int thread = threadIdx.x - 128;
      const long long row = (long long)b * Hq + head;
      for (int i = thread; i < heads * DV / 2; i += 256) o[row * DV / 2 + i] = 0;
      for (int i = thread; i < heads; i += 256) lse[row + i] = -INFINITY;
    }
    Slot slot{0, 0, 0, 0};
    int b = 0;
    for (int at = begin; at < end;) {
      const Run run = run_at(shared.before, at, end, b);
      float sums[HALF / 2], total[2];
#pragma unroll
      for (int i = 0; i < HALF / 2; ++i) sums[i] = 0;
      if (is_loader) item = refill(shared, from, part, slot, item);  // behind the queries
      slot.advance();
      for (int i = 0; i < run.count; ++i) {
        add_values(sums, total, shared, w, slot);
        if (is_loader) item = refill(shared, from, part, slot, item);
        slot.advance();
      }
      const bool is_whole = run.count == shared.before[run.b + 1] - shared.before[run.b];
      const long long entry = group * 2 + (at == begin ? 0 : 1);
      finish(sums, total, w, out, is_whole, (is_whole ? run.b : entry) * Hq + head, heads);
      at += run.count;
    }
  }
}

constexpr int VECTORS = DV / 8 / 32;  // of eight channels, of a lane: one of each consumer's half
static_assert(64 % (4 * MERGE_WARPS) == 0, "a merge takes 64 pieces at a time");
static_assert(VECTORS == 2 && HALF == 256, "a lane's vectors in a merge");

/// Eight sums += the fp16 values of x, weighted.
__device__ __forceinline__ void add(float (&sum)[8], const uint4& x, float weight) {
  const unsigned word[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    const float2 value = unpack_half(word[k]);
    sum[2 * k] += value.x * weight;
    sum[2 * k + 1] += value.y * weight;
  }
}

/// Merges sequences that were cut, SHARE warps to a row (b, h), which take turns in its pieces. SHARE is 1 or MERGE_WARPS.
template <int SHARE>
__global__ void __launch_bounds__(MERGE_WARPS * 32, SHARE == 1 ? 32 / MERGE_WARPS : 1)  // a warp a row: 32 warps on an SM
merge_cut(const uint4* part, const float2* stats, const int* __restrict__ len,
          unsigned* __restrict__ o, float* __restrict__ lse, int B, int Hq, int groups) {
  constexpr int ROWS = MERGE_WARPS / SHARE;  // of a block at a time
  constexpr int AT_ONCE = SHARE == 1 ? 2 : 4;  // pieces of a warp under way; a row of one warp has two, mostly
  __shared__ int before[SEQUENCES_MAX + 2];
  __shared__ float partial[SHARE > 1 ? MERGE_WARPS : 1][DV];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, turn = warp % SHARE;
  count_pages(before, len, B, groups);
  const int length = before[B + 1];
  ptx::griddepcontrol_wait();  // the pieces are complete and visible

  // All warps of a row take the same way through the loop, so all of a block where they share one.
  for (long long row = (long long)blockIdx.x * ROWS + warp / SHARE; row < (long long)B * Hq; row += (long long)gridDim.x * ROWS) {
    const int b = (int)(row / Hq), h = (int)(row % Hq), first = before[b], last = before[b + 1] - 1;
    if (first > last) continue;
    const int from = first / length, to = last / length;  // groups
    if (from == to) continue;  // the group wrote the result itself
    const auto entry_of = [&](int c) { return ((long long)c * 2 + (c * length >= first ? 0 : 1)) * Hq + h; };

    // A lane weighs every 32nd piece; what it needs of the others comes by shuffle. The first pieces are read meanwhile.
    float max = LOWEST, sum = 0, value[VECTORS][8];
#pragma unroll
    for (int j = 0; j < VECTORS; ++j) {
#pragma unroll
      for (int k = 0; k < 8; ++k) value[j][k] = 0;
    }
    for (int base = from; base <= to; base += 64) {
      const int pieces = min(64, to + 1 - base);
      float2 stat[2];
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        const int piece = lane + 32 * k;
        stat[k] = piece < pieces ? __ldcg(&stats[entry_of(base + piece)]) : make_float2(LOWEST, 0);
      }
      uint4 x[AT_ONCE][VECTORS];
      const auto fetch = [&](int i) {
#pragma unroll
        for (int u = 0; u < AT_ONCE; ++u) {
          const int piece = i + u * SHARE;
#pragma unroll
          for (int j = 0; j < VECTORS; ++j) {
            x[u][j] = piece < pieces ? __ldcg(part + entry_of(base + piece) * (DV / 8) + lane + 32 * j) : make_uint4(0, 0, 0, 0);
          }
        }
      };
      fetch(turn);
      float next = fmaxf(max, fmaxf(stat[0].x, stat[1].x));
#pragma unroll
      for (int step = 16; step > 0; step /= 2) next = fmaxf(next, __shfl_xor_sync(0xffffffffu, next, step));
      const float shrink = ptx::ex2(max - next);
      max = next;
      sum *= shrink;
#pragma unroll
      for (int j = 0; j < VECTORS; ++j) {
#pragma unroll
        for (int k = 0; k < 8; ++k) value[j][k] *= shrink;
      }
      const float weight[2] = {stat[0].y * ptx::ex2(stat[0].x - max), stat[1].y * ptx::ex2(stat[1].x - max)};
      sum += weight[0] + weight[1];
      for (int i = turn; i < pieces; i += AT_ONCE * SHARE) {
#pragma unroll
        for (int u = 0; u < AT_ONCE; ++u) {
          const int piece = i + u * SHARE;
          const float factor = __shfl_sync(0xffffffffu, piece < 32 ? weight[0] : weight[1], piece % 32);
#pragma unroll
          for (int j = 0; j < VECTORS; ++j) add(value[j], x[u][j], factor);
        }
        if (i + AT_ONCE * SHARE < pieces) fetch(i + AT_ONCE * SHARE);
      }
    }
#pragma unroll
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    const float inverse = 1.0f / sum;
    unsigned* const to_row = o + row * (DV / 2);
    if (lane == 0 && turn == 0) lse[row] = max * LN2 + logf(sum);
    const int channel = lane / 4 * 32 + lane % 4 * 2;  // of a half: the lane's first
#pragma unroll
    for (int j = 0; j < VECTORS; ++j) {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const int at = j * HALF + channel + 8 * k;
        if (SHARE == 1) {
          to_row[at / 2] = ptx::pack_bf16(value[j][2 * k] * inverse, value[j][2 * k + 1] * inverse);
        } else {
          partial[SHARE > 1 ? warp : 0][at] = value[j][2 * k];
          partial[SHARE > 1 ? warp : 0][at + 1] = value[j][2 * k + 1];
        }
      }
    }
    if (SHARE > 1) {
      __syncthreads();  // every warp's share is visible
      for (int i = threadIdx.x; i < DV / 2; i += MERGE_WARPS * 32) {
        float low = 0, high = 0;
#pragma unroll
        for (int w = 0; w < SHARE; ++w) {
          low += partial[w][2 * i];
          high += partial[w][2 * i + 1];
        }
        to_row[i] = ptx::pack_bf16(low * inverse, high * inverse);
      }
      __syncthreads();  // and read
    }
  }
}

// Up to 32 heads (64-head tiles would be mostly padding), and more than SEQUENCES_MAX sequences. A block
// of eight warps takes 16 MT heads of one sequence over one chunk of its pages, with mma.sync and cp.async; where there are
// several chunks, combine_few merges them.

constexpr int WARPS = 8;
constexpr int STAGES = 2;                      // pages of its ring
constexpr int ROW = D / 8;                     // 16-byte vectors of a key or query
constexpr int P_ROW = KEYS / 8;                // 16-byte vectors of a head's weights
constexpr int SPLITS_MAX = 128, SPLITS_WANTED = 1;
static_assert(KEYS == 64 && D % 32 == 0 && DV == WARPS * 64, "the shares of the warps");

/// Vector `chunk` of row `row`: swizzled, so that the same vector of eight rows lies in eight banks.
template <int WIDTH>
__device__ __forceinline__ int swizzled(int row, int chunk) { return row * WIDTH + (chunk ^ (row & 7)); }

/// How the warps share out the scores of 16 MT heads and 64 keys.
template <int MT>
struct Shares {
  static constexpr int ROW_GROUPS = MT < 2 ? 1 : 2, KEY_GROUPS = WARPS / ROW_GROUPS;
  static constexpr int M = MT / ROW_GROUPS;              // tiles of 16 heads of a warp
  static constexpr int N = KEYS / KEY_GROUPS / 8;        // tiles of 8 keys of a warp
};

template <int MT>
struct FewShared {
  uint4 tiles[STAGES][KEYS * ROW];
  uint4 q[16 * MT * ROW];
  uint4 p[16 * MT * P_ROW];
  float group_max[Shares<MT>::KEY_GROUPS][16 * MT];      // of one tile; at the end sums
  float shrink[16 * MT];                                 // what a tile's maximum leaves of the state; at the end maxima
};

/// Scores of this warp's share, in base-2 units: s[m][n] as mma leaves them.
template <int MT>
__device__ __forceinline__ void score(float (&s)[Shares<MT>::M][Shares<MT>::N][4], const FewShared<MT>& shared,
                                      const uint4* tile, int row, int key) {
  constexpr int M = Shares<MT>::M, N = Shares<MT>::N;
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int n = 0; n < N; ++n) s[m][n][0] = s[m][n][1] = s[m][n][2] = s[m][n][3] = 0;
  }
#pragma unroll 2
  for (int c = 0; c < ROW; c += 4) {  // 32 channels
    unsigned b[N][4];
#pragma unroll
    for (int n = 0; n < N; ++n) ptx::ldmatrix_x4(b[n], tile + swizzled<ROW>(key + 8 * n + lane % 8, c + lane / 8));
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        unsigned a[4];
        ptx::ldmatrix_x4(a, shared.q + swizzled<ROW>(row + 16 * m + lane % 16, c + 2 * half + lane / 16));
#pragma unroll
        for (int n = 0; n < N; ++n) ptx::mma_bf16(s[m][n], a, b[n][2 * half], b[n][2 * half + 1]);
      }
    }
  }
}

/// Adds the tile's values with the weights in shared memory, for all heads and 64 channels from vector `chunk` on.
template <int MT>
__device__ __forceinline__ void add_values(float (&o)[MT][8][4], const FewShared<MT>& shared, const uint4* tile, int chunk) {
  const int lane = threadIdx.x % 32;
#pragma unroll 1  // unrolled, the weights of four steps push others out of the registers
  for (int k = 0; k < KEYS / 16; ++k) {
    unsigned a[MT][4];
#pragma unroll
    for (int m = 0; m < MT; ++m) ptx::ldmatrix_x4(a[m], shared.p + swizzled<P_ROW>(16 * m + lane % 16, 2 * k + lane / 16));
#pragma unroll
    for (int n = 0; n < 8; n += 2) {
      unsigned b[4];
      ptx::ldmatrix_x4_trans(b, tile + swizzled<ROW>(16 * k + lane % 16, chunk + n + lane / 16));
#pragma unroll
      for (int m = 0; m < MT; ++m) {
        ptx::mma_bf16(o[m][n], a[m], b[0], b[1]);
        ptx::mma_bf16(o[m][n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

/// Writes o and lse where there is one chunk, else part [B, Hq, splits, DV] (not divided by the sum) and stats [B, Hq,
/// splits] = (maximum, sum).
template <int MT>
__global__ void __launch_bounds__(WARPS * 32, 1)
mla_decode_few(const uint4* __restrict__ q, const uint4* __restrict__ kv, const int* __restrict__ page_table,
           const int* __restrict__ len, float* __restrict__ part, float2* __restrict__ stats, unsigned* __restrict__ o,
           float* __restrict__ lse, int pages, int Hq, int chunk, float scale_log2) {
  using Share = Shares<MT>;
  extern __shared__ __align__(128) unsigned char raw[];
  FewShared<MT>& shared = *reinterpret_cast<FewShared<MT>*>(raw);
  ptx::griddepcontrol_launch_dependents();  // what merges waits until all of this is complete
  const int head = blockIdx.x * 16 * MT, split = blockIdx.y, splits = gridDim.y, b = blockIdx.z;
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4, t = lane % 4;
  const int begin = split * chunk, end = min(begin + chunk, len[b]);
  if (begin >= end && split > 0) return;
  const int tiles = (end - begin + KEYS - 1) / KEYS;  // at most 0 where there are no keys
  page_table += (long long)b * pages + begin / KEYS;

  const auto fetch = [&](int tile, long long page) {
    const int keys = end - begin - tile * KEYS;
#pragma unroll 2
    for (int i = 0; i < KEYS * ROW / (WARPS * 32); ++i) {
      const int index = i * WARPS * 32 + tid, row = index / ROW, vector = index % ROW;
      ptx::cp_async_16(&shared.tiles[tile % STAGES][swizzled<ROW>(row, vector)],
                       kv + (page * KEYS + (row < keys ? row : 0)) * ROW + vector, row < keys);
    }
  };
  int page = tiles > 1 ? page_table[1] : 0;  // of the tile to be fetched next
  if (tiles > 0) fetch(0, page_table[0]);
  for (int index = tid; index < 16 * MT * ROW; index += WARPS * 32) {
    const int row = index / ROW, vector = index % ROW;
    const bool is_head = head + row < Hq;
    ptx::cp_async_16(&shared.q[swizzled<ROW>(row, vector)], q + ((long long)b * Hq + (is_head ? head + row : 0)) * ROW + vector,
                     is_head);
  }
  ptx::cp_async_commit();

  const int row_group = warp % Share::ROW_GROUPS, key_group = warp / Share::ROW_GROUPS;
  const int my_row = row_group * 16 * Share::M, my_key = key_group * 8 * Share::N;
  float my_max[Share::M][2], my_sum[Share::M][2], out[MT][8][4];
#pragma unroll
  for (int m = 0; m < MT; ++m) {
#pragma unroll
    for (int n = 0; n < 8; ++n) out[m][n][0] = out[m][n][1] = out[m][n][2] = out[m][n][3] = 0;
  }
#pragma unroll
  for (int m = 0; m < Share::M; ++m) my_max[m][0] = my_max[m][1] = LOWEST, my_sum[m][0] = my_sum[m][1] = 0;

  for (int tile = 0; tile < tiles; ++tile) {
    ptx::cp_async_wait<0>();
    __syncthreads();  // the tile is there, and nobody reads the stage before it or the weights any more
    if (tile + 1 < tiles) {
      fetch(tile + 1, page);
      page = tile + 2 < tiles ? page_table[tile + 2] : 0;
    }
    ptx::cp_async_commit();
    const uint4* const stage = shared.tiles[tile % STAGES];

    float s[Share::M][Share::N][4];
    score<MT>(s, shared, stage, my_row, my_key);
    const int keys = end - begin - tile * KEYS;
#pragma unroll
    for (int m = 0; m < Share::M; ++m) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float most = LOWEST;
#pragma unroll
        for (int n = 0; n < Share::N; ++n) {
#pragma unroll
          for (int j = 0; j < 2; ++j) {
            float& value = s[m][n][2 * i + j];
            value = my_key + 8 * n + 2 * t + j < keys ? value * scale_log2 : -INFINITY;
            most = fmaxf(most, value);
          }
        }
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
        if (t == 0) shared.group_max[key_group][my_row + 16 * m + 8 * i + g] = most;
      }
    }
    __syncthreads();  // the maxima of all groups of keys are visible
#pragma unroll
    for (int m = 0; m < Share::M; ++m) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int row = my_row + 16 * m + 8 * i + g;
        float next = my_max[m][i];
#pragma unroll
        for (int k = 0; k < Share::KEY_GROUPS; ++k) next = fmaxf(next, shared.group_max[k][row]);
        const float shrink = ptx::ex2(my_max[m][i] - next);
        my_sum[m][i] *= shrink;
        my_max[m][i] = next;
        if (key_group == 0 && t == 0) shared.shrink[row] = shrink;
#pragma unroll
        for (int n = 0; n < Share::N; ++n) {
          const float p0 = ptx::ex2(s[m][n][2 * i] - next), p1 = ptx::ex2(s[m][n][2 * i + 1] - next);
          my_sum[m][i] += p0 + p1;
          reinterpret_cast<unsigned*>(shared.p + swizzled<P_ROW>(row, my_key / 8 + n))[t] = ptx::pack_bf16(p0, p1);
        }
      }
    }
    __syncthreads();  // the weights, and what they leave of the state, are visible
#pragma unroll
    for (int m = 0; m < MT; ++m) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float shrink = shared.shrink[16 * m + 8 * i + g];
#pragma unroll
        for (int n = 0; n < 8; ++n) out[m][n][2 * i] *= shrink, out[m][n][2 * i + 1] *= shrink;
      }
    }
    add_values<MT>(out, shared, stage, warp * 8);
  }

  __syncthreads();  // nobody reads the last tile's maxima any more
#pragma unroll
  for (int m = 0; m < Share::M; ++m) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float sum = my_sum[m][i];
      sum += __shfl_xor_sync(0xffffffffu, sum, 1);
      sum += __shfl_xor_sync(0xffffffffu, sum, 2);
      if (t != 0) continue;
      shared.group_max[key_group][my_row + 16 * m + 8 * i + g] = sum;
      if (key_group == 0) shared.shrink[my_row + 16 * m + 8 * i + g] = my_max[m][i];
    }
  }
  ptx::cp_async_wait<0>();
  __syncthreads();  // the sums of all groups of keys, and the maxima, are visible
#pragma unroll
  for (int m = 0; m < MT; ++m) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = 16 * m + 8 * i + g;
      if (head + row >= Hq) continue;
      float sum = 0;
#pragma unroll
      for (int k = 0; k < Share::KEY_GROUPS; ++k) sum += shared.group_max[k][row];
      const long long at = (long long)b * Hq + head + row;
      if (splits == 1) {
        const float factor = sum > 0 ? 1.0f / sum : 0.0f;
#pragma unroll
        for (int n = 0; n < 8; ++n) {
          o[(at * DV + warp * 64 + 8 * n) / 2 + t] = ptx::pack_bf16(out[m][n][2 * i] * factor, out[m][n][2 * i + 1] * factor);
        }
        if (warp == 0 && t == 0) lse[at] = sum > 0 ? shared.shrink[row] * LN2 + logf(sum) : -INFINITY;
      } else {
#pragma unroll
        for (int n = 0; n < 8; ++n) {
          *reinterpret_cast<float2*>(&part[(at * splits + split) * DV + warp * 64 + 8 * n + 2 * t]) =
              make_float2(out[m][n][2 * i], out[m][n][2 * i + 1]);
        }
        if (warp == 0 && t == 0) stats[at * splits + split] = make_float2(shared.shrink[row], sum);
      }
    }
  }
}

/// One block per row (b, h), four channels a thread: merges the chunks that hold keys.
extern "C" __global__ void __launch_bounds__(DV / 4)
combine_few(const float4* part, const float2* stats, const int* __restrict__ len,
        uint2* __restrict__ o, float* __restrict__ lse, int Hq, int splits, int chunk) {
  const long long row = blockIdx.x;
  const int d = threadIdx.x, keys = len[row / Hq], used = (keys + chunk - 1) / chunk;
  ptx::griddepcontrol_wait();  // the chunks are complete and visible
  part += row * splits * (DV / 4);
  stats += row * splits;
  float max = LOWEST, sum = 0;
  float4 value = make_float4(0, 0, 0, 0);
  for (int split = 0; split < used; ++split) max = fmaxf(max, __ldcg(&stats[split].x));
#pragma unroll 4
  for (int split = 0; split < used; ++split) {
    const float shrink = ptx::ex2(__ldcg(&stats[split].x) - max);
    const float4 here = __ldcg(part + split * (DV / 4) + d);
    sum += __ldcg(&stats[split].y) * shrink;
    value.x += here.x * shrink, value.y += here.y * shrink, value.z += here.z * shrink, value.w += here.w * shrink;
  }
  const float factor = keys > 0 ? 1.0f / sum : 0.0f;
  o[row * (DV / 4) + d] = make_uint2(ptx::pack_bf16(value.x * factor, value.y * factor),
                                     ptx::pack_bf16(value.z * factor, value.w * factor));
  if (d == 0) lse[row] = keys > 0 ? max * LN2 + logf(sum) : -INFINITY;
}

/// The number of chunks that fills whole waves of blocks best: the least one within 5 % of the best.
constexpr int pick_splits(const Problem& p, int head_blocks) {
  const int splits_max = kl::clamp(p.S / (KEYS * 4), 1, SPLITS_MAX);
  const auto efficiency = [&](int splits) {
    const double waves = double(p.B) * head_blocks * splits / p.device.sms;
    const auto whole = static_cast<long long>(waves);
    return waves / (waves > whole ? whole + 1 : whole);
  };
  double best = 0;
  const int least = kl::min(SPLITS_WANTED, splits_max);
  for (int splits = least; splits <= splits_max; ++splits) best = kl::max(best, efficiency(splits));
  for (int splits = least; splits <= splits_max; ++splits) {
    if (efficiency(splits) >= 0.95 * best) return splits;
  }
  return splits_max;
}

constexpr void plan_few(const Problem& p, kl::Plan& plan) {
  const int tiles = p.Hq > 16 ? 2 : 1;  // of 16 heads in a block
  const int bytes = tiles == 2 ? sizeof(FewShared<2>) : sizeof(FewShared<1>);
  if (!plan.require(bytes <= p.device.shared_bytes_max, "two pages and the queries exceed shared memory")) return;
  const int head_blocks = kl::cdiv(p.Hq, 16 * tiles);
  const int chunk = kl::round_up(kl::cdiv(p.S, pick_splits(p, head_blocks)), KEYS), splits = kl::cdiv(p.S, chunk);
  const bool is_split = splits > 1;
  const auto part = plan.workspace(kl::f32, is_split ? (long long)p.B * p.Hq * splits * DV : 1);
  const auto stats = plan.workspace(kl::f32, is_split ? (long long)p.B * p.Hq * splits * 2 : 2);
  plan.launch(tiles == 2 ? "mla_decode_few<2>" : "mla_decode_few<1>")
      .grid(head_blocks, splits, p.B).block(WARPS * 32).shared(bytes)
      .arg(p.q).arg(p.kv).arg(p.page_table).arg(p.len).arg(part).arg(stats).arg(p.o).arg(p.lse).arg(kl::cdiv(p.S, KEYS))
      .arg(p.Hq).arg(chunk).arg(p.scale * 1.44269504f);
  if (!is_split) return;
  plan.launch("combine_few").grid(p.B * p.Hq).block(DV / 4).programmatic()
      .arg(part).arg(stats).arg(p.len).arg(p.o).arg(p.lse).arg(p.Hq).arg(splits).arg(chunk);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (p.Hq <= 32 || p.B > SEQUENCES_MAX) {
    plan_few(p, plan);
    return;
  }
  if (!plan.require((long long)p.B * kl::cdiv(p.S, KEYS) * 512 < kl::pow2(31), "more than four million pages")) return;
  if (!plan.require(sizeof(Shared) <= p.device.shared_bytes_max, "three pages and queries exceed shared memory")) return;
  const int head_blocks = kl::cdiv(p.Hq, HEADS);
  const int groups = kl::clamp(p.device.sms / head_blocks, 1, 512);
  const auto& q = plan.tensor_map(p.q, {2, 1, 0}, {SPAN, HEADS, 1}, kl::swizzle_128);
  const auto& kv = plan.tensor_map(p.kv, {2, 1, 0}, {SPAN, KEYS, 1}, kl::swizzle_128);
  const auto part = plan.workspace(kl::f32, (long long)groups * 2 * p.Hq * (DV / 2));  // of two fp16 each
  const auto stats = plan.workspace(kl::f32, (long long)groups * 2 * p.Hq * 2);
  plan.launch("mla_decode").grid(groups * head_blocks).block(THREADS).shared(sizeof(Shared))
      .arg(q).arg(kv).arg(p.page_table).arg(p.len).arg(p.o).arg(p.lse).arg(part).arg(stats).arg(p.B).arg(p.Hq)
      .arg(kl::cdiv(p.S, KEYS)).arg(p.scale * 1.44269504f);
  // Where a row has few pieces on average, a warp merges it, else a block.
  const bool is_few = p.B * PIECES_OF_A_WARP >= groups;
  const int merge_blocks = is_few ? kl::min(kl::cdiv(p.B * p.Hq, MERGE_WARPS), p.device.sms * 32 / MERGE_WARPS) : p.B * p.Hq;
  plan.launch(is_few ? "merge_cut<1>" : "merge_cut<MERGE_WARPS>").grid(merge_blocks)
      .block(MERGE_WARPS * 32).programmatic()
      .arg(part).arg(stats).arg(p.len).arg(p.o).arg(p.lse).arg(p.B).arg(p.Hq).arg(groups);
}
