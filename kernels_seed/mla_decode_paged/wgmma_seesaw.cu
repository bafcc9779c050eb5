// SPDX-License-Identifier: Apache-2.0
// Paged MLA decode on wgmma and TMA: q [B, Hq, 576] over rows of 576 channels in pages kv [P, 64, 576] (bf16) that page_table
// [B, pages] names, up to len[b]; the first 512 channels are the values. Outputs o [B, Hq, 512] (bf16) and lse.
//
// Technique (FlashMLA's scheduling): a block takes 64 heads. Two consumer warpgroups take turns: the owner of a page
// multiplies its scores (64 x 64 x 576) and turns them into weights, which it leaves in the page's rotated channels,
// dead by then; each consumer adds all pages' values to its half of the channels (64 x 256). The second consumer needs
// no more than the first one's maxima to make its own weights. One thread keeps a ring of two pages filled by TMA; the
// halves of a page are released each by itself. All pages of all sequences in a row are dealt out in equal runs to as
// many groups of blocks as the device holds; blocks of a group read the same pages for different heads. A second,
// programmatic launch merges what was cut.
//
// Ladder (H100, medians of 30 rounds: docs/decode_seeds.md):
//   naive.cu         one warp per head: every row is read Hq times
//   mma_latent.cu    rows read once or twice, mma.sync, the next page under way
//   this file        wgmma, TMA, two warpgroups in turns, equal runs for all blocks: 128 heads 1.99 to 2.26x mma_latent.cu, one
//                    long sequence 1.67x; 16 and 32 heads, padded to 64, 0.93 and 0.99x
//   tried            both pages' products before the next scores: 1.10 to 1.14x (batches of 128 heads); maxima ahead of
//                    weights: 1.01 to 1.02x; pairs of blocks that load pages for each other: 0.70 to 0.81x; boxes of 8 rows for
//                    whole lines: 0.55 to 0.76x; a merge by the blocks themselves, launched cooperatively: 0.93 to 0.99x
//   left to do       the merge (18 us of every launch), the wait for pages (15 %), fewer padded heads

// tune: MERGE_WARPS = 8 | 4 | 16
// tune: PIECES_OF_A_WARP = 8 | 4 | 16

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
static_assert(KEYS == HEADS && D == 9 * SPAN && DV == 8 * SPAN, "spans of queries, pages and weights are alike");

// Named barriers: 0 is __syncthreads, then "weights of an even, odd page are there", each consumer alone, both together,
// "maxima of an even page are there".
constexpr int WEIGHTS = 1, ALONE = 3, BOTH = 5, MAXIMA = 6;

struct alignas(1024) Shared {
  unsigned short q[SPANS][HEADS][SPAN], page[STAGES][SPANS][KEYS][SPAN];
  float max[2][HEADS], sum[2][2][HEADS];  // of an even and an odd page; of even and odd runs, each consumer's
  uint64_t q_full, q_empty, full[STAGES][PARTS], empty[STAGES][2];
  int before[SEQUENCES_MAX + 1];          // pages of all sequences before
};

/// Pages of sequence b.
__device__ __forceinline__ int pages_of(const int* len, int b) { return (len[b] + KEYS - 1) / KEYS; }

/// The first page of group c's run.
__device__ __forceinline__ int run_begin(int c, int pages, int groups) { return pages * c / groups; }

/// Fills before[b], the pages of all sequences before b, for b = 0 .. B. All threads of the block call it.
__device__ __forceinline__ void count_pages(int* before, const int* len, int B) {
  if (threadIdx.x < 32) {
    const int lane = threadIdx.x;
    int carry = 0;
    for (int from = 0; from < B; from += 32) {
      const int pages = from + lane < B ? pages_of(len, from + lane) : 0;
      int sum = pages;
#pragma unroll
      for (int step = 1; step < 32; step *= 2) {
        const int below = __shfl_up_sync(0xffffffffu, sum, step);
        if (lane >= step) sum += below;
      }
      if (from + lane < B) before[from + lane] = carry + sum - pages;
      carry += __shfl_sync(0xffffffffu, sum, 31);
    }
    if (lane == 0) before[B] = carry;
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
    ptx::mbarrier_wait(&shared.q_empty, (round & 1) ^ 1);
    ptx::mbarrier_arrive_expect(&shared.q_full, sizeof(shared.q));
    for (int i = 0; i < SPANS; ++i) ptx::tma_load_3d(shared.q[i], q, &shared.q_full, i * SPAN, head, run.b);
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
    shrink[half] = ptx::ex2((c.max[half] - top[0]) * scale);
    c.max[half] = top[0];
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

/// One warp of a consumer is done with its half of a page.
__device__ __forceinline__ void release(uint64_t* empty) {
  if (threadIdx.x % 32 == 0) ptx::mbarrier_arrive(empty);
}

/// Softmax of this consumer's scores of page n; leaves maxima and weights to the other, the weights here too as p.
/// `keys` counts the page's keys, and beyond where more follow.
template <bool is_first>
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
  if (is_first) ptx::named_barrier_arrive(MAXIMA, 256);
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
__device__ __forceinline__ void lead(Consumer& c, Shared& shared, int n, int keys, bool has_second, float scale) {
  float s[KEYS / 2], shrink[2];
  uint32_t p[KEYS / 16][4];
  multiply_keys(s, shared, n % STAGES, n / STAGES & 1);
  ptx::wgmma_wait<0>();
  make_weights<true>(p, s, shrink, c, shared, n, keys, scale);
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
__device__ __forceinline__ void follow(Consumer& c, Shared& shared, int n, int keys, float scale) {
  float s[KEYS / 2], shrink[2], shrink_first[2];
  uint32_t p[KEYS / 16][4];
  multiply_keys(s, shared, n % STAGES, n / STAGES & 1);
  if (has_first) {
    ptx::named_barrier_sync(MAXIMA, 256);
    take_maxima(c, shared, shrink_first, n - 1, scale);
  }
  ptx::wgmma_wait<0>();
  make_weights<false>(p, s, shrink, c, shared, n, keys, scale);
  if (has_first) {
    ptx::named_barrier_sync(WEIGHTS, 256);
    add_other(c, shared, shrink_first, n - 1);
    ptx::wgmma_wait<0>();
    release(&shared.empty[(n + 1) % STAGES][c.w]);
  }
  add_own(c, shared, p, shrink, n);
  ptx::wgmma_wait<0>();
  release(&shared.empty[n % STAGES][c.w]);
}

/// A page of the other's alone, at the begin or the end of a run.
__device__ __forceinline__ void assist(Consumer& c, Shared& shared, int n, float scale) {
  float shrink[2];
  if (c.w == 1) ptx::named_barrier_sync(MAXIMA, 256);
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
    if (i == 1) assist(c, shared, n, scale);
    for (; i < count; i += 2) lead(c, shared, n + i, keys - i * KEYS, i + 1 < count, scale);
  } else {
    if (i == 1) follow<false>(c, shared, n, keys, scale);
    for (; i + 1 < count; i += 2) follow<true>(c, shared, n + i + 1, keys - (i + 1) * KEYS, scale);
    if (i < count) assist(c, shared, n + i, scale);
  }
}

/// Where a run's result goes: of a whole sequence to o and lse, else to part and stats.
struct Output {
  unsigned* o;
  float* lse;
  float* part;    // [groups, 2, Hq, DV], not divided by the sum: 0 where the group's run begins, 1 where it ends
  float2* stats;  // [groups, 2, Hq] = (maximum, sum), in base-2 units
};

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
    if (is_whole) {
      const float inverse = 1.0f / sum;
      unsigned* const to = out.o + ((row + head) * DV + c.w * HALF) / 2 + t;
#pragma unroll
      for (int j = 0; j < HALF / 8; ++j) {
        to[4 * j] = ptx::pack_bf16(c.o[j * 4 + half * 2] * inverse, c.o[j * 4 + half * 2 + 1] * inverse);
      }
      if (c.w == 0 && t == 0) out.lse[row + head] = c.max[half] * scale * LN2 + logf(sum);
    } else {
      float2* const to = reinterpret_cast<float2*>(out.part + (row + head) * DV + c.w * HALF) + t;
#pragma unroll
      for (int j = 0; j < HALF / 8; ++j) to[4 * j] = make_float2(c.o[j * 4 + half * 2], c.o[j * 4 + half * 2 + 1]);
      if (c.w == 0 && t == 0) out.stats[row + head] = make_float2(c.max[half] * scale, sum);
    }
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
mla_decode(const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap kv,
           const int* __restrict__ page_table, const int* __restrict__ len, unsigned* __restrict__ o,
           float* __restrict__ lse, float* __restrict__ part, float2* __restrict__ stats, int B, int Hq, int table_pages,
           float scale_log2) {
  extern __shared__ __align__(1024) unsigned char memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  const int blocks = (Hq + HEADS - 1) / HEADS, head = blockIdx.x % blocks * HEADS;
  const int group = blockIdx.x / blocks, groups = gridDim.x / blocks;
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(&shared.q_full, 1);
    ptx::mbarrier_init(&shared.q_empty, 2);
    for (int stage = 0; stage < STAGES; ++stage) {
      for (int part = 0; part < PARTS; ++part) ptx::mbarrier_init(&shared.full[stage][part], 1);
      for (int w = 0; w < 2; ++w) ptx::mbarrier_init(&shared.empty[stage][w], 4);
    }
    ptx::fence_mbarrier_init();
    ptx::fence_proxy_async();
  }
  count_pages(shared.before, len, B);
  const int pages = shared.before[B];
  const int begin = run_begin(group, pages, groups), end = run_begin(group + 1, pages, groups);

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
      if (threadIdx.x % 128 == 0) ptx::mbarrier_arrive(&shared.q_empty);
      const bool is_whole = run.count == shared.before[run.b + 1] - shared.before[run.b];
      const long long entry = group * 2 + (at == begin ? 0 : 1);
      finish(c, shared, {o, lse, part, stats}, round, is_whole, (is_whole ? run.b : entry) * Hq + head, heads, scale_log2);
      n += run.count;
      at += run.count;
    }
  }
  ptx::griddepcontrol_launch_dependents();
}

constexpr int VECTORS = DV / 4 / 32;  // float4 of a lane

__device__ __forceinline__ void add(float4& sum, const float4& x, float weight) {
  sum.x += x.x * weight, sum.y += x.y * weight, sum.z += x.z * weight, sum.w += x.w * weight;
}

/// Merges sequences that were cut, SHARE warps to a row (b, h), which take turns in its pieces.
template <int SHARE>
__global__ void __launch_bounds__(MERGE_WARPS * 32)
merge_cut(const float4* __restrict__ part, const float2* __restrict__ stats, const int* __restrict__ len,
          uint2* __restrict__ o, float* __restrict__ lse, int B, int Hq, int groups) {
  __shared__ int before[SEQUENCES_MAX + 1];
  __shared__ float4 partial[SHARE > 1 ? MERGE_WARPS : 1][DV / 4];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, turn = warp % SHARE;
  const long long row = (long long)blockIdx.x * (MERGE_WARPS / SHARE) + warp / SHARE;
  count_pages(before, len, B);
  if (row >= (long long)B * Hq) return;  // never with several warps to a row
  const int b = (int)(row / Hq), h = (int)(row % Hq), pages = before[B], first = before[b], last = before[b + 1] - 1;
  if (first > last) return;
  const auto owner = [&](int page) {
    int c = page * groups / pages;
    while (run_begin(c, pages, groups) > page) --c;
    while (run_begin(c + 1, pages, groups) <= page) ++c;
    return c;
  };
  const int from = owner(first), to = owner(last);
  if (from == to) return;  // the group wrote the result itself
  const auto entry_of = [&](int c) {  // -1: a group without pages
    const int run = run_begin(c, pages, groups);
    if (run == run_begin(c + 1, pages, groups)) return -1ll;
    return ((long long)c * 2 + (run >= first ? 0 : 1)) * Hq + h;
  };
  ptx::griddepcontrol_wait();  // the pieces are complete and visible

  // A lane weighs every 32nd piece; what it needs of the others comes by shuffle.
  float max = LOWEST, sum = 0;
  for (int c = from + lane; c <= to; c += 32) {
    const long long entry = entry_of(c);
    if (entry >= 0) max = fmaxf(max, __ldcg(&stats[entry].x));
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) max = fmaxf(max, __shfl_xor_sync(0xffffffffu, max, step));
  float4 value[VECTORS];
#pragma unroll
  for (int j = 0; j < VECTORS; ++j) value[j] = make_float4(0, 0, 0, 0);
  for (int base = from; base <= to; base += 32) {
    const long long mine = base + lane <= to ? entry_of(base + lane) : -1;
    const float2 stat = mine >= 0 ? __ldcg(&stats[mine]) : make_float2(LOWEST, 0);
    const float weight = mine >= 0 ? ptx::ex2(stat.x - max) : 0.0f;
    sum += stat.y * weight;
    const int pieces = min(32, to + 1 - base);
#pragma unroll 2
    for (int i = turn; i < pieces; i += SHARE) {
      const long long entry = __shfl_sync(0xffffffffu, mine, i);
      const float factor = __shfl_sync(0xffffffffu, weight, i);
      if (entry < 0) continue;
#pragma unroll
      for (int j = 0; j < VECTORS; ++j) add(value[j], __ldcg(part + entry * (DV / 4) + lane + 32 * j), factor);
    }
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  const float inverse = 1.0f / sum;
  uint2* const to_row = o + row * (DV / 4);
  if (lane == 0 && turn == 0) lse[row] = max * LN2 + logf(sum);
  if (SHARE == 1) {
#pragma unroll
    for (int j = 0; j < VECTORS; ++j) {
      to_row[lane + 32 * j] = make_uint2(ptx::pack_bf16(value[j].x * inverse, value[j].y * inverse),
                                         ptx::pack_bf16(value[j].z * inverse, value[j].w * inverse));
    }
  } else {
#pragma unroll
    for (int j = 0; j < VECTORS; ++j) partial[warp][lane + 32 * j] = value[j];
    __syncthreads();  // every warp's share is visible
    for (int i = threadIdx.x; i < DV / 4; i += MERGE_WARPS * 32) {
      float4 all = make_float4(0, 0, 0, 0);
#pragma unroll
      for (int w = 0; w < SHARE; ++w) add(all, partial[w][i], inverse);
      to_row[i] = make_uint2(ptx::pack_bf16(all.x, all.y), ptx::pack_bf16(all.z, all.w));
    }
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.B <= SEQUENCES_MAX, "more than 2048 sequences")) return;
  if (!plan.require((long long)p.B * kl::cdiv(p.S, KEYS) * 512 < kl::pow2(31), "more than four million pages")) return;
  if (!plan.require(sizeof(Shared) <= p.device.shared_bytes_max, "two pages and the queries exceed shared memory")) return;
  const int head_blocks = kl::cdiv(p.Hq, HEADS);
  const int groups = kl::clamp(p.device.sms / head_blocks, 1, 512);
  const auto& q = plan.tensor_map(p.q, {2, 1, 0}, {SPAN, HEADS, 1}, kl::swizzle_128);
  const auto& kv = plan.tensor_map(p.kv, {2, 1, 0}, {SPAN, KEYS, 1}, kl::swizzle_128);
  const auto part = plan.workspace(kl::f32, (long long)groups * 2 * p.Hq * DV);
  const auto stats = plan.workspace(kl::f32, (long long)groups * 2 * p.Hq * 2);
  plan.launch("mla_decode").grid(groups * head_blocks).block(THREADS).shared(sizeof(Shared))
      .arg(q).arg(kv).arg(p.page_table).arg(p.len).arg(p.o).arg(p.lse).arg(part).arg(stats).arg(p.B).arg(p.Hq)
      .arg(kl::cdiv(p.S, KEYS)).arg(p.scale * 1.44269504f);
  // Where a row has few pieces on average, a warp merges it, else a block.
  const bool is_few = p.B * PIECES_OF_A_WARP >= groups;
  plan.launch(is_few ? "merge_cut<1>" : "merge_cut<MERGE_WARPS>").grid(is_few ? kl::cdiv(p.B * p.Hq, MERGE_WARPS) : p.B * p.Hq)
      .block(MERGE_WARPS * 32).programmatic()
      .arg(part).arg(stats).arg(p.len).arg(p.o).arg(p.lse).arg(p.B).arg(p.Hq).arg(groups);
}
