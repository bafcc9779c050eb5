// SPDX-License-Identifier: Apache-2.0
// Lightning attention in chunks on mma.sync: q, k, v [B, H, T, D] (bf16) with a decay per head, o and the final state.
//
// Technique (Lightning Attention-2): a block takes one head and COLUMNS channels of its values, and walks the sequence
// in chunks of 64 tokens. Within a chunk attention is the quadratic form (Q K^T with decays as weights) V; what came
// before is Q S. The state S [D, COLUMNS] stays in registers as accumulators; a bf16 copy in shared memory is the
// operand of Q S. The next chunk's tokens arrive by cp.async meanwhile. Weights are powers of differences of positions,
// never quotients of powers, so that fast decays do not overflow. Columns are split over blocks until they fill the
// device. Runs from sm_80 on.
//
// Ladder:
//   naive.cu      token after token, one block per head
//   this file     64 tokens a step on tensor cores, state in registers, tokens read once (twice and more for few heads);
//                 powers of the decay once instead of in every chunk: 3 to 7 % on an H100
//   left to do    wgmma and TMA, states of chunks in parallel for few heads, 2 x 64 tokens a step

// tune: FILL_PERCENT = 75 | 50 | 150

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int CHUNK = 64, WARPS = 8;

/// Where chunk `chunk` of 16 bytes of row `row` lies: eight neighbouring rows meet eight different banks.
template <int CHUNKS>
__device__ __forceinline__ int place(int row, int chunk) {
  return CHUNKS >= 8 ? chunk ^ (row & 7) : chunk ^ ((row >> 1) & 3);
}

template <int D, int COLUMNS>
struct Shared {
  uint4 q[2][CHUNK][D / 8], k[2][CHUNK][D / 8], v[2][CHUNK][COLUMNS / 8];
  uint4 s[D][COLUMNS / 8];
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

template <int D, int COLUMNS>
__global__ void __launch_bounds__(WARPS * 32, 1)
lightning_chunked(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
                  const unsigned short* __restrict__ v, const float* __restrict__ slope, const float* __restrict__ s0,
                  unsigned short* __restrict__ o, float* __restrict__ state, int H, int T, float scale) {
  constexpr int STATE_ROWS = D / 16, STATE_COLUMNS = COLUMNS * STATE_ROWS / WARPS;  // blocks of rows; of one warp
  constexpr int STATE_TILES = STATE_COLUMNS / 8, OUT_TILES = COLUMNS / 16;
  extern __shared__ __align__(128) unsigned char memory[];
  Shared<D, COLUMNS>& shared = *reinterpret_cast<Shared<D, COLUMNS>*>(memory);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int columns = blockIdx.x * COLUMNS, state_row = warp % STATE_ROWS, state_group = warp / STATE_ROWS;
  const int block = warp % 4, out_group = warp / 4;  // 16 tokens of the chunk, half of the columns
  const long long head = blockIdx.y;
  const float rate = slope[head % H] * 1.44269504f;  // the decay is 2^-rate
  q += head * T * D;
  k += head * T * D;
  v += head * T * D + columns;
  o += head * T * D + columns;

  const auto fetch = [&](int first, int buffer) {
    load_tile(shared.q[buffer], q + (long long)first * D, D, T - first);
    load_tile(shared.k[buffer], k + (long long)first * D, D, T - first);
    load_tile(shared.v[buffer], v + (long long)first * D, D, T - first);
    ptx::cp_async_commit();
  };
  float s[STATE_TILES][4];
  const long long state_at = (head * D + state_row * 16 + g) * D + columns + state_group * STATE_COLUMNS + t * 2;
  const auto publish = [&] {  // the state as operand of the next chunk
#pragma unroll
    for (int c = 0; c < STATE_TILES; ++c) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = state_row * 16 + g + half * 8, chunk = state_group * STATE_TILES + c;
        reinterpret_cast<unsigned*>(&shared.s[row][place<COLUMNS / 8>(row, chunk)])[t] =
            ptx::pack_bf16(s[c][half * 2], s[c][half * 2 + 1]);
      }
    }
  };

  fetch(0, 0);
#pragma unroll
  for (int c = 0; c < STATE_TILES; ++c) {
    const float2 upper = *reinterpret_cast<const float2*>(s0 + state_at + c * 8);
    const float2 lower = *reinterpret_cast<const float2*>(s0 + state_at + c * 8 + 8 * D);
    s[c][0] = upper.x, s[c][1] = upper.y, s[c][2] = lower.x, s[c][3] = lower.y;
  }
  publish();

  // Powers of the decay by distances within a chunk are the same in all of them.
  const int token = block * 16 + g;  // and the one eight further
  float since[2], decay[CHUNK / 8][4], left[CHUNK / 16][4];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    since[half] = ptx::ex2(-rate * (token + half * 8 + 1)) * scale;
#pragma unroll
    for (int n = 0; n < CHUNK / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int distance = token + half * 8 - (n * 8 + t * 2 + e);
        decay[n][half * 2 + e] = distance < 0 ? 0.0f : ptx::ex2(-rate * distance) * scale;
      }
    }
  }
  const auto weigh_keys = [&](int tokens) {  // by what is left of them at the chunk's end; tokens beyond the last are zero
#pragma unroll
    for (int step = 0; step < CHUNK / 16; ++step) {
#pragma unroll
      for (int i = 0; i < 4; ++i) left[step][i] = ptx::ex2(-rate * max(tokens - 1 - (step * 16 + i / 2 * 8 + t * 2 + i % 2), 0));
    }
  };
  weigh_keys(CHUNK);

  for (int first = 0, buffer = 0; first < T; first += CHUNK, buffer ^= 1) {
    const int tokens = min(CHUNK, T - first);
    ptx::cp_async_wait<0>();
    __syncthreads();  // this chunk and the state before it are here, and nobody reads the last chunk any more
    if (first + CHUNK < T) fetch(first + CHUNK, buffer ^ 1);

    // Weights within the chunk, and what the state contributes.
    float p[CHUNK / 8][4] = {}, acc[OUT_TILES][4] = {};
#pragma unroll
    for (int step = 0; step < D / 16; ++step) {
      unsigned a[4], b[4];
      const int row = block * 16 + (lane & 15);
      ptx::ldmatrix_x4(a, &shared.q[buffer][row][place<D / 8>(row, step * 2 + (lane >> 4))]);
#pragma unroll
      for (int pair = 0; pair < CHUNK / 16; ++pair) {
        if (pair > block) break;  // later tokens
        const int key = pair * 16 + (lane & 7) + (lane >> 4) * 8;
        ptx::ldmatrix_x4(b, &shared.k[buffer][key][place<D / 8>(key, step * 2 + ((lane >> 3) & 1))]);
        ptx::mma_bf16(p[pair * 2], a, b[0], b[1]);
        ptx::mma_bf16(p[pair * 2 + 1], a, b[2], b[3]);
      }
#pragma unroll
      for (int pair = 0; pair < OUT_TILES / 2; ++pair) {
        load_columns(b, shared.s, step, out_group * (OUT_TILES / 2) + pair, lane);
        ptx::mma_bf16(acc[pair * 2], a, b[0], b[1]);
        ptx::mma_bf16(acc[pair * 2 + 1], a, b[2], b[3]);
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int c = 0; c < OUT_TILES; ++c) {
        acc[c][half * 2] *= since[half];
        acc[c][half * 2 + 1] *= since[half];
      }
    }
#pragma unroll
    for (int n = 0; n < CHUNK / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) p[n][i] *= decay[n][i];
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
        const unsigned even = ptx::pack_bf16(acc[pair * 2][half * 2], acc[pair * 2][half * 2 + 1]);
        const unsigned odd = ptx::pack_bf16(acc[pair * 2 + 1][half * 2], acc[pair * 2 + 1][half * 2 + 1]);
        const unsigned other = __shfl_xor_sync(0xffffffffu, lane & 1 ? even : odd, 1);
        if (token + half * 8 < tokens) {
          unsigned short* const to = o + (long long)(first + token + half * 8) * D + out_group * (COLUMNS / 2) + pair * 16;
          *reinterpret_cast<uint2*>(to + (lane & 1) * 8 + (t >> 1) * 4) = lane & 1 ? make_uint2(other, odd) : make_uint2(even, other);
        }
      }
    }

    // The state after this chunk.
    if (tokens < CHUNK) weigh_keys(tokens);
    const float whole = ptx::ex2(-rate * tokens);
#pragma unroll
    for (int c = 0; c < STATE_TILES; ++c) {
      s[c][0] *= whole, s[c][1] *= whole, s[c][2] *= whole, s[c][3] *= whole;
    }
#pragma unroll
    for (int step = 0; step < CHUNK / 16; ++step) {
      unsigned a[4], b[4];
      const int key = step * 16 + (lane & 7) + (lane >> 4) * 8;
      ptx::ldmatrix_x4_trans(a, &shared.k[buffer][key][place<D / 8>(key, state_row * 2 + ((lane >> 3) & 1))]);
      a[0] = scaled(a[0], left[step][0], left[step][1]);
      a[1] = scaled(a[1], left[step][0], left[step][1]);
      a[2] = scaled(a[2], left[step][2], left[step][3]);
      a[3] = scaled(a[3], left[step][2], left[step][3]);
#pragma unroll
      for (int pair = 0; pair < STATE_TILES / 2; ++pair) {
        load_columns(b, shared.v[buffer], step, state_group * (STATE_TILES / 2) + pair, lane);
        ptx::mma_bf16(s[pair * 2], a, b[0], b[1]);
        ptx::mma_bf16(s[pair * 2 + 1], a, b[2], b[3]);
      }
    }
    __syncthreads();  // nobody reads the state before this chunk any more
    publish();
  }
#pragma unroll
  for (int c = 0; c < STATE_TILES; ++c) {
    *reinterpret_cast<float2*>(state + state_at + c * 8) = make_float2(s[c][0], s[c][1]);
    *reinterpret_cast<float2*>(state + state_at + c * 8 + 8 * D) = make_float2(s[c][2], s[c][3]);
  }
}

/// Channels of the values per block: all, or for long sequences fewer until the blocks fill FILL_PERCENT of the device.
constexpr int columns_for(const Problem& p) {
  int columns = p.D;
  while (p.T > 2 * CHUNK && columns > 32 && (long long)p.B * p.H * (p.D / columns) * 100 < (long long)p.device.sms * FILL_PERCENT) columns /= 2;
  return columns;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 64 || p.D == 128, "D must be 64 or 128")) return;
  const int columns = columns_for(p);
  const char* const wide = columns == 128 ? "lightning_chunked<128, 128>" : columns == 64 ? "lightning_chunked<128, 64>" : "lightning_chunked<128, 32>";
  const char* const narrow = columns == 64 ? "lightning_chunked<64, 64>" : "lightning_chunked<64, 32>";
  const long long bytes = 2LL * 2 * CHUNK * (2 * p.D + columns) + 2LL * p.D * columns;
  plan.launch(p.D == 128 ? wide : narrow).grid(p.D / columns, p.B * p.H).block(WARPS * 32).shared(bytes)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.slope).arg(p.s0).arg(p.o).arg(p.state).arg(p.H).arg(p.T).arg(p.scale);
}
