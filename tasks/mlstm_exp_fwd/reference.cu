// SPDX-License-Identifier: Apache-2.0
// Reference of mlstm_exp_fwd in float64, for the (b, n) heads listed, with the state (C, n, m) from (c0, n0, m0):
//   l = log(sigmoid(fgate_t)), m_t = max(l + m_{t-1}, igate_t), u = exp(l + m_{t-1} - m_t), w = exp(igate_t - m_t)
//   C_t = u C_{t-1} + w k_t v_t^T,  n_t = u n_{t-1} + w k_t,  q' = scale q_t
//   h_t = C_t^T q' / (max(|n_t . q'|, exp(-m_t)) + eps)
//
// Gates and denominators of all tokens come first (one block per head), then the columns of C: a block takes 32 of them,
// a thread one, each of the eight warps an eighth of the rows. Beside it stands by how much an honest kernel in chunks of 16 tokens
// errs (h_emulated, c_emulated: the exact values and that on top): it rounds weights within a chunk, the state at its start, weighted keys
// and outputs to bf16. Not one such kernel's error, which may be next to nothing by chance where a sum has few terms, but the
// root of the sum of all roundings' mean squares.

#include <kernelites/reference_rounding.cuh>

#define CHUNK 16
#define COLUMNS 32
#define GROUPS 8
#define ROUNDING_SQUARED (1.0 / 3 / (1 << 18))  // mean square of what rounding to bf16 changes, of a number's own

using namespace kernelites::reference;

/// What a token's gates amount to.
struct Token {
  double m, sum, denominator;  // sum: of log-sigmoids from the chunk's first token to this one
};

/// A block per listed head, a thread per key channel.
template <int DK>
__global__ void __launch_bounds__(DK)
mlstm_tokens(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
             const float* __restrict__ igate, const float* __restrict__ fgate, const float* __restrict__ n0,
             const float* __restrict__ m0, double* __restrict__ n, double* __restrict__ m, Token* __restrict__ tokens,
             const long long* __restrict__ rows, int S, float scale, float eps) {
  const int d = threadIdx.x;
  const long long row = rows[blockIdx.x];
  double n_d = n0[row * DK + d], stabiliser = m0[row], sum = 0;
  for (int t = 0; t < S; ++t) {
    const double x = fgate[row * S + t], l = x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x)), in = igate[row * S + t];
    const double next = fmax(l + stabiliser, in);
    n_d = exp(l + stabiliser - next) * n_d + exp(in - next) * from_bf16(k[(row * S + t) * DK + d]);
    stabiliser = next;
    sum = (t % CHUNK == 0 ? 0 : sum) + l;
    const double dot = block_sum<DK>(n_d * scale * from_bf16(q[(row * S + t) * DK + d]));
    if (d == 0) tokens[(long long)blockIdx.x * S + t] = {next, sum, fmax(fabs(dot), exp(-next)) + (double)eps};
  }
  n[(long long)blockIdx.x * DK + d] = n_d;
  if (d == 0) m[blockIdx.x] = stabiliser;
}

/// weights[r, t, j] = scale exp(...) q_t . k_j for the tokens j up to t of t's own chunk. A warp per token, a lane
/// per j.
extern "C" __global__ void __launch_bounds__(GROUPS * 32)
mlstm_weights(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
              const float* __restrict__ igate, const Token* __restrict__ tokens, double* __restrict__ weights,
              const long long* __restrict__ rows, int S, int DK, float scale) {
  const int lane = threadIdx.x % 32, t = blockIdx.x * GROUPS + threadIdx.x / 32;
  const long long row = rows[blockIdx.y];
  if (t >= S) return;
  tokens += (long long)blockIdx.y * S;
  const int first = t / CHUNK * CHUNK;
  for (int j = first + lane; j <= t; j += 32) {
    double dot = 0;
    for (int d = 0; d < DK; ++d) dot += from_bf16(q[(row * S + t) * DK + d]) * from_bf16(k[(row * S + j) * DK + d]);
    dot *= scale * exp(tokens[t].sum - tokens[j].sum + igate[row * S + j] - tokens[t].m);
    weights[((long long)blockIdx.y * S + t) * CHUNK + j - first] = dot;
  }
}

template <int DK>
__global__ void __launch_bounds__(GROUPS * 32)
mlstm_columns(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
              const unsigned short* __restrict__ v, const float* __restrict__ igate, const float* __restrict__ c0,
              const float* __restrict__ m0, const Token* __restrict__ tokens, const double* __restrict__ weights,
              double* __restrict__ h, double* __restrict__ c, double* __restrict__ h_emulated,
              double* __restrict__ c_emulated, const long long* __restrict__ rows, int S, int DV, float scale) {
  constexpr int ROWS = DK / GROUPS;
  __shared__ double q_t[DK], k_t[DK], v_chunk[CHUNK][COLUMNS], part[2][GROUPS][COLUMNS];
  const int tid = threadIdx.x, group = tid / COLUMNS, column = tid % COLUMNS, e = blockIdx.x * COLUMNS + column;
  const long long listed = blockIdx.y, row = rows[listed];
  tokens += listed * S;

  // The exact state; what roundings changed in it, squared; that and what rounding it at the chunk's start changes (both in units of a rounding)
  double s[ROWS], changed[ROWS] = {}, at_start_squared[ROWS];
  for (int i = 0; i < ROWS; ++i) s[i] = c0[(row * DK + group * ROWS + i) * DV + e];
  double before = m0[row], at_start = before;  // m before the token, before the chunk
  for (int first = 0; first < S; first += CHUNK) {
    const int count = min(CHUNK, S - first);
    __syncthreads();  // nobody reads the last chunk's values any more
    for (int j = group; j < count; j += GROUPS) v_chunk[j][column] = from_bf16(v[(row * S + first + j) * DV + e]);
    for (int i = 0; i < ROWS; ++i) at_start_squared[i] = s[i] * s[i] + changed[i];
    for (int t = 0; t < count; ++t) {
      const Token token = tokens[first + t];
      const double in = igate[row * S + first + t], l = token.sum - (t > 0 ? tokens[first + t - 1].sum : 0);
      for (int d = tid; d < DK; d += GROUPS * 32) {
        q_t[d] = from_bf16(q[(row * S + first + t) * DK + d]) * scale;
        k_t[d] = from_bf16(k[(row * S + first + t) * DK + d]);
      }
      __syncthreads();  // this token is visible
      const double keep = exp(l + before - token.m), value = exp(in - token.m) * v_chunk[t][column];
      double exact = 0, squared = 0;
      for (int i = 0; i < ROWS; ++i) {
        const int d = group * ROWS + i;
        const double added = k_t[d] * value;
        s[i] = keep * s[i] + added;
        changed[i] = keep * keep * changed[i] + added * added;
        exact += q_t[d] * s[i];
        squared += q_t[d] * q_t[d] * at_start_squared[i];
      }
      squared *= exp(2 * (token.sum + at_start - token.m));
      for (int j = group; j <= t; j += GROUPS) {
        const double weighted = weights[(listed * S + first + t) * CHUNK + j] * v_chunk[j][column];
        squared += weighted * weighted;
      }
      part[0][group][column] = exact;
      part[1][group][column] = squared;
      before = token.m;
      __syncthreads();  // every group's part is visible, and nobody reads the token any more
      if (group == 0) {
        double sum = 0, sum_squared = 0;
        for (int g = 0; g < GROUPS; ++g) sum += part[0][g][column], sum_squared += part[1][g][column];
        const double output = sum / token.denominator, error = sum_squared / (token.denominator * token.denominator) + output * output;
        h[(listed * S + first + t) * DV + e] = output;
        h_emulated[(listed * S + first + t) * DV + e] = output + sqrt(ROUNDING_SQUARED * error);
      }
    }
    at_start = tokens[first + count - 1].m;
  }
  for (int i = 0; i < ROWS; ++i) {
    c[(listed * DK + group * ROWS + i) * DV + e] = s[i];
    c_emulated[(listed * DK + group * ROWS + i) * DV + e] = s[i] + sqrt(ROUNDING_SQUARED * changed[i]);
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const bool is_small = p.DK == 64;
  const auto tokens = plan.workspace(kl::f64, (long long)p.R * p.S * 3);
  const auto weights = plan.workspace(kl::f64, (long long)p.R * p.S * CHUNK);
  plan.launch(is_small ? "mlstm_tokens<64>" : "mlstm_tokens<256>").grid(p.R).block(p.DK)
      .arg(p.q).arg(p.k).arg(p.igate).arg(p.fgate).arg(p.n0).arg(p.m0).arg(p.n).arg(p.m).arg(tokens).arg(p.rows)
      .arg(p.S).arg(p.scale).arg(p.eps);
  plan.launch("mlstm_weights").grid(kl::cdiv(p.S, GROUPS), p.R).block(GROUPS * 32)
      .arg(p.q).arg(p.k).arg(p.igate).arg(tokens).arg(weights).arg(p.rows).arg(p.S).arg(p.DK).arg(p.scale);
  plan.launch(is_small ? "mlstm_columns<64>" : "mlstm_columns<256>").grid(p.DV / COLUMNS, p.R).block(GROUPS * 32)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.igate).arg(p.c0).arg(p.m0).arg(tokens).arg(weights).arg(p.h).arg(p.c)
      .arg(p.h_emulated).arg(p.c_emulated).arg(p.rows).arg(p.S).arg(p.DV).arg(p.scale);
}
