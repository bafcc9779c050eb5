// SPDX-License-Identifier: Apache-2.0
// mLSTM in chunks on mma.sync: q, k [B, NH, S, DK], v [B, NH, S, DV] (bf16) with gates, outputs h and the final state.
//
// Technique (chunkwise parallel form, as Tiled Flash Linear Attention): a block takes one head and COLUMNS channels of its
// values, and walks the sequence in chunks of 64 tokens. Within a chunk h is the quadratic form (Q K^T with gates as
// weights) V; what came before is Q C. The memory C [DK, COLUMNS] stays in registers as accumulators; a bf16 copy in
// shared memory is the operand of Q C. One warp scans the chunk's gates while all multiply. With b the running sum of
// the log-sigmoids and a = igate - b, token t has the stabiliser m = b + M, M the running maximum of a and the m before
// the chunk: all weights are exponentials of a - M, which is never positive. Runs from sm_80 on.
//
// Ladder:
//   naive.cu      token after token, two barriers each
//   this file     64 tokens a step on tensor cores, memory in registers
//                 sums of gates in double: where gates close, floats cost 2 % of the smallest denominators
//   left to do    wgmma and TMA, larger chunks, memories of chunks in parallel for few heads

// tune: COLUMNS_MAX = 64 | 32

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int CHUNK = 64, WARPS = 8;
constexpr float LOG2E = 1.44269504f;

/// Where chunk `chunk` of 16 bytes of row `row` lies: eight neighbouring rows meet eight different banks.
template <int CHUNKS>
__device__ __forceinline__ int place(int row, int chunk) {
  return CHUNKS >= 8 ? chunk ^ (row & 7) : chunk ^ ((row >> 1) & 3);
}

template <int DK, int COLUMNS>
struct Shared {
  uint4 q[2][CHUNK][DK / 8], k[2][CHUNK][DK / 8], v[2][CHUNK][COLUMNS / 8];
  uint4 c[DK][COLUMNS / 8];
  float n[DK], dot[CHUNK];                              // the normaliser before the chunk, and its products with the queries
  float4 n_part[WARPS][DK / 4];                         // what each warp's tokens add to it
  float2 a[CHUNK], top[CHUNK];                          // gates in base-2 units, in two floats: a, M
  float m[CHUNK], weight[CHUNK];                        // m; 2^(a - last M)
};

/// Copies CHUNK rows, `stride` elements apart; rows from `valid` on become zero.
template <int CHUNKS>
__device__ __forceinline__ void load_tile(uint4 (&to)[CHUNK][CHUNKS], const unsigned short* from, int stride, int valid) {
#pragma unroll
  for (int i = threadIdx.x; i < CHUNK * CHUNKS; i += WARPS * 32) {
    const int row = i / CHUNKS, chunk = i % CHUNKS;
    const bool is_valid = row < valid;
    ptx::cp_async_16(&to[row][place<CHUNKS>(row, chunk)], from + (is_valid ? row * stride + chunk * 8 : 0), is_valid);
  }
}

/// Two B operands of 8 columns each from rows 16 `step` on and columns 16 `pair` on of a row-major tile.
template <int ROWS, int CHUNKS>
__device__ __forceinline__ void load_columns(unsigned (&b)[4], const uint4 (&tile)[ROWS][CHUNKS], int step, int pair,
                                             int lane) {
  const int row = step * 16 + (lane & 15);
  ptx::ldmatrix_x4_trans(b, &tile[row][place<CHUNKS>(row, pair * 2 + (lane >> 4))]);
}

__device__ __forceinline__ unsigned scaled(unsigned pair, float low, float high) {
  return ptx::pack_bf16(ptx::low_bf16(pair) * low, ptx::high_bf16(pair) * high);
}

/// x in two floats; what is below every gate stays there.
__device__ __forceinline__ float2 split(double x) {
  const float high = (float)x;
  return make_float2(high, isinf(high) ? 0.0f : (float)(x - high));
}

/// x - y, exactly where they are close.
__device__ __forceinline__ float difference(const float2& x, const float2& y) { return (x.x - y.x) + (x.y - y.y); }

/// Two tokens a lane: a, M, m and 2^(a - last M) of a chunk whose stabiliser before it is `before`. In double: where
/// gates close, sums reach hundreds, and a float's rounding of them would show in quotients of weights.
__device__ __forceinline__ void scan_gates(const float2& in, const float2& forget, float before, int lane, int tokens,
                                           float2* a, float2* top, float* m, float* weight) {
  constexpr double log2e = 1.4426950408889634;
  const auto log_sigmoid = [](float x) { return (fminf(x, 0.0f) - log1pf(expf(-fabsf(x)))) * log2e; };
  const double first = 2 * lane < tokens ? log_sigmoid(forget.x) : 0.0;
  const double both = first + (2 * lane + 1 < tokens ? log_sigmoid(forget.y) : 0.0);
  double sum = both;  // of this lane's tokens and all before
  for (int step = 1; step < 32; step *= 2) {
    const double other = __shfl_up_sync(0xffffffffu, sum, step);
    if (lane >= step) sum += other;
  }
  const double b[2] = {sum - both + first, sum};
  const double of[2] = {2 * lane < tokens ? in.x * log2e - b[0] : -INFINITY,
                        2 * lane + 1 < tokens ? in.y * log2e - b[1] : -INFINITY};
  double largest = fmax(of[0], of[1]);
  for (int step = 1; step < 32; step *= 2) {
    const double other = __shfl_up_sync(0xffffffffu, largest, step);
    if (lane >= step) largest = fmax(largest, other);
  }
  const double up_to = __shfl_up_sync(0xffffffffu, largest, 1), start = before;
  const double tops[2] = {fmax(fmax(start, lane > 0 ? up_to : start), of[0]), fmax(start, largest)};
  const double last_top = __shfl_sync(0xffffffffu, tops[1], 31);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    weight[2 * lane + i] = ptx::ex2((float)(of[i] - last_top));
    a[2 * lane + i] = split(of[i]);
    top[2 * lane + i] = split(tops[i]);
    m[2 * lane + i] = (float)(b[i] + tops[i]);
  }
}

template <int DK, int COLUMNS>
__global__ void __launch_bounds__(WARPS * 32, 1)
mlstm_chunked(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
              const unsigned short* __restrict__ v, const float* __restrict__ igate, const float* __restrict__ fgate,
              const float* __restrict__ c0, const float* __restrict__ n0, const float* __restrict__ m0,
              unsigned short* __restrict__ h, float* __restrict__ c_out, float* __restrict__ n_out,
              float* __restrict__ m_out, int S, int DV, float scale, float eps) {
  constexpr int ROW_BLOCKS = DK / 16;                                        // of the memory
  constexpr int BLOCKS = ROW_BLOCKS > WARPS ? ROW_BLOCKS / WARPS : 1;        // of them a warp's
  constexpr int GROUPS = ROW_BLOCKS < WARPS ? WARPS / ROW_BLOCKS : 1;        // of its columns
  constexpr int MEMORY_COLUMNS = COLUMNS / GROUPS, MEMORY_TILES = MEMORY_COLUMNS / 8, OUT_TILES = COLUMNS / 16;
  extern __shared__ __align__(128) unsigned char memory[];
  Shared<DK, COLUMNS>& shared = *reinterpret_cast<Shared<DK, COLUMNS>*>(memory);
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, g = lane / 4, t = lane % 4;
  const int columns = blockIdx.x * COLUMNS, row_block = warp % ROW_BLOCKS * BLOCKS, group = warp / ROW_BLOCKS;
  const int block = warp % 4, out_group = warp / 4;  // 16 tokens of the chunk, half of the columns
  const long long head = blockIdx.y;
  q += head * S * DK;
  k += head * S * DK;
  v += head * S * DV + columns;
  h += head * S * DV + columns;
  igate += head * S;
  fgate += head * S;

  const auto fetch = [&](int first, int buffer) {
    load_tile(shared.q[buffer], q + (long long)first * DK, DK, S - first);
    load_tile(shared.k[buffer], k + (long long)first * DK, DK, S - first);
    load_tile(shared.v[buffer], v + (long long)first * DV, DV, S - first);
    ptx::cp_async_commit();
  };
  float2 in = {0, 0}, forget = {0, 0};  // the next chunk's gates, in the warp that scans them
  const auto fetch_gates = [&](int first) {
    const int token = first + 2 * lane;
    if (token < S) in.x = igate[token], forget.x = fgate[token];
    if (token + 1 < S) in.y = igate[token + 1], forget.y = fgate[token + 1];
  };
  float c[BLOCKS][MEMORY_TILES][4];
  const long long memory_at = (head * DK + row_block * 16 + g) * DV + columns + group * MEMORY_COLUMNS + t * 2;
  const auto publish = [&] {  // the memory as operand of the next chunk
#pragma unroll
    for (int r = 0; r < BLOCKS; ++r) {
#pragma unroll
      for (int i = 0; i < MEMORY_TILES; ++i) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int row = (row_block + r) * 16 + g + half * 8, chunk = group * MEMORY_TILES + i;
          reinterpret_cast<unsigned*>(&shared.c[row][place<COLUMNS / 8>(row, chunk)])[t] =
              ptx::pack_bf16(c[r][i][half * 2], c[r][i][half * 2 + 1]);
        }
      }
    }
  };

  fetch(0, 0);
  if (warp == 0) fetch_gates(0);
#pragma unroll
  for (int r = 0; r < BLOCKS; ++r) {
#pragma unroll
    for (int i = 0; i < MEMORY_TILES; ++i) {
      const float* const at = c0 + memory_at + (long long)r * 16 * DV + i * 8;
      const float2 upper = *reinterpret_cast<const float2*>(at), lower = *reinterpret_cast<const float2*>(at + 8 * DV);
      c[r][i][0] = upper.x, c[r][i][1] = upper.y, c[r][i][2] = lower.x, c[r][i][3] = lower.y;
    }
  }
  publish();
  for (int d = tid; d < DK; d += WARPS * 32) shared.n[d] = n0[head * DK + d];
  float before = m0[head] * LOG2E;  // the stabiliser before the chunk

  for (int first = 0, buffer = 0; first < S; first += CHUNK, buffer ^= 1) {
    const int tokens = min(CHUNK, S - first);
    ptx::cp_async_wait<0>();
    __syncthreads();  // this chunk and the state before it are here, and nobody reads the last chunk any more
    if (first + CHUNK < S) fetch(first + CHUNK, buffer ^ 1);
    if (warp == 0) {
      scan_gates(in, forget, before, lane, tokens, shared.a, shared.top, shared.m, shared.weight);
      fetch_gates(first + CHUNK);
    }
    {  // products of queries with the normaliser: a quarter of the channels per thread
      const int row = tid / 4, part = tid % 4;
      float sum = 0;
#pragma unroll
      for (int chunk = part; chunk < DK / 8; chunk += 4) {
        const uint4 values = shared.q[buffer][row][place<DK / 8>(row, chunk)];
        const unsigned pairs[] = {values.x, values.y, values.z, values.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          sum = fmaf(ptx::low_bf16(pairs[i]), shared.n[chunk * 8 + i * 2], sum);
          sum = fmaf(ptx::high_bf16(pairs[i]), shared.n[chunk * 8 + i * 2 + 1], sum);
        }
      }
      sum += __shfl_xor_sync(0xffffffffu, sum, 1);
      sum += __shfl_xor_sync(0xffffffffu, sum, 2);
      if (part == 0) shared.dot[row] = sum;
    }

    // Products within the chunk, and with the memory.
    float p[CHUNK / 8][4] = {}, acc[OUT_TILES][4] = {};
#pragma unroll
    for (int step = 0; step < DK / 16; ++step) {
      unsigned a[4], b[4];
      const int row = block * 16 + (lane & 15);
      ptx::ldmatrix_x4(a, &shared.q[buffer][row][place<DK / 8>(row, step * 2 + (lane >> 4))]);
#pragma unroll
      for (int pair = 0; pair < CHUNK / 16; ++pair) {
        if (pair > block) break;  // later tokens
        const int key = pair * 16 + (lane & 7) + (lane >> 4) * 8;
        ptx::ldmatrix_x4(b, &shared.k[buffer][key][place<DK / 8>(key, step * 2 + ((lane >> 3) & 1))]);
        ptx::mma_bf16(p[pair * 2], a, b[0], b[1]);
        ptx::mma_bf16(p[pair * 2 + 1], a, b[2], b[3]);
      }
#pragma unroll
      for (int pair = 0; pair < OUT_TILES / 2; ++pair) {
        load_columns(b, shared.c, step, out_group * (OUT_TILES / 2) + pair, lane);
        ptx::mma_bf16(acc[pair * 2], a, b[0], b[1]);
        ptx::mma_bf16(acc[pair * 2 + 1], a, b[2], b[3]);
      }
    }
    __syncthreads();  // gates and products with the normaliser are visible, and nobody reads the normaliser any more

    const int token = block * 16 + g;  // and the one eight further
    float inverse[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = token + half * 8;
      const float2 top = shared.top[row];
      const float since = ptx::ex2((before - top.x) - top.y) * scale;
#pragma unroll
      for (int i = 0; i < OUT_TILES; ++i) {
        acc[i][half * 2] *= since;
        acc[i][half * 2 + 1] *= since;
      }
      float sum = 0;
#pragma unroll
      for (int n = 0; n < CHUNK / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int key = n * 8 + t * 2 + e;
          p[n][half * 2 + e] *= key > row ? 0.0f : ptx::ex2(difference(shared.a[key], top)) * scale;
          sum += p[n][half * 2 + e];
        }
      }
      sum += __shfl_xor_sync(0xffffffffu, sum, 1);
      sum += __shfl_xor_sync(0xffffffffu, sum, 2);
      inverse[half] = 1.0f / (fmaxf(fabsf(sum + since * shared.dot[row]), ptx::ex2(-shared.m[row])) + eps);
    }
#pragma unroll
    for (int step = 0; step < CHUNK / 16; ++step) {
      if (step > block) break;
      const unsigned a[4] = {ptx::pack_bf16(p[step * 2][0], p[step * 2][1]), ptx::pack_bf16(p[step * 2][2], p[step * 2][3]),
                             ptx::pack_bf16(p[step * 2 + 1][0], p[step * 2 + 1][1]),
                             ptx::pack_bf16(p[step * 2 + 1][2], p[step * 2 + 1][3])};
#pragma unroll
      for (int pair = 0; pair < OUT_TILES / 2; ++pair) {
        unsigned b[4];
        load_columns(b, shared.v[buffer], step, out_group * (OUT_TILES / 2) + pair, lane);
        ptx::mma_bf16(acc[pair * 2], a, b[0], b[1]);
        ptx::mma_bf16(acc[pair * 2 + 1], a, b[2], b[3]);
      }
    }
    // Neighbouring lanes exchange halves of two tiles, so that a row's 32 bytes leave together.
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int pair = 0; pair < OUT_TILES / 2; ++pair) {
        const float by = inverse[half];
        const unsigned even = ptx::pack_bf16(acc[pair * 2][half * 2] * by, acc[pair * 2][half * 2 + 1] * by);
        const unsigned odd = ptx::pack_bf16(acc[pair * 2 + 1][half * 2] * by, acc[pair * 2 + 1][half * 2 + 1] * by);
        const unsigned other = __shfl_xor_sync(0xffffffffu, lane & 1 ? even : odd, 1);
        if (token + half * 8 < tokens) {
          unsigned short* const to = h + (long long)(first + token + half * 8) * DV + out_group * (COLUMNS / 2) + pair * 16;
          *reinterpret_cast<uint2*>(to + (lane & 1) * 8 + (t >> 1) * 4) = lane & 1 ? make_uint2(other, odd) : make_uint2(even, other);
        }
      }
    }

    // The state after this chunk.
    const float keep = ptx::ex2((before - shared.top[CHUNK - 1].x) - shared.top[CHUNK - 1].y);
    before = shared.m[CHUNK - 1];
    // The normaliser: a warp takes an eighth of the tokens, a lane eight channels.
    for (int chunk = lane; chunk < DK / 8; chunk += 32) {
      float sum[8] = {};
#pragma unroll
      for (int i = 0; i < CHUNK / WARPS; ++i) {
        const int j = warp * (CHUNK / WARPS) + i;
        const uint4 keys = shared.k[buffer][j][place<DK / 8>(j, chunk)];
        const unsigned pairs[] = {keys.x, keys.y, keys.z, keys.w};
        const float weight = shared.weight[j];
#pragma unroll
        for (int d = 0; d < 4; ++d) {
          sum[d * 2] = fmaf(weight, ptx::low_bf16(pairs[d]), sum[d * 2]);
          sum[d * 2 + 1] = fmaf(weight, ptx::high_bf16(pairs[d]), sum[d * 2 + 1]);
        }
      }
      shared.n_part[warp][chunk * 2] = make_float4(sum[0], sum[1], sum[2], sum[3]);
      shared.n_part[warp][chunk * 2 + 1] = make_float4(sum[4], sum[5], sum[6], sum[7]);
    }
#pragma unroll
    for (int r = 0; r < BLOCKS; ++r) {
#pragma unroll
      for (int i = 0; i < MEMORY_TILES; ++i) {
        c[r][i][0] *= keep, c[r][i][1] *= keep, c[r][i][2] *= keep, c[r][i][3] *= keep;
      }
    }
#pragma unroll
    for (int step = 0; step < CHUNK / 16; ++step) {
      float weight[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) weight[i] = shared.weight[step * 16 + i / 2 * 8 + t * 2 + i % 2];
      unsigned a[BLOCKS][4], b[4];
      const int key = step * 16 + (lane & 7) + (lane >> 4) * 8;
#pragma unroll
      for (int r = 0; r < BLOCKS; ++r) {
        ptx::ldmatrix_x4_trans(a[r], &shared.k[buffer][key][place<DK / 8>(key, (row_block + r) * 2 + ((lane >> 3) & 1))]);
        a[r][0] = scaled(a[r][0], weight[0], weight[1]);
        a[r][1] = scaled(a[r][1], weight[0], weight[1]);
        a[r][2] = scaled(a[r][2], weight[2], weight[3]);
        a[r][3] = scaled(a[r][3], weight[2], weight[3]);
      }
#pragma unroll
      for (int pair = 0; pair < MEMORY_TILES / 2; ++pair) {
        load_columns(b, shared.v[buffer], step, group * (MEMORY_TILES / 2) + pair, lane);
#pragma unroll
        for (int r = 0; r < BLOCKS; ++r) {
          ptx::mma_bf16(c[r][pair * 2], a[r], b[0], b[1]);
          ptx::mma_bf16(c[r][pair * 2 + 1], a[r], b[2], b[3]);
        }
      }
    }
    publish();        // nobody reads the memory before this chunk: the barrier is behind its products
    __syncthreads();  // every warp's part of the normaliser is visible
    for (int d = tid; d < DK; d += WARPS * 32) {
      float sum = keep * shared.n[d];
#pragma unroll
      for (int w = 0; w < WARPS; ++w) sum += reinterpret_cast<const float*>(shared.n_part[w])[d];
      shared.n[d] = sum;
    }
  }
#pragma unroll
  for (int r = 0; r < BLOCKS; ++r) {
#pragma unroll
    for (int i = 0; i < MEMORY_TILES; ++i) {
      float* const at = c_out + memory_at + (long long)r * 16 * DV + i * 8;
      *reinterpret_cast<float2*>(at) = make_float2(c[r][i][0], c[r][i][1]);
      *reinterpret_cast<float2*>(at + 8 * DV) = make_float2(c[r][i][2], c[r][i][3]);
    }
  }
  if (blockIdx.x > 0) return;
  for (int d = tid; d < DK; d += WARPS * 32) n_out[head * DK + d] = shared.n[d];
  if (tid == 0) m_out[head] = before * 0.69314718056f;
}

constexpr long long shared_bytes(int DK, int columns) {
  return 2LL * 2 * CHUNK * (2 * DK + columns) + 2LL * DK * columns + 4LL * (DK + WARPS * DK + 7 * CHUNK);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.DK == 64 || p.DK == 256, "DK must be 64 or 256")) return;
  if (!plan.require(p.DV % 64 == 0, "DV must be a multiple of 64")) return;
  // Fewer columns where shared memory is short, or heads are too few to fill the device for long.
  const bool is_narrow = COLUMNS_MAX == 32 || shared_bytes(p.DK, 64) > p.device.shared_bytes_max ||
                         ((long long)p.B * p.NH * (p.DV / 64) * 4 < p.device.sms * 3 && p.S > 2 * CHUNK);
  const int columns = is_narrow ? 32 : 64;
  if (!plan.require(shared_bytes(p.DK, columns) <= p.device.shared_bytes_max, "shared memory is too small")) return;
  const char* const wide = p.DK == 64 ? "mlstm_chunked<64, 64>" : "mlstm_chunked<256, 64>";
  const char* const narrow = p.DK == 64 ? "mlstm_chunked<64, 32>" : "mlstm_chunked<256, 32>";
  plan.launch(is_narrow ? narrow : wide).grid(p.DV / columns, p.B * p.NH).block(WARPS * 32).shared(shared_bytes(p.DK, columns))
      .arg(p.q).arg(p.k).arg(p.v).arg(p.igate).arg(p.fgate).arg(p.c0).arg(p.n0).arg(p.m0).arg(p.h).arg(p.c).arg(p.n)
      .arg(p.m).arg(p.S).arg(p.DV).arg(p.scale).arg(p.eps);
}
