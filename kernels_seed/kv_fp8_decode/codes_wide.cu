// SPDX-License-Identifier: Apache-2.0
// Decode attention over e4m3 codes on tensor cores: q [B, Hq, 128] (bf16) over k, v [B, S, Hkv, 128] with scales [B, Hkv, S]
// up to len[b], with lse.
//
// Technique (Flash-Decoding over codes): a block takes one key-value head of one sequence over one chunk of keys, for all
// query heads of the group at once. Each warp walks tiles of 32 keys of its own, whose rows of 128 bytes come by 16-byte
// cp.async into a ring that only this warp uses: no barrier of the block. Keys are the rows of mma.sync, query heads its
// eight columns. Codes become bf16 in registers, between ldmatrix and mma: the bits of a code, moved by four places, are
// the bf16 of its value times 2^-120, subnormals included, so that seven integer instructions convert four codes; queries
// and weights carry 2^64 to stay clear of float's own subnormals. ldmatrix moves pairs of codes: for keys the pairs are
// taken in an order that the queries share, and its transposed form gives even and odd channels of values apart. Scales
// of keys multiply scores, those of values the weights. Blocks have eight warps where sequences are long and four where they
// are short. Where there are several chunks, a second kernel merges them, launched programmatically and parallel over the
// chunks.
//
// Ladder (H100, medians of 30 rounds: docs/decode_seeds.md):
//   naive.cu        one warp per query head, keys read G times, one load in flight
//   mma_codes.cu    keys shared by the group, split-KV, tensor cores, codes converted in registers
//   this file       wider blocks and half as many chunks for long sequences, programmatic merge: 1.00 to 1.15x mma_codes.cu
//                   (first copies ahead of the length lose 1 to 7 %, three stages 1 to 4 %, twice the warps 3 to 5 %)
//   left to do      hardware conversion (sm_89), chunks balanced over ragged lengths

// tune: STAGES = 2 | 3 | 4
// tune: WARPS_PER_SM = 8 | 12 | 16
// tune: SHORT = 2048 | 4096 | 1024
// tune: CHUNK_MIN = 512 | 256 | 1024

#include <kernelites/ptx.cuh>

namespace ptx = kernelites::ptx;

constexpr int D = Problem::D;
constexpr int ROW = D / 16;                    // 16-byte vectors of a key
constexpr int TILE = 32;                       // keys of one step of a warp
constexpr int STAGE = 2 * TILE * ROW;          // vectors: keys, then values
constexpr int O_ROW = D + 8;                   // floats of a row in the merge: fewer bank conflicts
constexpr int SPLITS_MAX = 128, COMBINE_WARPS = 8;
constexpr int BLOCK_COST = 256;                // of starting and ending a block, in keys
constexpr float LOWEST = -1e30f;               // finite, so that the difference of two maxima is never NaN
constexpr float LN2 = 0.69314718f;
constexpr float LIFT = 0x1p64f;                // what queries and weights carry
constexpr float UNLIFT = 0x1p56f;              // 2^120 / LIFT

/// The 8 x 8 matrix of 16-bit elements whose rows the lanes hold in fours, transposed (9.7.14.5.17).
__device__ __forceinline__ unsigned transposed(unsigned pair) {
  unsigned result;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(pair));
  return result;
}

/// Four codes as bf16 of their values times 2^-120: those of bytes 0 and 1 and of 2 and 3, or of 0 and 2 and of 1 and 3.
template <bool is_interleaved>
__device__ __forceinline__ void decode(unsigned& first, unsigned& second, unsigned codes) {
  const unsigned high = (codes & 0x80808080u) | ((codes >> 4) & 0x07070707u);  // sign and three bits of the exponent
  const unsigned low = (codes << 4) & 0xf0f0f0f0u;                            // the last bit of it and the mantissa
  first = __byte_perm(low, high, is_interleaved ? 0x6240 : 0x5140);
  second = __byte_perm(low, high, is_interleaved ? 0x7351 : 0x7362);
}

/// Vector `chunk` of key `row` of a tile: swizzled, so that the same vector of eight rows lies in eight banks.
__device__ __forceinline__ int swizzled(int row, int chunk) { return row * ROW + (chunk ^ (row & 7)); }

/// Online softmax of 8 * NT query heads over the keys of one warp, in base-2 units. With g = lane / 4, t = lane % 4 a lane
/// holds heads 8n + 2t and 8n + 2t + 1, and of those channels 16c + 2g and 16c + 2g + 1.
template <int NT>
struct State {
  float max[NT][2], sum[NT][2], o[NT][ROW][4];

  __device__ void clear() {
#pragma unroll
    for (int n = 0; n < NT; ++n) {
      max[n][0] = max[n][1] = LOWEST;
      sum[n][0] = sum[n][1] = 0;
#pragma unroll
      for (int c = 0; c < ROW; ++c) o[n][c][0] = o[n][c][1] = o[n][c][2] = o[n][c][3] = 0;
    }
  }
};

/// Scores of 16 keys from `tile` on: s[n][2i + j] of key g + 8i and head 8n + 2t + j.
template <int NT>
__device__ __forceinline__ void score(float (&s)[NT][4], const unsigned (&q)[NT][ROW][2], const uint4* tile, int half) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int n = 0; n < NT; ++n) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
#pragma unroll
  for (int c = 0; c < ROW; c += 2) {
    unsigned codes[4], a[4];
    ptx::ldmatrix_x4(codes, tile + swizzled(16 * half + lane % 16, c + lane / 16));
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      decode<false>(a[0], a[2], codes[2 * i]);
      decode<false>(a[1], a[3], codes[2 * i + 1]);
#pragma unroll
      for (int n = 0; n < NT; ++n) ptx::mma_bf16(s[n], a, q[n][c + i][0], q[n][c + i][1]);
    }
  }
}

/// Adds 16 values from `tile` on with the weights p.
template <int NT>
__device__ __forceinline__ void add_values(State<NT>& state, const unsigned (&p)[NT][2], const uint4* tile, int half) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int c = 0; c < ROW; c += 2) {
    unsigned codes[4], a[4];
    ptx::ldmatrix_x4_trans(codes, tile + swizzled(16 * half + lane % 16, c + lane / 16));
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      decode<true>(a[0], a[1], codes[2 * i]);
      decode<true>(a[2], a[3], codes[2 * i + 1]);
#pragma unroll
      for (int n = 0; n < NT; ++n) ptx::mma_bf16(state.o[n][c + i], a, p[n][0], p[n][1]);
    }
  }
}

/// One tile: the first of its keys is `key`; those from `end` on do not count. A lane has the scales of key `key` + lane.
template <int NT>
__device__ __forceinline__ void attend(State<NT>& state, const unsigned (&q)[NT][ROW][2], const uint4* tile, int key,
                                       int end, float k_factor, float v_factor) {
  const int lane = threadIdx.x % 32, g = lane / 4;
  float s[2][NT][4];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    score<NT>(s[half], q, tile, half);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int at = 16 * half + 8 * i + g;
      const float factor = __shfl_sync(0xffffffffu, k_factor, at);
#pragma unroll
      for (int n = 0; n < NT; ++n) {
#pragma unroll
        for (int j = 0; j < 2; ++j) s[half][n][2 * i + j] = key + at < end ? s[half][n][2 * i + j] * factor : -INFINITY;
      }
    }
  }
#pragma unroll
  for (int n = 0; n < NT; ++n) {
    float shrink[2];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      float next = fmaxf(fmaxf(s[0][n][j], s[0][n][2 + j]), fmaxf(s[1][n][j], s[1][n][2 + j]));
#pragma unroll
      for (int step = 4; step < 32; step *= 2) next = fmaxf(next, __shfl_xor_sync(0xffffffffu, next, step));
      next = fmaxf(next, state.max[n][j]);
      shrink[j] = ptx::ex2(state.max[n][j] - next);
      state.max[n][j] = next;
      state.sum[n][j] *= shrink[j];
    }
#pragma unroll
    for (int c = 0; c < ROW; ++c) {
#pragma unroll
      for (int i = 0; i < 4; ++i) state.o[n][c][i] *= shrink[i % 2];
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    unsigned p[NT][2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float factor = __shfl_sync(0xffffffffu, v_factor, 16 * half + 8 * i + g);
#pragma unroll
      for (int n = 0; n < NT; ++n) {
        const float p0 = ptx::ex2(s[half][n][2 * i] - state.max[n][0]), p1 = ptx::ex2(s[half][n][2 * i + 1] - state.max[n][1]);
        state.sum[n][0] += p0;
        state.sum[n][1] += p1;
        p[n][i] = transposed(ptx::pack_bf16(p0 * factor, p1 * factor));
      }
    }
    add_values<NT>(state, p, tile + TILE * ROW, half);
  }
}

/// Writes o and lse where there is one chunk, else part [B, Hq, splits, D] (not divided by the sum) and stats [B, Hq,
/// splits] = (maximum, sum).
template <int NT, int WARPS>
__global__ void __launch_bounds__(WARPS * 32, WARPS_PER_SM / WARPS)
fp8_decode(const uint2* __restrict__ q, const uint4* __restrict__ k, const uint4* __restrict__ v,
           const float* __restrict__ k_scale, const float* __restrict__ v_scale, const int* __restrict__ len,
           float* __restrict__ part, float2* __restrict__ stats, unsigned short* __restrict__ o, float* __restrict__ lse,
           int S, int G, int chunk, float scale_log2) {
  constexpr int STEP = WARPS * TILE;  // keys of one step of the block
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ float2 warp_stats[WARPS][NT * 8];
  const int hk = blockIdx.x, Hkv = gridDim.x, split = blockIdx.y, splits = gridDim.y, b = blockIdx.z;
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32, g = lane / 4, t = lane % 4;
  const int begin = split * chunk, end = min(begin + chunk, len[b]);
  if (begin >= end && split > 0) return;

  const int first = begin + warp * TILE;  // of this warp's keys
  const long long origin = ((long long)b * S * Hkv + hk) * ROW + lane % ROW, row_vectors = (long long)Hkv * ROW;
  const long long scales = ((long long)b * Hkv + hk) * S;
  uint4* const ring = reinterpret_cast<uint4*>(shared) + warp * STAGES * STAGE;
  // A lane copies vector lane % ROW of keys lane / ROW, + 4, + 8, ...
  const auto fetch = [&](int step) {
    uint4* const stage = ring + step % STAGES * STAGE;
#pragma unroll
    for (int i = 0; i < TILE * ROW / 32; ++i) {
      const int row = i * (32 / ROW) + lane / ROW, key = first + step * STEP + row;
      const long long at = origin + (key < end ? key : begin) * row_vectors;
      ptx::cp_async_16(stage + swizzled(row, lane % ROW), k + at, key < end);
      ptx::cp_async_16(stage + TILE * ROW + swizzled(row, lane % ROW), v + at, key < end);
    }
  };
  const auto scale_of = [&](const float* scale, int step) {
    const int key = first + step * STEP + lane;
    return key < end ? scale[scales + key] : 0.0f;
  };

  const int steps = (end - first + STEP - 1) / STEP;  // of this warp, at most 0 where it has no keys
#pragma unroll
  for (int step = 0; step < STAGES - 1; ++step) {
    if (step < steps) fetch(step);
    ptx::cp_async_commit();
  }
  ptx::griddepcontrol_launch_dependents();
  float k_next = scale_of(k_scale, 0), v_next = scale_of(v_scale, 0);

  unsigned q_lane[NT][ROW][2];
#pragma unroll
  for (int n = 0; n < NT; ++n) {
    const bool is_head = 8 * n + g < G;
    const uint2* const row = q + ((long long)(b * Hkv + hk) * G + (is_head ? 8 * n + g : 0)) * (D / 4);
#pragma unroll
    for (int c = 0; c < ROW; ++c) {  // channels 16c + 4t and following: in the order of the codes
      const uint2 four = is_head ? row[4 * c + t] : make_uint2(0, 0);
      q_lane[n][c][0] = ptx::pack_bf16(ptx::low_bf16(four.x) * LIFT, ptx::high_bf16(four.x) * LIFT);
      q_lane[n][c][1] = ptx::pack_bf16(ptx::low_bf16(four.y) * LIFT, ptx::high_bf16(four.y) * LIFT);
    }
  }
  State<NT> state;
  state.clear();
  for (int step = 0; step < steps; ++step) {
    const float k_factor = k_next * scale_log2 * UNLIFT, v_factor = v_next * LIFT;
    k_next = scale_of(k_scale, step + 1);
    v_next = scale_of(v_scale, step + 1);
    ptx::cp_async_wait<STAGES - 2>();  // this lane's copies of `step` have arrived
    __syncwarp();                      // so have those of the others, and nobody reads the stage before it any more
    if (step + STAGES - 1 < steps) fetch(step + STAGES - 1);
    ptx::cp_async_commit();
    attend<NT>(state, q_lane, ring + step % STAGES * STAGE, first + step * STEP, end, k_factor, v_factor);
  }
#pragma unroll
  for (int n = 0; n < NT; ++n) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int step = 4; step < 32; step *= 2) state.sum[n][i] += __shfl_xor_sync(0xffffffffu, state.sum[n][i], step);
    }
  }

  // Merge the warps: [WARPS][G][D] of floats take the place of the rings.
  float* const warp_o = reinterpret_cast<float*>(shared);
  ptx::cp_async_wait<0>();
  __syncthreads();  // nobody reads the rings any more
#pragma unroll
  for (int n = 0; n < NT; ++n) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int head = 8 * n + 2 * t + i;
      if (head >= G) continue;
      if (g == 0) warp_stats[warp][head] = make_float2(state.max[n][i], state.sum[n][i]);
#pragma unroll
      for (int c = 0; c < ROW; ++c) {
        *reinterpret_cast<float2*>(&warp_o[(warp * G + head) * O_ROW + 16 * c + 2 * g]) =
            make_float2(state.o[n][c][i] * UNLIFT, state.o[n][c][2 + i] * UNLIFT);
      }
    }
  }
  __syncthreads();  // every warp's output and statistics are visible
  for (int i = tid; i < G * D; i += WARPS * 32) {
    const int head = i / D, d = i % D;
    float max = LOWEST, sum = 0, value = 0;
#pragma unroll
    for (int w = 0; w < WARPS; ++w) max = fmaxf(max, warp_stats[w][head].x);
#pragma unroll
    for (int w = 0; w < WARPS; ++w) {
      const float shrink = ptx::ex2(warp_stats[w][head].x - max);
      sum += warp_stats[w][head].y * shrink;
      value += warp_o[(w * G + head) * O_ROW + d] * shrink;
    }
    const long long row = (long long)(b * Hkv + hk) * G + head;
    if (splits == 1) {
      o[row * D + d] = (unsigned short)ptx::pack_bf16(sum > 0 ? value / sum : 0.0f, 0);
      if (d == 0) lse[row] = sum > 0 ? max * LN2 + logf(sum) : -INFINITY;
    } else {
      part[(row * splits + split) * D + d] = value;
      if (d == 0) stats[row * splits + split] = make_float2(max, sum);
    }
  }
}

/// One block per row (b, h), launched while chunks are still under way: warps share the chunks that hold keys, a lane has
/// four channels.
extern "C" __global__ void __launch_bounds__(COMBINE_WARPS * 32)
combine(const float4* __restrict__ part, const float2* __restrict__ stats, const int* __restrict__ len,
        uint2* __restrict__ o, float* __restrict__ lse, int Hq, int splits, int chunk) {
  constexpr int AHEAD = 8;                           // partial results of a warp that are requested at once
  constexpr int SHARE = SPLITS_MAX / COMBINE_WARPS;  // most partial results of a warp
  __shared__ float weights[SPLITS_MAX];
  __shared__ float4 partial[COMBINE_WARPS][D / 4];
  const long long row = blockIdx.x;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int keys = len[row / Hq], used = (keys + chunk - 1) / chunk;
  part += row * splits * (D / 4) + lane;
  stats += row * splits;
  ptx::griddepcontrol_wait();  // the chunks are complete and visible

  float4 x[AHEAD];
  const auto load = [&](int from) {
#pragma unroll
    for (int n = 0; n < AHEAD; ++n) {
      const int split = warp + COMBINE_WARPS * (from + n);
      x[n] = split < used ? __ldcg(part + split * (D / 4)) : make_float4(0, 0, 0, 0);
    }
  };
  float2 stat[SPLITS_MAX / 32];
  float max = LOWEST, sum = 0;
#pragma unroll
  for (int i = 0; i < SPLITS_MAX / 32; ++i) {
    stat[i] = lane + 32 * i < used ? __ldcg(stats + lane + 32 * i) : make_float2(LOWEST, 0);
  }
  load(0);
#pragma unroll
  for (int i = 0; i < SPLITS_MAX / 32; ++i) max = fmaxf(max, stat[i].x);
#pragma unroll
  for (int step = 16; step > 0; step /= 2) max = fmaxf(max, __shfl_xor_sync(0xffffffffu, max, step));
#pragma unroll
  for (int i = 0; i < SPLITS_MAX / 32; ++i) {
    const float weight = lane + 32 * i < used ? ptx::ex2(stat[i].x - max) : 0.0f;
    sum += stat[i].y * weight;
    if (warp == 0) weights[lane + 32 * i] = weight;
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  __syncthreads();  // the weights are visible

  float4 value = make_float4(0, 0, 0, 0);
  for (int from = 0; from < SHARE && from * COMBINE_WARPS < used; from += AHEAD) {
    if (from > 0) load(from);
#pragma unroll
    for (int n = 0; n < AHEAD; ++n) {
      const float weight = weights[warp + COMBINE_WARPS * (from + n)];
      value.x += x[n].x * weight, value.y += x[n].y * weight, value.z += x[n].z * weight, value.w += x[n].w * weight;
    }
  }
  partial[warp][lane] = value;
  __syncthreads();  // every warp's share is visible
  if (warp > 0) return;
#pragma unroll
  for (int w = 1; w < COMBINE_WARPS; ++w) {
    const float4 other = partial[w][lane];
    value.x += other.x, value.y += other.y, value.z += other.z, value.w += other.w;
  }
  const float factor = keys > 0 ? 1.0f / sum : 0.0f;
  o[row * (D / 4) + lane] = make_uint2(ptx::pack_bf16(value.x * factor, value.y * factor),
                                       ptx::pack_bf16(value.z * factor, value.w * factor));
  if (lane == 0) lse[row] = keys > 0 ? max * LN2 + logf(sum) : -INFINITY;
}

/// Dynamic shared memory of fp8_decode: the rings, or the merge that takes their place.
constexpr int shared_bytes(int warps, int group) { return kl::max(warps * STAGES * STAGE * 16, warps * group * O_ROW * 4); }

/// The number of chunks that takes least time: waves of blocks, each as long as a chunk and BLOCK_COST keys.
constexpr int pick_splits(const Problem& p, int warps, int group) {
  const int by_shared = kl::max(1, p.device.shared_bytes_max / (shared_bytes(warps, group) + 1024));
  const long long slots = (long long)p.device.sms * kl::min(WARPS_PER_SM / warps, by_shared);
  const int splits_max = kl::clamp(p.S / CHUNK_MIN, 1, SPLITS_MAX);
  int best = 1;
  long long least = 0;
  for (int wanted = 1; wanted <= splits_max; ++wanted) {
    const int chunk = kl::round_up(kl::cdiv(p.S, wanted), TILE), splits = kl::cdiv(p.S, chunk);
    const long long cost = kl::cdiv((long long)p.B * p.Hkv * splits, slots) * (chunk + BLOCK_COST);
    if (wanted == 1 || cost < least) best = wanted, least = cost;
  }
  return best;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int group = p.Hq / p.Hkv, warps = p.S <= SHORT ? 4 : 8, bytes = shared_bytes(warps, group);
  if (!plan.require(group <= 16, "more than 16 query heads to a key-value head")) return;
  if (!plan.require(bytes <= p.device.shared_bytes_max, "the rings exceed shared memory")) return;
  const int chunk = kl::round_up(kl::cdiv(p.S, pick_splits(p, warps, group)), TILE), splits = kl::cdiv(p.S, chunk);

  const bool is_split = splits > 1;
  const auto part = plan.workspace(kl::f32, is_split ? (long long)p.B * p.Hq * splits * D : 1);
  const auto stats = plan.workspace(kl::f32, is_split ? (long long)p.B * p.Hq * splits * 2 : 2);
  const char* const wide = group > 8 ? "fp8_decode<2, 8>" : "fp8_decode<1, 8>";
  plan.launch(warps == 8 ? wide : group > 8 ? "fp8_decode<2, 4>" : "fp8_decode<1, 4>").grid(p.Hkv, splits, p.B)
      .block(warps * 32).shared(bytes).arg(p.q).arg(p.k).arg(p.v).arg(p.k_scale).arg(p.v_scale).arg(p.len).arg(part)
      .arg(stats).arg(p.o).arg(p.lse).arg(p.S).arg(group).arg(chunk).arg(p.scale * 1.44269504f);
  if (!is_split) return;
  plan.launch("combine").grid(p.B * p.Hq).block(COMBINE_WARPS * 32).programmatic()
      .arg(part).arg(stats).arg(p.len).arg(p.o).arg(p.lse).arg(p.Hq).arg(splits).arg(chunk);
}
