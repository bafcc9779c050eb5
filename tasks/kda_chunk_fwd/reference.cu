// SPDX-License-Identifier: Apache-2.0
// Reference of kda_chunk_fwd in float64, for the (b, h) heads listed, from S_{-1} = s0[b, h]:
//   R = diag(exp(g_t)) S_{t-1},  u_t = beta_t (v_t - R^T k_t),  S_t = R + k_t u_t^T,  o_t = scale S_t^T q_t,  state = S_{T-1}
//
// A block walks all tokens with 32 columns of S: a thread holds one column, each of the eight warps an eighth of the
// rows. Beside it an honest chunked kernel is emulated (o_emulated, state_emulated), in chunks of 16 tokens, whose updates
// are U = M^-1 diag(beta) (V - K' S) with the unit triangular M of products of keys: this inverse, the differences in
// parentheses, U, products of queries with keys, the state at the chunk's start, and decayed queries and keys (here each
// pair's, decayed to a border between them) are rounded to bf16 as operands of tensor cores, everything else is exact. Two
// kernels of their own prepare the weights.

#include <kernelites/reference_rounding.cuh>

#define CHUNK 16
#define COLUMNS 32
#define GROUPS 8

using namespace kernelites::reference;

/// Products of keys (weights[0]) and scaled queries (weights[1], rounded) at token t with the keys j <= t of its chunk,
/// decayed from j to t. A warp per token, weights [2, R, T, CHUNK].
extern "C" __global__ void __launch_bounds__(GROUPS * 32)
kda_weights(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k, const float* __restrict__ g,
            double* __restrict__ weights, const long long* __restrict__ rows, int H, int T, int D, float scale) {
  const int lane = threadIdx.x % 32, t = blockIdx.x * GROUPS + threadIdx.x / 32;
  const long long row = rows[blockIdx.y], origin = (row / H * T * H + row % H) * D, step = (long long)H * D;
  if (t >= T) return;
  const long long at = ((long long)blockIdx.y * T + t) * CHUNK, of_queries = (long long)gridDim.y * T * CHUNK;
  double decay[4] = {};  // the sum of g after token j, of the lane's channels
  for (int j = t; j >= t / CHUNK * CHUNK; --j) {
    double of_key = 0, of_query = 0;
    for (int i = 0; i * 32 < D; ++i) {
      const int d = i * 32 + lane;
      const double border = fmax((double)g[origin + t * step + d], -1.0);  // no operand is as it was, but where nothing decays
      const double since = exp(decay[i] / 2 + border), until = exp(decay[i] / 2 - border);
      const double key = rounded_to_bf16(until * from_bf16(k[origin + j * step + d]));
      of_key += rounded_to_bf16(since * from_bf16(k[origin + t * step + d])) * key;
      of_query += rounded_to_bf16(since * from_bf16(q[origin + t * step + d])) * key;
      decay[i] += g[origin + j * step + d];
    }
    of_key = warp_sum(of_key);
    of_query = warp_sum(of_query);
    if (lane == 0) {
      weights[at + j % CHUNK] = of_key;
      weights[of_queries + at + j % CHUNK] = rounded_to_bf16(scale * of_query);
    }
  }
}

/// Replaces the products of keys by M^-1 diag(beta), rounded. A block per chunk, a thread per column.
extern "C" __global__ void __launch_bounds__(CHUNK)
kda_inverse(double* __restrict__ weights, const float* __restrict__ beta, const long long* __restrict__ rows, int H, int T) {
  const int column = threadIdx.x, first = blockIdx.x * CHUNK, tokens = min(CHUNK, T - first);
  const long long row = rows[blockIdx.y], at = ((long long)blockIdx.y * T + first) * CHUNK;
  const auto rate = [&](int t) { return (double)beta[(row / H * T + first + t) * H + row % H]; };
  double x[CHUNK] = {};
  for (int t = column; t < tokens; ++t) {
    x[t] = t == column ? 1 : 0;
    for (int j = column; j < t; ++j) x[t] -= rate(t) * weights[at + t * CHUNK + j] * x[j];
  }
  __syncthreads();  // every column is solved, and nobody reads the products any more
  for (int t = column; t < tokens; ++t) weights[at + t * CHUNK + column] = rounded_to_bf16(x[t] * rate(column));
}

template <int D>
__global__ void __launch_bounds__(GROUPS * 32)
kda_reference(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
              const unsigned short* __restrict__ v, const float* __restrict__ g, const float* __restrict__ beta,
              const float* __restrict__ s0, const double* __restrict__ weights, double* __restrict__ o,
              double* __restrict__ state, double* __restrict__ o_emulated, double* __restrict__ state_emulated,
              const long long* __restrict__ rows, int H, int T, float scale) {
  constexpr int ROWS = D / GROUPS;
  __shared__ double q_t[D], k_t[D], decay[D], q_rounded[D], k_rounded[D];
  __shared__ float sum_g[CHUNK][D], k_chunk[CHUNK][D];  // the emulated kernel's
  __shared__ double difference[CHUNK][COLUMNS], u_chunk[CHUNK][COLUMNS];
  __shared__ double part[4][GROUPS][COLUMNS];  // of R^T k, of o; emulated: of S^T k, of S^T q
  const int tid = threadIdx.x, group = tid / COLUMNS, column = tid % COLUMNS, e = blockIdx.x * COLUMNS + column;
  const long long listed = blockIdx.y, row = rows[listed], of_queries = (long long)gridDim.y * T * CHUNK;
  const long long origin = (row / H * T * H + row % H) * D, step = (long long)H * D;
  const auto total = [&](int of) {
    double sum = 0;
    for (int i = 0; i < GROUPS; ++i) sum += part[of][i][column];
    return sum;
  };

  double s[ROWS], s_rounded[ROWS], s_emulated[ROWS];  // the exact state; at the chunk's start; emulated
  for (int i = 0; i < ROWS; ++i) s[i] = s_emulated[i] = s0[(row * D + group * ROWS + i) * D + e];
  for (int t = 0; t < T; ++t) {
    const int in_chunk = t % CHUNK;
    if (in_chunk == 0) {
      for (int i = 0; i < ROWS; ++i) s_rounded[i] = rounded_to_bf16(s_emulated[i]);
    }
    if (tid < D) {
      const double log_decay = g[origin + t * step + tid];
      q_t[tid] = from_bf16(q[origin + t * step + tid]) * scale;
      k_t[tid] = from_bf16(k[origin + t * step + tid]);
      k_chunk[in_chunk][tid] = (float)k_t[tid];
      decay[tid] = exp(log_decay);
      const double sum = (in_chunk > 0 ? (double)sum_g[in_chunk - 1][tid] : 0) + log_decay;
      sum_g[in_chunk][tid] = (float)sum;
      q_rounded[tid] = rounded_to_bf16(q_t[tid] * exp(sum));
      k_rounded[tid] = rounded_to_bf16(k_t[tid] * exp(sum));
    }
    __syncthreads();  // this token is visible, and nobody reads the last one's parts any more
    double of_key = 0, of_key_emulated = 0, of_query_emulated = 0, of_query = 0;
    for (int i = 0; i < ROWS; ++i) {
      const int d = group * ROWS + i;
      s[i] *= decay[d];
      of_key += k_t[d] * s[i];
      of_key_emulated += k_rounded[d] * s_rounded[i];
      of_query_emulated += q_rounded[d] * s_rounded[i];
    }
    part[0][group][column] = of_key;
    part[2][group][column] = of_key_emulated;
    part[3][group][column] = of_query_emulated;
    __syncthreads();  // every group's part is visible
    const double rate = beta[(row / H * T + t) * H + row % H], value = from_bf16(v[origin + t * step + e]);
    const double u = rate * (value - total(0));
    for (int i = 0; i < ROWS; ++i) {
      const int d = group * ROWS + i;
      s[i] += k_t[d] * u;
      of_query += q_t[d] * s[i];
    }
    part[1][group][column] = of_query;
    const double* const inverse = weights + (listed * T + t) * CHUNK;
    if (group == 0) {  // its warp alone reads the differences
      difference[in_chunk][column] = rounded_to_bf16(value - total(2));
      double sum = 0;
      for (int j = 0; j <= in_chunk; ++j) sum += inverse[j] * difference[j][column];
      u_chunk[in_chunk][column] = rounded_to_bf16(sum);
    }
    __syncthreads();  // the update and every group's part of the output are visible
    if (group == 0) o[(listed * T + t) * D + e] = total(1);
    if (group == 1) {
      double sum = total(3);
      for (int j = 0; j <= in_chunk; ++j) sum += inverse[of_queries + j] * u_chunk[j][column];
      o_emulated[(listed * T + t) * D + e] = rounded_to_bf16(sum);
    }
    if (in_chunk == CHUNK - 1 || t == T - 1) {
      for (int i = 0; i < ROWS; ++i) {
        const int d = group * ROWS + i;
        s_emulated[i] *= exp((double)sum_g[in_chunk][d]);
        for (int j = 0; j <= in_chunk; ++j) {
          const double left = exp((double)sum_g[in_chunk][d] - (double)sum_g[j][d]);
          s_emulated[i] += rounded_to_bf16(k_chunk[j][d] * left) * u_chunk[j][column];
        }
      }
      __syncthreads();  // nobody reads this chunk any more
    }
  }
  for (int i = 0; i < ROWS; ++i) {
    state[(listed * D + group * ROWS + i) * D + e] = s[i];
    state_emulated[(listed * D + group * ROWS + i) * D + e] = s_emulated[i];
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const auto weights = plan.workspace(kl::f64, 2LL * p.R * p.T * CHUNK);
  plan.launch("kda_weights").grid(kl::cdiv(p.T, GROUPS), p.R).block(GROUPS * 32)
      .arg(p.q).arg(p.k).arg(p.g).arg(weights).arg(p.rows).arg(p.H).arg(p.T).arg(p.D).arg(p.scale);
  plan.launch("kda_inverse").grid(kl::cdiv(p.T, CHUNK), p.R).block(CHUNK)
      .arg(weights).arg(p.beta).arg(p.rows).arg(p.H).arg(p.T);
  plan.launch(p.D == 64 ? "kda_reference<64>" : "kda_reference<128>").grid(p.D / COLUMNS, p.R).block(GROUPS * 32)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.g).arg(p.beta).arg(p.s0).arg(weights).arg(p.o).arg(p.state).arg(p.o_emulated)
      .arg(p.state_emulated).arg(p.rows).arg(p.H).arg(p.T).arg(p.scale);
}
