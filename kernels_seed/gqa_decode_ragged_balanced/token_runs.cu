// SPDX-License-Identifier: Apache-2.0
// Ragged decode attention in equal shares (stream-K): q [B, Hq, 128] over tokens offsets[b] to offsets[b + 1] - 1 of k, v
// [T, Hkv, 128] (bf16), with lse.
//
// Technique (LeanAttention, cut along the packed tokens): all T tokens are dealt out in equal runs to as many groups of
// Hkv blocks as the device holds at once; the blocks of a group read the same tokens for one key-value head each, so that
// whole rows of 256 Hkv bytes leave memory together. What a block reads does not depend on where sequences begin: each
// warp walks tiles of 16 tokens through a cp.async ring of its own that never runs dry; a tile that several sequences share is
// looked at once for each. Of a sequence that is cut the block leaves a partial state, at most one at its run's begin and
// one at its end, and a second kernel, launched programmatically, merges those. Keys are the rows of mma.sync and query
// heads its eight columns.
//
// Ladder (H100: docs/decode_seeds.md):
//   naive.cu        one warp per query head, the longest sequence decides
//   stream_k.cu     equal shares for all blocks, keys shared by the group, tensor cores, 72 KiB of rows under way
//   this file       runs along the tokens for all heads, a pipeline that runs on from one sequence to the next,
//                   programmatic merge, whose pieces and statistics are requested at once
//   left to do      queries of the next sequence ahead of time

// tune: WARPS = 8 | 4 | 2
// tune: STAGES = 2 | 3 | 4
// tune: BLOCKS_PER_SM = 1 | 2 | 3

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int D = Problem::D;
constexpr int ROW = D / 8;                     // 16-byte vectors of a key
constexpr int TILE = 16;                       // tokens of one step of a warp
constexpr int STAGE = 2 * TILE * ROW;          // vectors: keys, then values
constexpr int MERGE_WARPS = 4;
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

/// Vector `chunk` of key `row` of a tile: swizzled, so that the same vector of eight rows lies in eight banks.
__device__ __forceinline__ int swizzled(int row, int chunk) { return row * ROW + (chunk ^ (row & 7)); }

/// Online softmax of 8 * NT query heads over the keys of one warp, in base-2 units. With g = lane / 4, t = lane % 4 a lane
/// holds heads 8n + 2t and 8n + 2t + 1, and of those channels 16c + g and 16c + g + 8.
template <int NT>
struct State {
  float max[NT][2], sum[NT][2], o[NT][D / 16][4];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int n = 0; n < NT; ++n) {
      max[n][0] = max[n][1] = LOWEST;
      sum[n][0] = sum[n][1] = 0;
#pragma unroll
      for (int c = 0; c < D / 16; ++c) o[n][c][0] = o[n][c][1] = o[n][c][2] = o[n][c][3] = 0;
    }
  }
};

/// One tile: keys `from` to `end` - 1 of the sixteen count; all, unless it is cut.
template <int NT, bool is_cut>
__device__ __forceinline__ void attend(State<NT>& state, const unsigned (&q)[NT][D / 16][2], const uint4* tile, int from,
                                       int end, float scale_log2) {
  const int lane = threadIdx.x % 32, g = lane / 4;
  float s[NT][4], odd[NT][4];  // two chains of products, half as long
#pragma unroll
  for (int n = 0; n < NT; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) s[n][i] = odd[n][i] = 0;
  }
#pragma unroll
  for (int c = 0; c < D / 16; c += 2) {
    unsigned a[4], b[4];
    ptx::ldmatrix_x4(a, tile + swizzled(lane % 16, 2 * c + lane / 16));
    ptx::ldmatrix_x4(b, tile + swizzled(lane % 16, 2 * c + 2 + lane / 16));
#pragma unroll
    for (int n = 0; n < NT; ++n) {
      ptx::mma_bf16(s[n], a, q[n][c][0], q[n][c][1]);
      ptx::mma_bf16(odd[n], b, q[n][c + 1][0], q[n][c + 1][1]);
    }
  }
  unsigned p[NT][2];
#pragma unroll
  for (int n = 0; n < NT; ++n) {
    float next[2];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int key = g + i / 2 * 8;
      s[n][i] = !is_cut || (key >= from && key < end) ? (s[n][i] + odd[n][i]) * scale_log2 : -INFINITY;
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      next[i] = fmaxf(s[n][i], s[n][2 + i]);
#pragma unroll
      for (int step = 4; step < 32; step *= 2) next[i] = fmaxf(next[i], __shfl_xor_sync(0xffffffffu, next[i], step));
      next[i] = fmaxf(next[i], state.max[n][i]);
    }
    if (__any_sync(0xffffffffu, next[0] > state.max[n][0] || next[1] > state.max[n][1])) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float shrink = ptx::ex2(state.max[n][i] - next[i]);
        state.max[n][i] = next[i];
        state.sum[n][i] *= shrink;
#pragma unroll
        for (int c = 0; c < D / 16; ++c) state.o[n][c][i] *= shrink, state.o[n][c][2 + i] *= shrink;
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      s[n][i] = ptx::ex2(s[n][i] - state.max[n][i % 2]);
      state.sum[n][i % 2] += s[n][i];
    }
    p[n][0] = transposed(ptx::pack_bf16(s[n][0], s[n][1]));
    p[n][1] = transposed(ptx::pack_bf16(s[n][2], s[n][3]));
  }
  const uint4* const values = tile + TILE * ROW;
  // Of this lane's values: those of other sequences may be anything, and no weight of zero makes up for NaN.
  unsigned mask[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int key = 2 * (lane % 4) + 8 * i;
    mask[i] = (key >= from && key < end ? 0xffffu : 0) | (key + 1 >= from && key + 1 < end ? 0xffff0000u : 0);
  }
#pragma unroll
  for (int c = 0; c < D / 16; ++c) {
    unsigned a[4];
    ptx::ldmatrix_x4_trans(a, values + swizzled(lane % 8 + lane / 16 * 8, 2 * c + lane / 8 % 2));
    if (is_cut) a[0] &= mask[0], a[1] &= mask[0], a[2] &= mask[1], a[3] &= mask[1];
#pragma unroll
    for (int n = 0; n < NT; ++n) ptx::mma_bf16(state.o[n][c], a, p[n][0], p[n][1]);
  }
}

/// Stages of a ring: the outputs of sixteen heads leave room for two.
constexpr int stages_for(int column_tiles) { return column_tiles > 1 ? kl::min(STAGES, 2) : STAGES; }

/// The first tile of group c's run.
__device__ __forceinline__ int run_begin(int c, int tiles, int groups) { return (int)((long long)tiles * c / groups); }

/// Where channel d of head `head` lies in a warp's outputs: no bank conflicts when they are written.
__device__ __forceinline__ int place(int head, int d) { return head * D + (d ^ ((head >> 1 & 3) << 3)); }

/// Writes o and lse of sequences that lie in one run; of others part [groups, Hkv, 2, G, D] (not divided by the sum) and
/// stats [groups, Hkv, 2, G] = (maximum, sum): entry 1 of a sequence that begins in the run, else 0.
template <int NT>
__global__ void __launch_bounds__(WARPS * 32, BLOCKS_PER_SM)
ragged_decode(const unsigned* __restrict__ q, const uint4* __restrict__ k, const uint4* __restrict__ v,
              const int* __restrict__ offsets, float* __restrict__ part, float2* __restrict__ stats,
              unsigned short* __restrict__ o, float* __restrict__ lse, int B, int T, int Hkv, int G, float scale_log2) {
  constexpr int RING = stages_for(NT);
  extern __shared__ __align__(128) unsigned char shared[];
  __shared__ float2 warp_stats[WARPS][NT * 8];
  const int hk = blockIdx.x % Hkv, group = blockIdx.x / Hkv, groups = gridDim.x / Hkv;
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4, t = lane % 4;
  uint4* const ring = reinterpret_cast<uint4*>(shared) + warp * RING * STAGE;
  float* const warp_o = reinterpret_cast<float*>(shared) + WARPS * RING * STAGE * 4;  // [WARPS][G][D]
  const int tiles = (T + TILE - 1) / TILE;
  const int begin = run_begin(group, tiles, groups) * TILE, end = min(run_begin(group + 1, tiles, groups) * TILE, T);
  if (begin >= end) return;

  int b = 0;  // the sequence that holds token `begin`: looked for ahead of the copies, behind which what it asks for would wait
  for (int from = 0; from < B; from += 32) {
    const bool is_before = from + lane < B && offsets[from + lane + 1] <= begin;
    b += __popc(__ballot_sync(0xffffffffu, is_before));
  }
  const int first = begin + warp * TILE, steps = end > first ? (end - first + WARPS * TILE - 1) / (WARPS * TILE) : 0;
  // A lane copies vector lane % 16 of tokens lane / 16, + 2, + 4, ...
  const auto fetch = [&](int step) {
    uint4* const stage = ring + step % RING * STAGE;
    const int token = first + step * WARPS * TILE + lane / 16;
    const long long from = ((long long)token * Hkv + hk) * ROW + lane % 16;
#pragma unroll
    for (int i = 0; i < TILE / 2; ++i) {
      const int row = 2 * i + lane / 16;
      const bool is_token = token + 2 * i < T;
      const long long at = is_token ? from + 2 * i * (long long)Hkv * ROW : 0;
      copy_16(stage + swizzled(row, lane % 16), k + at, is_token);
      copy_16(stage + TILE * ROW + swizzled(row, lane % 16), v + at, is_token);
    }
  };
#pragma unroll
  for (int step = 0; step < RING - 1; ++step) {
    if (step < steps) fetch(step);
    ptx::cp_async_commit();
  }
  ptx::griddepcontrol_launch_dependents();

  int step = 0, ready = -1;  // the last step whose tile has arrived
  for (int from = begin; from < end; ++b) {
    const int opens = offsets[b], closes = offsets[b + 1], until = min(closes, end);
    if (closes <= from) continue;  // empty
    unsigned q_lane[NT][D / 16][2];
#pragma unroll
    for (int n = 0; n < NT; ++n) {
      const bool is_head = 8 * n + g < G;
      const unsigned* const row = q + ((long long)(b * Hkv + hk) * G + (is_head ? 8 * n + g : 0)) * (D / 2);
#pragma unroll
      for (int c = 0; c < D / 16; ++c) {
        q_lane[n][c][0] = is_head ? row[8 * c + t] : 0;
        q_lane[n][c][1] = is_head ? row[8 * c + 4 + t] : 0;
      }
    }
    State<NT> state;
    state.clear();
    while (step < steps) {
      const int token = first + step * WARPS * TILE;
      if (token >= until) break;
      if (step > ready) {
        ptx::cp_async_wait<RING - 2>();  // this lane's copies of `step` have arrived
        __syncwarp();                      // so have those of the others, and nobody reads the stage before it any more
        if (step + RING - 1 < steps) fetch(step + RING - 1);
        ptx::cp_async_commit();
        ready = step;
      }
      const uint4* const tile = ring + step % RING * STAGE;
      if (token >= from && token + TILE <= until) {
        attend<NT, false>(state, q_lane, tile, 0, TILE, scale_log2);
      } else {
        attend<NT, true>(state, q_lane, tile, from - token, until - token, scale_log2);
        if (token + TILE > until && until < end) break;  // the next sequence looks at it too
      }
      ++step;
    }

#pragma unroll
    for (int n = 0; n < NT; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int x = 4; x < 32; x *= 2) state.sum[n][i] += __shfl_xor_sync(0xffffffffu, state.sum[n][i], x);
        const int head = 8 * n + 2 * t + i;
        if (head >= G) continue;
        if (g == 0) warp_stats[warp][head] = make_float2(state.max[n][i], state.sum[n][i]);
#pragma unroll
        for (int c = 0; c < D / 16; ++c) {
          warp_o[warp * G * D + place(head, 16 * c + g)] = state.o[n][c][i];
          warp_o[warp * G * D + place(head, 16 * c + g + 8)] = state.o[n][c][2 + i];
        }
      }
    }
    __syncthreads();  // every warp's output and statistics are visible
    const bool is_whole = opens >= begin && closes <= end;
    const long long entry = ((long long)group * Hkv + hk) * 2 + (opens >= begin ? 1 : 0);
    for (int i = tid; i < G * D; i += WARPS * 32) {
      const int head = i / D, d = i % D;
      float max = LOWEST, sum = 0, value = 0;
#pragma unroll
      for (int w = 0; w < WARPS; ++w) max = fmaxf(max, warp_stats[w][head].x);
#pragma unroll
      for (int w = 0; w < WARPS; ++w) {
        const float shrink = ptx::ex2(warp_stats[w][head].x - max);
        sum += warp_stats[w][head].y * shrink;
        value += warp_o[w * G * D + place(head, d)] * shrink;
      }
      if (is_whole) {
        const long long row = (long long)(b * Hkv + hk) * G + head;
        o[row * D + d] = (unsigned short)ptx::pack_bf16(value / sum, 0);
        if (d == 0) lse[row] = max * LN2 + logf(sum);
      } else {
        part[(entry * G + head) * D + d] = value;
        if (d == 0) stats[entry * G + head] = make_float2(max, sum);
      }
    }
    __syncthreads();  // nobody reads them any more
    from = until;
  }
  ptx::cp_async_wait<0>();
}

/// One block per row (b, h), four channels a lane: merges rows that were cut, and answers for empty sequences.
extern "C" __global__ void __launch_bounds__(MERGE_WARPS * 32)
merge_cut(const float4* __restrict__ part, const float2* __restrict__ stats, const int* __restrict__ offsets,
          uint2* __restrict__ o, float* __restrict__ lse, int T, int Hq, int Hkv, int groups) {
  __shared__ float4 partial[MERGE_WARPS][D / 4];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, b = blockIdx.x / Hq, h = blockIdx.x % Hq, G = Hq / Hkv;
  const long long row = blockIdx.x;
  const int opens = offsets[b], closes = offsets[b + 1], tiles = (T + TILE - 1) / TILE;
  if (opens == closes) {
    if (warp == 0) o[row * (D / 4) + lane] = make_uint2(0, 0);
    if (threadIdx.x == 0) lse[row] = -INFINITY;
    return;
  }
  const auto owner = [&](int token) {
    const int tile = token / TILE;
    int c = (int)((long long)tile * groups / tiles);
    while (run_begin(c, tiles, groups) > tile) --c;
    while (run_begin(c + 1, tiles, groups) <= tile) ++c;
    return c;
  };
  const int from = owner(opens), to = owner(closes - 1);
  if (from == to) return;  // the block wrote the result itself
  const auto entry_of = [&](int c) {  // -1: a group without tokens
    const int run = run_begin(c, tiles, groups);
    if (run == run_begin(c + 1, tiles, groups)) return -1ll;
    return (((long long)c * Hkv + h / G) * 2 + (opens >= run * TILE ? 1 : 0)) * G + h % G;
  };
  long long mine = from + lane <= to ? entry_of(from + lane) : -1;
  ptx::griddepcontrol_wait();  // the pieces are complete and visible

  // A lane has the statistics of a piece; the warps take turns in adding them. Both are requested at once.
  float max = LOWEST, sum = 0;
  float4 value = make_float4(0, 0, 0, 0);
#pragma unroll 1
  for (int base = from; base <= to; base += 32, mine = base + lane <= to ? entry_of(base + lane) : -1) {
    const float2 stat = mine >= 0 ? __ldcg(&stats[mine]) : make_float2(LOWEST, 0);
    float4 x[32 / MERGE_WARPS];
#pragma unroll
    for (int i = 0; i < 32 / MERGE_WARPS; ++i) {
      const long long entry = __shfl_sync(0xffffffffu, mine, i * MERGE_WARPS + warp);
      x[i] = entry >= 0 ? __ldcg(part + entry * (D / 4) + lane) : make_float4(0, 0, 0, 0);
    }
    float next = stat.x;
#pragma unroll
    for (int step = 16; step > 0; step /= 2) next = fmaxf(next, __shfl_xor_sync(0xffffffffu, next, step));
    next = fmaxf(next, max);
    const float shrink = ptx::ex2(max - next), weight = ptx::ex2(stat.x - next);
    max = next;
    sum = sum * shrink + stat.y * weight;
    value.x *= shrink, value.y *= shrink, value.z *= shrink, value.w *= shrink;
#pragma unroll
    for (int i = 0; i < 32 / MERGE_WARPS; ++i) {
      const float factor = __shfl_sync(0xffffffffu, weight, i * MERGE_WARPS + warp);
      value.x += x[i].x * factor, value.y += x[i].y * factor, value.z += x[i].z * factor, value.w += x[i].w * factor;
    }
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  partial[warp][lane] = value;
  __syncthreads();  // every warp's share is visible
  if (warp > 0) return;
#pragma unroll
  for (int w = 1; w < MERGE_WARPS; ++w) {
    const float4 other = partial[w][lane];
    value.x += other.x, value.y += other.y, value.z += other.z, value.w += other.w;
  }
  const float factor = 1.0f / sum;
  o[row * (D / 4) + lane] = make_uint2(ptx::pack_bf16(value.x * factor, value.y * factor),
                                       ptx::pack_bf16(value.z * factor, value.w * factor));
  if (lane == 0) lse[row] = max * LN2 + logf(sum);
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int group = p.Hq / p.Hkv, bytes = WARPS * (stages_for(kl::cdiv(group, 8)) * STAGE * 16 + group * D * 4);
  if (!plan.require(group <= 16, "more than 16 query heads to a key-value head")) return;
  if (!plan.require(bytes <= p.device.shared_bytes_max, "the rings exceed shared memory")) return;
  // With each block's static shared memory, and what the device keeps of it for itself.
  const int slots = p.device.sms * kl::clamp((p.device.shared_bytes_max + 1024) / (bytes + WARPS * 128 + 1024), 1, BLOCKS_PER_SM);
  const int groups = kl::max(1, slots / p.Hkv);

  const auto part = plan.workspace(kl::f32, (long long)groups * 2 * p.Hq * D);
  const auto stats = plan.workspace(kl::f32, (long long)groups * 2 * p.Hq * 2);
  plan.launch(group > 8 ? "ragged_decode<2>" : "ragged_decode<1>").grid(groups * p.Hkv).block(WARPS * 32).shared(bytes)
      .arg(p.q).arg(p.k).arg(p.v).arg(p.offsets).arg(part).arg(stats).arg(p.o).arg(p.lse).arg(p.B).arg(p.T).arg(p.Hkv).arg(group)
      .arg(p.scale * 1.44269504f);
  plan.launch("merge_cut").grid(p.B * p.Hq).block(MERGE_WARPS * 32).programmatic()
      .arg(part).arg(stats).arg(p.offsets).arg(p.o).arg(p.lse).arg(p.T).arg(p.Hq).arg(p.Hkv).arg(groups);
}
