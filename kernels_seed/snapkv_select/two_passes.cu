// SPDX-License-Identifier: Apache-2.0
// SnapKV selection on mma.sync: q [B, 32, Hq, 128], k [B, S, Hkv, 128] (bf16) -> the N best tokens of a head, [B, Hq, N].
//
// Technique: logits never leave the registers. A block takes the 32 G queries of a key-value head's group against a
// stretch of keys; of a tile in shared memory, two warps per query head take 32 keys each. Keys are the rows of the
// product, a head's 32 queries its columns, held in registers: a token's probabilities lie in one row, so that two
// shuffles add them and no shared memory or second barrier is needed. Tiles come in a ring of three. The block's kernel
// runs twice over the keys: first for reference and sum of every query (the reference moves only if a logit exceeds it by
// far), then for the sums of probabilities of every token. A cluster of blocks per head then pools once, keeps its scores
// in shared memory and finds the N-th by its digits. Any Hq / Hkv of 1, 2, 4, 8; runs from sm_90 on.
//
// Ladder: see one_product.cu, the last step. This one is the fastest for one prompt of 128k tokens.

// tune: SPLITS_PER_SM = 2 | 4 | 1 | 3
// tune: CHOOSE_PART = 2048 | 1024 | 4096

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int D = Problem::D, W = Problem::W, POOL = Problem::POOL;
static_assert(W == 32, "four columns of tiles hold a head's queries");
constexpr int KEYS = 64, STAGES = 3, SPLITS_MAX = 64, CHOOSERS = 512, DIGITS = 2048;
constexpr float LOWEST = -1e30f;  // finite, so that the difference of two maxima is never NaN
constexpr float LAG = 16.0f;      // octaves by which a logit may exceed its sum's reference

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

/// Queries of one head as the right operand: q[step][n] are queries 8 n to 8 n + 7.
__device__ __forceinline__ void load_queries(unsigned (&b)[D / 16][4][2], const unsigned short* __restrict__ q, long long batch, int h,
                                             int Hq, int lane) {
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
#pragma unroll
    for (int n = 0; n < 4; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        b[step][n][i] = *reinterpret_cast<const unsigned*>(
            q + ((batch * W + n * 8 + lane / 4) * Hq + h) * D + step * 16 + i * 8 + lane % 4 * 2);
      }
    }
  }
}

/// Logits, not scaled, of 16 keys from row `first` of a tile (rows of the product) and a head's 32 queries (columns).
__device__ __forceinline__ void multiply(float (&s)[4][4], const unsigned (&q)[D / 16][4][2], const uint4 (*k)[D / 8], int first, int lane) {
#pragma unroll
  for (int n = 0; n < 4; ++n) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
    const int row = first + (lane & 15), chunk = step * 2 + (lane >> 4);
    unsigned a[4];
    ptx::ldmatrix_x4(a, &k[row][place(row, chunk)]);
#pragma unroll
    for (int n = 0; n < 4; ++n) ptx::mma_bf16(s[n], a, q[step][n][0], q[step][n][1]);
  }
}

/// Adds 16 keys to the sums of exponentials of a thread's eight queries, c = 2 n + e. A sum refers to `ref`, which only
/// moves when a logit exceeds it by LAG octaves: the sums are fp32 and hold that.
__device__ __forceinline__ void accumulate(float (&ref)[8], float (&sum)[8], const float (&s)[4][4], float scale) {
  float y[4][4], top = -INFINITY;
#pragma unroll
  for (int n = 0; n < 4; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      y[n][i] = fmaf(s[n][i], scale, -ref[n * 2 + i % 2]);
      top = fmaxf(top, y[n][i]);
    }
  }
  if (top > LAG) {
#pragma unroll
    for (int c = 0; c < 8; ++c) {
      const float a = s[c / 2][c % 2] * scale, b = s[c / 2][2 + c % 2] * scale, now = fmaxf(fmaxf(a, b), ref[c]);
      sum[c] *= ptx::ex2(ref[c] - now);
      ref[c] = now;
      y[c / 2][c % 2] = a - now;
      y[c / 2][2 + c % 2] = b - now;
    }
  }
#pragma unroll
  for (int c = 0; c < 8; ++c) sum[c] += ptx::ex2(y[c / 2][c % 2]) + ptx::ex2(y[c / 2][2 + c % 2]);
}

/// Hides what the window's queries do not see: token j of query w if j > S - W + w, and what is past `end`.
__device__ __forceinline__ void mask(float (&s)[4][4], int token, int end, int S, int t) {
#pragma unroll
  for (int n = 0; n < 4; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int j = token + i / 2 * 8;
      if (j >= end || j > S - W + n * 8 + t * 2 + i % 2) s[n][i] = -INFINITY;
    }
  }
}

/// The sums and references of the lanes that hold other keys of the same queries, joined in every lane.
__device__ __forceinline__ void join_lanes(float (&ref)[8], float (&sum)[8]) {
#pragma unroll
  for (int c = 0; c < 8; ++c) {
#pragma unroll
    for (int step = 4; step < 32; step *= 2) {
      const float other = __shfl_xor_sync(0xffffffffu, ref[c], step), of_other = __shfl_xor_sync(0xffffffffu, sum[c], step);
      const float top = fmaxf(ref[c], other);
      sum[c] = sum[c] * ptx::ex2(ref[c] - top) + of_other * ptx::ex2(other - top);
      ref[c] = top;
    }
  }
}

/// Adds up the probabilities of 16 keys over a head's queries; lanes t = 0 and t = 1 return those of keys lane / 4 and
/// eight further.
__device__ __forceinline__ float add_up(const float (&s)[4][4], const float (&lse)[8], float scale, int t) {
  float low = 0, high = 0;
#pragma unroll
  for (int c = 0; c < 8; ++c) {
    low += ptx::ex2(fmaf(s[c / 2][c % 2], scale, -lse[c]));
    high += ptx::ex2(fmaf(s[c / 2][2 + c % 2], scale, -lse[c]));
  }
  low += __shfl_xor_sync(0xffffffffu, low, 1);
  high += __shfl_xor_sync(0xffffffffu, high, 1);
  low += __shfl_xor_sync(0xffffffffu, low, 2);
  high += __shfl_xor_sync(0xffffffffu, high, 2);
  return t == 0 ? low : high;
}

/// First pass: stats [B, Hq, parts, W] = (reference, sum of exponentials) in base-2 units; a part is a warp's share of a
/// block's stretch of the keys. Second pass: sums [B, Hq, S - W] of the probabilities.
template <int G, bool is_second>
__global__ void __launch_bounds__(G * 64, G <= 2 ? 4 : 8 / G)
snapkv_pass(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k, float2* __restrict__ stats,
            float* __restrict__ sums, int S, int stretch, float scale) {
  constexpr int THREADS = G * 64;
  __shared__ Tile tiles[STAGES];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4, half = warp % 2;
  const int split = blockIdx.x, parts = gridDim.x * 2, hk = blockIdx.y, Hkv = gridDim.y, Hq = Hkv * G, h = hk * G + warp / 2;
  const long long b = blockIdx.z, stride = (long long)Hkv * D, row = b * Hq + h;
  const int begin = split * stretch, end = min(is_second ? S - W : S, begin + stretch);
  const unsigned short* const keys = k + (b * S * Hkv + hk) * D;

#pragma unroll
  for (int i = 0; i < STAGES - 1; ++i) {  // on their way before anything else
    const int at = begin + i * KEYS;
    if (at < end) load_tile<THREADS>(tiles[i], keys + at * stride, stride, end - at);
    ptx::cp_async_commit();
  }
  unsigned queries[D / 16][4][2];
  load_queries(queries, q, b, h, Hq, lane);

  float ref[8], sum[8];  // of query c / 2 * 8 + t * 2 + c % 2
#pragma unroll
  for (int c = 0; c < 8; ++c) ref[c] = LOWEST, sum[c] = 0;
  if (is_second) {  // the eight lanes with the same queries share the parts; then `ref` becomes the logarithm of the sum
    for (int p = g; p < parts; p += 8) {
      const float4* const of = reinterpret_cast<const float4*>(stats + (row * parts + p) * W + t * 2);
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        const float4 v = of[n * 4];
        const float top0 = fmaxf(ref[n * 2], v.x), top1 = fmaxf(ref[n * 2 + 1], v.z);
        sum[n * 2] = sum[n * 2] * ptx::ex2(ref[n * 2] - top0) + v.y * ptx::ex2(v.x - top0);
        sum[n * 2 + 1] = sum[n * 2 + 1] * ptx::ex2(ref[n * 2 + 1] - top1) + v.w * ptx::ex2(v.z - top1);
        ref[n * 2] = top0;
        ref[n * 2 + 1] = top1;
      }
    }
    join_lanes(ref, sum);
#pragma unroll
    for (int c = 0; c < 8; ++c) ref[c] += ptx::lg2(sum[c]);
  }

  float* const to = sums + row * (S - W);
  int slot = 0, next_slot = STAGES - 1;
  for (int at = begin; at < end; at += KEYS) {
    ptx::cp_async_wait<STAGES - 2>();
    __syncthreads();  // this tile is here, and nobody reads the one before it any more
    const int next = at + (STAGES - 1) * KEYS;
    if (next < end) load_tile<THREADS>(tiles[next_slot], keys + next * stride, stride, end - next);
    ptx::cp_async_commit();
#pragma unroll
    for (int piece = 0; piece < 2; ++piece) {
      const int first = half * 32 + piece * 16, token = at + first + g;
      float s[4][4];
      multiply(s, queries, &tiles[slot][0], first, lane);
      if (is_second) {
        const float p = add_up(s, ref, scale, t);
        if (t < 2 && token + t * 8 < end) to[token + t * 8] = p;
      } else {
        if (at + KEYS > min(end, S - W)) mask(s, token, end, S, t);
        accumulate(ref, sum, s, scale);
      }
    }
    if (++slot == STAGES) slot = 0;
    if (++next_slot == STAGES) next_slot = 0;
  }
  if (is_second) return;
  join_lanes(ref, sum);
  if (g == 0) {
    float4* const of = reinterpret_cast<float4*>(stats + (row * parts + split * 2 + half) * W + t * 2);
#pragma unroll
    for (int n = 0; n < 4; ++n) of[n * 4] = make_float4(ref[n * 2], sum[n * 2], ref[n * 2 + 1], sum[n * 2 + 1]);
  }
}

/// Of every thread the sum of the values of the threads before it.
__device__ __forceinline__ int sum_before(int value) {
  __shared__ int warps[32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int sum = value;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(0xffffffffu, sum, step);
    if (lane >= step) sum += other;
  }
  if (lane == 31) warps[warp] = sum;
  __syncthreads();  // every warp's sum is visible
  int of_warp = lane < CHOOSERS / 32 ? warps[lane] : 0;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(0xffffffffu, of_warp, step);
    if (lane >= step) of_warp += other;
  }
  const int before = __shfl_sync(0xffffffffu, of_warp, warp > 0 ? warp - 1 : 0);
  __syncthreads();  // the warps' sums may be overwritten
  return (warp > 0 ? before : 0) + sum - value;
}

__device__ __forceinline__ void cluster_barrier() {
  asm volatile("barrier.cluster.arrive.release;\n\tbarrier.cluster.wait.acquire;" ::: "memory");
}

/// Address of the same shared variable in block `rank` of the cluster.
__device__ __forceinline__ unsigned remote(const void* mine, int rank) {
  unsigned there;
  const unsigned here = static_cast<unsigned>(__cvta_generic_to_shared(mine));
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(here), "r"(rank));
  return there;
}

__device__ __forceinline__ float pooled(const float* __restrict__ sums, int j, int count) {
  float sum = 0;
#pragma unroll
  for (int i = -(POOL / 2); i <= POOL / 2; ++i) sum += j + i >= 0 && j + i < count ? sums[j + i] : 0.0f;
  return sum;
}

/// A cluster of gridDim.x blocks per (b, h) = blockIdx.y; a block pools `part` scores and keeps them in shared memory
/// (or pools them again each time, if they do not fit). Digits are counted by every block for itself and added through
/// distributed shared memory, so that all blocks find the same N-th score. Scores are not negative: their bits are
/// ordered as they are, and the highest is zero. Tokens come out in ascending order.
template <bool IS_KEPT>
__global__ void __launch_bounds__(CHOOSERS)
snapkv_choose(const float* __restrict__ sums, int* __restrict__ chosen, int count, int N, int part) {
  constexpr int WARPS = CHOOSERS / 32;
  static_assert(DIGITS == 4 * CHOOSERS, "a thread looks at four digits");
  extern __shared__ __align__(16) unsigned kept[];
  __shared__ __align__(16) int histograms[3][DIGITS];
  __shared__ int2 of_warps[WARPS];
  __shared__ __align__(8) int2 of_block;
  __shared__ int found_digit, found_above;
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, wanted = min(N, count);
  const int rank = blockIdx.x, ranks = gridDim.x;
  const int begin = min(rank * part, count), n = min(part, count - begin);
  sums += (long long)blockIdx.y * count;
  chosen += (long long)blockIdx.y * N;

  for (int i = tid; i < 3 * DIGITS; i += CHOOSERS) (&histograms[0][0])[i] = 0;
  if (IS_KEPT) {
#pragma unroll 4
    for (int i = tid; i < n; i += CHOOSERS) kept[i] = __float_as_uint(pooled(sums, begin + i, count));
  }
  __syncthreads();  // the histograms are empty, the scores are there

  unsigned prefix = 0;   // the digits found so far of the score of rank `wanted`
  int missing = wanted;  // scores to take among those that share them
#pragma unroll
  for (int pass = 0; pass < 3; ++pass) {
    const int shift = pass == 0 ? 20 : pass == 1 ? 10 : 0, bits = pass == 0 ? 11 : 10;
    int* const histogram = histograms[pass];
    for (int first = 0; first < n; first += CHOOSERS) {
      const int i = first + tid;
      bool counts = i < n;
      unsigned score = 0;
      if (counts) score = IS_KEPT ? kept[i] : __float_as_uint(pooled(sums, begin + i, count));
      if (pass > 0) counts = counts && (score ^ prefix) >> (shift + bits) == 0;
      const unsigned digit = score >> shift & ((1u << bits) - 1);
      if (pass == 0) {  // few exponents: lanes that agree count together
        const unsigned alike = __match_any_sync(0xffffffffu, counts ? digit : 0xffffffffu);
        if (counts && lane == __ffs(alike) - 1) atomicAdd(&histogram[digit], __popc(alike));
      } else if (counts) {
        atomicAdd(&histogram[digit], 1);
      }
    }
    cluster_barrier();  // every block's histogram is complete and visible
    const int low = DIGITS - 4 - 4 * tid;  // thread 0 has the four highest digits
    int at[4] = {0, 0, 0, 0};
#pragma unroll 4
    for (int r = 0; r < ranks; ++r) {
      int v0, v1, v2, v3;
      asm volatile("ld.shared::cluster.v4.s32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(v0), "=r"(v1), "=r"(v2), "=r"(v3) : "r"(remote(&histogram[low], r)) : "memory");
      at[0] += v0, at[1] += v1, at[2] += v2, at[3] += v3;
    }
    const int all = at[0] + at[1] + at[2] + at[3];
    int above = sum_before(all);
    if (above < missing && missing <= above + all) {
      int digit = 3;
#pragma unroll
      for (int d = 3; d > 0; --d) {
        if (digit == d && missing > above + at[d]) {
          above += at[d];
          digit = d - 1;
        }
      }
      found_digit = low + digit;
      found_above = above;
    }
    __syncthreads();  // the digit is visible
    prefix |= (unsigned)found_digit << shift;
    missing -= found_above;
  }

  // A warp owns neighbouring tokens: how many of them are above and how many equal?
  const int per_warp = (n + WARPS * 32 - 1) / (WARPS * 32) * 32;
  const int from = min(n, warp * per_warp), to = min(n, from + per_warp);
  int above = 0, equal = 0;
  for (int first = from; first < to; first += 32) {
    const int i = first + lane;
    unsigned score = 0;
    if (i < to) score = IS_KEPT ? kept[i] : __float_as_uint(pooled(sums, begin + i, count));
    above += __popc(__ballot_sync(0xffffffffu, i < to && score > prefix));
    equal += __popc(__ballot_sync(0xffffffffu, i < to && score == prefix));
  }
  if (lane == 0) of_warps[warp] = make_int2(above, equal);
  __syncthreads();  // every warp's counts are visible
  int above_before = 0, equal_before = 0, above_all = 0, equal_all = 0;
#pragma unroll
  for (int i = 0; i < WARPS; ++i) {
    const int2 other = of_warps[i];
    if (i < warp) above_before += other.x, equal_before += other.y;
    above_all += other.x, equal_all += other.y;
  }
  if (tid == 0) of_block = make_int2(above_all, equal_all);
  cluster_barrier();  // every block's counts are visible
  for (int r = 0; r < rank; ++r) {
    int x, y;
    asm volatile("ld.shared::cluster.v2.s32 {%0, %1}, [%2];" : "=r"(x), "=r"(y) : "r"(remote(&of_block, r)) : "memory");
    above_before += x, equal_before += y;
  }
  cluster_barrier();  // nobody reads another block's shared memory any more: blocks may end
  const unsigned lower = (1u << lane) - 1;
  for (int first = from; first < to; first += 32) {
    const int i = first + lane;
    unsigned score = 0;
    if (i < to) score = IS_KEPT ? kept[i] : __float_as_uint(pooled(sums, begin + i, count));
    const bool is_above = i < to && score > prefix, is_equal = i < to && score == prefix;
    const unsigned aboves = __ballot_sync(0xffffffffu, is_above), equals = __ballot_sync(0xffffffffu, is_equal);
    const int a = above_before + __popc(aboves & lower), e = equal_before + __popc(equals & lower);
    if (is_above || (is_equal && e < missing)) chosen[a + min(e, missing)] = begin + i;
    above_before += __popc(aboves);
    equal_before += __popc(equals);
  }
  if (rank == 0) {
    for (int i = wanted + tid; i < N; i += CHOOSERS) chosen[i] = -1;
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int group = p.Hq / p.Hkv;
  if (!plan.require(group == 1 || group == 2 || group == 4 || group == 8, "Hq / Hkv must be 1, 2, 4 or 8")) return;
  const int wished = kl::clamp(p.device.sms * SPLITS_PER_SM / (p.B * p.Hkv), 1, SPLITS_MAX);
  const int stretch = kl::round_up(kl::cdiv(p.S, wished), KEYS), splits = kl::cdiv(p.S, stretch);
  const char* const first = group == 8 ? "snapkv_pass<8, false>" : group == 4 ? "snapkv_pass<4, false>" : group == 2 ? "snapkv_pass<2, false>" : "snapkv_pass<1, false>";
  const char* const second = group == 8 ? "snapkv_pass<8, true>" : group == 4 ? "snapkv_pass<4, true>" : group == 2 ? "snapkv_pass<2, true>" : "snapkv_pass<1, true>";
  const long long rows = (long long)p.B * p.Hq;
  const auto stats = plan.workspace(kl::f32, rows * W * splits * 4);
  const auto sums = plan.workspace(kl::f32, rows * p.S);
  for (const char* pass : {first, second}) {
    plan.launch(pass).grid(splits, p.Hkv, p.B).block(group * 64)
        .arg(p.q).arg(p.k).arg(stats).arg(sums).arg(p.S).arg(stretch).arg(p.scale * 1.44269504f);
  }
  const int count = p.S - W;
  int parts = 1;
  while (parts < 8 && parts * CHOOSE_PART < count) parts *= 2;
  const int part = kl::cdiv(count, parts);
  const bool is_kept = part <= 40 * 1024;  // words of shared memory
  plan.launch(is_kept ? "snapkv_choose<true>" : "snapkv_choose<false>").grid(parts, rows).block(CHOOSERS).cluster(parts, 1, 1)
      .shared(is_kept ? part * 4 : 16)
      .arg(sums).arg(p.chosen).arg(count).arg(p.N).arg(part);
}
