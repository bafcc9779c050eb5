// SPDX-License-Identifier: Apache-2.0
// Paged MLA decode on wgmma and TMA: q [B, Hq, 576] over rows of 576 channels in pages kv [P, 64, 576] (bf16) that page_table
// [B, pages] names, up to len[b]; the first 512 channels are the values. Outputs o [B, Hq, 512] (bf16) and lse.
//
// Technique (FlashMLA's scheduling): a block takes 64 heads. Two consumer warpgroups take turns: the owner of a page
// multiplies its scores (64 x 64 x 576) and turns them into weights, which it leaves in the page's rotated channels,
// dead by then; each consumer adds all pages' values to its half of the channels (64 x 256). The second consumer issues
// its own scores before it waits for the other's weights, and the other's product runs under its softmax. One thread
// keeps a ring of two pages filled by TMA; the halves of a page are released each by itself, and between sequences the
// ring does not drain. All pages of all sequences in a row are dealt out in equal runs to as many groups of blocks as the
// device holds; where all sequences are alike, runs grow by up to 1 / RUN_ALIGN to end with them. A second, programmatic
// launch merges what was cut, from normalised fp16. Up to 32 heads go to blocks of eight warps with mma.sync tiles of 16.
//
// Ladder (geometric means over six shapes on an H100, docs/runs/mla_decode_paged.md):
//   naive.cu          one warp per head: every row is read Hq times
//   mma_latent.cu     rows read once or twice, mma.sync, the next page under way
//   wgmma_seesaw.cu   wgmma, TMA, two warpgroups in turns, equal runs for all blocks: 1.55x the second
//   this file         1.09x the third (1.04 to 1.20x with 128 heads): 0.65 to 0.70 of the binding roof there, 0.43 for one
//                     sequence, 0.79 and 0.85 with 32 and 16 heads
//   left to do        the merge of one long sequence; L2 prefetch of pages (tried in eight forms) gains nothing

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
constexpr int STAGES = 2, PARTS = 4;           // pages of the ring; pieces in which a page arrives
constexpr int THREADS = 3 * 128;               // a producer and two consumers
constexpr int SEQUENCES_MAX = 2048;
constexpr float LOWEST = -1e30f;               // finite, so that the difference of two maxima is never NaN
constexpr float LN2 = 0.69314718f;
constexpr float SLACK = 8.0f;                  // by so much, in base-2 units, scores may exceed the reference "maximum"
static_assert(KEYS == HEADS && D == 9 * SPAN && DV == 8 * SPAN, "spans of queries, pages and weights are alike");

// Named barriers: 0 is __syncthreads, then "weights of an even, odd page are there", each consumer alone and both together.
constexpr int WEIGHTS = 1, ALONE = 3, BOTH = 5;

struct alignas(1024) Shared {
  unsigned short q[SPANS][HEADS][SPAN], page[STAGES][SPANS][KEYS][SPAN];
  float max[2][HEADS], sum[2][2][HEADS];  // of an even and an odd page; of even and odd runs, each consumer's
  uint64_t q_full, q_empty, full[STAGES][PARTS], empty[STAGES][2];
  int before[SEQUENCES_MAX + 2];          // pages of all sequences before; behind them the length of a group's run
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

/// The run that begins at page `at` of all; b only grows.
__device__ __forceinline__ Run run_at(const int* before, int at, int end, int& b) {
  while (before[b + 1] <= at) ++b;
  return {b, at - before[b], min(before[b + 1], end) - at};
}

/// Fills q and the ring; one thread.
__device__ __forceinline__ void produce(Shared& shared, const CUtensorMap* q, const CUtensorMap* kv, const int* page_table,
                                        int table_pages, int head, int begin, int end) {
  int n = 0, round = 0, b = 0;
  for (int at = begin; at < end; ++round) {
    const Run run = run_at(shared.before, at, end, b);
    const int* const table = page_table + (long long)run.b * table_pages + run.first;
    int page = table[0];
    for (int i = 0; i < run.count; ++i, ++n) {
      const int stage = n % STAGES, parity = (n / STAGES & 1) ^ 1;
      const int next = i + 1 < run.count ? table[i + 1] : 0;
#pragma unroll
      for (int part = 0; part < PARTS; ++part) {
        // The weights in the last span are read by both consumers, who have both released their halves by then.
        if (part % 2 == 0) ptx::mbarrier_wait(&shared.empty[stage][part / 2], parity);
        const int from = 2 * part, to = part == PARTS - 1 ? SPANS : from + 2;
        ptx::mbarrier_arrive_expect(&shared.full[stage][part], (to - from) * SPAN_BYTES);
        for (int span = from; span < to; ++span) {
          ptx::tma_load_3d(shared.page[stage][span], kv, &shared.full[stage][part], span * SPAN, 0, page);
        }
      }
      if (i == 0) {  // behind the first page, whose stage falls free before the queries do
        ptx::mbarrier_wait(&shared.q_empty, (round & 1) ^ 1);
        ptx::mbarrier_arrive_expect(&shared.q_full, sizeof(shared.q));
        for (int span = 0; span < SPANS; ++span) {
          ptx::tma_load_3d(shared.q[span], q, &shared.q_full, span * SPAN, head, run.b);
        }
      }
      page = next;
    }
    at += run.count;
  }
}

/// What a consumer keeps of its 64 heads, half the channels each: a lane has rows g and g + 8 of its warp's sixteen.
struct Consumer {
  int w;  // 0 or 1
  float o[HALF / 2], max[2], sum[2];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < HALF / 2; ++i) o[i] = 0;
    max[0] = max[1] = LOWEST;
    sum[0] = sum[1] = 0;
  }

  /// Brings outputs to a new maximum; mostly there is nothing to do.
  __device__ __forceinline__ void rescale(const float (&shrink)[2]) {
    if (!__any_sync(0xffffffffu, shrink[0] != 1.0f || shrink[1] != 1.0f)) return;
#pragma unroll
    for (int i = 0; i < HALF / 2; ++i) o[i] *= shrink[i / 2 % 2];
  }
};

/// Scores of a page; its pieces are waited for one after another.
__device__ __forceinline__ void multiply_keys(float (&s)[KEYS / 2], Shared& shared, int stage, int parity) {
  const uint32_t q = ptx::smem_address(shared.q), k = ptx::smem_address(shared.page[stage]);
  ptx::mbarrier_wait(&shared.full[stage][0], parity);
  ptx::wgmma_fence();
#pragma unroll
  for (int span = 0; span < SPANS; ++span) {
    if (span > 0 && span % 2 == 0 && span / 2 < PARTS) ptx::mbarrier_wait(&shared.full[stage][span / 2], parity);
#pragma unroll
    for (int i = 0; i < SPAN / 16; ++i) {
      ptx::wgmma_bf16_ss(s, ptx::wgmma_descriptor(q + span * SPAN_BYTES + i * 32),
                         ptx::wgmma_descriptor(k + span * SPAN_BYTES + i * 32), span + i != 0);
    }
  }
  ptx::wgmma_commit();
}

/// Raises the running maxima to a page's scores, of which those from `keys` on do not count; `shrink` brings older sums and
/// outputs to them.
template <bool is_masked>
__device__ __forceinline__ void raise_maxima(float (&s)[KEYS / 2], Consumer& c, float (&shrink)[2], float scale, int keys) {
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

/// Takes the other consumer's maxima of page n; `shrink` as above.
__device__ __forceinline__ void take_maxima(Consumer& c, const Shared& shared, float (&shrink)[2], int n, float scale) {
  const int row = threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float next = shared.max[n % 2][row + 8 * half];
    shrink[half] = ptx::ex2((c.max[half] - next) * scale);
    c.max[half] = next;
    c.sum[half] *= shrink[half];
  }
}

/// One warp of a consumer is done with its half of a page, or with the queries.
__device__ __forceinline__ void release(uint64_t* empty) {
  if (threadIdx.x % 32 == 0) ptx::mbarrier_arrive(empty);
}

/// Keeps the compiler from reading scores before they are waited for.
__device__ __forceinline__ void hold(float (&s)[KEYS / 2]) {
#pragma unroll
  for (int i = 0; i < KEYS / 2; ++i) asm volatile("" : "+f"(s[i])::"memory");
}

/// Softmax of this consumer's scores of page n; leaves maxima and weights to the other, the weights here too as p.
/// `keys` counts the page's keys, and beyond where more follow. Where has_product, the product of page n - 1 runs meanwhile;
/// its half is released as soon as it ends.
template <bool has_product>
__device__ __forceinline__ void make_weights(uint32_t (&p)[KEYS / 16][4], float (&s)[KEYS / 2], float (&shrink)[2],
                                             Consumer& c, Shared& shared, int n, int keys, float scale) {
  const int thread = threadIdx.x % 128, lane = thread % 32, warp = thread / 32, row = warp * 16 + lane / 4;
  const int stage = n % STAGES;
  if (keys < KEYS) {
    raise_maxima<true>(s, c, shrink, scale, keys);
  } else {
    raise_maxima<false>(s, c, shrink, scale, keys);
  }
  if (lane % 4 == 0) {
    shared.max[n % 2][row] = c.max[0];
    shared.max[n % 2][row + 8] = c.max[1];
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
  if (has_product) {
    ptx::wgmma_wait<0>();
    release(&shared.empty[(n + 1) % STAGES][c.w]);
  }
#pragma unroll
  for (int i = 0; i < KEYS / 16; ++i) {
#pragma unroll
    for (int r = 0; r < 4; ++r) p[i][r] = ptx::pack_bf16(s[i * 8 + r * 2], s[i * 8 + r * 2 + 1]);
  }
  ptx::named_barrier_sync(ALONE + c.w, 128);  // all four warps are done with the page's rotated channels
  if (keys < KEYS) {  // what lies behind the end is arbitrary: no weight of zero makes up for NaN
    for (int i = thread; i < (KEYS - keys) * 8 * (DV / SPAN); i += 128) {
      const int line = keys + i / 8 % (KEYS - keys), span = i / 8 / (KEYS - keys);
      reinterpret_cast<uint4*>(shared.page[stage][span][line])[i % 8] = make_uint4(0, 0, 0, 0);
    }
  }
#pragma unroll
  for (int i = 0; i < KEYS / 16; ++i) {
    const int line = warp * 16 + lane % 16, chunk = (2 * i + lane / 16) ^ (line % 8);
    ptx::stmatrix_x4(&shared.page[stage][SPANS - 1][line][chunk * 8], p[i]);
  }
  ptx::fence_proxy_async();
  if (keys < KEYS) ptx::named_barrier_sync(ALONE + c.w, 128);  // all zeros are in place
  ptx::named_barrier_arrive(WEIGHTS + n % 2, 256);
}

/// Starts o += p v for page n with this consumer's own weights.
__device__ __forceinline__ void add_own(Consumer& c, Shared& shared, const uint32_t (&p)[KEYS / 16][4],
                                        const float (&shrink)[2], int n) {
  const uint32_t v = ptx::smem_address(shared.page[n % STAGES][c.w * HALF / SPAN]);
  c.rescale(shrink);
  ptx::wgmma_fence();
#pragma unroll
  for (int i = 0; i < KEYS / 16; ++i) {
    ptx::wgmma_bf16_rs<true>(c.o, p[i], ptx::wgmma_descriptor(v + i * 2048, SPAN_BYTES), true);
  }
  ptx::wgmma_commit();
}

/// Starts o += p v for page n with the other's weights, which are there.
__device__ __forceinline__ void add_other(Consumer& c, Shared& shared, const float (&shrink)[2], int n) {
  const uint32_t p = ptx::smem_address(shared.page[n % STAGES][SPANS - 1]);
  const uint32_t v = ptx::smem_address(shared.page[n % STAGES][c.w * HALF / SPAN]);
  c.rescale(shrink);
  ptx::wgmma_fence();
#pragma unroll
  for (int i = 0; i < KEYS / 16; ++i) {
    ptx::wgmma_bf16_ss<false, true>(c.o, ptx::wgmma_descriptor(p + i * 32), ptx::wgmma_descriptor(v + i * 2048, SPAN_BYTES),
                                    true);
  }
  ptx::wgmma_commit();
}

/// Pages n (even: its own) and n + 1 by the first consumer. Its products leave page n as early as may be: only then is
/// page n + 2 loaded.
__device__ __forceinline__ void lead(Consumer& c, Shared& shared, int n, int keys, bool has_second, bool is_last, float scale) {
  float s[KEYS / 2], shrink[2];
  uint32_t p[KEYS / 16][4];
  multiply_keys(s, shared, n % STAGES, n / STAGES & 1);
  ptx::wgmma_wait<0>();
  if (is_last) release(&shared.q_empty);  // no more scores of this run by this consumer
  make_weights<false>(p, s, shrink, c, shared, n, keys, scale);
  add_own(c, shared, p, shrink, n);
  ptx::wgmma_wait<0>();
  release(&shared.empty[n % STAGES][c.w]);
  if (!has_second) return;
  ptx::named_barrier_sync(WEIGHTS + 1, 256);
  take_maxima(c, shared, shrink, n + 1, scale);
  add_other(c, shared, shrink, n + 1);
  ptx::wgmma_wait<0>();
  release(&shared.empty[(n + 1) % STAGES][c.w]);
}

/// Pages n - 1 and n (odd: its own) by the second consumer.
template <bool has_first>
__device__ __forceinline__ void follow(Consumer& c, Shared& shared, int n, int keys, bool is_last, float scale) {
  float s[KEYS / 2], shrink[2], shrink_first[2];
  uint32_t p[KEYS / 16][4];
  multiply_keys(s, shared, n % STAGES, n / STAGES & 1);
  if (has_first) {  // the other's softmax ran under these scores; its product runs under the softmax of page n
    ptx::named_barrier_sync(WEIGHTS, 256);
    take_maxima(c, shared, shrink_first, n - 1, scale);
    add_other(c, shared, shrink_first, n - 1);
    ptx::wgmma_wait<1>();  // the scores
  } else {
    ptx::wgmma_wait<0>();
  }
  hold(s);
  if (is_last) release(&shared.q_empty);
  make_weights<has_first>(p, s, shrink, c, shared, n, keys, scale);
  add_own(c, shared, p, shrink, n);
  ptx::wgmma_wait<0>();
  release(&shared.empty[n % STAGES][c.w]);
}

/// A page of the other's alone, at the begin or the end of a run.
__device__ __forceinline__ void assist(Consumer& c, Shared& shared, int n, float scale) {
  float shrink[2];
  ptx::named_barrier_sync(WEIGHTS + n % 2, 256);
  take_maxima(c, shared, shrink, n, scale);
  add_other(c, shared, shrink, n);
  ptx::wgmma_wait<0>();
  release(&shared.empty[n % STAGES][c.w]);
}

/// `count` pages from number n on; `keys` counts the keys from the first page's begin to the sequence's end.
__device__ __forceinline__ void attend(Consumer& c, Shared& shared, int n, int count, int keys, float scale) {
  int i = n & 1;  // the run's first even page
  if (c.w == 0) {
    if (i >= count) release(&shared.q_empty);  // no page of its own
    if (i == 1) assist(c, shared, n, scale);
    for (; i < count; i += 2) lead(c, shared, n + i, keys - i * KEYS, i + 1 < count, i + 2 >= count, scale);
  } else {
    if (i == 0 && count == 1) release(&shared.q_empty);
    if (i == 1) follow<false>(c, shared, n, keys, count <= 2, scale);
    for (; i + 1 < count; i += 2) follow<true>(c, shared, n + i + 1, keys - (i + 1) * KEYS, i + 3 >= count, scale);
    if (i < count) assist(c, shared, n + i, scale);
  }
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

__device__ __forceinline__ void finish(Consumer& c, Shared& shared, const Output& out, int round, bool is_whole,
                                       long long row, int heads, float scale) {
  const int lane = threadIdx.x % 32, first = threadIdx.x / 32 % 4 * 16 + lane / 4, t = lane % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    c.sum[half] += __shfl_xor_sync(0xffffffffu, c.sum[half], 1);
    c.sum[half] += __shfl_xor_sync(0xffffffffu, c.sum[half], 2);
    if (t == 0) shared.sum[round & 1][c.w][first + 8 * half] = c.sum[half];
  }
  ptx::named_barrier_sync(BOTH, 256);  // the sums of both are visible
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int head = first + 8 * half;
    if (head >= heads) continue;
    const float sum = shared.sum[round & 1][0][head] + shared.sum[round & 1][1][head];
    const float inverse = 1.0f / sum;
    if (is_whole) {
      unsigned* const to = out.o + ((row + head) * DV + c.w * HALF) / 2 + t;
#pragma unroll
      for (int j = 0; j < HALF / 8; ++j) {
        to[4 * j] = ptx::pack_bf16(c.o[j * 4 + half * 2] * inverse, c.o[j * 4 + half * 2 + 1] * inverse);
      }
      if (c.w == 0 && t == 0) out.lse[row + head] = c.max[half] * scale * LN2 + logf(sum);
    } else {
      uint4* const to = out.part + ((row + head) * DV + c.w * HALF) / 8 + t;
#pragma unroll
      for (int i = 0; i < HALF / 32; ++i) {
        unsigned word[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          const int at = (4 * i + k) * 4 + half * 2;
          word[k] = pack_half(c.o[at] * inverse, c.o[at + 1] * inverse);
        }
        to[4 * i] = make_uint4(word[0], word[1], word[2], word[3]);
      }
      if (c.w == 0 && t == 0) out.stats[row + head] = make_float2(c.max[half] * scale, sum);
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
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(&shared.q_full, 1);
    ptx::mbarrier_init(&shared.q_empty, 8);  // the warps of both consumers
    for (int stage = 0; stage < STAGES; ++stage) {
      for (int part = 0; part < PARTS; ++part) ptx::mbarrier_init(&shared.full[stage][part], 1);
      for (int w = 0; w < 2; ++w) ptx::mbarrier_init(&shared.empty[stage][w], 4);
    }
    ptx::fence_mbarrier_init();
    ptx::fence_proxy_async();
  }
  count_pages(shared.before, len, B, groups);
  ptx::griddepcontrol_launch_dependents();  // the merge takes each SM as it falls free, and waits there for the last block
  const int pages = shared.before[B], length = shared.before[B + 1];
  const int begin = min(group * length, pages), end = min(begin + length, pages);

  if (threadIdx.x < 128) {
    ptx::register_decrease<24>();
    if (threadIdx.x == 0) produce(shared, &q, &kv, page_table, table_pages, head, begin, end);
  } else {
    ptx::register_increase<240>();
    Consumer c;
    c.w = threadIdx.x / 128 - 1;
    const int heads = min(HEADS, Hq - head);
    for (int b = group; b < B; b += groups) {  // sequences without keys
      if (shared.before[b + 1] > shared.before[b]) continue;
      const int thread = threadIdx.x - 128;
      const long long row = (long long)b * Hq + head;
      for (int i = thread; i < heads * DV / 2; i += 256) o[row * DV / 2 + i] = 0;
      for (int i = thread; i < heads; i += 256) lse[row + i] = -INFINITY;
    }
    int n = 0, round = 0, b = 0;
    for (int at = begin; at < end; ++round) {
      const Run run = run_at(shared.before, at, end, b);
      const int keys = len[run.b] - run.first * KEYS;  // from the run's begin to the sequence's end
      c.clear();
      ptx::mbarrier_wait(&shared.q_full, round & 1);
      attend(c, shared, n, run.count, keys, scale_log2);
      const bool is_whole = run.count == shared.before[run.b + 1] - shared.before[run.b];
      const long long entry = group * 2 + (at == begin ? 0 : 1);
      finish(c, shared, {o, lse, part, stats}, round, is_whole, (is_whole ? run.b : entry) * Hq + head, heads, scale_log2);
      n += run.count;
      at += run.count;
    }
  }
}

constexpr int VECTORS = DV / 8 / 32;  // of eight channels, of a lane: one of each consumer's half
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

    // A lane weighs every 32nd piece; what it needs of the others comes by shuffle.
    float max = LOWEST, sum = 0;
    for (int c = from + lane; c <= to; c += 32) {
      const long long entry = entry_of(c);
      if (entry >= 0) max = fmaxf(max, __ldcg(&stats[entry].x));
    }
#pragma unroll
    for (int step = 16; step > 0; step /= 2) max = fmaxf(max, __shfl_xor_sync(0xffffffffu, max, step));
    float value[VECTORS][8];
#pragma unroll
    for (int j = 0; j < VECTORS; ++j) {
#pragma unroll
      for (int k = 0; k < 8; ++k) value[j][k] = 0;
    }
    for (int base = from; base <= to; base += 32) {
      const long long mine = base + lane <= to ? entry_of(base + lane) : -1;
      const float2 stat = mine >= 0 ? __ldcg(&stats[mine]) : make_float2(LOWEST, 0);
      const float weight = mine >= 0 ? stat.y * ptx::ex2(stat.x - max) : 0.0f;
      sum += weight;
      const int pieces = min(32, to + 1 - base);
      for (int i = turn; i < pieces; i += AT_ONCE * SHARE) {
        uint4 x[AT_ONCE][VECTORS];
        float factor[AT_ONCE];
#pragma unroll
        for (int u = 0; u < AT_ONCE; ++u) {
          const int piece = i + u * SHARE, source = piece < pieces ? piece : i;
          const long long entry = __shfl_sync(0xffffffffu, mine, source);
          const float its = __shfl_sync(0xffffffffu, weight, source);
          const bool is_there = piece < pieces && entry >= 0;
          factor[u] = is_there ? its : 0.0f;
#pragma unroll
          for (int j = 0; j < VECTORS; ++j) {
            x[u][j] = is_there ? __ldcg(part + entry * (DV / 8) + lane + 32 * j) : make_uint4(0, 0, 0, 0);
          }
        }
#pragma unroll
        for (int u = 0; u < AT_ONCE; ++u) {
#pragma unroll
          for (int j = 0; j < VECTORS; ++j) add(value[j], x[u][j], factor[u]);
        }
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

// Up to 32 heads: 64-head tiles would be mostly padding. A block
// of eight warps takes 16 MT heads of one sequence over one chunk of its pages, with mma.sync and cp.async; where there are
// several chunks, combine_few merges them.

constexpr int WARPS = 8;
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
  if (p.Hq <= 32) {
    plan_few(p, plan);
    return;
  }
  if (!plan.require(p.B <= SEQUENCES_MAX, "more than 2048 sequences")) return;
  if (!plan.require((long long)p.B * kl::cdiv(p.S, KEYS) * 512 < kl::pow2(31), "more than four million pages")) return;
  if (!plan.require(sizeof(Shared) <= p.device.shared_bytes_max, "two pages and the queries exceed shared memory")) return;
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
