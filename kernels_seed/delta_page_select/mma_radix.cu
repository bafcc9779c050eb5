// SPDX-License-Identifier: Apache-2.0
// DELTA's choice of pages on tensor cores: q [B, Hq, 128], pages of keys k [P, 16, Hkv, 128] (bf16), lse [B, Hq] -> chosen
// [B, N], positions in page_table [B, pages].
//
// Technique: a warp scores whole pages. One head's 16 keys of a page are the rows of mma.sync, the query heads of the
// group its eight columns; a token keeps the largest logarithm over all heads, so that one exponential per token remains.
// Keys come by 16-byte cp.async into a ring that only the warp uses, across pages and heads without a break; the queries
// lie in shared memory in the order in which mma takes them. A block per sequence then finds the N-th score by its digits
// of eight bits and writes the pages above it, and as many at it as are missing, in ascending order.
//
// Ladder:
//   naive.cu     keys read once per query head, places by counting pages^2 times
//   this file    keys read once, tensor cores, 64 KiB of rows under way to a multiprocessor's two blocks each, radix select
//   left to do   several blocks for the choice of one long sequence, the choice fused to the last block of a sequence

// tune: WARPS = 4 | 2 | 8
// tune: STAGES = 5 | 3 | 4
// tune: BLOCKS_PER_SM = 2 | 1 | 3

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int D = Problem::D, PS = Problem::PS, L = Problem::L;
constexpr int ROW = D / 8;         // 16-byte vectors of a key
constexpr int STAGE = PS * ROW;    // vectors: one head's keys of a page
constexpr int CHOOSERS = 1024;
constexpr float LOG2E = 1.44269504f;
static_assert(PS == 16, "a page is the sixteen rows of mma.sync");

/// Vector `chunk` of key `row`: swizzled, so that the same vector of eight rows lies in eight banks.
__device__ __forceinline__ int swizzled(int row, int chunk) { return row * ROW + (chunk ^ (row & 7)); }

/// NT: tiles of eight query heads in a group of G.
template <int NT>
__global__ void __launch_bounds__(WARPS * 32, BLOCKS_PER_SM)
page_scores(const unsigned* __restrict__ q, const uint4* __restrict__ k, const float* __restrict__ lse,
            const int* __restrict__ page_table, const int* __restrict__ len, float* __restrict__ scores, int pages, int Hkv,
            int G, float scale_log2) {
  extern __shared__ __align__(16) unsigned char shared[];
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4, t = lane % 4;
  const long long b = blockIdx.y;
  const int keys = len[b], used = (keys + PS - 1) / PS;
  uint4* const ring = reinterpret_cast<uint4*>(shared) + warp * STAGES * STAGE;
  uint2* const queries = reinterpret_cast<uint2*>(shared + WARPS * STAGES * STAGE * 16);       // [Hkv][NT][D / 16][32]
  float* const log2_sums = reinterpret_cast<float*>(queries + Hkv * NT * (D / 16) * 32);       // [Hkv][NT][8]
  page_table += b * pages;

  // This warp's pages: one in `stride`, every one with all its heads.
  const int first = blockIdx.x * WARPS + warp, stride = gridDim.x * WARPS;
  const int steps = first < used ? ((used - first + stride - 1) / stride) * Hkv : 0;
  const auto entry = [&](int n) { return (long long)(n < used ? page_table[n] : 0); };
  int fetch_n = first, fetch_hk = 0;
  long long fetch_page = entry(first), next_page = entry(first + stride);
  const auto fetch = [&](int step) {
    uint4* const stage = ring + step % STAGES * STAGE;
#pragma unroll
    for (int i = 0; i < PS / 2; ++i) {
      const int row = 2 * i + lane / 16;
      const bool is_valid = fetch_n * PS + row < keys;
      const long long at = ((fetch_page * PS + (is_valid ? row : 0)) * Hkv + fetch_hk) * ROW + lane % 16;
      ptx::cp_async_16(stage + swizzled(row, lane % 16), k + at, is_valid);
    }
    if (++fetch_hk < Hkv) return;
    fetch_hk = 0;
    fetch_n += stride;
    fetch_page = next_page;
    next_page = entry(fetch_n + stride);
  };
#pragma unroll
  for (int step = 0; step < STAGES - 1; ++step) {
    if (step < steps) fetch(step);
    ptx::cp_async_commit();
  }

  for (int i = tid; i < Hkv * NT * (D / 16) * 32; i += WARPS * 32) {
    const int of_lane = i % 32, c = i / 32 % (D / 16), head = i / 32 / (D / 16) * 8 + of_lane / 4;  // of Hkv * NT * 8
    const int in_group = head % (8 * NT), hk = head / (8 * NT);
    const unsigned* const row = q + ((b * Hkv + hk) * G + in_group) * (D / 2) + 8 * c + of_lane % 4;
    queries[i] = in_group < G ? make_uint2(row[0], row[4]) : make_uint2(0, 0);
  }
  for (int i = tid; i < Hkv * NT * 8; i += WARPS * 32) {  // of heads that are not there: they are never the largest
    const int in_group = i % (8 * NT), hk = i / (8 * NT);
    log2_sums[i] = in_group < G ? lse[(b * Hkv + hk) * G + in_group] * LOG2E : INFINITY;
  }
  __syncthreads();  // the queries are visible

  float most[2] = {-INFINITY, -INFINITY};  // of tokens g and g + 8
  for (int step = 0, hk = 0, n = first; step < steps; ++step) {
    ptx::cp_async_wait<STAGES - 2>();  // this lane's copies of `step` have arrived
    __syncwarp();                      // so have those of the others, and nobody reads the stage before it any more
    if (step + STAGES - 1 < steps) fetch(step + STAGES - 1);
    ptx::cp_async_commit();

    const uint4* const stage = ring + step % STAGES * STAGE;
    float s[NT][4] = {};
#pragma unroll
    for (int c = 0; c < D / 16; ++c) {
      unsigned a[4];
      ptx::ldmatrix_x4(a, stage + swizzled(lane % 16, 2 * c + lane / 16));
#pragma unroll
      for (int m = 0; m < NT; ++m) {
        const uint2 query = queries[((hk * NT + m) * (D / 16) + c) * 32 + lane];
        ptx::mma_bf16(s[m], a, query.x, query.y);
      }
    }
#pragma unroll
    for (int m = 0; m < NT; ++m) {
      const float2 sums = *reinterpret_cast<const float2*>(&log2_sums[(hk * NT + m) * 8 + 2 * t]);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        most[i] = fmaxf(most[i], fmaf(s[m][2 * i], scale_log2, -sums.x));
        most[i] = fmaxf(most[i], fmaf(s[m][2 * i + 1], scale_log2, -sums.y));
      }
    }
    if (++hk < Hkv) continue;
    float score = 0;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      most[i] = fmaxf(most[i], __shfl_xor_sync(0xffffffffu, most[i], 1));
      most[i] = fmaxf(most[i], __shfl_xor_sync(0xffffffffu, most[i], 2));
      score += n * PS + g + 8 * i < keys ? ptx::ex2(most[i]) : 0.0f;
      most[i] = -INFINITY;
    }
#pragma unroll
    for (int j = 4; j < 32; j *= 2) score += __shfl_xor_sync(0xffffffffu, score, j);
    if (lane == 0) scores[b * pages + n] = score;
    hk = 0;
    n += stride;
  }
}

/// The sum over the threads before this one, and in `total` over all of them.
__device__ __forceinline__ int exclusive_sum(int value, int& total) {
  __shared__ int of_warp[CHOOSERS / 32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int sum = value;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int below = __shfl_up_sync(0xffffffffu, sum, step);
    if (lane >= step) sum += below;
  }
  if (lane == 31) of_warp[warp] = sum;
  __syncthreads();  // the sums of all warps are visible
  int before = 0;
  total = 0;
  for (int w = 0; w < CHOOSERS / 32; ++w) {
    if (w < warp) before += of_warp[w];
    total += of_warp[w];
  }
  __syncthreads();  // they have been read
  return before + sum - value;
}

/// One block per sequence.
extern "C" __global__ void __launch_bounds__(CHOOSERS, 1)
choose(const float* __restrict__ all_scores, const int* __restrict__ len, int* __restrict__ chosen, int pages, int N,
       int staged) {
  extern __shared__ unsigned stage[];  // bits of the first `staged` scores
  __shared__ int counts[256];
  __shared__ unsigned found[2];  // digit of the threshold, and how many are still wanted at it
  const int tid = threadIdx.x, used = (len[blockIdx.x] + PS - 1) / PS, want = min(N, used);
  const float* const scores = all_scores + (long long)blockIdx.x * pages;
  chosen += (long long)blockIdx.x * N;
  for (int i = want + tid; i < N; i += CHOOSERS) chosen[i] = -1;
  if (want == 0) return;
  // Scores are not negative, so that their bits order as they do.
  for (int n = tid; n < min(used, staged); n += CHOOSERS) stage[n] = __float_as_uint(scores[n]);
  __syncthreads();  // the staged scores are visible
  const auto bits_of = [&](int n) {
    return n >= used - L ? 0xffffffffu : n < staged ? stage[n] : __float_as_uint(scores[n]);
  };

  unsigned threshold = 0, missing = want;
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int i = tid; i < 256; i += CHOOSERS) counts[i] = 0;
    __syncthreads();  // the counts are zero
    for (int n = tid; n < used; n += CHOOSERS) {
      const unsigned bits = bits_of(n);
      if (shift == 24 || bits >> (shift + 8) == threshold >> (shift + 8)) atomicAdd(&counts[bits >> shift & 255], 1);
    }
    __syncthreads();  // the counts are complete
    int total;
    const int digit = 255 - tid, here = tid < 256 ? counts[digit] : 0, above = exclusive_sum(here, total);
    if (tid < 256 && above < (int)missing && above + here >= (int)missing) found[0] = digit, found[1] = missing - above;
    __syncthreads();  // the digit is visible
    threshold |= found[0] << shift;
    missing = found[1];
    __syncthreads();  // it has been read
  }

  const int per_thread = (used + CHOOSERS - 1) / CHOOSERS, begin = tid * per_thread, end = min(begin + per_thread, used);
  int above = 0, equal = 0, total;
  for (int n = begin; n < end; ++n) {
    const unsigned bits = bits_of(n);
    above += bits > threshold;
    equal += bits == threshold;
  }
  above = exclusive_sum(above, total);
  equal = exclusive_sum(equal, total);
  for (int n = begin; n < end; ++n) {
    const unsigned bits = bits_of(n);
    if (bits > threshold || (bits == threshold && equal < (int)missing)) chosen[above + min(equal, (int)missing)] = n;
    above += bits > threshold;
    equal += bits == threshold;
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int pages = kl::cdiv(p.S, Problem::PS), group = p.Hq / p.Hkv, tiles = group > 8 ? 2 : 1;
  const int bytes = WARPS * STAGES * STAGE * 16 + p.Hkv * tiles * (D / 16) * 32 * 8 + p.Hkv * tiles * 8 * 4;
  if (!plan.require(group <= 16, "more than 16 query heads to a key-value head")) return;
  if (!plan.require(bytes <= p.device.shared_bytes_max, "the queries exceed shared memory")) return;
  const int slots = p.device.sms * kl::min(BLOCKS_PER_SM, kl::max(1, p.device.shared_bytes_max / (bytes + 1024)));
  const int blocks = kl::clamp(slots / p.B, 1, kl::cdiv(pages, WARPS));

  const auto scores = plan.workspace(kl::f32, (long long)p.B * pages);
  plan.launch(tiles == 2 ? "page_scores<2>" : "page_scores<1>").grid(blocks, p.B).block(WARPS * 32).shared(bytes)
      .arg(p.q).arg(p.k).arg(p.lse).arg(p.page_table).arg(p.len).arg(scores).arg(pages).arg(p.Hkv).arg(group)
      .arg(p.scale * LOG2E);
  const int staged = kl::min(pages, 8192);
  plan.launch("choose").grid(p.B).block(CHOOSERS).shared(staged * 4).arg(scores).arg(p.len).arg(p.chosen).arg(pages).arg(p.N)
      .arg(staged);
}
