// SPDX-License-Identifier: Apache-2.0
// Reference of gqa_decode_splitkv in float64, for the (b, h) rows listed:
//   s_j = scale * q[b, h] . k[b, j, h / G],  o[b, h] = sum_j exp(s_j - lse) v[b, j, h / G],  lse = log sum_j exp(s_j)
// over the keys j < len[b]; without any, o = 0 and lse = -infinity.
//
// One block per listed row. Every warp walks its own share of the keys with a running maximum, which keeps the
// exponentials in range whatever the scores are; the shares are then merged by their maxima.

#define REFERENCE_WARPS 16

__device__ double from_bf16(const unsigned short* values, long long index) {
  return __uint_as_float((unsigned)values[index] << 16);  // a bf16 is the upper half of a float
}

extern "C" __global__ void __launch_bounds__(REFERENCE_WARPS * 32)
decode_reference(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
                 const unsigned short* __restrict__ v, const int* __restrict__ len, double* __restrict__ o,
                 double* __restrict__ lse, const long long* __restrict__ rows, int S, int Hq, int Hkv, float scale) {
  constexpr int D = Problem::D, PER_LANE = D / 32;
  __shared__ double share_max[REFERENCE_WARPS], share_sum[REFERENCE_WARPS], share_o[REFERENCE_WARPS][D];
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32;
  const long long row = rows[blockIdx.x];
  const int b = (int)(row / Hq), h = (int)(row % Hq), hk = h / (Hq / Hkv), keys = len[b];

  double q_lane[PER_LANE], o_lane[PER_LANE] = {};
  for (int i = 0; i < PER_LANE; ++i) q_lane[i] = from_bf16(q, row * D + i * 32 + lane);

  double max = -HUGE_VAL, sum = 0;
  for (int j = warp; j < keys; j += REFERENCE_WARPS) {
    const long long key = (((long long)b * S + j) * Hkv + hk) * D + lane;
    double s = 0;
    for (int i = 0; i < PER_LANE; ++i) s += q_lane[i] * from_bf16(k, key + i * 32);
    for (int step = 16; step > 0; step /= 2) s += __shfl_xor_sync(0xffffffffu, s, step);
    s *= (double)scale;
    if (s > max) {  // the same for all lanes; exp(-infinity) = 0 makes the first key a plain start
      const double shrink = exp(max - s);
      for (int i = 0; i < PER_LANE; ++i) o_lane[i] *= shrink;
      sum *= shrink;
      max = s;
    }
    const double p = exp(s - max);
    sum += p;
    for (int i = 0; i < PER_LANE; ++i) o_lane[i] += p * from_bf16(v, key + i * 32);
  }
  for (int i = 0; i < PER_LANE; ++i) share_o[warp][i * 32 + lane] = o_lane[i];
  if (lane == 0) share_max[warp] = max, share_sum[warp] = sum;
  __syncthreads();  // every warp's share is visible

  double row_max = -HUGE_VAL, row_sum = 0;
  for (int i = 0; i < REFERENCE_WARPS; ++i) row_max = fmax(row_max, share_max[i]);
  for (int i = 0; i < REFERENCE_WARPS; ++i) {
    if (share_sum[i] > 0) row_sum += share_sum[i] * exp(share_max[i] - row_max);
  }
  for (int d = tid; d < D; d += REFERENCE_WARPS * 32) {
    double value = 0;
    for (int i = 0; i < REFERENCE_WARPS; ++i) {
      if (share_sum[i] > 0) value += share_o[i][d] * exp(share_max[i] - row_max);
    }
    o[(long long)blockIdx.x * D + d] = keys > 0 ? value / row_sum : 0;
  }
  if (tid == 0) lse[blockIdx.x] = keys > 0 ? row_max + log(row_sum) : -HUGE_VAL;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("decode_reference").grid(p.R).block(REFERENCE_WARPS * 32)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.len).arg(p.o).arg(p.lse).arg(p.rows).arg(p.S).arg(p.Hq).arg(p.Hkv)
      .arg(p.scale);
}
