// SPDX-License-Identifier: Apache-2.0
// Paged MLA decode on tensor cores: q [B, Hq, 576] over rows of 576 channels in pages kv [P, 64, 576] (bf16) that page_table
// [B, pages] names, up to len[b]; the first 512 channels are the values. Outputs o [B, Hq, 512] (bf16) and lse.
//
// Technique (Flash-Decoding with absorbed projections): a block of eight warps takes 16 MT heads of one sequence over one
// chunk of its pages. A page of 64 rows is a tile of two stages, copied once by 16-byte cp.async, and serves scores and
// values. For the scores warps share out rows of heads and keys, for the values 64 channels each with all heads: so each
// value is loaded from shared memory once, each key once or twice. Maxima cross the warps through shared memory, weights
// too, as bf16. A second kernel merges the chunks, where there are several.
//
// Ladder:
//   naive.cu     one warp per head: every row is read Hq times
//   this file    rows read once (twice from 64 heads on, mostly from L2), tensor cores, the next page under way
//   left to do   wgmma with TMA, two warpgroups that share 64 heads, a fused combine

// tune: SPLITS_WANTED = 1 | 2 | 4

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int D = Problem::D, DV = Problem::DV;
constexpr int WARPS = 8;
constexpr int KEYS = Problem::PS;              // of a tile: a page
constexpr int ROW = D / 8;                     // 16-byte vectors of a key or query
constexpr int P_ROW = KEYS / 8;                // 16-byte vectors of a head's weights
constexpr int STAGES = 2;
constexpr int SPLITS_MAX = 128;
constexpr float LOWEST = -1e30f;               // finite, so that the difference of two maxima is never NaN
constexpr float LN2 = 0.69314718f;
static_assert(KEYS == 64 && D % 32 == 0 && DV == WARPS * 64, "the shares of the warps");

/// Vector `chunk` of row `row`: swizzled, so that the same vector of eight rows lies in eight banks.
template <int WIDTH>
__device__ __forceinline__ int swizzled(int row, int chunk) { return row * WIDTH + (chunk ^ (row & 7)); }

/// How the warps share out the scores of 16 MT heads and 64 keys.
template <int MT>
struct Shares {
  static constexpr int ROW_GROUPS = MT < 2 ? 1 : 2, KEY_GROUPS = WARPS / ROW_GROUPS;
  static constexpr int M = MT / ROW_GROUPS;              // tiles of 16 heads of a warp
  static constexpr int N = KEYS / KEY_GROUPS / 8;        // tiles of 8 keys of a warp
};

template <int MT>
struct Shared {
  uint4 tiles[STAGES][KEYS * ROW];
  uint4 q[16 * MT * ROW];
  uint4 p[16 * MT * P_ROW];
  float group_max[Shares<MT>::KEY_GROUPS][16 * MT];      // of one tile; at the end sums
  float shrink[16 * MT];                                 // what a tile's maximum leaves of the state; at the end maxima
};

/// Scores of this warp's share, in base-2 units: s[m][n] as mma leaves them.
template <int MT>
__device__ __forceinline__ void score(float (&s)[Shares<MT>::M][Shares<MT>::N][4], const Shared<MT>& shared,
                                      const uint4* tile, int row, int key) {
  constexpr int M = Shares<MT>::M, N = Shares<MT>::N;
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int n = 0; n < N; ++n) s[m][n][0] = s[m][n][1] = s[m][n][2] = s[m][n][3] = 0;
  }
#pragma unroll 2
  for (int c = 0; c < ROW; c += 4) {  // 32 channels
    unsigned b[N][4];
#pragma unroll
    for (int n = 0; n < N; ++n) ptx::ldmatrix_x4(b[n], tile + swizzled<ROW>(key + 8 * n + lane % 8, c + lane / 8));
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        unsigned a[4];
        ptx::ldmatrix_x4(a, shared.q + swizzled<ROW>(row + 16 * m + lane % 16, c + 2 * half + lane / 16));
#pragma unroll
        for (int n = 0; n < N; ++n) ptx::mma_bf16(s[m][n], a, b[n][2 * half], b[n][2 * half + 1]);
      }
    }
  }
}

/// Adds the tile's values with the weights in shared memory, for all heads and 64 channels from vector `chunk` on.
template <int MT>
__device__ __forceinline__ void add_values(float (&o)[MT][8][4], const Shared<MT>& shared, const uint4* tile, int chunk) {
  const int lane = threadIdx.x % 32;
#pragma unroll 1  // unrolled, the weights of four steps push others out of the registers
  for (int k = 0; k < KEYS / 16; ++k) {
    unsigned a[MT][4];
#pragma unroll
    for (int m = 0; m < MT; ++m) ptx::ldmatrix_x4(a[m], shared.p + swizzled<P_ROW>(16 * m + lane % 16, 2 * k + lane / 16));
#pragma unroll
    for (int n = 0; n < 8; n += 2) {
      unsigned b[4];
      ptx::ldmatrix_x4_trans(b, tile + swizzled<ROW>(16 * k + lane % 16, chunk + n + lane / 16));
#pragma unroll
      for (int m = 0; m < MT; ++m) {
        ptx::mma_bf16(o[m][n], a[m], b[0], b[1]);
        ptx::mma_bf16(o[m][n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

/// Writes o and lse where there is one chunk, else part [B, Hq, splits, DV] (not divided by the sum) and stats [B, Hq,
/// splits] = (maximum, sum).
template <int MT>
__global__ void __launch_bounds__(WARPS * 32, 1)
mla_decode(const uint4* __restrict__ q, const uint4* __restrict__ kv, const int* __restrict__ page_table,
           const int* __restrict__ len, float* __restrict__ part, float2* __restrict__ stats, unsigned* __restrict__ o,
           float* __restrict__ lse, int pages, int Hq, int chunk, float scale_log2) {
  using Share = Shares<MT>;
  extern __shared__ __align__(128) unsigned char raw[];
  Shared<MT>& shared = *reinterpret_cast<Shared<MT>*>(raw);
  const int head = blockIdx.x * 16 * MT, split = blockIdx.y, splits = gridDim.y, b = blockIdx.z;
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4, t = lane % 4;
  const int begin = split * chunk, end = min(begin + chunk, len[b]);
  if (begin >= end && split > 0) return;
  const int tiles = (end - begin + KEYS - 1) / KEYS;  // at most 0 where there are no keys
  page_table += (long long)b * pages + begin / KEYS;

  const auto fetch = [&](int tile, long long page) {
    const int keys = end - begin - tile * KEYS;
#pragma unroll 2
    for (int i = 0; i < KEYS * ROW / (WARPS * 32); ++i) {
      const int index = i * WARPS * 32 + tid, row = index / ROW, vector = index % ROW;
      ptx::cp_async_16(&shared.tiles[tile % STAGES][swizzled<ROW>(row, vector)],
                       kv + (page * KEYS + (row < keys ? row : 0)) * ROW + vector, row < keys);
    }
  };
  int page = tiles > 1 ? page_table[1] : 0;  // of the tile to be fetched next
  if (tiles > 0) fetch(0, page_table[0]);
  for (int index = tid; index < 16 * MT * ROW; index += WARPS * 32) {
    const int row = index / ROW, vector = index % ROW;
    const bool is_head = head + row < Hq;
    ptx::cp_async_16(&shared.q[swizzled<ROW>(row, vector)], q + ((long long)b * Hq + (is_head ? head + row : 0)) * ROW + vector,
                     is_head);
  }
  ptx::cp_async_commit();

  const int row_group = warp % Share::ROW_GROUPS, key_group = warp / Share::ROW_GROUPS;
  const int my_row = row_group * 16 * Share::M, my_key = key_group * 8 * Share::N;
  float my_max[Share::M][2], my_sum[Share::M][2], out[MT][8][4];
#pragma unroll
  for (int m = 0; m < MT; ++m) {
#pragma unroll
    for (int n = 0; n < 8; ++n) out[m][n][0] = out[m][n][1] = out[m][n][2] = out[m][n][3] = 0;
  }
#pragma unroll
  for (int m = 0; m < Share::M; ++m) my_max[m][0] = my_max[m][1] = LOWEST, my_sum[m][0] = my_sum[m][1] = 0;

  for (int tile = 0; tile < tiles; ++tile) {
    ptx::cp_async_wait<0>();
    __syncthreads();  // the tile is there, and nobody reads the stage before it or the weights any more
    if (tile + 1 < tiles) {
      fetch(tile + 1, page);
      page = tile + 2 < tiles ? page_table[tile + 2] : 0;
    }
    ptx::cp_async_commit();
    const uint4* const stage = shared.tiles[tile % STAGES];

    float s[Share::M][Share::N][4];
    score<MT>(s, shared, stage, my_row, my_key);
    const int keys = end - begin - tile * KEYS;
#pragma unroll
    for (int m = 0; m < Share::M; ++m) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float most = LOWEST;
#pragma unroll
        for (int n = 0; n < Share::N; ++n) {
#pragma unroll
          for (int j = 0; j < 2; ++j) {
            float& value = s[m][n][2 * i + j];
            value = my_key + 8 * n + 2 * t + j < keys ? value * scale_log2 : -INFINITY;
            most = fmaxf(most, value);
          }
        }
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
        if (t == 0) shared.group_max[key_group][my_row + 16 * m + 8 * i + g] = most;
      }
    }
    __syncthreads();  // the maxima of all groups of keys are visible
#pragma unroll
    for (int m = 0; m < Share::M; ++m) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int row = my_row + 16 * m + 8 * i + g;
        float next = my_max[m][i];
#pragma unroll
        for (int k = 0; k < Share::KEY_GROUPS; ++k) next = fmaxf(next, shared.group_max[k][row]);
        const float shrink = ptx::ex2(my_max[m][i] - next);
        my_sum[m][i] *= shrink;
        my_max[m][i] = next;
        if (key_group == 0 && t == 0) shared.shrink[row] = shrink;
#pragma unroll
        for (int n = 0; n < Share::N; ++n) {
          const float p0 = ptx::ex2(s[m][n][2 * i] - next), p1 = ptx::ex2(s[m][n][2 * i + 1] - next);
          my_sum[m][i] += p0 + p1;
          reinterpret_cast<unsigned*>(shared.p + swizzled<P_ROW>(row, my_key / 8 + n))[t] = ptx::pack_bf16(p0, p1);
        }
      }
    }
    __syncthreads();  // the weights, and what they leave of the state, are visible
#pragma unroll
    for (int m = 0; m < MT; ++m) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float shrink = shared.shrink[16 * m + 8 * i + g];
#pragma unroll
        for (int n = 0; n < 8; ++n) out[m][n][2 * i] *= shrink, out[m][n][2 * i + 1] *= shrink;
      }
    }
    add_values<MT>(out, shared, stage, warp * 8);
  }

  __syncthreads();  // nobody reads the last tile's maxima any more
#pragma unroll
  for (int m = 0; m < Share::M; ++m) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float sum = my_sum[m][i];
      sum += __shfl_xor_sync(0xffffffffu, sum, 1);
      sum += __shfl_xor_sync(0xffffffffu, sum, 2);
      if (t != 0) continue;
      shared.group_max[key_group][my_row + 16 * m + 8 * i + g] = sum;
      if (key_group == 0) shared.shrink[my_row + 16 * m + 8 * i + g] = my_max[m][i];
    }
  }
  ptx::cp_async_wait<0>();
  __syncthreads();  // the sums of all groups of keys, and the maxima, are visible
#pragma unroll
  for (int m = 0; m < MT; ++m) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = 16 * m + 8 * i + g;
      if (head + row >= Hq) continue;
      float sum = 0;
#pragma unroll
      for (int k = 0; k < Share::KEY_GROUPS; ++k) sum += shared.group_max[k][row];
      const long long at = (long long)b * Hq + head + row;
      if (splits == 1) {
        const float factor = sum > 0 ? 1.0f / sum : 0.0f;
#pragma unroll
        for (int n = 0; n < 8; ++n) {
          o[(at * DV + warp * 64 + 8 * n) / 2 + t] = ptx::pack_bf16(out[m][n][2 * i] * factor, out[m][n][2 * i + 1] * factor);
        }
        if (warp == 0 && t == 0) lse[at] = sum > 0 ? shared.shrink[row] * LN2 + logf(sum) : -INFINITY;
      } else {
#pragma unroll
        for (int n = 0; n < 8; ++n) {
          *reinterpret_cast<float2*>(&part[(at * splits + split) * DV + warp * 64 + 8 * n + 2 * t]) =
              make_float2(out[m][n][2 * i], out[m][n][2 * i + 1]);
        }
        if (warp == 0 && t == 0) stats[at * splits + split] = make_float2(shared.shrink[row], sum);
      }
    }
  }
}

/// One block per row (b, h), four channels a thread: merges the chunks that hold keys.
extern "C" __global__ void __launch_bounds__(DV / 4)
combine(const float4* __restrict__ part, const float2* __restrict__ stats, const int* __restrict__ len,
        uint2* __restrict__ o, float* __restrict__ lse, int Hq, int splits, int chunk) {
  const long long row = blockIdx.x;
  const int d = threadIdx.x, keys = len[row / Hq], used = (keys + chunk - 1) / chunk;
  part += row * splits * (DV / 4);
  stats += row * splits;
  float max = LOWEST, sum = 0;
  float4 value = make_float4(0, 0, 0, 0);
  for (int split = 0; split < used; ++split) max = fmaxf(max, stats[split].x);
  for (int split = 0; split < used; ++split) {
    const float shrink = ptx::ex2(stats[split].x - max);
    const float4 here = part[split * (DV / 4) + d];
    sum += stats[split].y * shrink;
    value.x += here.x * shrink, value.y += here.y * shrink, value.z += here.z * shrink, value.w += here.w * shrink;
  }
  const float factor = keys > 0 ? 1.0f / sum : 0.0f;
  o[row * (DV / 4) + d] = make_uint2(ptx::pack_bf16(value.x * factor, value.y * factor),
                                     ptx::pack_bf16(value.z * factor, value.w * factor));
  if (d == 0) lse[row] = keys > 0 ? max * LN2 + logf(sum) : -INFINITY;
}

/// The number of chunks that fills whole waves of blocks best: the least one within 5 % of the best.
constexpr int pick_splits(const Problem& p, int head_blocks) {
  const int splits_max = kl::clamp(p.S / (KEYS * 4), 1, SPLITS_MAX);
  const auto efficiency = [&](int splits) {
    const double waves = double(p.B) * head_blocks * splits / p.device.sms;
    const auto whole = static_cast<long long>(waves);
    return waves / (waves > whole ? whole + 1 : whole);
  };
  double best = 0;
  const int least = kl::min(SPLITS_WANTED, splits_max);
  for (int splits = least; splits <= splits_max; ++splits) best = kl::max(best, efficiency(splits));
  for (int splits = least; splits <= splits_max; ++splits) {
    if (efficiency(splits) >= 0.95 * best) return splits;
  }
  return splits_max;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int tiles = p.Hq > 32 ? 4 : p.Hq > 16 ? 2 : 1;  // of 16 heads in a block
  const int bytes = tiles == 4 ? sizeof(Shared<4>) : tiles == 2 ? sizeof(Shared<2>) : sizeof(Shared<1>);
  if (!plan.require(bytes <= p.device.shared_bytes_max, "two pages and the queries exceed shared memory")) return;
  const int head_blocks = kl::cdiv(p.Hq, 16 * tiles);
  const int chunk = kl::round_up(kl::cdiv(p.S, pick_splits(p, head_blocks)), KEYS), splits = kl::cdiv(p.S, chunk);

  const bool is_split = splits > 1;
  const auto part = plan.workspace(kl::f32, is_split ? (long long)p.B * p.Hq * splits * DV : 1);
  const auto stats = plan.workspace(kl::f32, is_split ? (long long)p.B * p.Hq * splits * 2 : 2);
  plan.launch(tiles == 4 ? "mla_decode<4>" : tiles == 2 ? "mla_decode<2>" : "mla_decode<1>")
      .grid(head_blocks, splits, p.B).block(WARPS * 32).shared(bytes)
      .arg(p.q).arg(p.kv).arg(p.page_table).arg(p.len).arg(part).arg(stats).arg(p.o).arg(p.lse).arg(kl::cdiv(p.S, KEYS))
      .arg(p.Hq).arg(chunk).arg(p.scale * 1.44269504f);
  if (!is_split) return;
  plan.launch("combine").grid(p.B * p.Hq).block(DV / 4)
      .arg(part).arg(stats).arg(p.len).arg(p.o).arg(p.lse).arg(p.Hq).arg(splits).arg(chunk);
}
