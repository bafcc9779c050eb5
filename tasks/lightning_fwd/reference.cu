// SPDX-License-Identifier: Apache-2.0
// Reference of lightning_fwd in float64, for the (b, h) heads listed, with decay = exp(-slope[h]):
//   S_t = decay S_{t-1} + k_t v_t^T from S_{-1} = s0[b, h],  o_t = scale S_t^T q_t,  state = S_{T-1}
//
// A block walks all tokens with 32 columns of S: a thread holds one column, each of the eight warps an eighth of the
// rows. Beside it an honest kernel in chunks of 16 tokens is emulated (o_emulated, state_emulated): the weights within a chunk, the
// state at its start and the decayed keys are rounded to bf16 as operands of tensor cores, everything else is exact.
// Its weights come from a kernel of their own.

#include <kernelites/reference_rounding.cuh>

#define CHUNK 16
#define COLUMNS 32
#define GROUPS 8

using namespace kernelites::reference;

/// weights[r, t, j] = bf16(scale decay^(t - j) q_t . k_j) for the tokens j up to t of t's own chunk. A warp per token,
/// a lane per j.
extern "C" __global__ void __launch_bounds__(GROUPS * 32)
lightning_weights(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
                  const float* __restrict__ slope, double* __restrict__ weights, const long long* __restrict__ rows,
                  int H, int T, int D, float scale) {
  const int lane = threadIdx.x % 32, t = blockIdx.x * GROUPS + threadIdx.x / 32;
  const long long row = rows[blockIdx.y];
  if (t >= T) return;
  const int first = t / CHUNK * CHUNK;
  for (int j = first + lane; j <= t; j += 32) {
    double dot = 0;
    for (int d = 0; d < D; ++d) dot += from_bf16(q[(row * T + t) * D + d]) * from_bf16(k[(row * T + j) * D + d]);
    dot *= scale * exp(-(double)slope[row % H] * (t - j));
    weights[((long long)blockIdx.y * T + t) * CHUNK + j - first] = rounded_to_bf16(dot);
  }
}

template <int D>
__global__ void __launch_bounds__(GROUPS * 32)
lightning_reference(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
                    const unsigned short* __restrict__ v, const float* __restrict__ slope,
                    const float* __restrict__ s0, const double* __restrict__ weights, double* __restrict__ o,
                    double* __restrict__ state, double* __restrict__ o_emulated, double* __restrict__ state_emulated,
                    const long long* __restrict__ rows, int H, int T, float scale) {
  constexpr int ROWS = D / GROUPS;
  __shared__ double q_t[D], k_t[D], k_rounded[D], v_chunk[CHUNK][COLUMNS], power[CHUNK + 1];
  __shared__ double part[2][GROUPS][COLUMNS];
  const int tid = threadIdx.x, group = tid / COLUMNS, column = tid % COLUMNS, e = blockIdx.x * COLUMNS + column;
  const long long listed = blockIdx.y, row = rows[listed];
  const double rate = slope[row % H];

  double s[ROWS], s_rounded[ROWS], s_emulated[ROWS];  // the exact state; at the chunk's start; emulated
  for (int i = 0; i < ROWS; ++i) s[i] = s_emulated[i] = s0[(row * D + group * ROWS + i) * D + e];
  if (tid <= CHUNK) power[tid] = exp(-rate * tid);
  for (int first = 0; first < T; first += CHUNK) {
    const int tokens = min(CHUNK, T - first);
    __syncthreads();  // the powers are visible, and nobody reads the last chunk's values any more
    for (int j = group; j < tokens; j += GROUPS) v_chunk[j][column] = from_bf16(v[(row * T + first + j) * D + e]);
    for (int i = 0; i < ROWS; ++i) {
      s_rounded[i] = rounded_to_bf16(s_emulated[i]);
      s_emulated[i] *= power[tokens];
    }
    for (int t = 0; t < tokens; ++t) {
      if (tid < D) {
        q_t[tid] = from_bf16(q[(row * T + first + t) * D + tid]) * scale;
        k_t[tid] = from_bf16(k[(row * T + first + t) * D + tid]);
        k_rounded[tid] = rounded_to_bf16(k_t[tid] * power[tokens - 1 - t]);
      }
      __syncthreads();  // this token is visible
      double exact = 0, emulated = 0;
      for (int i = 0; i < ROWS; ++i) {
        const int d = group * ROWS + i;
        s[i] = power[1] * s[i] + k_t[d] * v_chunk[t][column];
        exact += q_t[d] * s[i];
        emulated += q_t[d] * s_rounded[i];
        s_emulated[i] += k_rounded[d] * v_chunk[t][column];
      }
      emulated *= power[t + 1];
      for (int j = group; j <= t; j += GROUPS) {
        emulated += weights[(listed * T + first + t) * CHUNK + j] * v_chunk[j][column];
      }
      part[0][group][column] = exact;
      part[1][group][column] = emulated;
      __syncthreads();  // every group's part is visible, and nobody reads the token any more
      if (group < 2) {
        double sum = 0;
        for (int g = 0; g < GROUPS; ++g) sum += part[group][g][column];
        (group == 0 ? o : o_emulated)[(listed * T + first + t) * D + e] = group == 0 ? sum : rounded_to_bf16(sum);
      }
    }
  }
  for (int i = 0; i < ROWS; ++i) {
    state[(listed * D + group * ROWS + i) * D + e] = s[i];
    state_emulated[(listed * D + group * ROWS + i) * D + e] = s_emulated[i];
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const auto weights = plan.workspace(kl::f64, (long long)p.R * p.T * CHUNK);
  plan.launch("lightning_weights").grid(kl::cdiv(p.T, GROUPS), p.R).block(GROUPS * 32)
      .arg(p.q).arg(p.k).arg(p.slope).arg(weights).arg(p.rows).arg(p.H).arg(p.T).arg(p.D).arg(p.scale);
  plan.launch(p.D == 64 ? "lightning_reference<64>" : "lightning_reference<128>")
      .grid(p.D / COLUMNS, p.R).block(GROUPS * 32)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.slope).arg(p.s0).arg(weights).arg(p.o).arg(p.state).arg(p.o_emulated)
      .arg(p.state_emulated).arg(p.rows).arg(p.H).arg(p.T).arg(p.scale);
}
