// SPDX-License-Identifier: Apache-2.0
// Reference of mha_prefill_full in float64, for the (b, i, h) rows listed:
//   s_j = scale * q[b, i, h] . k[b, j, h / G],  o[b, i, h] = sum_j exp(s_j - lse) v[b, j, h / G],
//   lse = log sum_j exp(s_j), over all keys.
//
// One block per listed row. Every warp walks its own share of the keys with a running maximum, which keeps the
// exponentials in range whatever the scores are; the shares are then merged by their maxima.

#define REFERENCE_WARPS 4
#define D_MAX 128

__device__ double from_bf16(const unsigned short* values, long long index) {
  return __uint_as_float((unsigned)values[index] << 16);  // a bf16 is the upper half of a float
}

extern "C" __global__ void __launch_bounds__(REFERENCE_WARPS * 32)
prefill_reference(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
                  const unsigned short* __restrict__ v, double* __restrict__ o, double* __restrict__ lse,
                  const long long* __restrict__ rows, int Sq, int Sk, int Hq, int Hkv, int D, float scale) {
  constexpr int PER_LANE = D_MAX / 32;  // channels from D on are zero
  __shared__ double share_max[REFERENCE_WARPS], share_sum[REFERENCE_WARPS], share_o[REFERENCE_WARPS][D_MAX];
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32;
  const long long row = rows[blockIdx.x];
  const int h = (int)(row % Hq), hk = h / (Hq / Hkv);
  const long long b = row / Hq / Sq;

  double q_lane[PER_LANE], o_lane[PER_LANE] = {};
  const auto load = [&](const unsigned short* values, long long at, int c) {
    return c * 32 < D ? from_bf16(values, at + c * 32 + lane) : 0.0;
  };
  for (int c = 0; c < PER_LANE; ++c) q_lane[c] = load(q, row * D, c);

  double max = -HUGE_VAL, sum = 0;
  for (int j = warp; j < Sk; j += REFERENCE_WARPS) {
    const long long key = ((b * Sk + j) * Hkv + hk) * D;
    double s = 0;
    for (int c = 0; c < PER_LANE; ++c) s += q_lane[c] * load(k, key, c);
    for (int step = 16; step > 0; step /= 2) s += __shfl_xor_sync(0xffffffffu, s, step);
    s *= (double)scale;
    if (s > max) {  // the same for all lanes; exp(-infinity) = 0 makes the first key a plain start
      const double shrink = exp(max - s);
      for (int c = 0; c < PER_LANE; ++c) o_lane[c] *= shrink;
      sum *= shrink;
      max = s;
    }
    const double p = exp(s - max);
    sum += p;
    for (int c = 0; c < PER_LANE; ++c) o_lane[c] += p * load(v, key, c);
  }
  for (int c = 0; c < PER_LANE; ++c) share_o[warp][c * 32 + lane] = o_lane[c];
  if (lane == 0) share_max[warp] = max, share_sum[warp] = sum;
  __syncthreads();  // every warp's share is visible

  double row_max = -HUGE_VAL, row_sum = 0;
  for (int w = 0; w < REFERENCE_WARPS; ++w) row_max = fmax(row_max, share_max[w]);
  for (int w = 0; w < REFERENCE_WARPS; ++w) {
    if (share_sum[w] > 0) row_sum += share_sum[w] * exp(share_max[w] - row_max);
  }
  for (int d = tid; d < D; d += REFERENCE_WARPS * 32) {
    double value = 0;
    for (int w = 0; w < REFERENCE_WARPS; ++w) {
      if (share_sum[w] > 0) value += share_o[w][d] * exp(share_max[w] - row_max);
    }
    o[(long long)blockIdx.x * D + d] = value / row_sum;
  }
  if (tid == 0) lse[blockIdx.x] = row_max + log(row_sum);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  plan.launch("prefill_reference").grid(p.R).block(REFERENCE_WARPS * 32)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.o).arg(p.lse).arg(p.rows).arg(p.Sq).arg(p.Sk).arg(p.Hq).arg(p.Hkv)
      .arg(p.D).arg(p.scale);
}
