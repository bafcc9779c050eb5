// SPDX-License-Identifier: Apache-2.0
// Reference of mustafar_bitmap_decode in float64, for the (b, h) rows listed: softmax attention over packed tokens, each
// element looked up through its bit, and the dense window. Without any key, o = 0 and lse = -infinity. One block per row.
//
// With KERNELITES_INPUTS: the offsets, running sums of the words' values rounded up to 8, a block per (b, head).

#ifdef KERNELITES_INPUTS

constexpr int THREADS = 1024;

extern "C" __global__ void __launch_bounds__(THREADS)
offsets_of_words(const long long* __restrict__ all_bits, int* __restrict__ all_offsets, int words) {
  __shared__ int sums[THREADS];
  const long long* const bits = all_bits + (long long)blockIdx.x * words;
  int* const offsets = all_offsets + (long long)blockIdx.x * (words + 1);
  const int per_thread = (words + THREADS - 1) / THREADS, begin = threadIdx.x * per_thread, end = min(begin + per_thread, words);
  int sum = 0;
  for (int i = begin; i < end; ++i) sum += (__popcll(bits[i]) + 7) / 8;
  sums[threadIdx.x] = sum;
  __syncthreads();  // every share is visible
  int before = 0;
  for (int i = 0; i < (int)threadIdx.x; ++i) before += sums[i];
  for (int i = begin; i < end; ++i) {
    offsets[i] = before;
    before += (__popcll(bits[i]) + 7) / 8;
  }
  if (threadIdx.x == THREADS - 1) offsets[words] = before;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("offsets_of_words").grid(p.B * p.Hkv).block(THREADS).arg(p.k_bits).arg(p.k_off).arg(p.C * Problem::D);
  plan.launch("offsets_of_words").grid(p.B * p.Hkv).block(THREADS).arg(p.v_bits).arg(p.v_off).arg(p.C * 128);
}

#else

#include <kernelites/reference.cuh>

namespace reference = kernelites::reference;

constexpr int REFERENCE_WARPS = 8;

extern "C" __global__ void __launch_bounds__(REFERENCE_WARPS * 32)
bitmap_reference(const unsigned short* __restrict__ q, const unsigned long long* __restrict__ k_bits,
                 const unsigned long long* __restrict__ v_bits, const int* __restrict__ k_off, const int* __restrict__ v_off,
                 const unsigned short* __restrict__ k_val, const unsigned short* __restrict__ v_val,
                 const unsigned short* __restrict__ k_win, const unsigned short* __restrict__ v_win,
                 const int* __restrict__ groups, const int* __restrict__ window, double* __restrict__ o,
                 double* __restrict__ lse, const long long* __restrict__ rows, int Hq, int Hkv, int C, int W, float scale) {
  constexpr int D = Problem::D;
  const long long row = rows[blockIdx.x];
  const int b = (int)(row / Hq), hk = (int)(row % Hq) / (Hq / Hkv), packed = 64 * groups[b];
  const long long head = (long long)b * Hkv + hk;
  const auto element = [](const unsigned short* values, unsigned long long bits, int offset, int bit) {
    if (!(bits >> bit & 1)) return 0.0;
    return reference::from_bf16(values[8ll * offset + __popcll(bits & ((1ull << bit) - 1))]);
  };
  const auto dense = [&](const unsigned short* values, int j, int d) {
    return reference::from_bf16(values[(((long long)b * W + j - packed) * Hkv + hk) * D + d]);
  };
  const auto key = [&](int j, int d) {
    if (j >= packed) return dense(k_win, j, d);
    const int word = j / 64 * D + d;
    return element(k_val + head * C * 64 * D, k_bits[head * C * D + word], k_off[head * (C * D + 1) + word], j % 64);
  };
  const auto value = [&](int j, int d) {
    if (j >= packed) return dense(v_win, j, d);
    const int word = 2 * j + d / 64;
    return element(v_val + head * C * 64 * D, v_bits[head * C * 128 + word], v_off[head * (C * 128 + 1) + word], d % 64);
  };
  const reference::Spread<D> query([&](int d) { return reference::from_bf16(q[row * D + d]); });
  const double sum = reference::attend<D, REFERENCE_WARPS>(
      0, packed + window[b], [&](int j) { return scale * query.dot([&](int d) { return key(j, d); }); }, value,
      o + (long long)blockIdx.x * D);
  if (threadIdx.x == 0) lse[blockIdx.x] = sum;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("bitmap_reference").grid(p.R).block(REFERENCE_WARPS * 32)
      .arg(p.q).arg(p.k_bits).arg(p.v_bits).arg(p.k_off).arg(p.v_off).arg(p.k_val).arg(p.v_val).arg(p.k_win).arg(p.v_win)
      .arg(p.groups).arg(p.window).arg(p.o).arg(p.lse).arg(p.rows).arg(p.Hq).arg(p.Hkv).arg(p.C).arg(p.W).arg(p.scale);
}

#endif
