// SPDX-License-Identifier: Apache-2.0
// Reference of gqa_bwd_causal in float64, for the rows listed: dq by query, dk and dv by key. With p = exp(s - lse) and
// ds = p (dout . v - dout . o), a row is a sum over the keys that its query sees, or over the queries that see its key.
//
// The second outputs show what rounding does that every tensor-core kernel has to do; the gates follow them.
// Under KERNELITES_INPUTS: the forward pass that makes o and lse, in float, which nothing depends on.

#include <kernelites/reference_attention.cuh>
#include <kernelites/reference_rounding.cuh>

namespace reference = kernelites::reference;

#ifdef KERNELITES_INPUTS

#define QUERIES 4  // of one warp

__device__ float from_bf16(const unsigned short* values, long long index) {
  return __uint_as_float((unsigned)values[index] << 16);  // a bf16 is the upper half of a float
}

template <int D>
__global__ void __launch_bounds__(128)
forward(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k, const unsigned short* __restrict__ v,
        unsigned short* __restrict__ o, float* __restrict__ lse, int S, int Hq, int Hkv, float scale) {
  constexpr int PER_LANE = D / 32;
  const int lane = threadIdx.x % 32, first = (blockIdx.x * 4 + threadIdx.x / 32) * QUERIES, h = blockIdx.y;
  const long long b = blockIdx.z;
  if (first >= S) return;
  float q_lane[QUERIES][PER_LANE], o_lane[QUERIES][PER_LANE] = {}, max[QUERIES], sum[QUERIES];
#pragma unroll
  for (int i = 0; i < QUERIES; ++i) {
    max[i] = -INFINITY;
    sum[i] = 0;
#pragma unroll
    for (int c = 0; c < PER_LANE; ++c) {
      const int row = min(first + i, S - 1);
      q_lane[i][c] = from_bf16(q, ((b * S + row) * Hq + h) * D + c * 32 + lane) * scale;
    }
  }
  for (int j = 0; j < min(first + QUERIES, S); ++j) {
    const long long key = ((b * S + j) * Hkv + h / (Hq / Hkv)) * D + lane;
    float k_lane[PER_LANE], v_lane[PER_LANE];
#pragma unroll
    for (int c = 0; c < PER_LANE; ++c) k_lane[c] = from_bf16(k, key + c * 32), v_lane[c] = from_bf16(v, key + c * 32);
#pragma unroll
    for (int i = 0; i < QUERIES; ++i) {
      float s = 0;
#pragma unroll
      for (int c = 0; c < PER_LANE; ++c) s += q_lane[i][c] * k_lane[c];
#pragma unroll
      for (int step = 16; step > 0; step /= 2) s += __shfl_xor_sync(0xffffffffu, s, step);
      if (j > first + i) continue;  // the same for all lanes
      const float next = fmaxf(max[i], s), shrink = expf(max[i] - next), p = expf(s - next);
      max[i] = next;
      sum[i] = sum[i] * shrink + p;
#pragma unroll
      for (int c = 0; c < PER_LANE; ++c) o_lane[i][c] = o_lane[i][c] * shrink + p * v_lane[c];
    }
  }
#pragma unroll
  for (int i = 0; i < QUERIES; ++i) {
    if (first + i >= S) continue;
    const long long row = (b * S + first + i) * Hq + h;
#pragma unroll
    for (int c = 0; c < PER_LANE; ++c) o[row * D + c * 32 + lane] = reference::to_bf16(o_lane[i][c] / sum[i]);
    if (lane == 0) lse[row] = max[i] + logf(sum[i]);
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch(p.D == 64 ? "forward<64>" : "forward<128>").grid(kl::cdiv(p.S, 4 * QUERIES), p.Hq, p.B).block(128)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.o).arg(p.lse).arg(p.S).arg(p.Hq).arg(p.Hkv).arg(p.scale);
}

#else

#define REFERENCE_WARPS 4
#define D_MAX 128

/// Everything that one pair of query and key needs, channel by channel of this lane.
struct Inputs {
  const unsigned short *q, *k, *v, *o, *dout;
  const float* lse;
  int S, Hq, Hkv, D;
  double scale;
};

/// A weight of a pair, and the two bf16 next to what an honest kernel has in float. They differ where that lies near the
/// middle between two bf16: which of them it takes is luck, and where weights cancel it decides about the result.
struct Weight {
  double exact, low, high;

  /// `noise`: what sums in float may be off, beside a relative error of 2^-14, which scores of 150 have after exp.
  static __device__ Weight of(double exact, double noise) {
    const double spread = fabs(exact) * 0x1p-14 + noise;
    return {exact, reference::rounded_to_bf16(exact - spread), reference::rounded_to_bf16(exact + spread)};
  }
};

/// p and ds of a pair. Rows are flat: query (b, i, h) and key (b, j, g). All lanes get them.
struct Pair {
  Weight p, ds;
};

__device__ double dot(const unsigned short* a, long long at_a, const unsigned short* b, long long at_b, int D) {
  double sum = 0;
  for (int c = threadIdx.x % 32; c < D; c += 32) {
    sum += reference::from_bf16(a[at_a * D + c]) * reference::from_bf16(b[at_b * D + c]);
  }
  return reference::warp_sum(sum);
}

/// The sum of the products' sizes: 2^-19 of it bounds what sums in float differ by, those of
/// tensor cores, which cut terms off, included.
__device__ double dot_size(const unsigned short* a, long long at_a, const unsigned short* b, long long at_b, int D) {
  double sum = 0;
  for (int c = threadIdx.x % 32; c < D; c += 32) {
    sum += fabs(reference::from_bf16(a[at_a * D + c]) * reference::from_bf16(b[at_b * D + c]));
  }
  return reference::warp_sum(sum);
}

__device__ Pair pair_of(const Inputs& in, long long query, long long key) {
  const double s = in.scale * dot(in.q, query, in.k, key, in.D);
  const double delta = dot(in.dout, query, in.o, query, in.D);
  const double p = exp(s - (double)in.lse[query]);
  // Where dout . v and delta cancel (for the first query they are equal), the rounding of both sums is left.
  const double noise = 0x1p-19 * dot_size(in.dout, query, in.v, key, in.D);
  return {Weight::of(p, 0), Weight::of(p * (dot(in.dout, query, in.v, key, in.D) - delta), p * noise)};
}

/// A sum over pairs of weight times vector, for the three values of a weight.
struct Sum {
  double sums[3][D_MAX / 32];

  __device__ void clear() {
    for (int n = 0; n < 3; ++n) {
      for (int c = 0; c < D_MAX / 32; ++c) sums[n][c] = 0;
    }
  }
  __device__ void add(const Weight& weight, const unsigned short* x, long long row, int D) {
    for (int c = 0; c * 32 < D; ++c) {
      const double value = reference::from_bf16(x[row * D + c * 32 + threadIdx.x % 32]);
      sums[0][c] += weight.exact * value;
      sums[1][c] += weight.low * value;
      sums[2][c] += weight.high * value;
    }
  }

  /// Adds the block's warps together and writes one row of each output. What an honest kernel gives is off by the larger
  /// error of the two.
  __device__ void write(double* to, double* to_emulated, long long row, int D, double factor) {
    __shared__ double share[REFERENCE_WARPS][3][D_MAX];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    __syncthreads();  // nobody reads what was shared before
    for (int c = 0; c * 32 < D; ++c) {
      for (int n = 0; n < 3; ++n) share[warp][n][c * 32 + lane] = sums[n][c];
    }
    __syncthreads();  // every warp's share is visible
    for (int d = threadIdx.x; d < D; d += REFERENCE_WARPS * 32) {
      double total[3] = {};
      for (int w = 0; w < REFERENCE_WARPS; ++w) {
        for (int n = 0; n < 3; ++n) total[n] += share[w][n][d] * factor;
      }
      const double low = fabs(reference::rounded_to_bf16(total[1]) - total[0]);
      to[row * D + d] = total[0];
      to_emulated[row * D + d] = total[0] + fmax(low, fabs(reference::rounded_to_bf16(total[2]) - total[0]));
    }
  }
};

extern "C" __global__ void __launch_bounds__(REFERENCE_WARPS * 32)
query_gradient(const unsigned short* q, const unsigned short* k, const unsigned short* v, const unsigned short* o,
               const float* lse, const unsigned short* dout, double* dq, double* dq_emulated, const long long* rows,
               int S, int Hq, int Hkv, int D, float scale) {
  const Inputs in{q, k, v, o, dout, lse, S, Hq, Hkv, D, (double)scale};
  const long long query = rows[blockIdx.x], b = query / Hq / S;
  const int h = (int)(query % Hq), i = (int)(query / Hq % S), g = h / (Hq / Hkv);
  Sum sum;
  sum.clear();
  for (int j = threadIdx.x / 32; j <= i; j += REFERENCE_WARPS) {
    const long long key = (b * S + j) * Hkv + g;
    sum.add(pair_of(in, query, key).ds, k, key, D);
  }
  sum.write(dq, dq_emulated, blockIdx.x, D, in.scale);
}

extern "C" __global__ void __launch_bounds__(REFERENCE_WARPS * 32)
key_gradients(const unsigned short* q, const unsigned short* k, const unsigned short* v, const unsigned short* o,
              const float* lse, const unsigned short* dout, double* dk, double* dk_emulated, double* dv,
              double* dv_emulated, const long long* rows, int S, int Hq, int Hkv, int D, float scale) {
  const Inputs in{q, k, v, o, dout, lse, S, Hq, Hkv, D, (double)scale};
  const long long key = rows[blockIdx.x], b = key / Hkv / S;
  const int g = (int)(key % Hkv), j = (int)(key / Hkv % S), group = Hq / Hkv;
  Sum to_key, to_value;
  to_key.clear();
  to_value.clear();
  for (long long n = threadIdx.x / 32; n < (long long)(S - j) * group; n += REFERENCE_WARPS) {
    const long long query = (b * S + j + n / group) * Hq + g * group + n % group;
    const Pair pair = pair_of(in, query, key);
    to_key.add(pair.ds, q, query, D);
    to_value.add(pair.p, dout, query, D);
  }
  to_key.write(dk, dk_emulated, blockIdx.x, D, in.scale);
  to_value.write(dv, dv_emulated, blockIdx.x, D, 1);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("query_gradient").grid(p.R).block(REFERENCE_WARPS * 32)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.o).arg(p.lse).arg(p.dout).arg(p.dq).arg(p.dq_emulated).arg(p.rows)
      .arg(p.S).arg(p.Hq).arg(p.Hkv).arg(p.D).arg(p.scale);
  plan.launch("key_gradients").grid(p.R_dk).block(REFERENCE_WARPS * 32)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.o).arg(p.lse).arg(p.dout).arg(p.dk).arg(p.dk_emulated).arg(p.dv)
      .arg(p.dv_emulated).arg(p.rows_dk).arg(p.S).arg(p.Hq).arg(p.Hkv).arg(p.D).arg(p.scale);
}

#endif
