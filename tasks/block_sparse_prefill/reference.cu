// SPDX-License-Identifier: Apache-2.0
// Reference of block_sparse_prefill in float64, for the (b, i, h) rows listed: attention over the keys of the listed
// blocks up to the query itself. Under KERNELITES_INPUTS: the lists of every (b, h), in variant 0 drawn blocks and the
// diagonal one, shuffled; 1 the first block and those nearest the diagonal; 2 verticals, which are the same for all
// queries of a head, and the nearest ones; 3 as 0, but lists may lack the diagonal block or be empty.

#ifdef KERNELITES_INPUTS

#define THREADS 128

/// A number below `end`, by place.
__device__ unsigned drawn(unsigned long long seed, long long place, unsigned end) {
  unsigned long long x = seed + 0x9E3779B97F4A7C15ull * (unsigned long long)(place + 1);
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return (unsigned)((x ^ (x >> 31)) >> 33) % end;
}

__device__ int blocks_before(int I, int S, int Bq, int Bk) {  // key blocks with a key that a query of block I may see
  return (min((I + 1) * Bq, S) - 1) / Bk + 1;
}

/// Length of list I: as many blocks as there are up to K; variant 3 leaves a fifth of the lists empty.
__device__ int list_length(unsigned long long seed, long long variant, long long list, int I, int S, int Bq, int Bk, int K) {
  if (variant == 3 && drawn(seed, 1000003 * (list + 1), 5) == 0) return 0;
  return min(K, blocks_before(I, S, Bq, Bk));
}

/// One thread per list. Floyd's draw of `length` distinct blocks; the order in which they come out is arbitrary.
extern "C" __global__ void __launch_bounds__(THREADS)
make_lists(int* __restrict__ indptr, int* __restrict__ indices, const long long* __restrict__ draw, int B, int S, int Hq,
           int Bq, int Bk, int K) {
  const int nq = (S + Bq - 1) / Bq, per_head = nq + 1;
  const long long entry = (long long)blockIdx.x * THREADS + threadIdx.x, head = entry / per_head;
  if (head >= (long long)B * Hq) return;
  const unsigned long long seed = (unsigned long long)draw[0];
  const long long variant = draw[1];
  const int I = (int)(entry % per_head);
  int begin = 0;
  for (int before = 0; before < I; ++before) {
    begin += list_length(seed, variant, head * per_head + before, before, S, Bq, Bk, K);
  }
  indptr[head * per_head + I] = begin;
  int* const list = indices + head * nq * K + begin;
  if (I == nq) {  // the end of the last list; nothing lies beyond it
    for (int n = begin; n < nq * K; ++n) list[n - begin] = -1;
    return;
  }
  const int length = list_length(seed, variant, entry, I, S, Bq, Bk, K), blocks = blocks_before(I, S, Bq, Bk);
  const auto holds = [&](int block, int filled) {
    for (int n = 0; n < filled; ++n) {
      if (list[n] == block) return true;
    }
    return false;
  };
  if (variant == 1 || variant == 2) {  // a fixed part, then the nearest blocks that are not in it
    int filled = 0;
    const int fixed = min(length - 1, variant == 1 ? 1 : (K + 1) / 2);
    for (int n = 0; n < fixed; ++n) {
      const int block = variant == 1 ? 0 : (int)drawn(seed, head * 4099 + n, (S + Bk - 1) / Bk);
      if (block < blocks - 1 && !holds(block, filled)) list[filled++] = block;
    }
    for (int block = blocks - 1; filled < length; --block) {
      if (!holds(block, filled)) list[filled++] = block;
    }
    return;
  }
  const bool has_diagonal = variant == 0 && length > 0;
  const int free = length - has_diagonal, range = blocks - has_diagonal;
  for (int n = 0; n < free; ++n) {
    const int last = range - free + n, block = (int)drawn(seed, entry * 8191 + n, last + 1);
    list[n] = holds(block, n) ? last : block;
  }
  if (has_diagonal) {
    list[free] = blocks - 1;
    const int at = (int)drawn(seed, entry * 8191 + 5000, length);
    const int other = list[at];
    list[at] = list[free];
    list[free] = other;
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const long long lists = (long long)p.B * p.Hq * (kl::cdiv(p.S, p.Bq) + 1);
  plan.launch("make_lists").grid(kl::cdiv(lists, THREADS)).block(THREADS)
      .arg(p.indptr).arg(p.indices).arg(p.draw).arg(p.B).arg(p.S).arg(p.Hq).arg(p.Bq).arg(p.Bk).arg(p.K);
}

#else

#include <kernelites/reference_attention.cuh>

namespace reference = kernelites::reference;

template <int D>
__global__ void __launch_bounds__(reference::k_attend_threads)
block_sparse_reference(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
                       const unsigned short* __restrict__ v, const int* __restrict__ indptr,
                       const int* __restrict__ indices, double* __restrict__ o, double* __restrict__ lse,
                       const long long* __restrict__ rows, int S, int Hq, int Hkv, int Bq, int Bk, int K, float scale) {
  const long long row = rows[blockIdx.x], b = row / Hq / S;
  const int h = (int)(row % Hq), i = (int)(row / Hq % S), hk = h / (Hq / Hkv), nq = (S + Bq - 1) / Bq;
  const int* const bounds = indptr + (b * Hq + h) * (nq + 1) + i / Bq;
  const int* const list = indices + (b * Hq + h) * nq * K + bounds[0];
  const auto key_at = [&](int n) -> long long {
    const int j = list[n / Bk] * Bk + n % Bk;
    return j > i ? -1 : ((b * S + j) * Hkv + hk) * D;
  };
  reference::attend_keys<D>(o + (long long)blockIdx.x * D, lse + blockIdx.x, q + row * D, k, v, (double)scale,
                            (bounds[1] - bounds[0]) * Bk, key_at);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch(p.D == 64 ? "block_sparse_reference<64>" : "block_sparse_reference<128>")
      .grid(p.R).block(kernelites::reference::k_attend_threads)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.indptr).arg(p.indices).arg(p.o).arg(p.lse).arg(p.rows).arg(p.S).arg(p.Hq)
      .arg(p.Hkv).arg(p.Bq).arg(p.Bk).arg(p.K).arg(p.scale);
}

#endif
