// SPDX-License-Identifier: Apache-2.0
// mLSTM, token after token: q, k [B, NH, S, DK], v [B, NH, S, DV] (bf16) with gates, outputs h and the final state.
//
// Technique: the recurrence as it is written. A block takes 32 columns of one head's memory: a thread one column, each
// of the eight warps an eighth of its rows, in registers; a row of the normaliser is a thread's. Two barriers a token:
// the starting point of the ladder.
//
// Where gates stay open for hundreds of tokens, n . q comes near zero by cancellation, and what divides by it shows the
// last bits. So the stabiliser is a double (a float rounds every step of a decay of 4.5e-5 the same way), decays are
// kept as what is lost (a float next to 1 has no more than 6e-8 to say it with), and the normaliser is summed in double.

// tune: GROUPS = 8 | 16

#include <cuda_bf16.h>

constexpr int COLUMNS = 32;

template <int DK>
__global__ void __launch_bounds__(GROUPS * 32)
mlstm_naive(const __nv_bfloat16* __restrict__ q, const __nv_bfloat16* __restrict__ k, const __nv_bfloat16* __restrict__ v,
            const float* __restrict__ igate, const float* __restrict__ fgate, const float* __restrict__ c0,
            const float* __restrict__ n0, const float* __restrict__ m0, __nv_bfloat16* __restrict__ h,
            float* __restrict__ c, float* __restrict__ n, float* __restrict__ m, int S, int DV, float scale, float eps) {
  constexpr int ROWS = DK / GROUPS;
  __shared__ float q_t[DK], k_t[DK], part[GROUPS][COLUMNS];
  __shared__ double part_n[GROUPS];
  const int tid = threadIdx.x, group = tid / COLUMNS, column = tid % COLUMNS, e = blockIdx.x * COLUMNS + column;
  const long long head = blockIdx.y;

  float memory[ROWS];
#pragma unroll
  for (int i = 0; i < ROWS; ++i) memory[i] = c0[(head * DK + group * ROWS + i) * DV + e];
  double normaliser = 0, last = m0[head];
  if (tid < DK) normaliser = n0[head * DK + tid];
  for (int t = 0; t < S; ++t) {
    for (int d = tid; d < DK; d += GROUPS * 32) {
      q_t[d] = __bfloat162float(q[(head * S + t) * DK + d]) * scale;
      k_t[d] = __bfloat162float(k[(head * S + t) * DK + d]);
    }
    __syncthreads();  // this token is visible
    const float x = fgate[head * S + t], in = igate[head * S + t];
    const float l = fminf(x, 0.0f) - log1pf(expf(-fabsf(x)));
    const double next = fmax(l + last, (double)in);
    const float lost = expm1f(l + last - next), add = expf(in - next);
    const float value = __bfloat162float(v[(head * S + t) * DV + e]);
    last = next;
    float sum = 0;
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
      const int d = group * ROWS + i;
      const float key = add * k_t[d];
      memory[i] += lost * memory[i] + key * value;
      sum += q_t[d] * memory[i];
    }
    part[group][column] = sum;
    double sum_n = 0;
    if (tid < DK) {
      normaliser += lost * normaliser + (double)add * k_t[tid];
      sum_n = q_t[tid] * normaliser;
    }
    for (int step = 16; step > 0; step /= 2) sum_n += __shfl_xor_sync(0xffffffffu, sum_n, step);
    if (column == 0) part_n[group] = sum_n;
    __syncthreads();  // every group's part is visible, and nobody reads the token any more
    if (group == 0) {
      float total = 0;
      double total_n = 0;
      for (int g = 0; g < GROUPS; ++g) {
        total += part[g][column];
        total_n += part_n[g];
      }
      h[(head * S + t) * DV + e] = __float2bfloat16(total / (fmaxf(fabsf((float)total_n), expf((float)-next)) + eps));
    }
  }
#pragma unroll
  for (int i = 0; i < ROWS; ++i) c[(head * DK + group * ROWS + i) * DV + e] = memory[i];
  if (blockIdx.x == 0 && tid < DK) n[head * DK + tid] = (float)normaliser;
  if (blockIdx.x == 0 && tid == 0) m[head] = (float)last;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.DK == 64 || p.DK == 256, "DK must be 64 or 256")) return;
  if (!plan.require(p.DV % COLUMNS == 0, "DV must be a multiple of 32")) return;
  plan.launch(p.DK == 64 ? "mlstm_naive<64>" : "mlstm_naive<256>").grid(p.DV / COLUMNS, p.B * p.NH).block(GROUPS * 32)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.igate).arg(p.fgate).arg(p.c0).arg(p.n0).arg(p.m0).arg(p.h).arg(p.c).arg(p.n)
      .arg(p.m).arg(p.S).arg(p.DV).arg(p.scale).arg(p.eps);
}
