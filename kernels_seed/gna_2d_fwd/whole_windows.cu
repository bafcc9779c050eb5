// SPDX-License-Identifier: Apache-2.0
// Neighbourhood attention over images on mma.sync: q, k, v, o [B, X, Y, H, D] (bf16), with lse [B, X, Y, H].
//
// Technique, where windows are small: a block takes a patch of up to 16 x 8 queries. TMA brings them and the rectangle of
// keys and values of all their windows, once and whole; nothing of the block waits again. A warp takes 2 x 8 queries
// and of the rectangle only what their windows touch. Windows of up to eight rows and two fragments' width, stride 1: the keys
// are the rows of the products, a row of a window is one fragment of sixteen, two rows of queries share what is loaded and see
// no row in vain; probabilities are turned by movmatrix, outputs by stmatrix. Other windows: the rows one by one, in each the
// one or two fragments of eight keys, rows hidden by a comparison for the warp. Columns are hidden by the addend of the product
// that scales a score. Outputs take the place of the queries and leave by TMA, which cuts what lies outside the image.
// Windows of more than two fragments, and heads of 128, walk tiles of keys as mma_sync.cu does: that kernel is here too.
//
// Ladder (geometric means over the five shapes with small windows on an H100, n = 12):
//   naive.cu    one warp per query, scalar products
//   mma_sync.cu tensor cores by mma.sync, windows shared by the queries of a block, tile after tile
//   this file   the windows of a patch whole in shared memory, a warp sees its own part of them: 1.72x the
//               second (1.32 to 2.24x); keys as rows of the products, smaller patches, more blocks: 1.18x more (1.10
//               to 1.31x, an H200, n = 8); no divisions in that path since. Windows of one fragment: two heads at once,
//               with room for what is loaded in registers: 1.25x there (an H100, n = 6)
//   left to do  large windows on wgmma: there this file is mma_sync.cu, at a fifth of the tensor cores

// tune: WARPS = 4 | 2
// tune: KEYS = 64 | 32
// tune: PATCH_Y = 8 | 16
// tune: NEAR_WARPS = 4 | 7 | 8
// tune: NEAR_BLOCKS = 4 | 3 | 2
// tune: SINGLE_BLOCKS = 5 | 6 | 4

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
__device__ __forceinline__ void load_tile(uint4 (&to)[rows][CHUNKS], const unsigned short* head, const Image& image, int x, int y) {
#pragma unroll
  for (int i = threadIdx.x; i < rows * CHUNKS; i += WARPS * 32) {
    const int row = i / CHUNKS, chunk = i % CHUNKS, at_x = x + row / 8, at_y = y + row % 8;
    const bool is_valid = at_x < image.X && at_y < image.Y;
    const long long token = (long long)at_x * image.Y + at_y;
    ptx::cp_async_16(&to[row][place<CHUNKS * 8>(row, chunk)], head + (is_valid ? token * image.H * CHUNKS * 8 + chunk * 8 : 0),
                     is_valid);
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
__device__ __forceinline__ void multiply_values(float (&o)[D / 8][4], const float (&p)[KEYS / 8][4], const uint4 (&v)[KEYS][D / 8],
                                                int lane) {
#pragma unroll
  for (int step = 0; step < KEYS / 16; ++step) {
    const unsigned a[4] = {ptx::pack_bf16(p[step * 2][0], p[step * 2][1]), ptx::pack_bf16(p[step * 2][2], p[step * 2][3]),
                           ptx::pack_bf16(p[step * 2 + 1][0], p[step * 2 + 1][1]),
                           ptx::pack_bf16(p[step * 2 + 1][2], p[step * 2 + 1][3])};
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
    const bool is_whole = last_x <= key_x && key_x + KEY_ROWS <= first_x + wx && last_y <= key_y && key_y + COLUMNS <= first_y + wy;
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

// Small windows.

template <int D>
constexpr int NEAR_WARPS_OF = D == 32 ? NEAR_WARPS : 8;
constexpr int FRAGMENTS = 8;  // of eight keys that a warp holds the scores of

/// Byte offset of a 16-byte chunk of a row, as TMA writes rows of so many channels with a swizzle of their width.
template <int CHANNELS>
__device__ __forceinline__ unsigned near_place(int row, int chunk) {
  return CHANNELS == 32 ? row * 64 + ((chunk ^ (row >> 1 & 3)) << 4) : row * 128 + ((chunk ^ (row & 7)) << 4);
}

constexpr __host__ __device__ int whole(int bytes) { return (bytes + 1023) / 1024 * 1024; }

__device__ __forceinline__ unsigned transposed(unsigned matrix) {
  unsigned result;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(matrix));
  return result;
}
__device__ __forceinline__ void stmatrix_x4_trans(void* row, const unsigned (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(ptx::smem_address(row)), "r"(r[0]), "r"(r[1]),
               "r"(r[2]), "r"(r[3])
               : "memory");
}

/// Two rows of eight queries, at rows `at` and `at` + py of the queries' tile, whose windows begin at row `row` of the rectangle and
/// APART rows below, from column `column` on. Keys are rows of the products: a row of a window is one fragment of sixteen keys, of
/// which each query sees a part, and no other row is looked at. Outputs take the place of the queries; gives the largest scores and
/// the sums of queries 2t and 2t + 1.
template <int D, int HIGH, int APART>
__device__ __forceinline__ void attend(unsigned char* q_tile, const unsigned char* k_tile, const unsigned char* v_tile, int at, int py,
                                       int row, int column, int ry, int wx, const float (&hidden)[2][2], float scale_log2,
                                       uint64_t* arrived, float (&top)[2][2], float (&sum)[2][2]) {
  const int lane = threadIdx.x % 32;
  unsigned b[2][D / 16][2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
#pragma unroll
    for (int half = 0; half < D / 32; ++half) {
      unsigned q[4];
      ptx::ldmatrix_x4(q, q_tile + near_place<D>(at + r * py + (lane & 7), half * 4 + (lane >> 3)));
      b[r][half * 2][0] = q[0], b[r][half * 2][1] = q[1], b[r][half * 2 + 1][0] = q[2], b[r][half * 2 + 1][1] = q[3];
    }
  }
  // Rows of the rectangle are whole groups of eight, so that a chunk's place in a row is the same in all of them.
  const int pitch = ry * D * 2, last = wx + APART - 1;
  unsigned k_at[D / 16], v_at[D / 16];
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
    k_at[step] = row * pitch + near_place<D>(column + (lane & 15), step * 2 + (lane >> 4));
    v_at[step] = row * pitch + near_place<D>(column + (lane & 7) + (lane >> 4) * 8, step * 2 + ((lane >> 3) & 1));
  }
  float s[2][HIGH][4] = {};
#pragma unroll
  for (int r = 0; r < HIGH + APART; ++r) {
    const int from = (HIGH == 7 ? r : min(r, last)) * pitch;
#pragma unroll
    for (int step = 0; step < D / 16; ++step) {
      unsigned k[4];
      ptx::ldmatrix_x4(k, k_tile + from + k_at[step]);
      if (r < HIGH) ptx::mma_bf16(s[0][r < HIGH ? r : 0], k, b[0][step][0], b[0][step][1]);
      if (r >= APART) ptx::mma_bf16(s[1][r >= APART ? r - APART : 0], k, b[1][step][0], b[1][step][1]);
    }
  }
  unsigned p[2][HIGH][2];
#pragma unroll
  for (int q = 0; q < 2; ++q) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      top[q][e] = LOWEST;
      sum[q][e] = 0;
#pragma unroll
      for (int r = 0; r < HIGH; ++r) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& score = s[q][r][i * 2 + e];
          score = fmaf(score, scale_log2, hidden[i][e]);
          if (HIGH != 7 && r >= wx) score = -INFINITY;
          top[q][e] = fmaxf(top[q][e], score);
        }
      }
    }
#pragma unroll
    for (int step = 4; step < 32; step *= 2) {
#pragma unroll
      for (int e = 0; e < 2; ++e) top[q][e] = fmaxf(top[q][e], __shfl_xor_sync(0xffffffffu, top[q][e], step));
    }
#pragma unroll
    for (int r = 0; r < HIGH; ++r) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          s[q][r][i * 2 + e] = ptx::ex2(s[q][r][i * 2 + e] - top[q][e]);
          sum[q][e] += s[q][r][i * 2 + e];
        }
        p[q][r][i] = transposed(ptx::pack_bf16(s[q][r][i * 2], s[q][r][i * 2 + 1]));
      }
    }
#pragma unroll
    for (int step = 4; step < 32; step *= 2) {
#pragma unroll
      for (int e = 0; e < 2; ++e) sum[q][e] += __shfl_xor_sync(0xffffffffu, sum[q][e], step);
    }
  }
  ptx::mbarrier_wait(arrived, 0);  // the values are here
  float acc[2][D / 16][4] = {};
#pragma unroll
  for (int r = 0; r < HIGH + APART; ++r) {
    const int from = (HIGH == 7 ? r : min(r, last)) * pitch;
#pragma unroll
    for (int step = 0; step < D / 16; ++step) {
      unsigned v[4];
      ptx::ldmatrix_x4_trans(v, v_tile + from + v_at[step]);
      if (r < HIGH) ptx::mma_bf16(acc[0][step], v, p[0][r < HIGH ? r : 0][0], p[0][r < HIGH ? r : 0][1]);
      if (r >= APART) ptx::mma_bf16(acc[1][step], v, p[1][r >= APART ? r - APART : 0][0], p[1][r >= APART ? r - APART : 0][1]);
    }
  }
  __syncwarp();  // the queries' rows are read: outputs take their place
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float inverse[2] = {__fdividef(1.0f, sum[r][0]), __fdividef(1.0f, sum[r][1])};
#pragma unroll
    for (int half = 0; half < D / 32; ++half) {
      unsigned o[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float(&c)[4] = acc[r][half * 2 + i / 2];
        o[i] = ptx::pack_bf16(c[i % 2 * 2] * inverse[0], c[i % 2 * 2 + 1] * inverse[1]);
      }
      stmatrix_x4_trans(q_tile + near_place<D>(at + r * py + (lane & 7), half * 4 + (lane >> 3)), o);
    }
  }
}

/// A block takes px x py queries, of HEADS heads, whose channels are a row of 128 bytes together where there are two; TMA brings them
/// and the rx x ry keys and values of all their windows, once. A warp takes 2 x 8 queries of a head at a time, and of the keys only
/// the rows and the COLUMNS8 fragments of eight columns that their windows touch. HIGH: how many rows windows have at most, where
/// both strides are 1, or 0.
template <int D, int HEADS, int COLUMNS8, int HIGH>
__global__ void __launch_bounds__(NEAR_WARPS_OF<D> * 32, D == 32 ? (COLUMNS8 == 1 ? SINGLE_BLOCKS : NEAR_BLOCKS) : 2)
    gna_near(const __grid_constant__ CUtensorMap q_map, const __grid_constant__ CUtensorMap k_map,
             const __grid_constant__ CUtensorMap v_map, const __grid_constant__ CUtensorMap o_map, float* __restrict__ lse, int X,
             int Y, int H, int wx, int wy, int sx, int sy, int px, int py, int rx, int ry, int tiles_y, float scale_log2) {
  static_assert(HEADS == 1 || HIGH == 0, "windows by rows take one head");
  constexpr int ROWS_AT_ONCE = FRAGMENTS / COLUMNS8, BYTES = D * HEADS * 2;  // of a row
  extern __shared__ __align__(1024) unsigned char near_memory[];
  unsigned char* const q_tile = near_memory;
  unsigned char* const k_tile = q_tile + whole(px * py * BYTES);
  unsigned char* const v_tile = k_tile + whole(rx * ry * BYTES);
  uint64_t* const arrived = reinterpret_cast<uint64_t*>(v_tile + whole(rx * ry * BYTES));
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int h = blockIdx.x, tile = blockIdx.y, b = blockIdx.z;
  const int x = tile / tiles_y * px, y = tile % tiles_y * py;
  if (HIGH > 0) sx = sy = 1;
  const int first_x = window_start(x, X, wx, sx), first_y = window_start(y, Y, wy, sy);
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(&arrived[0], 1);
    ptx::mbarrier_init(&arrived[1], 1);
    ptx::fence_mbarrier_init();
    ptx::fence_proxy_async();
    ptx::mbarrier_arrive_expect(&arrived[0], (px * py + rx * ry) * BYTES);
    ptx::tma_load_5d(q_tile, &q_map, &arrived[0], 0, h, y, x, b);
    ptx::tma_load_5d(k_tile, &k_map, &arrived[0], 0, h, first_y, first_x, b);
    ptx::mbarrier_arrive_expect(&arrived[1], rx * ry * BYTES);
    ptx::tma_load_5d(v_tile, &v_map, &arrived[1], 0, h, first_y, first_x, b);
  }
  __syncthreads();  // the barriers are set up
  ptx::mbarrier_wait(&arrived[0], 0);

  const int wide = py == 16 ? 1 : 0, tasks = px / 2 << wide;
  for (int each = warp; each < tasks * HEADS; each += blockDim.x / 32) {
    const int task = each / HEADS, head = each % HEADS, chunk = head * (D / 8);
    const int own_x = (task >> wide) * 2, own_y = (task & wide) * 8, at_x = x + own_x, at_y = y + own_y;
    if (at_x >= X || at_y >= Y) continue;
    if constexpr (HIGH > 0) {
      const int start_x = window_start(at_x, X, wx, sx), next_x = window_start(min(at_x + 1, X - 1), X, wx, sx);
      const int from_y = window_start(at_y, Y, wy, sy), at = own_x * py + own_y, row = start_x - first_x, column = from_y - first_y;
      float hidden[2][2], top[2][2], sum[2][2];  // 0 for columns that queries 2t and 2t + 1 see
  #pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int start_y = window_start(min(at_y + t * 2 + e, Y - 1), Y, wy, sy);
  #pragma unroll
        for (int i = 0; i < 2; ++i) hidden[i][e] = (unsigned)(from_y + i * 8 + g - start_y) < (unsigned)wy ? 0.0f : -INFINITY;
      }
      if (next_x > start_x)
        attend<D, HIGH, 1>(q_tile, k_tile, v_tile, at, py, row, column, ry, wx, hidden, scale_log2, &arrived[1], top, sum);
      else
        attend<D, HIGH, 0>(q_tile, k_tile, v_tile, at, py, row, column, ry, wx, hidden, scale_log2, &arrived[1], top, sum);
  #pragma unroll
      for (int r = 0; r < 2; ++r) {
  #pragma unroll
        for (int e = 0; e < 2; ++e) {
          if (g == 0 && at_x + r < X && at_y + t * 2 + e < Y)
            lse[(((long long)b * X + at_x + r) * Y + at_y + t * 2 + e) * H + h] = (top[r][e] + ptx::lg2(sum[r][e])) * 0.69314718056f;
        }
      }
      continue;
    }
    unsigned a[D / 16][4];
#pragma unroll
    for (int step = 0; step < D / 16; ++step) {
      const int row = (own_x + ((lane >> 3) & 1)) * py + own_y + (lane & 7);
      ptx::ldmatrix_x4(a[step], q_tile + near_place<D * HEADS>(row, chunk + step * 2 + (lane >> 4)));
    }
    const int start_x[2] = {window_start(at_x, X, wx, sx), window_start(min(at_x + 1, X - 1), X, wx, sx)};
    const int start_y = window_start(min(at_y + g, Y - 1), Y, wy, sy), from_y = window_start(at_y, Y, wy, sy);
    float hidden[COLUMNS8][2];  // 0 for columns that the lane's queries see
#pragma unroll
    for (int c = 0; c < COLUMNS8; ++c) {
#pragma unroll
      for (int e = 0; e < 2; ++e) hidden[c][e] = (unsigned)(from_y + c * 8 + t * 2 + e - start_y) < (unsigned)wy ? 0.0f : -INFINITY;
    }
    const int rows = start_x[1] + wx - start_x[0], row0 = start_x[0] - first_x, column0 = from_y - first_y;
    float acc[D / 8][4] = {}, max[2] = {LOWEST, LOWEST}, sum[2] = {0, 0};
    for (int first = 0; first < rows; first += ROWS_AT_ONCE) {
      float s[FRAGMENTS][4];
#pragma unroll
      for (int f = 0; f < FRAGMENTS; ++f) {
        s[f][0] = s[f][1] = s[f][2] = s[f][3] = 0;
        const int r = first + f / COLUMNS8, row = min(row0 + r, rx - 1) * ry + column0 + f % COLUMNS8 * 8 + (lane & 7);
#pragma unroll
        for (int step = 0; step < D / 32; ++step) {
          unsigned k[4];
          ptx::ldmatrix_x4(k, k_tile + near_place<D * HEADS>(row, chunk + step * 4 + (lane >> 3)));
          ptx::mma_bf16(s[f], a[step * 2], k[0], k[1]);
          ptx::mma_bf16(s[f], a[step * 2 + 1], k[2], k[3]);
        }
      }
#pragma unroll
      for (int f = 0; f < FRAGMENTS; ++f) {
        const int key_x = start_x[0] + first + f / COLUMNS8;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const bool seen = (unsigned)(key_x - start_x[half]) < (unsigned)wx;
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            const float score = fmaf(s[f][half * 2 + e], scale_log2, hidden[f % COLUMNS8][e]);
            s[f][half * 2 + e] = seen ? score : -INFINITY;
          }
        }
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float top = max[half];
#pragma unroll
        for (int f = 0; f < FRAGMENTS; ++f) top = fmaxf(top, fmaxf(s[f][half * 2], s[f][half * 2 + 1]));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
        if (first > 0) {
          const float shrink = ptx::ex2(max[half] - top);
          sum[half] *= shrink;
#pragma unroll
          for (int c = 0; c < D / 8; ++c) {
            acc[c][half * 2] *= shrink;
            acc[c][half * 2 + 1] *= shrink;
          }
        }
        max[half] = top;
#pragma unroll
        for (int f = 0; f < FRAGMENTS; ++f) {
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            s[f][half * 2 + e] = ptx::ex2(s[f][half * 2 + e] - top);
            sum[half] += s[f][half * 2 + e];
          }
        }
      }
      if (first == 0) ptx::mbarrier_wait(&arrived[1], 0);
#pragma unroll
      for (int f = 0; f < FRAGMENTS; f += 2) {
        const unsigned p[4] = {ptx::pack_bf16(s[f][0], s[f][1]), ptx::pack_bf16(s[f][2], s[f][3]),
                               ptx::pack_bf16(s[f + 1][0], s[f + 1][1]), ptx::pack_bf16(s[f + 1][2], s[f + 1][3])};
        const int mine = f + ((lane >> 3) & 1), r = first + mine / COLUMNS8;
        const int row = min(row0 + r, rx - 1) * ry + column0 + mine % COLUMNS8 * 8 + (lane & 7);
#pragma unroll
        for (int pair = 0; pair < D / 16; ++pair) {
          unsigned v[4];
          ptx::ldmatrix_x4_trans(v, v_tile + near_place<D * HEADS>(row, chunk + pair * 2 + (lane >> 4)));
          ptx::mma_bf16(acc[pair * 2], p, v[0], v[1]);
          ptx::mma_bf16(acc[pair * 2 + 1], p, v[2], v[3]);
        }
      }
    }
    __syncwarp();  // the queries' rows are read: outputs take their place
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float total = sum[half] + __shfl_xor_sync(0xffffffffu, sum[half], 1);
      total += __shfl_xor_sync(0xffffffffu, total, 2);
      const float inverse = 1.0f / total;
      const int row = (own_x + half) * py + own_y + g;
#pragma unroll
      for (int c = 0; c < D / 8; ++c) {
        *reinterpret_cast<unsigned*>(q_tile + near_place<D * HEADS>(row, chunk + c) + t * 4) =
            ptx::pack_bf16(acc[c][half * 2] * inverse, acc[c][half * 2 + 1] * inverse);
      }
      if (t == 0 && at_x + half < X && at_y + g < Y) {
        lse[(((long long)b * X + at_x + half) * Y + at_y + g) * H + h * HEADS + head] = max[half] * 0.69314718056f + logf(total);
      }
    }
  }
  ptx::fence_proxy_async();
  __syncthreads();  // the outputs are there
  if (threadIdx.x == 0) {
    ptx::tma_store_5d(&o_map, q_tile, 0, h, y, x, b);
    ptx::tma_store_commit();
    ptx::tma_store_wait_read<0>();
  }
}

/// By how much the windows of `count` neighbours, of which the first is a multiple of `count`, begin apart at most.
constexpr int spread(int count, int s) { return count % s == 0 ? count - s : (count - 1 + s - 1) / s * s; }

/// Rows of the rectangle of a patch of `count` rows.
constexpr int reach(int count, int s, int w, int rows) { return kl::min(spread(count, s) + w, rows); }

constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.D == 32 || p.D == 64 || p.D == 128, "D must be 32, 64 or 128")) return;
  const int columns = kl::cdiv(spread(8, p.sy) + p.wy, 8);
  // The patch whose rectangles are least in all.
  int px = 4, py = 8;
  for (int x = 6; x <= 16; x += 2) {
    if (kl::cdiv(p.X, x) * reach(x, p.sx, p.wx, p.X) <= kl::cdiv(p.X, px) * reach(px, p.sx, p.wx, p.X)) px = x;
  }
  if (p.D == 32 && PATCH_Y == 16 && kl::cdiv(p.Y, 16) * (kl::round_up(8, p.sy) + 8 * columns) <= kl::cdiv(p.Y, 8) * 8 * columns)
    py = 16;
  const int rx = reach(px, p.sx, p.wx, p.X), ry = kl::round_up(py - 8, p.sy) + 8 * columns;
  // Two heads at once where a block has little to load otherwise.
  const int heads = p.D == 32 && columns == 1 && p.H % 2 == 0 ? 2 : 1, channels = p.D * heads;
  const int bytes = whole(px * py * channels * 2) + 2 * whole(rx * ry * channels * 2) + 16;
  if (p.D <= 64 && columns <= 2 && rx <= 256 && ry <= 256 && bytes <= p.device.shared_bytes_max &&
      kl::cdiv(p.X, px) * kl::cdiv(p.Y, py) <= 65535) {
    const auto swizzle = channels == 32 ? kl::swizzle_64 : kl::swizzle_128;
    const int rows = p.H / heads;
    const auto q_map = plan.tensor_map(p.q.view(p.B, p.X, p.Y, rows, channels), {4, 3, 2, 1, 0}, {channels, 1, py, px, 1}, swizzle);
    const auto k_map = plan.tensor_map(p.k.view(p.B, p.X, p.Y, rows, channels), {4, 3, 2, 1, 0}, {channels, 1, ry, rx, 1}, swizzle);
    const auto v_map = plan.tensor_map(p.v.view(p.B, p.X, p.Y, rows, channels), {4, 3, 2, 1, 0}, {channels, 1, ry, rx, 1}, swizzle);
    const auto o_map = plan.tensor_map(p.o.view(p.B, p.X, p.Y, rows, channels), {4, 3, 2, 1, 0}, {channels, 1, py, px, 1}, swizzle);
    const int tiles_y = kl::cdiv(p.Y, py), tasks = px * py / 16 * heads, most = p.D == 32 ? NEAR_WARPS_OF<32> : NEAR_WARPS_OF<64>;
    const int warps = kl::cdiv(tasks, kl::cdiv(tasks, most));
    const bool is_by_rows = columns == 2 && p.sx == 1 && p.sy == 1 && p.wx <= 8;
    const char* const name = is_by_rows && p.D == 32 ? (p.wx == 7 ? "gna_near<32, 1, 2, 7>" : "gna_near<32, 1, 2, 8>")
                             : is_by_rows            ? (p.wx == 7 ? "gna_near<64, 1, 2, 7>" : "gna_near<64, 1, 2, 8>")
                             : heads == 2            ? "gna_near<32, 2, 1, 0>"
                             : p.D == 32             ? (columns == 2 ? "gna_near<32, 1, 2, 0>" : "gna_near<32, 1, 1, 0>")
                             : columns == 2          ? "gna_near<64, 1, 2, 0>"
                                                     : "gna_near<64, 1, 1, 0>";
    plan.launch(name)
        .grid(rows, kl::cdiv(p.X, px) * tiles_y, p.B)
        .block(warps * 32)
        .shared(bytes)
        .arg(q_map)
        .arg(k_map)
        .arg(v_map)
        .arg(o_map)
        .arg(p.lse)
        .arg(p.X)
        .arg(p.Y)
        .arg(p.H)
        .arg(p.wx)
        .arg(p.wy)
        .arg(p.sx)
        .arg(p.sy)
        .arg(px)
        .arg(py)
        .arg(rx)
        .arg(ry)
        .arg(tiles_y)
        .arg(p.scale * 1.44269504f);
    return;
  }
  plan.launch(p.D == 32   ? "gna_mma<32>"
              : p.D == 64 ? "gna_mma<64>"
                          : "gna_mma<128>")
      .grid(kl::cdiv(p.X, ROWS) * kl::cdiv(p.Y, COLUMNS), p.H, p.B)
      .block(WARPS * 32)
      .shared(p.D == 32   ? sizeof(Shared<32>)
              : p.D == 64 ? sizeof(Shared<64>)
                          : sizeof(Shared<128>))
      .arg(p.q)
      .arg(p.k)
      .arg(p.v)
      .arg(p.o)
      .arg(p.lse)
      .arg(p.X)
      .arg(p.Y)
      .arg(p.H)
      .arg(p.wx)
      .arg(p.wy)
      .arg(p.sx)
      .arg(p.sy)
      .arg(p.scale * 1.44269504f);
}
