// SPDX-License-Identifier: Apache-2.0
// What the float64 references of bf16 attention share: one query over those of a list of keys that it sees.
#pragma once

#include <kernelites/reference.cuh>

namespace kernelites::reference {

/// Threads of a block that calls `attend_keys`.
enum : int { k_attend_threads = 128 };

/// Rounds to nearest even.
__device__ inline unsigned short to_bf16(float value) {
  const unsigned bits = __float_as_uint(value);
  return (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/// Attention of the query at `q` over those of `count` keys that it sees: o[0 .. D) = sum_n exp(s_n - lse) v_n and
/// *lse = log sum_n exp(s_n) with s_n = scale * q . k_n. `key_at(n)` says at which element of k and v key n begins, and
/// is negative where the query does not see it. Without any key o is 0 and *lse -infinity.
template <int D, typename KeyAt>
__device__ void attend_keys(double* o, double* lse, const unsigned short* q, const unsigned short* k,
                            const unsigned short* v, double scale, int count, KeyAt key_at) {
  const Spread<D> query([&](int d) { return from_bf16(q[d]); });
  const auto score = [&](int n) {
    const long long key = key_at(n);
    if (key < 0) return __longlong_as_double(0xfff0000000000000ll);  // -infinity
    return scale * query.dot([&](int d) { return from_bf16(k[key + d]); });
  };
  const auto value = [&](int n, int d) { return from_bf16(v[key_at(n) + d]); };
  const double row_lse = attend<D, k_attend_threads / 32>(0, count, score, value, o);
  if (threadIdx.x == 0) *lse = row_lse;
}

}  // namespace kernelites::reference
