// SPDX-License-Identifier: Apache-2.0
// Decode attention, split over the keys: q [B, Hq, 128] over k, v [B, S, Hkv, 128] (bf16) up to len[b], with lse.
//
// Technique (Flash-Decoding on tensor cores): a block takes one key-value head of one sequence over one chunk of keys,
// for all G = Hq / Hkv <= 8 query heads at once. Each warp walks tiles of 16 keys through its own swizzled cp.async ring
// (only __syncwarp between copy and use). Scores are S^T = K Q^T with m16n8k16: 16 keys are M, the (padded) 8 heads are
// N; outputs are O^T = V^T P^T with V read through ldmatrix.trans and P transposed by movmatrix. Warps merge at the end.
// The first stages are requested before len[b] is known (the addresses lie inside the cache anyway); should the sequence
// end within them, they are copied again, with zeros behind the end.
// Where a sequence is split into few chunks (1, 2, up to FUSE_MAX) these form one cluster that merges through shared
// memory and writes the result itself; otherwise partial results go to a workspace and a second kernel, launched
// programmatically and parallel over the chunks, merges them.

// tune: WARPS = 4 | 8 | 2
// tune: STAGES = 3 | 2 | 4 | 6
// tune: BLOCKS_PER_SM = 2 | 1 | 3 | 4
// tune: CHUNK_MIN = 256 | 128 | 512
// tune: FUSE_MAX = 2 | 1 | 8

#include <cuda_bf16.h>
#include <cstdint>

constexpr int D = Problem::D;
constexpr int TILE = 16;                         // keys of one stage of a warp
constexpr int ROW_BYTES = D * 2;                 // 256
constexpr int VECTORS = D / 8;                   // 16-byte vectors of a row
constexpr int TILE_BYTES = TILE * ROW_BYTES;     // 4096
constexpr int STAGE_BYTES = 2 * TILE_BYTES;      // keys, then values
constexpr int HEADS = 8;                         // N of the mma: the group, padded
constexpr int O_STRIDE = D + 4;                  // floats of a row in the merge: no bank conflicts
constexpr int SPLITS_MAX = 128;
constexpr int COMBINE_WARPS = 8;
constexpr float LOWEST = -1e30f;                 // finite, so that the difference of two maxima is never NaN
constexpr unsigned FULL = 0xffffffffu;

__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ __forceinline__ unsigned pack2(float low, float high) {
  unsigned r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}

__device__ __forceinline__ void copy16(uint32_t to, const void* from, bool valid) {
  const int bytes = valid ? 16 : 0;  // the rest is filled with zeros
  asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

template <int N>
__device__ __forceinline__ void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

__device__ __forceinline__ void ldsm4(unsigned (&r)[4], uint32_t at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}

__device__ __forceinline__ void ldsm4_trans(unsigned (&r)[4], uint32_t at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}

__device__ __forceinline__ unsigned transpose8x8(unsigned x) {
  unsigned y;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));
  return y;
}

__device__ __forceinline__ void mma16816(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ void cluster_barrier() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

__device__ __forceinline__ float load_remote(uint32_t at, int rank) {
  uint32_t remote;
  float value;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(at), "r"(rank));
  asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(value) : "r"(remote) : "memory");
  return value;
}

__device__ __forceinline__ unsigned short to_bf16(float x) { return (unsigned short)(pack2(x, 0.0f) & 0xffffu); }

/// FUSED: the gridDim.y chunks of a sequence are one cluster, which writes o and lse. Otherwise writes part
/// [B, Hq, splits, D] (not divided by the sum) and stats [B, Hq, splits] = (maximum, sum), in base-2 units.
template <bool FUSED>
__global__ void __launch_bounds__(WARPS * 32)
decode_mma(const unsigned* __restrict__ q, const uint4* __restrict__ k, const uint4* __restrict__ v,
           const int* __restrict__ len, unsigned short* __restrict__ o, float* __restrict__ lse,
           float* __restrict__ part, float2* __restrict__ stats, int S, int G, int chunk, float scale_log2) {
  extern __shared__ __align__(1024) unsigned char shared[];
  __shared__ float2 warp_stats[WARPS][HEADS];
  __shared__ float block_max[HEADS], block_sum[HEADS];
  const int hk = blockIdx.x, Hkv = gridDim.x, split = blockIdx.y, splits = gridDim.y, b = blockIdx.z;
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32;
  const int begin = split * chunk, limit = min(begin + chunk, S);  // begin < S
  int keys_of_sequence;  // in flight while the first copies are issued
  asm volatile("ld.global.nc.s32 %0, [%1];" : "=r"(keys_of_sequence) : "l"(len + b));

  const uint32_t ring = (uint32_t)__cvta_generic_to_shared(shared) + warp * (STAGES * STAGE_BYTES);
  const long long row_vectors = (long long)Hkv * VECTORS;
  const long long origin = ((long long)b * S * Hkv + hk) * VECTORS + lane % VECTORS;

  const auto fetch = [&](int step, int bound) {
    const uint32_t stage = ring + step % STAGES * STAGE_BYTES;
    const int key0 = begin + (step * WARPS + warp) * TILE + lane / 16;
#pragma unroll
    for (int i = 0; i < TILE / 2; ++i) {
      const int row = lane / 16 + 2 * i, key = key0 + 2 * i;
      const bool valid = key < bound;
      const long long at = origin + (valid ? key : begin) * row_vectors;
      const uint32_t to = stage + row * ROW_BYTES + (((lane % 16) ^ (row & 7)) << 4);
      copy16(to, k + at, valid);
      copy16(to + TILE_BYTES, v + at, valid);
    }
  };

#pragma unroll
  for (int step = 0; step < STAGES - 1; ++step) {
    if ((step * WARPS + warp) * TILE < limit - begin) fetch(step, limit);
    copy_commit();
  }
  if (!FUSED) asm volatile("griddepcontrol.launch_dependents;" ::: "memory");

  // Q^T as the B operand: k = channel, n = head; heads from G on are zero.
  unsigned q_b[D / 16][2];
  {
    const int head = lane / 4;
    const unsigned* const row = q + (long long)((b * Hkv + hk) * G + (head < G ? head : 0)) * (D / 2) + lane % 4;
#pragma unroll
    for (int i = 0; i < D / 16; ++i) {
      q_b[i][0] = head < G ? row[i * 8] : 0u;
      q_b[i][1] = head < G ? row[i * 8 + 4] : 0u;
    }
  }

  // Now the length is needed. What was copied from behind the end is arbitrary: copy again, with zeros there.
  const int end = min(limit, keys_of_sequence);
  if (!FUSED) {
    if (begin >= end) {
      copy_wait<0>();
      return;
    }
  }
  const int tiles = end > begin ? (end - begin + TILE - 1) / TILE : 0;
  const int steps = tiles > warp ? (tiles - warp + WARPS - 1) / WARPS : 0;
  if (end < limit && end - begin < (STAGES - 1) * WARPS * TILE) {
    copy_wait<0>();
    __syncwarp();
#pragma unroll 1
    for (int step = 0; step < STAGES - 1; ++step) {
      if (step < steps) fetch(step, end);
      copy_commit();
    }
  }

  // Of this lane: heads 2 * (lane % 4) and the next one.
  float max0 = LOWEST, max1 = LOWEST, sum0 = 0, sum1 = 0;
  float acc[D / 16][4];
#pragma unroll
  for (int i = 0; i < D / 16; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) acc[i][j] = 0;
  }

  const int k_row = lane % 16, k_vector = lane / 16;
  const int v_row = lane % 8 + lane / 16 * 8, v_vector = lane / 8 & 1;

  for (int step = 0; step < steps; ++step) {
    copy_wait<STAGES - 2>();  // this lane's copies of `step` have arrived
    __syncwarp();             // every lane's have, and nobody reads the stage of step - 1 any more
    if (step + STAGES - 1 < steps) fetch(step + STAGES - 1, end);
    copy_commit();

    const uint32_t k_tile = ring + step % STAGES * STAGE_BYTES, v_tile = k_tile + TILE_BYTES;
    float s[4] = {0, 0, 0, 0}, t[4] = {0, 0, 0, 0};
#pragma unroll
    for (int i = 0; i < D / 16; i += 2) {
      unsigned a[4], c[4];
      ldsm4(a, k_tile + k_row * ROW_BYTES + (((2 * i + k_vector) ^ (k_row & 7)) << 4));
      ldsm4(c, k_tile + k_row * ROW_BYTES + (((2 * i + 2 + k_vector) ^ (k_row & 7)) << 4));
      mma16816(s, a, q_b[i][0], q_b[i][1]);
      mma16816(t, c, q_b[i + 1][0], q_b[i + 1][1]);
    }
    const int key = begin + (step * WARPS + warp) * TILE + lane / 4;
    const bool low = key < end, high = key + 8 < end;
    const float s00 = low ? (s[0] + t[0]) * scale_log2 : -INFINITY;
    const float s01 = low ? (s[1] + t[1]) * scale_log2 : -INFINITY;
    const float s10 = high ? (s[2] + t[2]) * scale_log2 : -INFINITY;
    const float s11 = high ? (s[3] + t[3]) * scale_log2 : -INFINITY;

    float next0 = fmaxf(s00, s10), next1 = fmaxf(s01, s11);
#pragma unroll
    for (int x = 4; x < 32; x *= 2) {
      next0 = fmaxf(next0, __shfl_xor_sync(FULL, next0, x));
      next1 = fmaxf(next1, __shfl_xor_sync(FULL, next1, x));
    }
    next0 = fmaxf(next0, max0);
    next1 = fmaxf(next1, max1);
    if (__any_sync(FULL, next0 > max0 || next1 > max1)) {
      const float shrink0 = exp2_fast(max0 - next0), shrink1 = exp2_fast(max1 - next1);
      max0 = next0;
      max1 = next1;
      sum0 *= shrink0;
      sum1 *= shrink1;
#pragma unroll
      for (int i = 0; i < D / 16; ++i) {
        acc[i][0] *= shrink0;
        acc[i][1] *= shrink1;
        acc[i][2] *= shrink0;
        acc[i][3] *= shrink1;
      }
    }
    const float p00 = exp2_fast(s00 - max0), p01 = exp2_fast(s01 - max1);
    const float p10 = exp2_fast(s10 - max0), p11 = exp2_fast(s11 - max1);
    sum0 += p00 + p10;
    sum1 += p01 + p11;
    const unsigned b0 = transpose8x8(pack2(p00, p01)), b1 = transpose8x8(pack2(p10, p11));
#pragma unroll
    for (int i = 0; i < D / 16; ++i) {
      unsigned a[4];
      ldsm4_trans(a, v_tile + v_row * ROW_BYTES + (((2 * i + v_vector) ^ (v_row & 7)) << 4));
      mma16816(acc[i], a, b0, b1);
    }
  }
  copy_wait<0>();
#pragma unroll
  for (int x = 4; x < 32; x *= 2) {
    sum0 += __shfl_xor_sync(FULL, sum0, x);
    sum1 += __shfl_xor_sync(FULL, sum1, x);
  }

  // Merge the warps: [WARPS][HEADS][O_STRIDE] of floats take the place of the rings; the block's result follows.
  float* const warp_o = reinterpret_cast<float*>(shared);
  float* const block_o = warp_o + WARPS * HEADS * O_STRIDE;
  __syncthreads();  // nobody reads the rings any more
  {
    const int h = 2 * (lane % 4), d = lane / 4;
    float* const to = warp_o + (warp * HEADS + h) * O_STRIDE + d;
#pragma unroll
    for (int i = 0; i < D / 16; ++i) {
      to[i * 16] = acc[i][0];
      to[i * 16 + O_STRIDE] = acc[i][1];
      to[i * 16 + 8] = acc[i][2];
      to[i * 16 + 8 + O_STRIDE] = acc[i][3];
    }
    if (lane < 4) {
      warp_stats[warp][h] = make_float2(max0, sum0);
      warp_stats[warp][h + 1] = make_float2(max1, sum1);
    }
  }
  __syncthreads();  // every warp's output and statistics are visible

  const long long first_row = (long long)(b * Hkv + hk) * G;
  for (int i = tid; i < G * D; i += WARPS * 32) {
    const int g = i / D, d = i % D;
    float max = LOWEST, sum = 0, value = 0;
#pragma unroll
    for (int w = 0; w < WARPS; ++w) max = fmaxf(max, warp_stats[w][g].x);
#pragma unroll
    for (int w = 0; w < WARPS; ++w) {
      const float shrink = exp2_fast(warp_stats[w][g].x - max);
      sum += warp_stats[w][g].y * shrink;
      value += warp_o[(w * HEADS + g) * O_STRIDE + d] * shrink;
    }
    if (FUSED) {
      block_o[i] = value;
      if (d == 0) {
        block_max[g] = max;
        block_sum[g] = sum;
      }
    } else {
      const long long row = (first_row + g) * splits + split;
      part[row * D + d] = value;
      if (d == 0) stats[row] = make_float2(max, sum);
    }
  }
  if (FUSED) {
    cluster_barrier();  // every block's result is visible in the cluster
    const uint32_t o_at = (uint32_t)__cvta_generic_to_shared(block_o);
    const uint32_t max_at = (uint32_t)__cvta_generic_to_shared(block_max);
    const uint32_t sum_at = (uint32_t)__cvta_generic_to_shared(block_sum);
    for (int i = split * (WARPS * 32) + tid; i < G * D; i += splits * (WARPS * 32)) {
      const int g = i / D, d = i % D;
      float max = LOWEST, sum = 0, value = 0;
      for (int r = 0; r < splits; ++r) max = fmaxf(max, load_remote(max_at + 4 * g, r));
      for (int r = 0; r < splits; ++r) {
        const float shrink = exp2_fast(load_remote(max_at + 4 * g, r) - max);
        sum += load_remote(sum_at + 4 * g, r) * shrink;
        value += load_remote(o_at + 4 * i, r) * shrink;
      }
      const bool some = sum > 0;
      o[(first_row + g) * D + d] = to_bf16(some ? value / sum : 0.0f);
      if (d == 0) lse[first_row + g] = some ? max * 0.69314718f + logf(sum) : -INFINITY;
    }
    cluster_barrier();  // nobody reads this block's memory any more
  }
}

/// One block per row (b, h): warps share the chunks that hold keys, a lane has four channels.
extern "C" __global__ void __launch_bounds__(COMBINE_WARPS * 32)
combine(const float4* part, const float2* stats, const int* len, uint2* o, float* lse, int Hq, int splits, int chunk) {
  constexpr int AHEAD = 8;                           // partial results of a warp that are requested at once
  constexpr int SHARE = SPLITS_MAX / COMBINE_WARPS;  // most partial results of a warp
  constexpr int PER_32 = 32 / COMBINE_WARPS;         // of these among 32 consecutive chunks
  __shared__ float4 partial[COMBINE_WARPS][32];
  const long long row = blockIdx.x;
  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32;
  const int keys = len[row / Hq], used = (keys + chunk - 1) / chunk;
  part += row * splits * (D / 4) + lane;
  stats += row * splits;
  asm volatile("griddepcontrol.wait;" ::: "memory");  // the chunks are complete and visible

  float weight[SPLITS_MAX / 32], sums[SPLITS_MAX / 32];
  float max = LOWEST, sum = 0;
#pragma unroll
  for (int i = 0; i < SPLITS_MAX / 32; ++i) {
    const int at = lane + 32 * i;
    float2 stat = make_float2(LOWEST, 0.0f);
    if (at < used) stat = __ldcg(stats + at);
    weight[i] = stat.x;
    sums[i] = stat.y;
  }
  float4 x[AHEAD];
#pragma unroll
  for (int n = 0; n < AHEAD; ++n) {
    const int split = warp + COMBINE_WARPS * n;
    x[n] = make_float4(0, 0, 0, 0);
    if (split < used) x[n] = __ldcg(part + split * (D / 4));
  }

#pragma unroll
  for (int i = 0; i < SPLITS_MAX / 32; ++i) max = fmaxf(max, weight[i]);
#pragma unroll
  for (int step = 16; step > 0; step /= 2) max = fmaxf(max, __shfl_xor_sync(FULL, max, step));
#pragma unroll
  for (int i = 0; i < SPLITS_MAX / 32; ++i) {
    weight[i] = exp2_fast(weight[i] - max);
    sum += sums[i] * weight[i];
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(FULL, sum, step);

  float4 value = make_float4(0, 0, 0, 0);
#pragma unroll
  for (int first = 0; first < SHARE; first += AHEAD) {
    if (first * COMBINE_WARPS < used) {  // the same for the whole block
      if (first > 0) {
#pragma unroll
        for (int n = 0; n < AHEAD; ++n) {
          const int split = warp + COMBINE_WARPS * (first + n);
          x[n] = make_float4(0, 0, 0, 0);
          if (split < used) x[n] = __ldcg(part + split * (D / 4));
        }
      }
#pragma unroll
      for (int n = 0; n < AHEAD; ++n) {
        const float f =
            __shfl_sync(FULL, weight[(first + n) / PER_32], warp + COMBINE_WARPS * ((first + n) % PER_32));
        value.x += x[n].x * f;
        value.y += x[n].y * f;
        value.z += x[n].z * f;
        value.w += x[n].w * f;
      }
    }
  }
  partial[warp][lane] = value;
  __syncthreads();  // every warp's share is visible
  if (warp == 0) {
#pragma unroll
    for (int w = 1; w < COMBINE_WARPS; ++w) {
      const float4 other = partial[w][lane];
      value.x += other.x;
      value.y += other.y;
      value.z += other.z;
      value.w += other.w;
    }
    const float inverse = keys > 0 ? 1.0f / sum : 0.0f;
    o[row * (D / 4) + lane] =
        make_uint2(pack2(value.x * inverse, value.y * inverse), pack2(value.z * inverse, value.w * inverse));
    if (lane == 0) lse[row] = keys > 0 ? max * 0.69314718f + logf(sum) : -INFINITY;
  }
}

/// Dynamic shared memory: the rings, or the merge that takes their place.
constexpr int shared_bytes() {
  return kl::max(WARPS * STAGES * STAGE_BYTES, (WARPS * HEADS * O_STRIDE + HEADS * D) * 4);
}

/// The number of chunks that fills whole waves of blocks best: the least one within 2 % of the best.
constexpr int pick_splits(const Problem& p) {
  const int by_registers = kl::max(1, 65536 / (WARPS * 32 * 128));
  const int by_shared = kl::max(1, int(p.device.shared_bytes_max) / (shared_bytes() + 1024));
  const double slots = double(p.device.sms) * kl::min(int(BLOCKS_PER_SM), kl::min(by_registers, by_shared));
  const int splits_max = kl::clamp(int(p.S) / CHUNK_MIN, 1, SPLITS_MAX);
  const auto efficiency = [&](int splits) {
    const double waves = double(p.B) * p.Hkv * splits / slots;
    const auto whole = static_cast<long long>(waves);
    return waves / (waves > whole ? whole + 1 : whole);
  };
  double best = 0;
  for (int splits = 1; splits <= splits_max; ++splits) best = kl::max(best, efficiency(splits));
  for (int splits = 1; splits <= splits_max; ++splits) {
    if (efficiency(splits) >= 0.98 * best - 1e-9) return splits;
  }
  return splits_max;
}

constexpr void plan(const Problem& p, kl::Plan& plan) {
  const int group = p.Hq / p.Hkv;
  if (!plan.require(group >= 1 && group <= HEADS, "Hq / Hkv must be 1 to 8")) return;
  if (!plan.require(shared_bytes() <= p.device.shared_bytes_max, "the rings exceed shared memory")) return;
  const int chunk = kl::round_up(kl::cdiv(p.S, pick_splits(p)), TILE), splits = kl::cdiv(p.S, chunk);
  const bool fused = splits == 1 || (splits <= FUSE_MAX && (splits == 2 || splits == 4 || splits == 8));
  const long long parts = fused ? 1 : (long long)p.B * p.Hq * splits;

  const auto part = plan.workspace(kl::f32, parts * D);
  const auto stats = plan.workspace(kl::f32, parts * 2);
  if (fused) {
    plan.launch("decode_mma<true>").grid(p.Hkv, splits, p.B).block(WARPS * 32).cluster(1, splits, 1)
        .shared(shared_bytes())
        .arg(p.q).arg(p.k).arg(p.v).arg(p.len).arg(p.o).arg(p.lse).arg(part).arg(stats)
        .arg(p.S).arg(group).arg(chunk).arg(p.scale * 1.44269504f);
    return;
  }
  plan.launch("decode_mma<false>").grid(p.Hkv, splits, p.B).block(WARPS * 32).shared(shared_bytes())
      .arg(p.q).arg(p.k).arg(p.v).arg(p.len).arg(p.o).arg(p.lse).arg(part).arg(stats)
      .arg(p.S).arg(group).arg(chunk).arg(p.scale * 1.44269504f);
  plan.launch("combine").grid(p.B * p.Hq).block(COMBINE_WARPS * 32).programmatic()
      .arg(part).arg(stats).arg(p.len).arg(p.o).arg(p.lse).arg(p.Hq).arg(splits).arg(chunk);
}
