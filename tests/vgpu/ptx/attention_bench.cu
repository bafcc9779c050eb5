// SPDX-License-Identifier: Apache-2.0
// What vgpu_bench times: two forward passes of attention, [heads, sequence, 64] in f16, sums in f32.
//
// attention_tiled: tiles of 32 queries and 32 keys in shared memory, plain arithmetic: the measure of the virtual
// GPU's speed. attention_mma: cp.async in two stages, ldmatrix, mma.sync m16n8k16. Launches: 128 threads, a grid of
// (sequence / 32 or 64) x heads.
#include <cuda_fp16.h>

namespace {

constexpr int D = 64, BLOCK_N = 32, WARPS = 4, THREADS = 32 * WARPS;

__device__ __forceinline__ float warp_max(float x) {
  for (int step = 16; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
  return x;
}
__device__ __forceinline__ float warp_sum(float x) {
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}

/// Eight halves to floats; zeros for a row behind the end.
__device__ __forceinline__ void load_eight(float* to, const __half* from, bool is_there) {
  const uint4 bits = is_there ? *reinterpret_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
  const __half2* const pairs = reinterpret_cast<const __half2*>(&bits);
  for (int i = 0; i < 4; ++i) {
    const float2 pair = __half22float2(pairs[i]);
    to[2 * i] = pair.x;
    to[2 * i + 1] = pair.y;
  }
}

__device__ __forceinline__ unsigned shared_address(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}
__device__ __forceinline__ void copy_sixteen(void* to, const void* from, bool is_there) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
               "r"(is_there ? 16 : 0));
}
__device__ __forceinline__ void load_fragment(unsigned (&r)[4], const void* p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(p)));
}
__device__ __forceinline__ void load_pair(unsigned (&r)[2], const void* p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(p)));
}
__device__ __forceinline__ void load_pair_transposed(unsigned (&r)[2], const void* p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(p)));
}
__device__ __forceinline__ void multiply(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ unsigned packed(float low, float high) {
  const __half2 pair = __floats2half2_rn(low, high);
  return *reinterpret_cast<const unsigned*>(&pair);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_tiled(const __half* __restrict__ q, const __half* __restrict__ k, const __half* __restrict__ v,
                    __half* __restrict__ out, int sequence, float scale, int causal) {
  constexpr int BLOCK_M = 32, ROWS = BLOCK_M / WARPS;
  __shared__ float q_tile[BLOCK_M][D + 1], k_tile[BLOCK_N][D + 1], v_tile[BLOCK_N][D];
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, first = blockIdx.x * BLOCK_M;
  const size_t head = static_cast<size_t>(blockIdx.y) * sequence * D;
  for (int i = tid; i < BLOCK_M * D / 8; i += THREADS) {
    const int r = i / (D / 8), d = i % (D / 8) * 8;
    load_eight(&q_tile[r][d], q + head + static_cast<size_t>(first + r) * D + d, first + r < sequence);
    for (int j = 0; j < 8; ++j) q_tile[r][d + j] *= scale;
  }
  float max[ROWS], sum[ROWS], low[ROWS], high[ROWS];
  for (int i = 0; i < ROWS; ++i) max[i] = -1e30f, sum[i] = low[i] = high[i] = 0;
  const int end = causal ? min(sequence, first + BLOCK_M) : sequence;
  for (int key = 0; key < end; key += BLOCK_N) {
    __syncthreads();  // the last tile has been read
    for (int i = tid; i < BLOCK_N * D / 8; i += THREADS) {
      const int r = i / (D / 8), d = i % (D / 8) * 8;
      const size_t at = head + static_cast<size_t>(key + r) * D + d;
      load_eight(&k_tile[r][d], k + at, key + r < sequence);
      load_eight(&v_tile[r][d], v + at, key + r < sequence);
    }
    __syncthreads();  // this tile is there
    for (int i = 0; i < ROWS; ++i) {
      const int row = warp * ROWS + i, query = first + row, mine = key + lane;
      float score = 0;
      for (int d = 0; d < D; ++d) score += q_tile[row][d] * k_tile[lane][d];
      if (mine >= sequence || (causal && mine > query)) score = -INFINITY;
      const float highest = fmaxf(max[i], warp_max(score));
      const float p = __expf(score - highest), rescale = __expf(max[i] - highest);
      sum[i] = sum[i] * rescale + warp_sum(p);
      max[i] = highest;
      low[i] *= rescale;
      high[i] *= rescale;
      for (int j = 0; j < BLOCK_N; ++j) {
        const float weight = __shfl_sync(0xffffffffu, p, j);
        low[i] += weight * v_tile[j][lane];
        high[i] += weight * v_tile[j][lane + 32];
      }
    }
  }
  for (int i = 0; i < ROWS; ++i) {
    const int query = first + warp * ROWS + i;
    if (query >= sequence) continue;
    out[head + static_cast<size_t>(query) * D + lane] = __float2half(low[i] / sum[i]);
    out[head + static_cast<size_t>(query) * D + lane + 32] = __float2half(high[i] / sum[i]);
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_mma(const __half* __restrict__ q, const __half* __restrict__ k, const __half* __restrict__ v,
                  __half* __restrict__ out, int sequence, float scale, int causal) {
  constexpr int BLOCK_M = 64, STRIDE = D + 8;
  __shared__ __align__(16) __half q_tile[BLOCK_M][STRIDE], k_tile[2][BLOCK_N][STRIDE],
      v_tile[2][BLOCK_N][STRIDE];
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, first = blockIdx.x * BLOCK_M;
  const size_t head = static_cast<size_t>(blockIdx.y) * sequence * D;
  auto load_keys = [&](int tile, int stage) {
    for (int i = tid; i < BLOCK_N * D / 8; i += THREADS) {
      const int r = i / 8, d = i % 8 * 8, key = tile * BLOCK_N + r;
      const size_t at = head + static_cast<size_t>(min(key, sequence - 1)) * D + d;
      copy_sixteen(&k_tile[stage][r][d], k + at, key < sequence);
      copy_sixteen(&v_tile[stage][r][d], v + at, key < sequence);
    }
    asm volatile("cp.async.commit_group;");
  };
  for (int i = tid; i < BLOCK_M * D / 8; i += THREADS) {
    const int r = i / 8, d = i % 8 * 8, row = first + r;
    copy_sixteen(&q_tile[r][d], q + head + static_cast<size_t>(min(row, sequence - 1)) * D + d,
                 row < sequence);
  }
  load_keys(0, 0);
  asm volatile("cp.async.wait_group 0;");
  __syncthreads();  // queries and first keys are there
  unsigned q_fragment[4][4];
  for (int i = 0; i < 4; ++i)
    load_fragment(q_fragment[i], &q_tile[warp * 16 + lane % 16][i * 16 + lane / 16 * 8]);
  float o[8][4] = {}, max[2] = {-1e30f, -1e30f}, sum[2] = {};
  const int end = causal ? min(sequence, first + BLOCK_M) : sequence, tiles = (end + BLOCK_N - 1) / BLOCK_N;
  const int rows[2] = {first + warp * 16 + lane / 4, first + warp * 16 + lane / 4 + 8};
  for (int tile = 0; tile < tiles; ++tile) {
    const int stage = tile % 2;
    if (tile + 1 < tiles) load_keys(tile + 1, stage ^ 1);
    float s[4][4] = {};
    for (int n = 0; n < 4; ++n) {
      for (int i = 0; i < 4; ++i) {
        unsigned keys[2];
        load_pair(keys, &k_tile[stage][n * 8 + lane % 8][i * 16 + lane / 8 % 2 * 8]);
        multiply(s[n], q_fragment[i], keys);
      }
    }
    float highest[2] = {max[0], max[1]};
    for (int n = 0; n < 4; ++n) {
      for (int j = 0; j < 4; ++j) {
        const int key = tile * BLOCK_N + n * 8 + lane % 4 * 2 + j % 2;
        s[n][j] *= scale * 1.44269504f;
        if (key >= sequence || (causal && key > rows[j / 2])) s[n][j] = -1e30f;
        highest[j / 2] = fmaxf(highest[j / 2], s[n][j]);
      }
    }
    for (int half = 0; half < 2; ++half) {
      highest[half] = fmaxf(highest[half], __shfl_xor_sync(0xffffffffu, highest[half], 1));
      highest[half] = fmaxf(highest[half], __shfl_xor_sync(0xffffffffu, highest[half], 2));
      const float rescale = exp2_fast(max[half] - highest[half]);
      max[half] = highest[half];
      sum[half] *= rescale;
      for (int n = 0; n < 8; ++n) o[n][2 * half] *= rescale, o[n][2 * half + 1] *= rescale;
    }
    unsigned p[2][4];
    for (int n = 0; n < 4; ++n) {
      for (int half = 0; half < 2; ++half) {
        const float p0 = exp2_fast(s[n][2 * half] - max[half]),
                    p1 = exp2_fast(s[n][2 * half + 1] - max[half]);
        sum[half] += p0 + p1;
        p[n / 2][n % 2 * 2 + half] = packed(p0, p1);
      }
    }
    for (int i = 0; i < 2; ++i) {
      for (int n = 0; n < 8; ++n) {
        unsigned values[2];
        load_pair_transposed(values, &v_tile[stage][i * 16 + lane % 16][n * 8]);
        multiply(o[n], p[i], values);
      }
    }
    asm volatile("cp.async.wait_group 0;");
    __syncthreads();  // the next keys are there, and these have been read
  }
  for (int half = 0; half < 2; ++half) {
    sum[half] += __shfl_xor_sync(0xffffffffu, sum[half], 1);
    sum[half] += __shfl_xor_sync(0xffffffffu, sum[half], 2);
    for (int n = 0; n < 8 && rows[half] < sequence; ++n) {
      const size_t at = head + static_cast<size_t>(rows[half]) * D + n * 8 + lane % 4 * 2;
      *reinterpret_cast<__half2*>(out + at) =
          __floats2half2_rn(o[n][2 * half] / sum[half], o[n][2 * half + 1] / sum[half]);
    }
  }
}
