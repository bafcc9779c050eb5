// SPDX-License-Identifier: Apache-2.0
// SnapKV selection: q [B, 32, Hq, 128], k [B, S, Hkv, 128] (bf16) -> the N tokens of the best pooled scores, [B, Hq, N].
//
// Technique: five plain steps through device memory: all logits, their log-sum-exp by query, sums of probabilities by
// token, means of five neighbours, and the choice, which bisects the bits of the N-th score (31 passes over a row).
// The starting point of the ladder.

// tune: THREADS = 256 | 128

#include <cuda_bf16.h>

constexpr int D = Problem::D, W = Problem::W, POOL = Problem::POOL;

template <typename Pick>
__device__ float block_reduce(float value, Pick pick) {
  __shared__ float partial[THREADS];
  partial[threadIdx.x] = value;
  __syncthreads();  // every value is visible
  for (int half = THREADS / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) partial[threadIdx.x] = pick(partial[threadIdx.x], partial[threadIdx.x + half]);
    __syncthreads();  // this level's values are visible
  }
  const float result = partial[0];
  __syncthreads();  // the values may be overwritten
  return result;
}

/// logits [B, Hq, W, S]; a thread per key.
extern "C" __global__ void __launch_bounds__(THREADS)
snapkv_logits(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k, float* __restrict__ logits,
              int S, int Hq, int Hkv, float scale) {
  const int j = blockIdx.x * THREADS + threadIdx.x, row = blockIdx.y, w = blockIdx.z, b = row / Hq, h = row % Hq;
  if (j >= S) return;
  const __nv_bfloat16* const query = q + ((long long)(b * W + w) * Hq + h) * D;
  const __nv_bfloat16* const key = k + (((long long)b * S + j) * Hkv + h / (Hq / Hkv)) * D;
  float s = 0;
  for (int d = 0; d < D; ++d) s += __bfloat162float(query[d]) * __bfloat162float(key[d]);
  logits[((long long)row * W + w) * S + j] = j <= S - W + w ? s * scale : -INFINITY;
}

/// lse [B, Hq, W]; a block per query.
extern "C" __global__ void __launch_bounds__(THREADS)
snapkv_lse(const float* __restrict__ logits, float* __restrict__ lse, int S) {
  logits += (long long)blockIdx.x * S;
  float top = -INFINITY, sum = 0;
  for (int j = threadIdx.x; j < S; j += THREADS) top = fmaxf(top, logits[j]);
  top = block_reduce(top, [](float a, float b) { return fmaxf(a, b); });
  for (int j = threadIdx.x; j < S; j += THREADS) sum += expf(logits[j] - top);
  sum = block_reduce(sum, [](float a, float b) { return a + b; });
  if (threadIdx.x == 0) lse[blockIdx.x] = top + logf(sum);
}

/// sums [B, Hq, S - W]; a thread per token.
extern "C" __global__ void __launch_bounds__(THREADS)
snapkv_sums(const float* __restrict__ logits, const float* __restrict__ lse, float* __restrict__ sums, int S) {
  const int j = blockIdx.x * THREADS + threadIdx.x;
  if (j >= S - W) return;
  float sum = 0;
  for (int w = 0; w < W; ++w) {
    const long long query = (long long)blockIdx.y * W + w;
    sum += expf(logits[query * S + j] - lse[query]);
  }
  sums[(long long)blockIdx.y * (S - W) + j] = sum;
}

/// scores [B, Hq, S - W], the means.
extern "C" __global__ void __launch_bounds__(THREADS)
snapkv_means(const float* __restrict__ sums, float* __restrict__ scores, int S) {
  const int j = blockIdx.x * THREADS + threadIdx.x, count = S - W;
  if (j >= count) return;
  sums += (long long)blockIdx.y * count;
  float sum = 0;
  for (int i = max(j - POOL / 2, 0); i <= min(j + POOL / 2, count - 1); ++i) sum += sums[i];
  scores[(long long)blockIdx.y * count + j] = sum / POOL;
}

/// A block per row. Scores are not negative, so that their bits are ordered as they are.
extern "C" __global__ void __launch_bounds__(THREADS)
snapkv_choose(const float* __restrict__ scores, int* __restrict__ chosen, int S, int N) {
  __shared__ int counts[THREADS + 1];
  const int tid = threadIdx.x, count = S - W, wanted = min(N, count);
  scores += (long long)blockIdx.x * count;
  chosen += (long long)blockIdx.x * N;
  const auto at_least = [&](unsigned bits) {
    int found = 0;
    for (int j = tid; j < count; j += THREADS) found += __float_as_uint(scores[j]) >= bits;
    counts[tid] = found;
    __syncthreads();  // every count is visible
    int total = 0;
    for (int i = 0; i < THREADS; ++i) total += counts[i];
    __syncthreads();  // the counts may be overwritten
    return total;
  };
  unsigned threshold = 0;  // the largest that at least `wanted` scores reach
  for (int bit = 30; bit >= 0; --bit) {
    if (at_least(threshold | 1u << bit) >= wanted) threshold |= 1u << bit;
  }
  int equals = wanted - at_least(threshold + 1);  // so many of those at the threshold, the first ones

  int filled = 0;
  for (int first = 0; first < count; first += THREADS) {
    const int j = first + tid;
    const unsigned bits = j < count ? __float_as_uint(scores[j]) : 0;
    const bool is_equal = j < count && bits == threshold, is_above = j < count && bits > threshold;
    counts[tid] = is_equal << 16 | is_above;  // both counts stay below 2^16
    __syncthreads();  // every flag is visible
    int before = 0, total = 0;
    for (int i = 0; i < THREADS; ++i) {
      before += i < tid ? counts[i] : 0;
      total += counts[i];
    }
    __syncthreads();  // the flags may be overwritten
    const int place = filled + (before & 0xffff) + min(before >> 16, equals);
    if (is_above || (is_equal && before >> 16 < equals)) chosen[place] = j;
    filled += (total & 0xffff) + min(total >> 16, equals);
    equals -= min(total >> 16, equals);
  }
  for (int i = wanted + tid; i < N; i += THREADS) chosen[i] = -1;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int rows = p.B * p.Hq, blocks = kl::cdiv(p.S, THREADS);
  const auto logits = plan.workspace(kl::f32, (long long)rows * W * p.S);
  const auto lse = plan.workspace(kl::f32, (long long)rows * W);
  const auto sums = plan.workspace(kl::f32, (long long)rows * p.S);
  const auto scores = plan.workspace(kl::f32, (long long)rows * p.S);
  plan.launch("snapkv_logits").grid(blocks, rows, W).block(THREADS)
      .arg(p.q).arg(p.k).arg(logits).arg(p.S).arg(p.Hq).arg(p.Hkv).arg(p.scale);
  plan.launch("snapkv_lse").grid(rows * W).block(THREADS).arg(logits).arg(lse).arg(p.S);
  plan.launch("snapkv_sums").grid(blocks, rows).block(THREADS).arg(logits).arg(lse).arg(sums).arg(p.S);
  plan.launch("snapkv_means").grid(blocks, rows).block(THREADS).arg(sums).arg(scores).arg(p.S);
  plan.launch("snapkv_choose").grid(rows).block(THREADS).arg(scores).arg(p.chosen).arg(p.S).arg(p.N);
}
