// SPDX-License-Identifier: Apache-2.0
// Neighbourhood attention over images on mma.sync: q, k, v, o [B, X, Y, H, D] (bf16), with lse [B, X, Y, H].
//
// Technique (fused neighbourhood attention): a block takes 2 WARPS x 8 queries that are neighbours in the image, so that
// their windows nearly coincide, and walks the rectangle that holds all their windows in tiles of KEYS / 8 x 8 keys. Tiles
// are gathered from the image as it lies in memory: no token is permuted. A tile inside every window (with strides:
// nearly all of them) is not masked; in the others a key's row is the number of its 8-key fragment and its column that
// of the lane, so that a window is four comparisons. The products are those of gqa_prefill_causal/mma_sync.cu: operands
// in registers, cp.async, exchanged 16-byte chunks.
//
// Ladder:
//   naive.cu    one warp per query, scalar products
//   this file   tensor cores by mma.sync, windows shared by the queries of a block; runs from sm_80 on

// On an H100 two warps and 32 keys are 8 to 14 % faster with small windows (nat, hdit), and take 1.5 times as long at D = 128.
// tune: WARPS = 4 | 2
// tune: KEYS = 64 | 32

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int QUERIES = WARPS * 16, ROWS = WARPS * 2, COLUMNS = 8, KEY_ROWS = KEYS / 8;
constexpr float LOWEST = -1e30f;  // finite, so that the difference of two maxima is never NaN

/// Rows of D / 8 chunks of 16 bytes.
template <int D>
struct Shared {
  uint4 q[QUERIES][D / 8], k[KEYS][D / 8], v[KEYS][D / 8];
};

/// An image's extents.
struct Image {
  int X, Y, H;
};

/// Where chunk `chunk` of row `row` lies: neighbouring rows hold a chunk in different places, so that eight rows of it
/// are in all banks.
template <int D>
__device__ __forceinline__ int place(int row, int chunk) {
  return D == 32 ? chunk ^ (row >> 1 & 3) : chunk ^ (row & 7);
}

/// Copies a rectangle of tokens, eight to a row, from token (x, y) of a head on; what lies outside becomes zero.
template <int rows, int CHUNKS>
__device__ __forceinline__ void load_tile(uint4 (&to)[rows][CHUNKS], const unsigned short* head, const Image& image, int x,
                                          int y) {
#pragma unroll
  for (int i = threadIdx.x; i < rows * CHUNKS; i += WARPS * 32) {
    const int row = i / CHUNKS, chunk = i % CHUNKS, at_x = x + row / 8, at_y = y + row % 8;
    const bool is_valid = at_x < image.X && at_y < image.Y;
    const long long token = (long long)at_x * image.Y + at_y;
    ptx::cp_async_16(&to[row][place<CHUNKS * 8>(row, chunk)],
                     head + (is_valid ? token * image.H * CHUNKS * 8 + chunk * 8 : 0), is_valid);
  }
}

/// Scores of the warp's 16 queries against a tile of keys: s[n] are keys 8n to 8n + 7.
template <int D>
__device__ __forceinline__ void multiply_keys(float (&s)[KEYS / 8][4], const unsigned (&q)[D / 16][4],
                                              const uint4 (&k)[KEYS][D / 8], int lane) {
#pragma unroll
  for (int n = 0; n < KEYS / 8; ++n) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
#pragma unroll
    for (int pair = 0; pair < KEYS / 16; ++pair) {
      const int row = pair * 16 + (lane & 7) + (lane >> 4) * 8, chunk = step * 2 + ((lane >> 3) & 1);
      unsigned b[4];
      ptx::ldmatrix_x4(b, &k[row][place<D>(row, chunk)]);
      ptx::mma_bf16(s[pair * 2], q[step], b[0], b[1]);
      ptx::mma_bf16(s[pair * 2 + 1], q[step], b[2], b[3]);
    }
  }
}

/// Adds the probabilities of a tile times its values to o[c], channels 8c to 8c + 7.
template <int D>
__device__ __forceinline__ void multiply_values(float (&o)[D / 8][4], const float (&p)[KEYS / 8][4],
                                                const uint4 (&v)[KEYS][D / 8], int lane) {
#pragma unroll
  for (int step = 0; step < KEYS / 16; ++step) {
    const unsigned a[4] = {
        ptx::pack_bf16(p[step * 2][0], p[step * 2][1]), ptx::pack_bf16(p[step * 2][2], p[step * 2][3]),
        ptx::pack_bf16(p[step * 2 + 1][0], p[step * 2 + 1][1]), ptx::pack_bf16(p[step * 2 + 1][2], p[step * 2 + 1][3])};
#pragma unroll
    for (int pair = 0; pair < D / 16; ++pair) {
      const int row = step * 16 + (lane & 15), chunk = pair * 2 + (lane >> 4);
      unsigned b[4];
      ptx::ldmatrix_x4_trans(b, &v[row][place<D>(row, chunk)]);
      ptx::mma_bf16(o[pair * 2], a, b[0], b[1]);
      ptx::mma_bf16(o[pair * 2 + 1], a, b[2], b[3]);
    }
  }
}

/// Turns scores into probabilities under the running maximum, in base-2 units, and brings sum and output to it. Hidden
/// keys have the score -infinity; queries that have seen no key so far keep the maximum LOWEST and the sum 0.
template <int D>
__device__ __forceinline__ void softmax(float (&s)[KEYS / 8][4], float (&max)[2], float (&sum)[2], float (&o)[D / 8][4],
                                        float scale) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float top = max[half];
#pragma unroll
    for (int n = 0; n < KEYS / 8; ++n) top = fmaxf(top, fmaxf(s[n][half * 2], s[n][half * 2 + 1]));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
    const float shrink = ptx::ex2((max[half] - top) * scale), offset = top * scale;
    max[half] = top;
    sum[half] *= shrink;
#pragma unroll
    for (int c = 0; c < D / 8; ++c) {
      o[c][half * 2] *= shrink;
      o[c][half * 2 + 1] *= shrink;
    }
#pragma unroll
    for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& score = s[n][half * 2 + e];
        score = ptx::ex2(fmaf(score, scale, -offset));
        sum[half] += score;
      }
    }
  }
}

/// Where the window of place i begins: centred at the leader of i's group, moved inside. Never falls with i.
__device__ __forceinline__ int window_start(int i, int L, int w, int s) {
  const int leader = min(i / s * s + s / 2, L - 1);
  return min(max(leader - w / 2, 0), L - w);
}

template <int D>
__global__ void __launch_bounds__(WARPS * 32, 8 / WARPS)
gna_mma(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k, const unsigned short* __restrict__ v,
        unsigned short* __restrict__ o, float* __restrict__ lse, int X, int Y, int H, int wx, int wy, int sx, int sy,
        float scale_log2) {
  extern __shared__ __align__(128) unsigned char memory[];
  Shared<D>& shared = *reinterpret_cast<Shared<D>*>(memory);
  const Image image{X, Y, H};
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, h = blockIdx.y, tiles_y = (Y + COLUMNS - 1) / COLUMNS;
  const int x = blockIdx.x / tiles_y * ROWS, y = blockIdx.x % tiles_y * COLUMNS;
  const long long head = ((long long)blockIdx.z * X * Y * H + h) * D;

  // The rectangle of all windows of the block, and the part that lies in every one of them.
  const int last_x = window_start(min(x + ROWS, X) - 1, X, wx, sx), last_y = window_start(min(y + COLUMNS, Y) - 1, Y, wy, sy);
  const int first_x = window_start(x, X, wx, sx), first_y = window_start(y, Y, wy, sy);
  const int tiles_along_x = (last_x + wx - first_x + KEY_ROWS - 1) / KEY_ROWS;
  const int tiles_along_y = (last_y + wy - first_y + COLUMNS - 1) / COLUMNS, tiles = tiles_along_x * tiles_along_y;

  load_tile(shared.q, q + head, image, x, y);
  load_tile(shared.k, k + head, image, first_x, first_y);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  __syncthreads();  // queries and the first keys are here

  unsigned a[D / 16][4];
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
    const int row = warp * 16 + (lane & 15);
    ptx::ldmatrix_x4(a[step], &shared.q[row][place<D>(row, step * 2 + (lane >> 4))]);
  }
  // The lane's queries: in rows query_x and query_x + 1, column query_y. Those outside the image get some window.
  const int query_x = x + warp * 2, query_y = y + lane / 4;
  const int window_y = window_start(min(query_y, Y - 1), Y, wy, sy);
  const int window_x[2] = {window_start(min(query_x, X - 1), X, wx, sx), window_start(min(query_x + 1, X - 1), X, wx, sx)};
  float s[KEYS / 8][4], acc[D / 8][4] = {}, max[2] = {LOWEST, LOWEST}, sum[2] = {0, 0};
  int key_x = first_x, key_y = first_y;
  for (int tile = 0; tile < tiles; ++tile) {
    load_tile(shared.v, v + head, image, key_x, key_y);
    ptx::cp_async_commit();
    multiply_keys<D>(s, a, shared.k, lane);
    const bool is_whole = last_x <= key_x && key_x + KEY_ROWS <= first_x + wx && last_y <= key_y &&
                          key_y + COLUMNS <= first_y + wy;
    if (!is_whole) {
      const int column = key_y + (lane & 3) * 2 - window_y;
#pragma unroll
      for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int row = key_x + n - window_x[e / 2];
          if ((unsigned)row >= (unsigned)wx || (unsigned)(column + e % 2) >= (unsigned)wy) s[n][e] = -INFINITY;
        }
      }
    }
    softmax<D>(s, max, sum, acc, scale_log2);
    key_y += COLUMNS;
    if (key_y >= first_y + tiles_along_y * COLUMNS) {
      key_y = first_y;
      key_x += KEY_ROWS;
    }
    ptx::cp_async_wait<0>();
    __syncthreads();  // the values are here, and nobody reads the keys any more
    if (tile + 1 < tiles) load_tile(shared.k, k + head, image, key_x, key_y);
    ptx::cp_async_commit();
    multiply_values<D>(acc, s, shared.v, lane);
    ptx::cp_async_wait<0>();
    __syncthreads();  // the next keys are here, and nobody reads the values any more
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float total = sum[half] + __shfl_xor_sync(0xffffffffu, sum[half], 1);
    total += __shfl_xor_sync(0xffffffffu, total, 2);
    if (query_x + half >= X || query_y >= Y) continue;
    const float inverse = 1.0f / total;
    const long long row = (((long long)blockIdx.z * X + query_x + half) * Y + query_y) * H + h;
#pragma unroll
    for (int c = 0; c < D / 8; ++c) {
      const unsigned pair = ptx::pack_bf16(acc[c][half * 2] * inverse, acc[c][half * 2 + 1] * inverse);
      *reinterpret_cast<unsigned*>(o + row * D + c * 8 + (lane & 3) * 2) = pair;
    }
    if ((lane & 3) == 0) lse[row] = max[half] * scale_log2 * 0.69314718056f + logf(total);
  }
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 32 || p.D == 64 || p.D == 128, "D must be 32, 64 or 128")) return;
  plan.launch(p.D == 32 ? "gna_mma<32>" : p.D == 64 ? "gna_mma<64>" : "gna_mma<128>")
      .grid(kl::cdiv(p.X, ROWS) * kl::cdiv(p.Y, COLUMNS), p.H, p.B).block(WARPS * 32)
      .shared(p.D == 32 ? sizeof(Shared<32>) : p.D == 64 ? sizeof(Shared<64>) : sizeof(Shared<128>))
      .arg(p.q).arg(p.k).arg(p.v).arg(p.o).arg(p.lse).arg(p.X).arg(p.Y).arg(p.H).arg(p.wx).arg(p.wy).arg(p.sx).arg(p.sy)
      .arg(p.scale * 1.44269504f);
}
