// SPDX-License-Identifier: Apache-2.0
// SnapKV selection on mma.sync: q [B, 32, Hq, 128], k [B, S, Hkv, 128] (bf16) -> the N best tokens of a head, [B, Hq, N].
//
// Technique: one product instead of two. The keys are read once; the exponentials of the logits, relative to a reference of
// the query and of the part of the keys, are kept in 16 bits (64 octaves, eleven significant bits), in the order of the lanes that made
// them. A second launch, without tensor cores, exponentials or keys, adds them up over the queries, weighted by what the
// reference and the whole sum say. A head that does not share its keys keeps 64 bytes for a token instead of reading 256
// again; one of four that share keeps as many as it would read: there, where the keys exceed the L2, it reads them twice.
// A block per head then pools and chooses by digits. Any Hq / Hkv of 1, 2, 4, 8. Runs from sm_80 on.
//
// Ladder (geometric means over four shapes on an H100, docs/runs/snapkv_select.md):
//   naive.cu        all logits through device memory, scores bisected bit by bit
//   fused_mma.cu    keys read twice and shared by the group, nothing else of the size of the logits
//   two_passes.cu   product transposed: a warp holds all queries of a head; ring of three tiles; clusters choose: 1.11x,
//                   1.51x for a prompt of 128k tokens, where it is the fastest
//   this file       keys read once, exponentials kept in 16 bits: 1.40x the second
//   left to do      clusters for the choice of long prompts

// tune: BLOCKS_PER_SM = 3 | 2
// tune: UNDER_WAY = 4 | 2 | 8
// tune: STRETCH = 256 | 512 | 128
// tune: GROUP_ITEMS = 128 | 64 | 256
// tune: LAG_ITEMS = 256 | 384 | 128

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int D = Problem::D, W = Problem::W, POOL = Problem::POOL;
static_assert(W == 32 && D == 128, "a warp holds a head's queries");
constexpr int KEYS = 16, SPLITS_MAX = 128, CHOOSERS = 1024, DIGITS = 2048;
constexpr int TILES = W / 8, CHUNKS = D / 32, COLUMNS = W / 4;  // of a lane: tiles of 8 queries, chunks of a row, queries
constexpr float LOWEST = -1e30f;  // finite, so that the difference of two references is never NaN
constexpr float LAG = 20.0f;  // octaves by which a logit may exceed its reference
constexpr int QUADS = 2;               // groups of four tokens of a thread whose loads are in flight together
constexpr unsigned NONE = 0xffffffffu;  // where there is no score

/// Rows of sums and scores are padded so that all of them can be read by 16 bytes.
constexpr __host__ __device__ int pitch_of(int count) { return (count + 3) / 4 * 4; }
constexpr float SMALLEST = 4.656612873077393e-10f;  // 2^-31: what is kept of smaller exponentials

template <int G> constexpr int THREADS_OF = G == 8 ? 256 : 128;
template <int G> constexpr int BLOCKS_OF = G == 8 ? (BLOCKS_PER_SM + 1) / 2 : BLOCKS_PER_SM;

/// Joins references and sums of the eight lanes that hold the same queries.
__device__ __forceinline__ void join(float (&reference)[COLUMNS], float (&sum)[COLUMNS]) {
#pragma unroll
  for (int step = 4; step < 32; step *= 2) {
#pragma unroll
    for (int i = 0; i < COLUMNS; ++i) {
      const float other = __shfl_xor_sync(0xffffffffu, reference[i], step), others = __shfl_xor_sync(0xffffffffu, sum[i], step);
      const float top = fmaxf(reference[i], other);
      sum[i] = sum[i] * ptx::ex2(reference[i] - top) + others * ptx::ex2(other - top);
      reference[i] = top;
    }
  }
}

/// Exponentials are kept in 16 bits: six of the exponent, 2^-31 to 2^32, and ten of the fraction, rounded.
__device__ __forceinline__ unsigned pack(float x, float y) {
  const unsigned a = __float_as_uint(x) - (96u << 23) + (1u << 12), b = __float_as_uint(y) - (96u << 23) + (1u << 12);
  return (a >> 13) | ((b << 3) & 0xffff0000u);
}
__device__ __forceinline__ float unpack_low(unsigned w) { return __uint_as_float(((w & 0xffffu) << 13) + (96u << 23)); }
__device__ __forceinline__ float unpack_high(unsigned w) { return __uint_as_float(((w >> 3) & 0x1fffe000u) + (96u << 23)); }

__device__ __forceinline__ unsigned load_acquire(const unsigned* from) {
  unsigned value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
  return value;
}

template <int G>
__device__ __forceinline__ void weigh_tiles(const float2* stats, const uint4* kept, const uint4* on_chip, int room, float* sums, int S,
                                            int stretch);

/// A warp keeps the exponentials of its first `room` tiles in shared memory, of the others in `kept`. IS_WHOLE: all blocks run
/// at the same time, and once those of the same keys' heads have their statistics, a warp weighs what it kept itself.
/// The one pass over the keys: stats [B, Hq, parts, W] = (reference, sum of exponentials) in base-2 units over a part of the
/// keys; kept [B, Hq, tiles of 16 keys, 2, 32 lanes] = a lane's 16 exponentials of the tile, a word per query.
/// Lane (g, t) = (lane / 4, lane % 4) holds queries 8 n + 2 t + e (column 2 n + e) and keys g and g + 8 of a tile.
template <int G, bool IS_WHOLE>
__global__ void __launch_bounds__(THREADS_OF<G>, BLOCKS_OF<G>)
snapkv_multiply(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k, float2* stats,
                uint4* kept, float* sums, unsigned* arrived, int S, int stretch, int room, float scale) {
  extern __shared__ __align__(16) uint4 on_chip[];
  constexpr int TEAMS = THREADS_OF<G> / 32 / G;  // warps of a head
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4, team = warp / G;
  const int split = blockIdx.x, hk = blockIdx.y, Hkv = gridDim.y, Hq = Hkv * G, h = hk * G + warp % G;
  const int part = split * TEAMS + team, parts = gridDim.x * TEAMS;
  const long long b = blockIdx.z, row = b * Hq + h, stride = (long long)Hkv * (D / 8);
  const int begin = split * stretch, end = min(S, begin + stretch);
  const uint4* const keys = reinterpret_cast<const uint4*>(k + (b * S * Hkv + hk) * D) + t;

  // Of this team: every TEAMS-th tile of the stretch.
  const int all = begin < end ? (end - begin + KEYS - 1) / KEYS : 0, mine = all > team ? (all - team + TEAMS - 1) / TEAMS : 0;
  constexpr int STEP = KEYS * TEAMS;
  int at = begin + team * KEYS;
  uint4* const there = kept + (row * ((S + KEYS - 1) / KEYS) + at / KEYS) * 64 + lane;
  uint4* const here = on_chip + warp * room * 64 + lane;

  uint4 kx[CHUNKS], ky[CHUNKS];  // of keys g and g + 8 the chunks t, t + 4, t + 8 and t + 12
  if (mine > 0) {
    const uint4* const x = keys + min(at + g, S - 1) * stride;
    const uint4* const y = keys + min(at + g + 8, S - 1) * stride;
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) {
      kx[c] = __ldg(x + c * 4);
      ky[c] = __ldg(y + c * 4);
    }
  }
  uint4 a[TILES][CHUNKS];  // of query 8 n + g the same chunks
#pragma unroll
  for (int n = 0; n < TILES; ++n) {
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) {
      a[n][c] = __ldg(reinterpret_cast<const uint4*>(q + ((b * W + n * 8 + g) * Hq + h) * D) + t + c * 4);
    }
  }

  float reference[COLUMNS], sum[COLUMNS];
#pragma unroll
  for (int i = 0; i < COLUMNS; ++i) {
    reference[i] = LOWEST;
    sum[i] = 0;
  }

  // The eight lanes of a query share its reference: the largest logit of the first tile, raised when one is LAG octaves above.
  for (int tile = 0; tile < mine; ++tile, at += STEP) {
    const int next = tile + 1 < mine ? at + STEP : at;
    const uint4* const x = keys + min(next + g, S - 1) * stride;
    const uint4* const y = keys + min(next + g + 8, S - 1) * stride;
    float s[TILES][4];
#pragma unroll
    for (int n = 0; n < TILES; ++n) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) {
      const unsigned low[4] = {kx[c].x, ky[c].x, kx[c].y, ky[c].y}, high[4] = {kx[c].z, ky[c].z, kx[c].w, ky[c].w};
#pragma unroll
      for (int n = 0; n < TILES; ++n) ptx::mma_bf16(s[n], low, a[n][c].x, a[n][c].y);
#pragma unroll
      for (int n = 0; n < TILES; ++n) ptx::mma_bf16(s[n], high, a[n][c].z, a[n][c].w);
      kx[c] = __ldg(x + c * 4);  // of the next tile
      ky[c] = __ldg(y + c * 4);
    }
    if (tile == 0 || at + KEYS > min(end, S - W + 1)) {  // hide what queries do not see
#pragma unroll
      for (int n = 0; n < TILES; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int visible = min(S - W + n * 8 + t * 2 + e + 1, end);
          if (at + g >= visible) s[n][e] = -INFINITY;
          if (at + g + 8 >= visible) s[n][2 + e] = -INFINITY;
        }
      }
    }
    if (tile == 0) {
#pragma unroll
      for (int n = 0; n < TILES; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float largest = fmaxf(fmaxf(s[n][e], s[n][2 + e]) * scale, LOWEST);
#pragma unroll
          for (int step = 4; step < 32; step *= 2) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, step));
          reference[n * 2 + e] = largest;
        }
      }
    }
    float top = -INFINITY;
#pragma unroll
    for (int n = 0; n < TILES; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        s[n][i] = fmaf(s[n][i], scale, -reference[n * 2 + i % 2]);
        top = fmaxf(top, s[n][i]);
      }
    }
    if (__any_sync(0xffffffffu, top > LAG)) {  // rare
      float factor[COLUMNS];
#pragma unroll
      for (int n = 0; n < TILES; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int i = n * 2 + e;
          // Not seen before, a query's logit is `s` + LOWEST: masked tiles come last, so that this cannot decide anything.
          float rise = fmaxf(fmaxf(s[n][e], s[n][2 + e]), 0.0f);
#pragma unroll
          for (int step = 4; step < 32; step *= 2) rise = fmaxf(rise, __shfl_xor_sync(0xffffffffu, rise, step));
          const float now = reference[i] + rise;
          factor[i] = ptx::ex2(-rise);
          sum[i] *= factor[i];
          s[n][e] -= rise;
          s[n][2 + e] -= rise;
          reference[i] = now;
        }
      }
      for (int i = 0; i < tile; ++i) {
        uint4* const old = i < room ? here + i * 64 : there + (long long)i * (TEAMS * 64);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const uint4 v = old[half * 32];
          const unsigned from[4] = {v.x, v.y, v.z, v.w};
          unsigned w[4];
#pragma unroll
          for (int c = 0; c < 4; ++c) {
            const float f = factor[half * 4 + c];
            w[c] = pack(fmaxf(unpack_low(from[c]) * f, SMALLEST), fmaxf(unpack_high(from[c]) * f, SMALLEST));
          }
          old[half * 32] = make_uint4(w[0], w[1], w[2], w[3]);
        }
      }
    }
    unsigned w[COLUMNS];
#pragma unroll
    for (int n = 0; n < TILES; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float of_x = ptx::ex2(s[n][e]), of_y = ptx::ex2(s[n][2 + e]);
        sum[n * 2 + e] += of_x + of_y;
        w[n * 2 + e] = pack(fmaxf(of_x, SMALLEST), fmaxf(of_y, SMALLEST));
      }
    }
    uint4* const to = tile < room ? here + tile * 64 : there + (long long)tile * (TEAMS * 64);
    to[0] = make_uint4(w[0], w[1], w[2], w[3]);
    to[32] = make_uint4(w[4], w[5], w[6], w[7]);
  }
  join(reference, sum);
  if (g == 0) {
    float4* const of = reinterpret_cast<float4*>(stats + (row * parts + part) * W + t * 2);
#pragma unroll
    for (int n = 0; n < TILES; ++n) of[n * 4] = make_float4(reference[n * 2], sum[n * 2], reference[n * 2 + 1], sum[n * 2 + 1]);
  }
  if (!IS_WHOLE) return;
  __threadfence();  // the statistics come before the count
  __syncthreads();  // of all threads
  if (threadIdx.x == 0) {
    unsigned* const count = arrived + blockIdx.z * gridDim.y + blockIdx.y;
    atomicAdd(count, 1u);
    while (load_acquire(count) < gridDim.x) __nanosleep(40);
    __threadfence();
  }
  __syncthreads();  // the statistics of all parts of these heads are there
  weigh_tiles<G>(stats, kept, on_chip, room, sums, S, stretch);  // a lane reads only what it wrote itself
}

/// sums [B, Hq, S - W] of the probabilities: a tile's exponentials, weighted by 2^(reference of the part - logarithm of the
/// whole sum). The division is that of the first launch, and every warp goes backwards: what was written last comes first.
template <int G>
__device__ __forceinline__ void weigh_tiles(const float2* stats, const uint4* kept, const uint4* on_chip, int room, float* sums, int S,
                                            int stretch) {
  constexpr int TEAMS = THREADS_OF<G> / 32 / G;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4, team = warp / G;
  const int split = blockIdx.x, hk = blockIdx.y, Hkv = gridDim.y, Hq = Hkv * G, h = hk * G + warp % G;
  const int part = split * TEAMS + team, parts = gridDim.x * TEAMS;
  const long long b = blockIdx.z, row = b * Hq + h;
  const int begin = split * stretch, end = min(S - W, begin + stretch);
  const int all = begin < end ? (end - begin + KEYS - 1) / KEYS : 0, mine = all > team ? (all - team + TEAMS - 1) / TEAMS : 0;
  if (mine == 0) return;

  float reference[COLUMNS], sum[COLUMNS], weight[COLUMNS];
#pragma unroll
  for (int i = 0; i < COLUMNS; ++i) {
    reference[i] = LOWEST;
    sum[i] = 0;
  }
  for (int p = g; p < parts; p += 8) {
    const float4* const of = reinterpret_cast<const float4*>(stats + (row * parts + p) * W + t * 2);
#pragma unroll
    for (int n = 0; n < TILES; ++n) {
      const float4 v = __ldcg(of + n * 4);
      const float top0 = fmaxf(reference[n * 2], v.x), top1 = fmaxf(reference[n * 2 + 1], v.z);
      sum[n * 2] = sum[n * 2] * ptx::ex2(reference[n * 2] - top0) + v.y * ptx::ex2(v.x - top0);
      sum[n * 2 + 1] = sum[n * 2 + 1] * ptx::ex2(reference[n * 2 + 1] - top1) + v.w * ptx::ex2(v.z - top1);
      reference[n * 2] = top0;
      reference[n * 2 + 1] = top1;
    }
  }
  join(reference, sum);
  const float4* const own = reinterpret_cast<const float4*>(stats + (row * parts + part) * W + t * 2);
#pragma unroll
  for (int n = 0; n < TILES; ++n) {
    const float4 v = __ldcg(own + n * 4);
    weight[n * 2] = ptx::ex2(v.x - (reference[n * 2] + ptx::lg2(sum[n * 2])));
    weight[n * 2 + 1] = ptx::ex2(v.z - (reference[n * 2 + 1] + ptx::lg2(sum[n * 2 + 1])));
  }

  const uint4* const from = kept + (row * ((S + KEYS - 1) / KEYS) + begin / KEYS + team) * 64 + lane;
  const uint4* const here = on_chip + warp * room * 64 + lane;
  float* const to = sums + row * pitch_of(S - W);
  for (int last = mine - 1; last >= 0; last -= UNDER_WAY) {
    uint4 v[UNDER_WAY][2];
#pragma unroll
    for (int u = 0; u < UNDER_WAY; ++u) {
      const int tile = max(last - u, 0);
      const uint4* const of = tile < room ? here + tile * 64 : from + (long long)tile * (TEAMS * 64);
      v[u][0] = of[0];
      v[u][1] = of[32];
    }
#pragma unroll
    for (int u = 0; u < UNDER_WAY; ++u) {
      const unsigned w[COLUMNS] = {v[u][0].x, v[u][0].y, v[u][0].z, v[u][0].w, v[u][1].x, v[u][1].y, v[u][1].z, v[u][1].w};
      float of_x = 0, of_y = 0;
#pragma unroll
      for (int i = 0; i < COLUMNS; ++i) {
        of_x = fmaf(unpack_low(w[i]), weight[i], of_x);
        of_y = fmaf(unpack_high(w[i]), weight[i], of_y);
      }
      of_x += __shfl_xor_sync(0xffffffffu, of_x, 1);
      of_y += __shfl_xor_sync(0xffffffffu, of_y, 1);
      of_x += __shfl_xor_sync(0xffffffffu, of_x, 2);
      of_y += __shfl_xor_sync(0xffffffffu, of_y, 2);
      const int key = begin + (team + (last - u) * TEAMS) * KEYS + g + t * 8;
      if (t < 2 && last >= u && key < end) to[key] = t == 0 ? of_x : of_y;
    }
  }
}

/// The same as a launch of its own, where there are more blocks than run at the same time.
template <int G>
__global__ void __launch_bounds__(THREADS_OF<G>)
snapkv_weigh(const float2* stats, const uint4* kept, float* sums, int S, int stretch) {
  weigh_tiles<G>(stats, kept, kept, 0, sums, S, stretch);
}

/// Of every thread the sum of the values of the threads before it, and in `total` that of all.
__device__ int sum_before(int value, int& total) {
  __shared__ int warps[32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int sum = value;
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(0xffffffffu, sum, step);
    if (lane >= step) sum += other;
  }
  if (lane == 31) warps[warp] = sum;
  __syncthreads();  // every warp's sum is visible
  int of_warp = warps[lane];
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(0xffffffffu, of_warp, step);
    if (lane >= step) of_warp += other;
  }
  total = __shfl_sync(0xffffffffu, of_warp, 31);
  const int before = warp > 0 ? __shfl_sync(0xffffffffu, of_warp, warp - 1) : 0;
  __syncthreads();  // the warps' sums may be overwritten
  return before + sum - value;
}

// Two passes over shared tiles in one launch, for groups of heads whose exponentials fit neither the chip nor the L2.

constexpr int ROWS = 64, STAGES = 3;  // keys of a tile, tiles of a ring
using Tile = uint4[ROWS][D / 8];

/// Where chunk `chunk` of row `row` lies: eight neighbouring rows hold a chunk in eight different places.
__device__ __forceinline__ int place(int row, int chunk) { return chunk ^ (row & 7); }

template <int THREADS>
__device__ __forceinline__ void load_tile(Tile& to, const unsigned short* from, long long stride, int valid) {
  for (int i = threadIdx.x; i < ROWS * D / 8; i += THREADS) {
    const int row = i / (D / 8), chunk = i % (D / 8);
    const bool is_valid = row < valid;
    ptx::cp_async_16(&to[row][place(row, chunk)], from + (is_valid ? row * stride + chunk * 8 : 0), is_valid);
  }
}

/// Logits of the warp's 16 queries against a tile, not scaled: s[n] are keys 8n to 8n + 7.
__device__ __forceinline__ void multiply(float (&s)[ROWS / 8][4], const unsigned (&q)[D / 16][4], const Tile& k, int lane) {
#pragma unroll
  for (int n = 0; n < ROWS / 8; ++n) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
#pragma unroll
    for (int pair = 0; pair < ROWS / 16; ++pair) {
      const int row = pair * 16 + (lane & 7) + (lane >> 4) * 8, chunk = step * 2 + ((lane >> 3) & 1);
      unsigned b[4];
      ptx::ldmatrix_x4(b, &k[row][place(row, chunk)]);
      ptx::mma_bf16(s[pair * 2], q[step], b[0], b[1]);
      ptx::mma_bf16(s[pair * 2 + 1], q[step], b[2], b[3]);
    }
  }
}

__device__ __forceinline__ int load_volatile(const int* p) { return *reinterpret_cast<const volatile int*>(p); }

/// Both passes in one launch. A block draws a ticket and does one item: a pass over a stretch of the keys of one head.
/// Tickets follow each other so that the second pass over a few heads comes shortly after the first, while their keys are
/// still in the L2: phases of `group` heads are first(0) .. first(lag - 1), then first(g), second(g - lag) alternating,
/// then the last second ones. A block only waits for items with earlier tickets, which running blocks hold, and a first
/// pass waits for nothing: there is always progress.
/// stats [B, Hkv, splits, G W] = (maximum, sum of exponentials) in base-2 units, lses [B, Hkv, G W], sums
/// [B, Hq, pitch_of(S - W)]; control: tickets, then per head arrivals and a flag, all zero at the start.
template <int G>
__global__ void __launch_bounds__(G * 64, G <= 2 ? 4 : 8 / G)
snapkv_passes(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k, float2* stats, float* lses,
              float* __restrict__ sums, int* control, int S, int Hkv, int heads, int stretch, int splits, int group, int lag,
              float scale) {
  constexpr int THREADS = G * 64;
  extern __shared__ __align__(128) uint4 memory[];
  Tile* const tiles = reinterpret_cast<Tile*>(memory);
  __shared__ float columns[2 * G][ROWS];
  __shared__ float2 joined[G * W];
  __shared__ int shared_ticket, shared_last;
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, t = lane % 4;
  int* const arrived = control + 1;
  int* const ready = control + 1 + heads;

  if (tid == 0) shared_ticket = atomicAdd(control, 1);
  __syncthreads();  // the ticket is visible
  const int items = group * splits, phase = shared_ticket / items, item = shared_ticket % items;
  const int groups = (heads + group - 1) / group, steady = phase - lag, alternating = 2 * (groups - lag);
  bool is_second = false;
  int g = phase;
  if (steady >= alternating) {
    is_second = true;
    g = groups - lag + steady - alternating;
  } else if (steady >= 0) {
    is_second = steady % 2 == 1;
    g = is_second ? steady / 2 : lag + steady / 2;
  }
  const int of = g * group + item / splits, split = item % splits;
  if (of >= heads) return;  // the last group may be smaller
  const int hk = of % Hkv, Hq = Hkv * G, h = hk * G + warp / 2;
  const long long b = of / Hkv, stride = (long long)Hkv * D;
  const int end = min(is_second ? S - W : S, (split + 1) * stretch), begin = split * stretch;
  const int query = warp % 2 * 16 + lane / 4;  // and the one eight further
  const unsigned short* const keys = k + (b * S * Hkv + hk) * D;

#pragma unroll
  for (int i = 0; i < STAGES - 1; ++i) {
    const int at = begin + i * ROWS;
    if (at < end) load_tile<THREADS>(tiles[i], keys + at * stride, stride, end - at);
    ptx::cp_async_commit();
  }
  unsigned a[D / 16][4];
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      a[step][i] = *reinterpret_cast<const unsigned*>(q + ((b * W + query + i % 2 * 8) * Hq + h) * D + step * 16 + i / 2 * 8 + t * 2);
    }
  }
  float max[2] = {LOWEST, LOWEST}, sum[2] = {0, 0}, lse[2] = {0, 0};
  if (is_second) {
    if (tid == 0) {
      while (load_volatile(&ready[of]) == 0) __nanosleep(40);
      __threadfence();
    }
    __syncthreads();  // the head's statistics are complete
#pragma unroll
    for (int half = 0; half < 2; ++half) lse[half] = __ldcg(&lses[of * (G * W) + warp / 2 * W + query + half * 8]);
  }

  float s[ROWS / 8][4];
  int slot = 0, next_slot = STAGES - 1;
  for (int at = begin; at < end; at += ROWS) {
    ptx::cp_async_wait<STAGES - 2>();
    __syncthreads();  // this tile is here, and nobody reads the one before it or the columns any more
    const int next = at + (STAGES - 1) * ROWS;
    if (next < end) load_tile<THREADS>(tiles[next_slot], keys + next * stride, stride, end - next);
    ptx::cp_async_commit();
    multiply(s, a, tiles[slot], lane);
    if (++slot == STAGES) slot = 0;
    if (++next_slot == STAGES) next_slot = 0;
    if (is_second) {
#pragma unroll
      for (int n = 0; n < ROWS / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float p = ptx::ex2(fmaf(s[n][e], scale, -lse[0])) + ptx::ex2(fmaf(s[n][2 + e], scale, -lse[1]));
          p += __shfl_xor_sync(0xffffffffu, p, 4);
          p += __shfl_xor_sync(0xffffffffu, p, 8);
          p += __shfl_xor_sync(0xffffffffu, p, 16);
          if (lane < 4) columns[warp][n * 8 + t * 2 + e] = p;
        }
      }
      __syncthreads();  // the sums of both warps of every head are visible
      const int head = tid / ROWS, j = tid % ROWS;
      if (at + j < end) sums[(b * Hq + hk * G + head) * pitch_of(S - W) + at + j] = columns[head * 2][j] + columns[head * 2 + 1][j];
    } else {
      const bool is_whole = at + ROWS <= min(end, S - W + 1);  // every query sees every key of the tile
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int visible = is_whole ? ROWS : min(S - W + query + half * 8 + 1, end) - at;  // tokens of this tile
        float top = max[half];
#pragma unroll
        for (int n = 0; n < ROWS / 8; ++n) {
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            float& score = s[n][half * 2 + e];
            score = n * 8 + t * 2 + e < visible ? score * scale : -INFINITY;
            top = fmaxf(top, score);
          }
        }
        sum[half] *= ptx::ex2(max[half] - top);
        max[half] = top;
#pragma unroll
        for (int n = 0; n < ROWS / 8; ++n) sum[half] += ptx::ex2(s[n][half * 2] - top) + ptx::ex2(s[n][half * 2 + 1] - top);
      }
    }
  }
  if (is_second) return;
  float2* const of_head = stats + (long long)of * splits * (G * W);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int step = 1; step < 4; step *= 2) {
      const float other = __shfl_xor_sync(0xffffffffu, max[half], step), top = fmaxf(max[half], other);
      sum[half] = sum[half] * ptx::ex2(max[half] - top) + __shfl_xor_sync(0xffffffffu, sum[half], step) * ptx::ex2(other - top);
      max[half] = top;
    }
    if (t == 0) __stcg(&of_head[split * (G * W) + warp / 2 * W + query + half * 8], make_float2(max[half], sum[half]));
  }
  __threadfence();
  __syncthreads();  // the block's statistics are written
  if (tid == 0) {
    shared_last = atomicAdd(&arrived[of], 1) == splits - 1;
    __threadfence();
  }
  __syncthreads();  // whether this is the head's last block is visible
  if (!shared_last) return;
  // Two threads per query take every other split, eight loads in flight.
  const int column = tid % (G * W), odd = tid / (G * W);
  float top = LOWEST, all = 0;
  for (int first = odd; first < splits; first += 16) {
    float2 x[8];
    float now = top;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      x[i] = first + i * 2 < splits ? __ldcg(&of_head[(first + i * 2) * (G * W) + column]) : make_float2(LOWEST, 0.0f);
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) now = fmaxf(now, x[i].x);
    all *= ptx::ex2(top - now);
    top = now;
#pragma unroll
    for (int i = 0; i < 8; ++i) all += x[i].y * ptx::ex2(x[i].x - top);
  }
  if (odd == 1) joined[column] = make_float2(top, all);
  __syncthreads();  // the second half of every query is visible
  if (odd == 0) {
    const float2 other = joined[column];
    const float now = fmaxf(top, other.x);
    all = all * ptx::ex2(top - now) + other.y * ptx::ex2(other.x - now);
    __stcg(&lses[of * (G * W) + column], now + ptx::lg2(all));
    __threadfence();
  }
  __syncthreads();  // every log-sum-exp is written
  if (tid == 0) {
    __threadfence();
    atomicExch(&ready[of], 1);
  }
}

/// Four sums from token j on, a multiple of four; zero outside. Padding is never read.
__device__ __forceinline__ float4 load_sums(const float* __restrict__ sums, int j, int count) {
  float4 v = make_float4(0, 0, 0, 0);
  if (j >= 0 && j + 4 <= count) {
    v = *reinterpret_cast<const float4*>(sums + j);
  } else if (j >= 0) {
    if (j < count) v.x = sums[j];
    if (j + 1 < count) v.y = sums[j + 1];
    if (j + 2 < count) v.z = sums[j + 2];
  }
  return v;
}

/// Four scores from token j on, a multiple of four; NONE outside.
__device__ __forceinline__ uint4 load_scores(const unsigned* scores, int j, int count) {
  return j < count ? *reinterpret_cast<const uint4*>(scores + j) : make_uint4(NONE, NONE, NONE, NONE);
}

/// A block per (b, h). Scores stay in shared memory if IS_HERE, else in `far_scores` [B, Hq, pitch_of(S - W)] is written and read by this block alone, every quad by one thread.
/// Scores are not negative, so that their bits are ordered as they are.
template <bool IS_HERE>
__global__ void __launch_bounds__(CHOOSERS)
snapkv_choose(const float* __restrict__ sums, unsigned* far_scores, int* __restrict__ chosen, int count, int N) {
  extern __shared__ __align__(16) unsigned row_scores[];
  __shared__ int histogram[DIGITS];
  __shared__ int found_digit, found_above;
  const int tid = threadIdx.x, lane = tid % 32, wanted = min(N, count);
  sums += (long long)blockIdx.x * pitch_of(count);
  unsigned* const scores = IS_HERE ? row_scores : far_scores + (long long)blockIdx.x * pitch_of(count);
  chosen += (long long)blockIdx.x * N;

  unsigned prefix = 0;  // the digits found so far of the score of rank `wanted`
  int missing = wanted;  // scores to take among those that share them
  for (int pass = 0; pass < 3; ++pass) {
    const int shift = pass == 0 ? 21 : pass == 1 ? 10 : 0, bits = pass < 2 ? 11 : 10;
    for (int i = tid; i < DIGITS; i += CHOOSERS) histogram[i] = 0;
    __syncthreads();  // the histogram is empty
    for (int first = 0; first < count; first += CHOOSERS * QUADS * 4) {
      uint4 batch[QUADS];
      if (pass == 0) {
        float4 left[QUADS], mid[QUADS], right[QUADS];
#pragma unroll
        for (int u = 0; u < QUADS; ++u) {  // all loads before the first use
          const int j = first + (u * CHOOSERS + tid) * 4;
          left[u] = load_sums(sums, j - 4, count);
          mid[u] = load_sums(sums, j, count);
          right[u] = load_sums(sums, j + 4, count);
        }
#pragma unroll
        for (int u = 0; u < QUADS; ++u) {
          const int j = first + (u * CHOOSERS + tid) * 4;
          const float4 l = left[u], m = mid[u], r = right[u];
          batch[u].x = j < count ? __float_as_uint(l.z + l.w + m.x + m.y + m.z) : NONE;
          batch[u].y = j + 1 < count ? __float_as_uint(l.w + m.x + m.y + m.z + m.w) : NONE;
          batch[u].z = j + 2 < count ? __float_as_uint(m.x + m.y + m.z + m.w + r.x) : NONE;
          batch[u].w = j + 3 < count ? __float_as_uint(m.y + m.z + m.w + r.x + r.y) : NONE;
          if (j < count) *reinterpret_cast<uint4*>(scores + j) = batch[u];
        }
#pragma unroll
        for (int u = 0; u < QUADS; ++u) {
          if (first + u * CHOOSERS * 4 >= count) break;
          const unsigned of[4] = {batch[u].x, batch[u].y, batch[u].z, batch[u].w};
#pragma unroll
          for (int e = 0; e < 4; ++e) {  // few exponents: lanes that agree count together
            const bool counts = of[e] != NONE;
            const unsigned digit = counts ? of[e] >> 21 : NONE;
            const unsigned alike = __match_any_sync(0xffffffffu, digit);
            if (counts && lane == __ffs(alike) - 1) atomicAdd(&histogram[digit], __popc(alike));
          }
        }
      } else {
#pragma unroll
        for (int u = 0; u < QUADS; ++u) batch[u] = load_scores(scores, first + (u * CHOOSERS + tid) * 4, count);
#pragma unroll
        for (int u = 0; u < QUADS; ++u) {
          const unsigned of[4] = {batch[u].x, batch[u].y, batch[u].z, batch[u].w};
#pragma unroll
          for (int e = 0; e < 4; ++e) {  // NONE has the highest bit, which no score has, and never counts
            if ((of[e] ^ prefix) >> (shift + bits) == 0) atomicAdd(&histogram[of[e] >> shift & ((1u << bits) - 1)], 1);
          }
        }
      }
    }
    __syncthreads();  // the histogram is complete
    // Thread i holds the digits from the top: 2 i and 2 i + 1.
    const int high = DIGITS - 1 - 2 * tid, at_high = histogram[high], at_low = histogram[high - 1];
    int total;
    const int above = sum_before(at_high + at_low, total);
    if (above < missing && missing <= above + at_high + at_low) {
      const bool is_high = missing <= above + at_high;
      found_digit = is_high ? high : high - 1;
      found_above = is_high ? above : above + at_high;
    }
    __syncthreads();  // the digit is visible
    prefix |= (unsigned)found_digit << shift;
    missing -= found_above;
  }

  int filled = 0;
  for (int first = 0; first < count; first += CHOOSERS * QUADS * 4) {
    uint4 batch[QUADS];
#pragma unroll
    for (int u = 0; u < QUADS; ++u) batch[u] = load_scores(scores, first + (u * CHOOSERS + tid) * 4, count);
    int mine = 0;  // of the thread's tokens: equal ones in the upper half, those above in the lower
#pragma unroll
    for (int u = 0; u < QUADS; ++u) {
      const unsigned of[4] = {batch[u].x, batch[u].y, batch[u].z, batch[u].w};
#pragma unroll
      for (int e = 0; e < 4; ++e) mine += (of[e] == prefix ? 1 << 16 : 0) + (of[e] > prefix && of[e] != NONE ? 1 : 0);
    }
    int total;
    const int before = sum_before(mine, total);  // at most 8192 in either half
    int aboves_before = before & 0xffff, equals_before = before >> 16;
    if (mine != 0) {
#pragma unroll
      for (int u = 0; u < QUADS; ++u) {
        const unsigned of[4] = {batch[u].x, batch[u].y, batch[u].z, batch[u].w};
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const bool is_above = of[e] > prefix && of[e] != NONE, is_equal = of[e] == prefix;
          if (is_above || (is_equal && equals_before < missing)) {
            chosen[filled + aboves_before + min(equals_before, missing)] = first + (u * CHOOSERS + tid) * 4 + e;
          }
          aboves_before += is_above;
          equals_before += is_equal;
        }
      }
    }
    filled += (total & 0xffff) + min(total >> 16, missing);
    missing -= min(total >> 16, missing);
  }
  for (int i = wanted + tid; i < N; i += CHOOSERS) chosen[i] = -1;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int group = p.Hq / p.Hkv;
  if (!plan.require(group == 1 || group == 2 || group == 4 || group == 8, "Hq / Hkv must be 1, 2, 4 or 8")) return;
  // The exponentials of four heads take as many bytes as the keys that they share: written and read again, they pay only if
  // most of them stay on the chip.
  const bool is_twice = group >= 4 && (long long)p.B * p.S * p.Hkv * D * 2 > (long long)p.device.l2_bytes * 3 / 2;
  if (is_twice) {
    const int heads = p.B * p.Hkv, all_rows = p.B * p.Hq;
    const int piece = kl::round_up(kl::max(STRETCH, kl::cdiv(p.S, 128)), ROWS), pieces = kl::cdiv(p.S, piece);
    const int per_group = kl::clamp(GROUP_ITEMS / pieces, 1, heads), groups = kl::cdiv(heads, per_group);
    const int lag = kl::clamp(kl::cdiv(LAG_ITEMS, per_group * pieces), 1, groups);
    const bool is_close = p.S - W <= 48 * 1024;
    const auto statistics = plan.workspace(kl::f32, (long long)all_rows * W * pieces * 2);
    const auto lses = plan.workspace(kl::f32, (long long)all_rows * W);
    const auto columns = plan.workspace(kl::f32, (long long)all_rows * p.S);
    const auto far = plan.workspace(kl::u8, is_close ? 16ll : (long long)all_rows * p.S * 4);
    const auto control = plan.workspace(kl::u8, (1 + 2 * heads) * 4, kl::zeroed);
    plan.launch(group == 8 ? "snapkv_passes<8>" : "snapkv_passes<4>").grid(2 * groups * per_group * pieces).block(group * 64)
        .shared(STAGES * ROWS * D * 2)
        .arg(p.q).arg(p.k).arg(statistics).arg(lses).arg(columns).arg(control).arg(p.S).arg(p.Hkv).arg(heads).arg(piece).arg(pieces)
        .arg(per_group).arg(lag).arg(p.scale * 1.44269504f);
    plan.launch(is_close ? "snapkv_choose<true>" : "snapkv_choose<false>").grid(all_rows).block(CHOOSERS)
        .shared(is_close ? pitch_of(p.S - W) * 4 : 16).arg(columns).arg(far).arg(p.chosen).arg(p.S - W).arg(p.N);
    return;
  }
  const int threads = group == 8 ? THREADS_OF<8> : THREADS_OF<4>, blocks = group == 8 ? BLOCKS_OF<8> : BLOCKS_OF<4>, teams = threads / 32 / group;
  const int wished = kl::clamp(p.device.sms * blocks / (p.B * p.Hkv), 1, SPLITS_MAX);
  const int stretch = kl::round_up(kl::cdiv(p.S, wished), KEYS * teams), splits = kl::cdiv(p.S, stretch);
  // All blocks at the same time: then the shared memory that they leave free on an SM keeps a warp's first tiles.
  const bool is_whole = (long long)splits * p.Hkv * p.B <= (long long)p.device.sms * blocks;
  const int fitting = (p.device.shared_bytes_max / 1024 - 2 * blocks) / blocks / (threads / 32);
  const int room = is_whole ? kl::clamp(fitting, 0, kl::cdiv(stretch / KEYS, teams)) : 0;
  const char* const multiply = group == 8 ? (is_whole ? "snapkv_multiply<8, true>" : "snapkv_multiply<8, false>")
      : group == 4 ? (is_whole ? "snapkv_multiply<4, true>" : "snapkv_multiply<4, false>")
      : group == 2 ? (is_whole ? "snapkv_multiply<2, true>" : "snapkv_multiply<2, false>")
      : (is_whole ? "snapkv_multiply<1, true>" : "snapkv_multiply<1, false>");
  const char* const weigh = group == 8 ? "snapkv_weigh<8>" : group == 4 ? "snapkv_weigh<4>" : group == 2 ? "snapkv_weigh<2>" : "snapkv_weigh<1>";
  const long long rows = (long long)p.B * p.Hq;
  const auto stats = plan.workspace(kl::f32, rows * W * splits * teams * 2);
  const auto kept = plan.workspace(kl::u8, rows * kl::cdiv(p.S, KEYS) * 1024);
  const auto sums = plan.workspace(kl::f32, rows * p.S);
  const int count = p.S - W;
  const bool is_here = count <= 48 * 1024;  // words of shared memory, beside the histogram
  const auto scores = plan.workspace(kl::u8, is_here ? 16ll : rows * p.S * 4);
  const auto arrived = plan.workspace(kl::u8, (long long)p.B * p.Hkv * 4, kl::zeroed);
  if (is_whole) {
    plan.launch(multiply).grid(splits, p.Hkv, p.B).block(threads).shared(kl::max(room * (threads / 32) * 1024, 16)).cooperative()
        .arg(p.q).arg(p.k).arg(stats).arg(kept).arg(sums).arg(arrived).arg(p.S).arg(stretch).arg(room).arg(p.scale * 1.44269504f);
  } else {
    plan.launch(multiply).grid(splits, p.Hkv, p.B).block(threads).shared(16)
        .arg(p.q).arg(p.k).arg(stats).arg(kept).arg(sums).arg(arrived).arg(p.S).arg(stretch).arg(room).arg(p.scale * 1.44269504f);
    plan.launch(weigh).grid(splits, p.Hkv, p.B).block(threads)
        .arg(stats).arg(kept).arg(sums).arg(p.S).arg(stretch);
  }
  plan.launch(is_here ? "snapkv_choose<true>" : "snapkv_choose<false>").grid(rows).block(CHOOSERS).shared(is_here ? pitch_of(count) * 4 : 16)
      .arg(sums).arg(scores).arg(p.chosen).arg(count).arg(p.N);
}
