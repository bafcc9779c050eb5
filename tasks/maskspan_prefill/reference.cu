// SPDX-License-Identifier: Apache-2.0
// Reference of maskspan_prefill in float64, for the (n, i, h) rows listed: attention over the keys whose two spans do
// not hold i. Under KERNELITES_INPUTS: the spans of the mask kinds of LongCA-bench; borders of documents are even in
// variant 0 and drawn in the others, different ones for every sequence.

#ifdef KERNELITES_INPUTS

#define THREADS 128

/// A number from 0 to below 1, by sequence and place.
__device__ double drawn(long long seed, int n, int at) {
  unsigned long long x = (unsigned long long)seed + 0x9E3779B97F4A7C15ull * (unsigned)(n * 4099 + at + 1);
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return (double)((x ^ (x >> 31)) >> 11) / 9007199254740992.0;
}

/// Where document `at` begins; the document `docs` would begin at S. The last document is never empty.
__device__ int border(long long seed, long long variant, int n, int at, int docs, int S) {
  if (at <= 0 || at >= docs) return at <= 0 ? 0 : S;
  return (int)((double)S * (at + (variant == 0 ? 0.0 : drawn(seed, n, at))) / docs);
}

extern "C" __global__ void __launch_bounds__(THREADS)
make_spans(int4* __restrict__ spans, const long long* __restrict__ draw, int B, int S, int kind, int docs, int w) {
  const long long seed = draw[0], variant = draw[1], entry = (long long)blockIdx.x * THREADS + threadIdx.x;
  if (entry >= (long long)B * S) return;
  const int n = (int)(entry / S), j = (int)(entry % S);
  int doc = 0;  // the one that holds j
  while (doc + 1 < docs && border(seed, variant, n, doc + 1, docs, S) <= j) ++doc;
  const int begin = border(seed, variant, n, doc, docs, S), end = border(seed, variant, n, doc + 1, docs, S);
  const int last = border(seed, variant, n, docs - 1, docs, S);  // where the last document begins
  const int after = min(j + w + 1, S), before = max(j - w, 0);
  const double fraction = variant == 0 ? 0.25 : drawn(seed, n, 1000);
  const int prefix = (int)(S * fraction), own_prefix = begin + (int)((end - begin) * fraction), global = w / 4;
  int4 span = {S, S, 0, 0};  // hides nothing
  switch (kind) {
    case 2: span = {S, S, 0, j}; break;                                                  // j <= i
    case 3: span = {after, S, 0, before}; break;                                         // |i - j| <= w
    case 4: span = {after, S, 0, j}; break;                                              // i - w <= j <= i
    case 5: span = {end, S, 0, j}; break;                                                // own document, j <= i
    case 6: span = {end, S, 0, begin}; break;                                            // own document
    case 7: span = {doc == 0 ? S : end, S, 0, j}; break;                                 // and the first document
    case 8: span = doc == docs - 1 ? int4{S, S, 0, j} : int4{end, last, 0, j}; break;    // the last one sees all
    case 9: span = {S, S, 0, j < prefix ? 0 : j}; break;                                 // j <= i or j in the prefix
    case 10: span = {end, S, 0, j < own_prefix ? begin : j}; break;                      // the same in each document
    case 11: span = j < global ? int4{S, S, 0, 0} : int4{after, S, global, max(before, global)}; break;
    case 12: span = {end, S, 0, max(begin, j / w * w)}; break;                           // j / w <= i / w
    case 13: {  // queries `none` to `none + w` see nothing; every 16 keys hide an interval of their own
      const int none = (int)(drawn(seed, n, 2000) * S), from = (int)(drawn(seed, n, j / 16) * S);
      span = {from, min(S, from + (int)(drawn(seed, n, 3000 + j / 16) * S)), none, min(none + w, S)};
      break;
    }
    default: break;
  }
  spans[entry] = span;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("make_spans").grid(kl::cdiv(p.B * p.S, THREADS)).block(THREADS)
      .arg(p.spans).arg(p.draw).arg(p.B).arg(p.S).arg(p.kind).arg(p.docs).arg(p.w);
}

#else

#include <kernelites/reference_attention.cuh>

namespace reference = kernelites::reference;

template <int D>
__global__ void __launch_bounds__(reference::k_attend_threads)
maskspan_reference(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
                   const unsigned short* __restrict__ v, const int* __restrict__ spans, double* __restrict__ o,
                   double* __restrict__ lse, const long long* __restrict__ rows, int S, int Hq, int Hkv, float scale) {
  const long long row = rows[blockIdx.x], first = row / Hq / S * S;
  const int hk = (int)(row % Hq) / (Hq / Hkv), i = (int)(row / Hq % S);
  const auto key_at = [&](int j) -> long long {
    const int* span = spans + (first + j) * 4;
    const bool is_hidden = (span[0] <= i && i < span[1]) || (span[2] <= i && i < span[3]);
    return is_hidden ? -1 : ((first + j) * Hkv + hk) * D;
  };
  reference::attend_keys<D>(o + (long long)blockIdx.x * D, lse + blockIdx.x, q + row * D, k, v, (double)scale, S, key_at);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch(p.D == 64 ? "maskspan_reference<64>" : "maskspan_reference<128>")
      .grid(p.R).block(kernelites::reference::k_attend_threads)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.spans).arg(p.o).arg(p.lse).arg(p.rows).arg(p.S).arg(p.Hq).arg(p.Hkv)
      .arg(p.scale);
}

#endif
