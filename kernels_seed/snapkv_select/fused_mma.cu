// SPDX-License-Identifier: Apache-2.0
// SnapKV selection on mma.sync: q [B, 32, Hq, 128], k [B, S, Hkv, 128] (bf16) -> the N best tokens of a head, [B, Hq, N].
//
// Technique: logits never leave the registers. A block takes the 32 G queries of a key-value head's group against a
// stretch of keys, two warps per query head. It runs twice over the keys: first for maximum and sum of every query,
// then for the sums of probabilities of every token. A block per head then pools and finds the N-th score by its digits
// (11, 11 and 10 bits; lanes with equal digits count together, since scores share few exponents), and writes the tokens
// above it, and as many at it as are missing, in ascending order. Any Hq / Hkv of 1, 2, 4, 8; runs from sm_80 on.
//
// Ladder:
//   naive.cu     all logits through device memory, scores bisected bit by bit
//   this file    keys read twice and shared by the group, nothing else of the size of the logits
//   left to do   logits kept for the second pass where they fit, several blocks per row in the choice, wgmma and TMA

// tune: SPLITS_PER_SM = 2 | 1 | 4

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int D = Problem::D, W = Problem::W, POOL = Problem::POOL;
static_assert(W == 32, "two warps hold a head's queries");
constexpr int KEYS = 64, SPLITS_MAX = 64, CHOOSERS = 1024, DIGITS = 2048;
constexpr float LOWEST = -1e30f;  // finite, so that the difference of two maxima is never NaN

using Tile = uint4[KEYS][D / 8];

/// Where chunk `chunk` of row `row` lies: eight neighbouring rows hold a chunk in eight different places.
__device__ __forceinline__ int place(int row, int chunk) { return chunk ^ (row & 7); }

template <int THREADS>
__device__ __forceinline__ void load_tile(Tile& to, const unsigned short* from, long long stride, int valid) {
  for (int i = threadIdx.x; i < KEYS * D / 8; i += THREADS) {
    const int row = i / (D / 8), chunk = i % (D / 8);
    const bool is_valid = row < valid;
    ptx::cp_async_16(&to[row][place(row, chunk)], from + (is_valid ? row * stride + chunk * 8 : 0), is_valid);
  }
}

/// Logits of the warp's 16 queries against a tile, not scaled: s[n] are keys 8n to 8n + 7.
__device__ __forceinline__ void multiply(float (&s)[KEYS / 8][4], const unsigned (&q)[D / 16][4], const Tile& k, int lane) {
#pragma unroll
  for (int n = 0; n < KEYS / 8; ++n) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
#pragma unroll
    for (int pair = 0; pair < KEYS / 16; ++pair) {
      const int row = pair * 16 + (lane & 7) + (lane >> 4) * 8, chunk = step * 2 + ((lane >> 3) & 1);
      unsigned b[4];
      ptx::ldmatrix_x4(b, &k[row][place(row, chunk)]);
      ptx::mma_bf16(s[pair * 2], q[step], b[0], b[1]);
      ptx::mma_bf16(s[pair * 2 + 1], q[step], b[2], b[3]);
    }
  }
}

/// First pass: stats [B, Hq, W, splits] = (maximum, sum of exponentials) in base-2 units over a stretch of the keys.
/// Second pass: sums [B, Hq, S - W] of the probabilities.
template <int G, bool is_second>
__global__ void __launch_bounds__(G * 64)
snapkv_pass(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k, float2* __restrict__ stats,
            float* __restrict__ sums, int S, int stretch, float scale) {
  constexpr int THREADS = G * 64;
  __shared__ Tile tiles[2];
  __shared__ float columns[is_second ? 2 * G : 1][KEYS];
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, t = lane % 4;
  const int split = blockIdx.x, splits = gridDim.x, hk = blockIdx.y, Hkv = gridDim.y, Hq = Hkv * G, h = hk * G + warp / 2;
  const long long b = blockIdx.z, stride = (long long)Hkv * D;
  const int end = min(is_second ? S - W : S, (split + 1) * stretch), begin = split * stretch;
  const int query = warp % 2 * 16 + lane / 4;  // and the one eight further
  const unsigned short* const keys = k + (b * S * Hkv + hk) * D;

  unsigned a[D / 16][4];
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      a[step][i] = *reinterpret_cast<const unsigned*>(q + ((b * W + query + i % 2 * 8) * Hq + h) * D + step * 16 + i / 2 * 8 + t * 2);
    }
  }
  float max[2] = {LOWEST, LOWEST}, sum[2] = {0, 0}, lse[2];
  const long long row = (b * Hq + h) * W + query;
  if (is_second) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float2* const of = stats + (row + half * 8) * splits;
      for (int i = 0; i < splits; ++i) max[half] = fmaxf(max[half], of[i].x);
      for (int i = 0; i < splits; ++i) sum[half] += of[i].y * ptx::ex2(of[i].x - max[half]);
      lse[half] = max[half] + ptx::lg2(sum[half]);
    }
  }

  float s[KEYS / 8][4];
  if (begin < end) load_tile<THREADS>(tiles[0], keys + begin * stride, stride, end - begin);
  ptx::cp_async_commit();
  for (int at = begin, buffer = 0; at < end; at += KEYS, buffer ^= 1) {
    ptx::cp_async_wait<0>();
    __syncthreads();  // this tile is here, and nobody reads the other one or the columns any more
    if (at + KEYS < end) load_tile<THREADS>(tiles[buffer ^ 1], keys + (at + KEYS) * stride, stride, end - at - KEYS);
    ptx::cp_async_commit();
    multiply(s, a, tiles[buffer], lane);
    if (is_second) {
#pragma unroll
      for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float p = ptx::ex2(fmaf(s[n][e], scale, -lse[0])) + ptx::ex2(fmaf(s[n][2 + e], scale, -lse[1]));
          p += __shfl_xor_sync(0xffffffffu, p, 4);
          p += __shfl_xor_sync(0xffffffffu, p, 8);
          p += __shfl_xor_sync(0xffffffffu, p, 16);
          if (lane < 4) columns[warp][n * 8 + t * 2 + e] = p;
        }
      }
      __syncthreads();  // the sums of both warps of every head are visible
      const int head = tid / KEYS, j = tid % KEYS;
      if (at + j < end) sums[(b * Hq + hk * G + head) * (S - W) + at + j] = columns[head * 2][j] + columns[head * 2 + 1][j];
    } else {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int visible = S - W + query + half * 8 + 1 - at;  // tokens of this tile
        float top = max[half];
#pragma unroll
        for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            float& score = s[n][half * 2 + e];
            score = n * 8 + t * 2 + e < min(visible, end - at) ? score * scale : -INFINITY;
            top = fmaxf(top, score);
          }
        }
        sum[half] *= ptx::ex2(max[half] - top);
        max[half] = top;
#pragma unroll
        for (int n = 0; n < KEYS / 8; ++n) sum[half] += ptx::ex2(s[n][half * 2] - top) + ptx::ex2(s[n][half * 2 + 1] - top);
      }
    }
  }
  if (is_second) return;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int step = 1; step < 4; step *= 2) {
      const float other = __shfl_xor_sync(0xffffffffu, max[half], step), top = fmaxf(max[half], other);
      sum[half] = sum[half] * ptx::ex2(max[half] - top) + __shfl_xor_sync(0xffffffffu, sum[half], step) * ptx::ex2(other - top);
      max[half] = top;
    }
    if (t == 0) stats[(row + half * 8) * splits + split] = make_float2(max[half], sum[half]);
  }
}

/// Of every thread the sum of the values of the threads before it, and in `total` that of all.
__device__ int sum_before(int value, int& total) {
  __shared__ int warps[32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int sum = value;
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(0xffffffffu, sum, step);
    if (lane >= step) sum += other;
  }
  if (lane == 31) warps[warp] = sum;
  __syncthreads();  // every warp's sum is visible
  int of_warp = warps[lane];
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(0xffffffffu, of_warp, step);
    if (lane >= step) of_warp += other;
  }
  total = __shfl_sync(0xffffffffu, of_warp, 31);
  const int before = warp > 0 ? __shfl_sync(0xffffffffu, of_warp, warp - 1) : 0;
  __syncthreads();  // the warps' sums may be overwritten
  return before + sum - value;
}

/// A block per (b, h). `scores` [B, Hq, S - W] is written and read by this block alone. Scores are not negative, so that
/// their bits are ordered as they are.
extern "C" __global__ void __launch_bounds__(CHOOSERS)
snapkv_choose(const float* __restrict__ sums, unsigned* __restrict__ scores, int* __restrict__ chosen, int count, int N) {
  __shared__ int histogram[DIGITS];
  __shared__ int found_digit, found_above;
  const int tid = threadIdx.x, lane = tid % 32, wanted = min(N, count);
  sums += (long long)blockIdx.x * count;
  scores += (long long)blockIdx.x * count;
  chosen += (long long)blockIdx.x * N;

  unsigned prefix = 0;  // the digits found so far of the score of rank `wanted`
  int missing = wanted;  // scores to take among those that share them
  for (int pass = 0; pass < 3; ++pass) {
    const int shift = pass == 0 ? 21 : pass == 1 ? 10 : 0, bits = pass < 2 ? 11 : 10;
    for (int i = tid; i < DIGITS; i += CHOOSERS) histogram[i] = 0;
    __syncthreads();  // the histogram is empty
    for (int first = 0; first < count; first += CHOOSERS) {
      const int j = first + tid;
      bool counts = j < count;
      unsigned score = 0;
      if (counts && pass == 0) {
        float sum = 0;
#pragma unroll
        for (int i = -(POOL / 2); i <= POOL / 2; ++i) sum += j + i >= 0 && j + i < count ? sums[j + i] : 0.0f;
        score = __float_as_uint(sum);
        scores[j] = score;
      } else if (counts) {
        score = scores[j];
        counts = (score ^ prefix) >> (shift + bits) == 0;
      }
      const unsigned digit = score >> shift & ((1u << bits) - 1);
      if (pass == 0) {  // few exponents: lanes that agree count together
        const unsigned alike = __match_any_sync(0xffffffffu, counts ? digit : 0xffffffffu);
        if (counts && lane == __ffs(alike) - 1) atomicAdd(&histogram[digit], __popc(alike));
      } else if (counts) {
        atomicAdd(&histogram[digit], 1);
      }
    }
    __syncthreads();  // the histogram is complete
    // Thread i holds the digits from the top: 2 i and 2 i + 1.
    const int high = DIGITS - 1 - 2 * tid, at_high = histogram[high], at_low = histogram[high - 1];
    int total;
    const int above = sum_before(at_high + at_low, total);
    if (above < missing && missing <= above + at_high + at_low) {
      const bool is_high = missing <= above + at_high;
      found_digit = is_high ? high : high - 1;
      found_above = is_high ? above : above + at_high;
    }
    __syncthreads();  // the digit is visible
    prefix |= (unsigned)found_digit << shift;
    missing -= found_above;
  }

  int filled = 0;
  for (int first = 0; first < count; first += CHOOSERS) {
    const int j = first + tid;
    const unsigned score = j < count ? scores[j] : 0;
    const bool is_above = j < count && score > prefix, is_equal = j < count && score == prefix;
    int total;
    const int before = sum_before(is_equal << 16 | is_above, total), equals_before = before >> 16;
    if (is_above || (is_equal && equals_before < missing)) {
      chosen[filled + (before & 0xffff) + min(equals_before, missing)] = j;
    }
    filled += (total & 0xffff) + min(total >> 16, missing);
    missing -= min(total >> 16, missing);
  }
  for (int i = wanted + tid; i < N; i += CHOOSERS) chosen[i] = -1;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int group = p.Hq / p.Hkv;
  if (!plan.require(group == 1 || group == 2 || group == 4 || group == 8, "Hq / Hkv must be 1, 2, 4 or 8")) return;
  const int wished = kl::clamp(p.device.sms * SPLITS_PER_SM / (p.B * p.Hkv), 1, SPLITS_MAX);
  const int stretch = kl::round_up(kl::cdiv(p.S, wished), KEYS), splits = kl::cdiv(p.S, stretch);
  const char* const first = group == 8 ? "snapkv_pass<8, false>" : group == 4 ? "snapkv_pass<4, false>" : group == 2 ? "snapkv_pass<2, false>" : "snapkv_pass<1, false>";
  const char* const second = group == 8 ? "snapkv_pass<8, true>" : group == 4 ? "snapkv_pass<4, true>" : group == 2 ? "snapkv_pass<2, true>" : "snapkv_pass<1, true>";
  const long long rows = (long long)p.B * p.Hq;
  const auto stats = plan.workspace(kl::f32, rows * W * splits * 2);
  const auto sums = plan.workspace(kl::f32, rows * p.S);
  const auto scores = plan.workspace(kl::u8, rows * p.S * 4);
  for (const char* pass : {first, second}) {
    plan.launch(pass).grid(splits, p.Hkv, p.B).block(group * 64)
        .arg(p.q).arg(p.k).arg(stats).arg(sums).arg(p.S).arg(stretch).arg(p.scale * 1.44269504f);
  }
  plan.launch("snapkv_choose").grid(rows).block(CHOOSERS).arg(sums).arg(scores).arg(p.chosen).arg(p.S - W).arg(p.N);
}
