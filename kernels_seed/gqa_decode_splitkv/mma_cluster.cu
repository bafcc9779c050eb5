// SPDX-License-Identifier: Apache-2.0
// Decode attention, split over the keys: q [B, Hq, 128] over k, v [B, S, Hkv, 128] (bf16) up to len[b], with lse.
//
// Technique (Flash-Decoding in one launch): a cluster of up to eight blocks takes one key-value head of one sequence, for all
// G = Hq / Hkv <= 8 query heads at once. Tiles of 16 keys are dealt out to all warps of the cluster in turns, so that where a
// warp reads does not depend on len[b], and all have equally much of any length; a warp walks its tiles through a swizzled
// cp.async ring of its own, without any barrier of the block. Keys are the rows of mma.sync and query heads its eight columns:
// S' = K Q', and with the weights transposed in registers (movmatrix) O' = V' P'. The first stages are requested before len[b]
// is known. At the end each block of a cluster owns a share of the outputs: all send it their part of that share through
// distributed shared memory, and behind one barrier of the cluster it adds them up. Nothing of it goes through global memory.
//
// Ladder (H100, medians of 30 rounds: docs/decode_seeds.md):
//   naive.cu        one warp per query head, keys read G times, one load in flight
//   split_kv.cu     keys shared by the group, split-KV with a wave-filling heuristic, 16-byte cp.async pipeline
//   mma_ahead.cu    tensor cores, first copies ahead of the length, programmatic merge
//   this file       the merge inside a cluster, no second launch: 1.02 to 1.03x mma_ahead.cu up to 67k tokens, 1.13 to 1.20x for
//                   one sequence of 1k to 4k, 1.00 to 1.01x beyond
//   left to do      few key-value heads of a long sequence: eight blocks each leave multiprocessors idle, mma_ahead.cu does not

// tune: STAGES = 3 | 2
// tune: BLOCK_COST = 256 | 64 | 1024
// tune: CLUSTER_MAX = 8 | 4 | 2

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int D = Problem::D;
constexpr int ROW = D / 8;                     // 16-byte vectors of a key
constexpr int TILE = 16;                       // keys of one step of a warp
constexpr int STAGE = 2 * TILE * ROW;          // vectors: keys, then values
constexpr int HEADS = 8;                       // columns of the mma: the group, padded
constexpr int O_ROW = D + 4;                   // floats of a row in the merge: no bank conflicts
constexpr int LANES = D / 4;                   // of four channels of an output row
constexpr float LOWEST = -1e30f;               // finite, so that the difference of two maxima is never NaN
constexpr float LN2 = 0.69314718f;

/// The 8 x 8 matrix of 16-bit elements whose rows the lanes hold in fours, transposed (9.7.14.5.17).
__device__ __forceinline__ unsigned transposed(unsigned pair) {
  unsigned result;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(pair));
  return result;
}

/// Copies 16 bytes as cp_async_16 does, and asks for the 256 bytes around them.
__device__ __forceinline__ void copy_16(void* to_shared, const void* from_global, bool valid) {
  asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;" ::"r"(ptx::smem_address(to_shared)),
               "l"(from_global), "r"(valid ? 16 : 0)
               : "memory");
}

/// Writes to the shared memory of another block of the cluster.
__device__ __forceinline__ void send(void* to, int rank, float4 value) {
  asm volatile("st.shared::cluster.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(ptx::map_shared(ptx::smem_address(to), rank)),
               "f"(value.x), "f"(value.y), "f"(value.z), "f"(value.w)
               : "memory");
}
__device__ __forceinline__ void send(void* to, int rank, float2 value) {
  asm volatile("st.shared::cluster.v2.f32 [%0], {%1, %2};" ::"r"(ptx::map_shared(ptx::smem_address(to), rank)), "f"(value.x),
               "f"(value.y)
               : "memory");
}

/// Vector `chunk` of key `row` of a tile: swizzled, so that the same vector of eight rows lies in eight banks.
__device__ __forceinline__ int swizzled(int row, int chunk) { return row * ROW + (chunk ^ (row & 7)); }

/// Online softmax of eight query heads over the keys of one warp, in base-2 units. With g = lane / 4, t = lane % 4 a lane
/// holds heads 2t and 2t + 1, and of those channels 16c + g and 16c + g + 8.
struct State {
  float max[2], sum[2], o[D / 16][4];

  __device__ __forceinline__ void clear() {
    max[0] = max[1] = LOWEST;
    sum[0] = sum[1] = 0;
#pragma unroll
    for (int c = 0; c < D / 16; ++c) o[c][0] = o[c][1] = o[c][2] = o[c][3] = 0;
  }
};

/// One tile: its first `keys` keys count.
__device__ __forceinline__ void attend(State& state, const unsigned (&q)[D / 16][2], const uint4* tile, int keys,
                                       float scale_log2) {
  const int lane = threadIdx.x % 32, g = lane / 4;
  float s[4] = {0, 0, 0, 0}, odd[4] = {0, 0, 0, 0};  // two chains of products, half as long
#pragma unroll
  for (int c = 0; c < D / 16; c += 2) {
    unsigned a[4], b[4];
    ptx::ldmatrix_x4(a, tile + swizzled(lane % 16, 2 * c + lane / 16));
    ptx::ldmatrix_x4(b, tile + swizzled(lane % 16, 2 * c + 2 + lane / 16));
    ptx::mma_bf16(s, a, q[c][0], q[c][1]);
    ptx::mma_bf16(odd, b, q[c + 1][0], q[c + 1][1]);
  }
  float next[2];
#pragma unroll
  for (int i = 0; i < 4; ++i) s[i] = g + i / 2 * 8 < keys ? (s[i] + odd[i]) * scale_log2 : -INFINITY;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    next[i] = fmaxf(s[i], s[2 + i]);
#pragma unroll
    for (int step = 4; step < 32; step *= 2) next[i] = fmaxf(next[i], __shfl_xor_sync(0xffffffffu, next[i], step));
    next[i] = fmaxf(next[i], state.max[i]);
  }
  if (__any_sync(0xffffffffu, next[0] > state.max[0] || next[1] > state.max[1])) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float shrink = ptx::ex2(state.max[i] - next[i]);
      state.max[i] = next[i];
      state.sum[i] *= shrink;
#pragma unroll
      for (int c = 0; c < D / 16; ++c) state.o[c][i] *= shrink, state.o[c][2 + i] *= shrink;
    }
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    s[i] = ptx::ex2(s[i] - state.max[i % 2]);
    state.sum[i % 2] += s[i];
  }
  const unsigned p0 = transposed(ptx::pack_bf16(s[0], s[1])), p1 = transposed(ptx::pack_bf16(s[2], s[3]));
  const uint4* const values = tile + TILE * ROW;
#pragma unroll
  for (int c = 0; c < D / 16; ++c) {
    unsigned a[4];
    ptx::ldmatrix_x4_trans(a, values + swizzled(lane % 8 + lane / 16 * 8, 2 * c + lane / 8 % 2));
    ptx::mma_bf16(state.o[c], a, p0, p1);
  }
}

/// Four channels of a row: o, and lse where they are the first.
__device__ __forceinline__ void finish(uint2* o, float* lse, long long row, int lane, float4 value, float max, float sum) {
  const float factor = sum > 0 ? 1.0f / sum : 0.0f;
  o[row * LANES + lane] = make_uint2(ptx::pack_bf16(value.x * factor, value.y * factor),
                                     ptx::pack_bf16(value.z * factor, value.w * factor));
  if (lane == 0) lse[row] = sum > 0 ? max * LN2 + logf(sum) : -INFINITY;
}

template <int WARPS>
__global__ void __launch_bounds__(WARPS * 32, 8 / WARPS)
decode(const unsigned* __restrict__ q, const uint4* __restrict__ k, const uint4* __restrict__ v,
       const int* __restrict__ len, uint2* __restrict__ o, float* __restrict__ lse, int S, int G, float scale_log2) {
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ float2 warp_stats[WARPS][HEADS];
  __shared__ __align__(16) float4 parts[HEADS * LANES + CLUSTER_MAX];  // of the blocks of the cluster, of this one's share
  __shared__ float2 stats[CLUSTER_MAX][HEADS];                         // (maximum, sum) of the blocks
  const int hk = blockIdx.x, Hkv = gridDim.x, rank = blockIdx.y, ranks = gridDim.y, b = blockIdx.z;
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4, t = lane % 4;
  if (ranks > 1) ptx::cluster_arrive();  // waited for before anything is sent: by then all of the cluster have begun
  int keys;  // under way while the first copies are requested
  asm volatile("ld.global.nc.s32 %0, [%1];" : "=r"(keys) : "l"(len + b));

  // Tile `step` of this warp begins at first + step * stride.
  const int first = (warp * ranks + rank) * TILE, stride = WARPS * ranks * TILE;
  uint4* const ring = reinterpret_cast<uint4*>(shared) + warp * STAGES * STAGE;
  const long long origin = ((long long)b * S * Hkv + hk) * ROW + lane % ROW, row_vectors = (long long)Hkv * ROW;
  // A lane copies vector lane % 16 of keys lane / 16, + 2, + 4, ...
  const auto fetch = [&](int step) {
    uint4* const stage = ring + step % STAGES * STAGE;
#pragma unroll
    for (int i = 0; i < TILE / 2; ++i) {
      const int row = 2 * i + lane / 16, key = first + step * stride + row;
      const long long at = origin + (key < S ? key : 0) * row_vectors;
      copy_16(stage + swizzled(row, lane % 16), k + at, key < S);
      copy_16(stage + TILE * ROW + swizzled(row, lane % 16), v + at, key < S);
    }
  };
#pragma unroll
  for (int step = 0; step < STAGES - 1; ++step) {
    if (first + step * stride < S) fetch(step);
    ptx::cp_async_commit();
  }

  unsigned q_lane[D / 16][2];
  const bool is_head = g < G;
  const unsigned* const query = q + ((long long)(b * Hkv + hk) * G + (is_head ? g : 0)) * (D / 2);
#pragma unroll
  for (int c = 0; c < D / 16; ++c) {
    q_lane[c][0] = is_head ? query[8 * c + t] : 0;
    q_lane[c][1] = is_head ? query[8 * c + 4 + t] : 0;
  }

  const int end = min(S, keys), steps = end > first ? (end - first + stride - 1) / stride : 0;
  State state;
  state.clear();
  for (int step = 0; step < steps; ++step) {
    ptx::cp_async_wait<STAGES - 2>();  // this lane's copies of `step` have arrived
    __syncwarp();                      // so have those of the others, and nobody reads the stage before it any more
    if (step + STAGES - 1 < steps) fetch(step + STAGES - 1);
    ptx::cp_async_commit();
    uint4* const tile = ring + step % STAGES * STAGE;
    const int left = end - first - step * stride;
    if (left < TILE) {  // what lies behind the end is arbitrary: no weight of zero makes up for NaN
      for (int i = lane; i < (TILE - left) * ROW; i += 32) tile[(TILE + left) * ROW + i] = make_uint4(0, 0, 0, 0);
      __syncwarp();
    }
    attend(state, q_lane, tile, left, scale_log2);
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int step = 4; step < 32; step *= 2) state.sum[i] += __shfl_xor_sync(0xffffffffu, state.sum[i], step);
  }

  // Merge the warps: [WARPS][G][D] of floats take the place of the rings.
  float* const warp_o = reinterpret_cast<float*>(shared);
  ptx::cp_async_wait<0>();
  __syncthreads();  // nobody reads the rings any more
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int head = 2 * t + i;
    if (head >= G) continue;
    if (g == 0) warp_stats[warp][head] = make_float2(state.max[i], state.sum[i]);
#pragma unroll
    for (int c = 0; c < D / 16; ++c) {
      warp_o[(warp * G + head) * O_ROW + 16 * c + g] = state.o[c][i];
      warp_o[(warp * G + head) * O_ROW + 16 * c + g + 8] = state.o[c][2 + i];
    }
  }
  __syncthreads();  // every warp's output and statistics are visible
  if (ranks > 1) ptx::cluster_wait();
  const long long row = (long long)(b * Hkv + hk) * G;
  const int share = (G * LANES + ranks - 1) / ranks;  // vectors of four channels that a block owns
  for (int head = warp; head < G; head += WARPS) {
    float max = LOWEST, sum = 0;
    float4 value = make_float4(0, 0, 0, 0);
#pragma unroll
    for (int w = 0; w < WARPS; ++w) max = fmaxf(max, warp_stats[w][head].x);
#pragma unroll
    for (int w = 0; w < WARPS; ++w) {
      const float shrink = ptx::ex2(warp_stats[w][head].x - max);
      const float4 here = *reinterpret_cast<const float4*>(warp_o + (w * G + head) * O_ROW + 4 * lane);
      sum += warp_stats[w][head].y * shrink;
      value.x += here.x * shrink, value.y += here.y * shrink, value.z += here.z * shrink, value.w += here.w * shrink;
    }
    if (ranks == 1) {
      finish(o, lse, row + head, lane, value, max, sum);
    } else {
      const int vector = head * LANES + lane;
      send(&parts[rank * share + vector % share], vector / share, value);
      if (lane < ranks) send(&stats[rank][head], lane, make_float2(max, sum));
    }
  }
  if (ranks == 1) return;
  ptx::cluster_sync();  // this block's share of all blocks is visible, and nobody sends anything any more
  const int vector = rank * share + tid;
  if (tid >= share || vector >= G * LANES) return;
  const int head = vector / LANES;
  float max = LOWEST, sum = 0;
  float4 value = make_float4(0, 0, 0, 0);
  for (int r = 0; r < ranks; ++r) max = fmaxf(max, stats[r][head].x);
#pragma unroll 4
  for (int r = 0; r < ranks; ++r) {
    const float2 stat = stats[r][head];
    const float4 here = parts[r * share + tid];
    const float shrink = ptx::ex2(stat.x - max);
    sum += stat.y * shrink;
    value.x += here.x * shrink, value.y += here.y * shrink, value.z += here.z * shrink, value.w += here.w * shrink;
  }
  finish(o, lse, row + head, vector % LANES, value, max, sum);
}

/// Dynamic shared memory of decode: the rings, or the merge that takes their place.
constexpr int shared_bytes(int warps) { return kl::max(warps * STAGES * STAGE * 16, warps * HEADS * O_ROW * 4); }

/// How the keys are shared out: blocks of eight warps, one to a multiprocessor, or of four, two to one; blocks of a cluster.
struct Division {
  int warps, ranks;
};

/// The division that takes least time: waves of blocks, each as long as the keys of a multiprocessor and BLOCK_COST more.
/// Clusters of four and more leave some multiprocessors without work: here twelve of 132. Blocks of four warps must be worth it.
constexpr Division pick(const Problem& p) {
  Division best{8, 1};
  long long least = 0;
  for (int form = 1; form <= 2; ++form) {
    for (int ranks = 1; ranks <= CLUSTER_MAX && (ranks - 1) * TILE < p.S; ranks *= 2) {
      const long long slots = (ranks > 2 ? p.device.sms * 10 / 11 : p.device.sms) * form;
      const long long waves = kl::cdiv((long long)p.B * p.Hkv * ranks, slots);
      const long long cost = waves * ((long long)kl::cdiv(p.S, ranks) * form + BLOCK_COST) * (form == 1 ? 20 : 21);
      if (least == 0 || cost < least) {
        best.warps = 8 / form;
        best.ranks = ranks;
        least = cost;
      }
    }
  }
  return best;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int group = p.Hq / p.Hkv;
  const Division by = pick(p);
  if (!plan.require(group <= HEADS, "more than 8 query heads to a key-value head")) return;
  if (!plan.require(shared_bytes(8) <= p.device.shared_bytes_max - 8192, "the rings exceed shared memory")) return;
  plan.launch(by.warps == 8 ? "decode<8>" : "decode<4>").grid(p.Hkv, by.ranks, p.B).block(by.warps * 32)
      .cluster(1, by.ranks, 1).shared(shared_bytes(by.warps))
      .arg(p.q).arg(p.k).arg(p.v).arg(p.len).arg(p.o).arg(p.lse).arg(p.S).arg(group).arg(p.scale * 1.44269504f);
}
