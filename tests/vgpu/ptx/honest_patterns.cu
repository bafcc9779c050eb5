// SPDX-License-Identifier: Apache-2.0
// Kernels without bugs that synchronise in all the ways that attention, norm and decode kernels do: no check may raise an
// alarm, in any schedule. Each compares what it computed with a plain computation; o[i] = 2 a[i] + 1 if they agree.
// Launch and buffers as in planted.cuh.
#include "planted.cuh"
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
namespace cg = cooperative_groups;

#define RESULT(is_right) o[i] = 2 * a[i] + ((is_right) ? 1 : 3)

__device__ bool is_near(float x, float y) { return fabsf(x - y) <= 1e-4f * (1 + fabsf(y)); }
/// sum of column d over the rows from begin to end.
__device__ float column_sum(const float* a, int begin, int end, int d) {
  float sum = 0;
  for (int k = begin; k < end; ++k) sum += a[k * 16 + d];
  return sum;
}
/// Row q of softmax(a a' / 16) a, channel d, in two passes.
__device__ float plain_attention(const float* a, int q, int d) {
  float score[16], top = -1e30f, sum = 0, out = 0;
#pragma unroll
  for (int k = 0; k < 16; ++k) {
    score[k] = 0;
    for (int c = 0; c < 16; ++c) score[k] += a[q * 16 + c] * a[k * 16 + c];
    top = fmaxf(top, score[k] /= 16);
  }
#pragma unroll
  for (int k = 0; k < 16; ++k) {
    const float p = expf(score[k] - top);
    sum += p;
    out += p * a[k * 16 + d];
  }
  return out / sum;
}

KERNEL online_softmax_attention(ARGS) {  // two tiles in flight, scores exchanged by shuffles
  INDICES;
  __shared__ float tile[2][4][16];
  float top = -1e30f, sum = 0, acc = 0;
  tile[0][r][d] = a[tid];
  __syncthreads();
  for (int t = 0; t < n / 64; ++t) {
    if (t + 1 < n / 64) tile[(t + 1) & 1][r][d] = a[(t + 1) * 64 + tid];
    for (int j = 0; j < 4; ++j) {
      float score = a[i] * tile[t & 1][j][d];
      for (int step = 8; step > 0; step /= 2) score += __shfl_xor_sync(0xffffffffu, score, step);
      score /= 16;
      const float old = top;
      top = fmaxf(top, score);
      const float scale = expf(old - top), p = expf(score - top);
      sum = sum * scale + p;
      acc = acc * scale + p * tile[t & 1][j][d];
    }
    __syncthreads();
  }
  RESULT(is_near(acc / sum, plain_attention(a, q, d)));
}
KERNEL split_keys_last_block_combines(ARGS) {
  INDICES;
  __shared__ unsigned ticket;
  float* part = reinterpret_cast<float*>(w + 64);
  if (tid < 16) part[blockIdx.x * 16 + d] = column_sum(a, blockIdx.x * 4, blockIdx.x * 4 + 4, d);
  __threadfence();
  __syncthreads();
  if (tid == 0) ticket = atomicAdd(w, 1u);
  __syncthreads();
  if (ticket != gridDim.x - 1) return;
  __threadfence();
  float total = 0;
  for (int split = 0; split < 4; ++split) total += __ldcg(&part[split * 16 + d]);
  const bool is_right = is_near(total, column_sum(a, 0, 16, d));
  for (int e = tid; e < n; e += 64) o[e] = 2 * a[e] + (is_right ? 1 : 3);
  if (tid == 0) w[0] = 0;  // clears the ticket for the next launch
}
KERNEL split_keys_thread_zero_fences(ARGS) {  // the barrier first, then one fence for the whole block
  INDICES;
  __shared__ bool is_last;
  float* part = reinterpret_cast<float*>(w + 64);
  if (tid < 16) part[blockIdx.x * 16 + d] = column_sum(a, blockIdx.x * 4, blockIdx.x * 4 + 4, d);
  __syncthreads();
  if (tid == 0) {
    __threadfence();
    is_last = atomicInc(w, gridDim.x - 1) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  if (!is_last) return;
  float total = 0;
  for (int split = 0; split < 4; ++split) total += part[split * 16 + d];
  const bool is_right = is_near(total, column_sum(a, 0, 16, d));
  for (int e = tid; e < n; e += 64) o[e] = 2 * a[e] + (is_right ? 1 : 3);
}
KERNEL ring_of_three_stages(ARGS) {  // a producer and a consumer warp, full and empty barriers by stage
  INDICES;
  __shared__ float tile[3][32];
  float sum = 0;
  if (warp == 0) {
    for (int t = 0; t < 8; ++t) {
      if (t >= 3) BARRIER(4 + t % 3, 64);
      tile[t % 3][lane] = a[t * 32 + lane];
      ARRIVE(1 + t % 3, 64);
    }
    RESULT(true);
  } else {
    float expected = 0;
    for (int t = 0; t < 8; ++t) {
      BARRIER(1 + t % 3, 64);
      sum += tile[t % 3][31 - lane];
      if (t + 3 < 8) ARRIVE(4 + t % 3, 64);
      expected += a[t * 32 + 31 - lane];
    }
    RESULT(sum == expected);
  }
}
KERNEL two_consumers_and_a_producer(ARGS) {  // launch: block 96
  const int tid = threadIdx.x, warp = tid / 32, lane = tid & 31;
  __shared__ float tile[2][32], sums[2][32];
  float sum = 0;
  if (warp == 2) {
    for (int t = 0; t < 8; ++t) {
      if (t >= 2) BARRIER(3 + (t & 1), 96);
      tile[t & 1][lane] = a[t * 32 + lane];
      ARRIVE(1 + (t & 1), 96);
    }
  } else {
    for (int t = 0; t < 8; ++t) {
      BARRIER(1 + (t & 1), 96);
      sum += tile[t & 1][warp == 0 ? lane : 31 - lane];
      if (t + 2 < 8) ARRIVE(3 + (t & 1), 96);
    }
    sums[warp][lane] = sum;
  }
  __syncthreads();
  if (tid < 64) {
    const int i = blockIdx.x * 64 + tid;
    RESULT(sums[0][lane] == sums[1][31 - lane]);
  }
}
KERNEL chained_scan_over_blocks(ARGS) {  // launch: cooperative
  INDICES;  // a block adds what the block before it has published
  __shared__ float before;
  float* prefix = reinterpret_cast<float*>(w + 64);
  if (tid == 0) {
    float sum = 0;
    if (blockIdx.x > 0) {
      while (*reinterpret_cast<volatile unsigned*>(&w[blockIdx.x - 1]) == 0) {}
      __threadfence();
      sum = prefix[blockIdx.x - 1];
    }
    before = sum;
    prefix[blockIdx.x] = sum + a[blockIdx.x * 64];
    __threadfence();
    *reinterpret_cast<volatile unsigned*>(&w[blockIdx.x]) = 1;
  }
  __syncthreads();
  float expected = 0;
  for (int b = 0; b < blockIdx.x; ++b) expected += a[b * 64];
  RESULT(before == expected);
}
KERNEL release_and_acquire(ARGS) {  // launch: cooperative
  INDICES;  // the same with the memory model's own instructions
  __shared__ float before;
  float* prefix = reinterpret_cast<float*>(w + 64);
  if (tid == 0) {
    float sum = 0;
    unsigned flag = blockIdx.x == 0;
    while (flag == 0) {
      asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(flag) : "l"(&w[(blockIdx.x + 3) & 3]) : "memory");
    }
    if (blockIdx.x > 0) sum = prefix[blockIdx.x - 1];
    before = sum;
    prefix[blockIdx.x] = sum + a[blockIdx.x * 64];
    asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(&w[blockIdx.x]), "r"(1) : "memory");
  }
  __syncthreads();
  float expected = 0;
  for (int b = 0; b < blockIdx.x; ++b) expected += a[b * 64];
  RESULT(before == expected);
}
KERNEL releasing_counter(ARGS) {  // launch: cooperative
  INDICES;  // blocks count themselves in, all wait for all
  float* sums = reinterpret_cast<float*>(w + 64);
  if (tid < 16) sums[blockIdx.x * 16 + d] = a[i];
  __syncthreads();
  if (tid == 0) {
    asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(w), "r"(1) : "memory");
    unsigned count = 0;
    while (count < gridDim.x) {
      asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(count) : "l"(w) : "memory");
    }
  }
  __syncthreads();
  RESULT(sums[(blockIdx.x ^ 1) * 16 + d] == a[(blockIdx.x ^ 1) * 64 + d]);
}
KERNEL own_grid_barrier(ARGS) {  // launch: cooperative
  INDICES;  // two rounds of a barrier made of an atomic, a spin and fences
  float* state = reinterpret_cast<float*>(w + 64);
  float x = a[i], expected = a[i];
  for (unsigned round = 0; round < 2; ++round) {
    if (tid < 16) state[round * 64 + blockIdx.x * 16 + tid] = x;
    __syncthreads();
    if (tid == 0) {
      __threadfence();
      atomicAdd(w, 1u);
      while (*reinterpret_cast<volatile unsigned*>(w) < (round + 1) * gridDim.x) {}
      __threadfence();
    }
    __syncthreads();
    x += state[round * 64 + (blockIdx.x + 1) % 4 * 16 + d];
  }
  const int next = (blockIdx.x + 1) % 4, second = (blockIdx.x + 2) % 4;
  expected = a[i] + a[next * 64 + d] + a[next * 64 + d] + a[second * 64 + d];
  RESULT(x == expected || tid >= 16);
}
KERNEL update_in_place_between_grid_syncs(ARGS) {  // launch: cooperative
  INDICES;
  float* row = reinterpret_cast<float*>(w + 64);
  if (tid < 16) row[blockIdx.x * 16 + tid] = a[i];
  for (int step = 0; step < 3; ++step) {
    cg::this_grid().sync();
    const float x = row[(blockIdx.x * 16 + d + 1) & 63];
    cg::this_grid().sync();
    if (tid < 16) row[blockIdx.x * 16 + tid] = x;
  }
  __syncthreads();
  const int from = (blockIdx.x * 16 + d + 3) & 63;
  RESULT(row[blockIdx.x * 16 + d] == a[from / 16 * 64 + from % 16]);
}
KERNEL lock_around_plain_counter(ARGS) {  // launch: cooperative
  INDICES;
  if (tid == 0) {
    while (atomicCAS(w, 0u, 1u) != 0) {}
    __threadfence();
    w[1] += blockIdx.x + 1;
    __threadfence();
    atomicExch(w, 0u);
  }
  cg::this_grid().sync();
  RESULT(*reinterpret_cast<volatile unsigned*>(&w[1]) == 10);
}
KERNEL masks_of_quarter_warps(ARGS) {  // lanes that are together, each with the mask of its own eight
  INDICES;
  const unsigned mask = 0xffu << (lane & 24);
  float sum = a[i];
  for (int step = 4; step > 0; step /= 2) sum += __shfl_xor_sync(mask, sum, step);
  float expected = 0;
  for (int k = 0; k < 8; ++k) expected += a[(i & ~7) + k];
  const unsigned votes = __ballot_sync(mask, (lane & 1) == 0);
  __syncwarp(mask);
  RESULT(sum == expected && votes == (0x55u << (lane & 24)));
}
KERNEL groups_of_a_tile(ARGS) {
  INDICES;
  auto half = cg::tiled_partition<16>(cg::this_thread_block());
  const int sum = cg::reduce(half, static_cast<int>(a[i]), cg::plus<int>());
  bool is_right = sum == static_cast<int>([&] {
    float expected = 0;
    for (int k = 0; k < 16; ++k) expected += a[q * 16 + k];
    return expected;
  }());
  if (a[i] > 0) {
    auto positive = cg::coalesced_threads();
    is_right &= positive.shfl(1, 0) == 1 && positive.size() > 0 && positive.size() <= 32;
  }
  RESULT(is_right);
}
KERNEL warp_reduction_in_shared(ARGS) {  // the classic tree, with its __syncwarp
  INDICES;
  __shared__ float sums[2][32];
  sums[warp][lane] = a[i];
  __syncwarp();
  for (int step = 16; step > 0; step /= 2) {
    if (lane < step) sums[warp][lane] += sums[warp][lane + step];
    __syncwarp();
  }
  float expected = 0;
  for (int k = 0; k < 32; ++k) expected += a[(i & ~31) + k];
  RESULT(sums[warp][0] == expected);
}
KERNEL warps_exchange_through_a_flag(ARGS) {  // shared data, a block fence, a volatile flag
  INDICES;
  __shared__ float data[32];
  __shared__ volatile int flag;
  if (tid == 0) flag = 0;
  __syncthreads();
  if (warp == 0) {
    data[lane] = a[i];
    __threadfence_block();
    __syncwarp();
    if (lane == 0) flag = 1;
    RESULT(true);
  } else {
    while (flag == 0) {}
    __threadfence_block();
    RESULT(data[lane] == a[i - 32]);
  }
}
KERNEL histogram_of_the_grid(ARGS) {  // launch: cooperative
  INDICES;
  __shared__ unsigned bins[13];
  if (tid < 13) bins[tid] = 0;
  __syncthreads();
  atomicAdd(&bins[static_cast<int>(a[i]) + 6], 1u);
  __syncthreads();
  if (tid < 13) atomicAdd(&w[tid], bins[tid]);
  cg::this_grid().sync();
  unsigned expected = 0;
  for (int k = 0; k < n; ++k) expected += a[k] == a[i];
  RESULT(w[static_cast<int>(a[i]) + 6] == expected);
}
KERNEL until_nothing_changes(ARGS) {  // a loop that the whole block leaves together
  INDICES;
  __shared__ float row[64];
  row[tid] = a[i];
  __syncthreads();
  for (;;) {
    const float left = row[max(tid - 1, 0)], mine = row[tid];
    __syncthreads();
    if (left > mine) row[tid] = left;
    if (__syncthreads_or(left > mine) == 0) break;
  }
  float expected = -100;
  for (int k = 0; k <= tid; ++k) expected = fmaxf(expected, a[blockIdx.x * 64 + k]);
  RESULT(row[tid] == expected);
}
KERNEL copies_with_zero_filled_tail(ARGS) {  // 4 stages, 14 of 16 keys, sources shortened to nothing
  INDICES;
  __shared__ __align__(16) float tile[4][64];
  float sum = 0;
  auto issue = [&](int t) {
    const int key = t * 4 + tid / 4, bytes = key < 14 ? 16 : 0;
    if (tid < 16 && t < 4) {
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(SHARED_ADDRESS(&tile[t & 3][tid * 4])),
                   "l"(a + (key < 14 ? key : 0) * 16 + tid % 4 * 4), "r"(bytes)
                   : "memory");
    }
    COMMIT;
  };
  for (int t = 0; t < 3; ++t) issue(t);
  for (int t = 0; t < 4; ++t) {
    WAIT(2);
    __syncthreads();
    issue(t + 3);
    for (int j = 0; j < 4; ++j) sum += tile[t & 3][j * 16 + d];
  }
  RESULT(sum == column_sum(a, 0, 14, d));
}
KERNEL last_tile_shifted_back(ARGS) {  // launch: grid 6, block 48
  const int tid = threadIdx.x, first = min(static_cast<int>(blockIdx.x) * 48, n - 48), i = first + tid;
  __shared__ float row[48];  // the last block overlaps the one before it, and writes the same values
  row[47 - tid] = a[i];
  __syncthreads();
  RESULT(row[47 - tid] == a[i]);
}
KERNEL flag_set_by_many(ARGS) {  // several warps store the same value
  INDICES;
  __shared__ int any;
  if (tid == 0) any = 0;
  __syncthreads();
  if (a[i] > 2) any = 1;
  __syncthreads();
  RESULT(any == 1);
}
KERNEL thousand_threads(ARGS) {  // launch: grid 1, block 1024, shared 4096
  const int tid = threadIdx.x, lane = tid & 31, warp = tid / 32;
  extern __shared__ float sums[];
  __shared__ float total;
  float x = tid < n ? a[tid] : 0;
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  if (lane == 0) sums[warp] = x;
  __syncthreads();
  if (warp == 0) {
    x = sums[lane];
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    if (lane == 0) total = x;
  }
  __syncthreads();
  if (tid >= n) return;
  const int i = tid;
  float expected = 0;
  for (int k = 0; k < n; ++k) expected += a[k];
  RESULT(total == expected);
}
KERNEL probabilities_through_ldmatrix(ARGS) {
  INDICES;
  __shared__ __align__(16) __half p[16][24];
  for (int e = tid; e < 256; e += 64) p[e / 16][e % 16] = __float2half(a[e]);
  __syncthreads();
  unsigned x[4];
  LDMATRIX_X4(x, &p[lane & 15][8 * (lane / 16)]);
  const float first = __half2float(__ushort_as_half(x[0] & 0xffff));
  const float last = __half2float(__ushort_as_half(x[3] >> 16));
  const int row = lane / 4, column = lane % 4 * 2;
  RESULT(first == a[row * 16 + column] && last == a[(row + 8) * 16 + column + 9]);
}
KERNEL pairs_of_warps_by_named_barriers(ARGS) {  // launch: block 128, grid 2
  const int tid = threadIdx.x, i = blockIdx.x * 128 + tid, pair = tid / 64;
  __shared__ float tile[2][64];
  bool is_right = true;
  for (int t = 0; t < 3 + pair; ++t) {  // the pairs make a different number of steps
    tile[pair][tid & 63] = a[(i + t * 64) & 255];
    BARRIER(1 + pair, 64);
    is_right &= tile[pair][63 - (tid & 63)] == a[((i & ~63) + 63 - (tid & 63) + t * 64) & 255];
    BARRIER(1 + pair, 64);
  }
  RESULT(is_right);
}
KERNEL neighbours_through_global_memory(ARGS) {  // within a block, a barrier is enough
  INDICES;
  o[i] = a[i];
  __syncthreads();
  const float x = *reinterpret_cast<volatile float*>(&o[blockIdx.x * 64 + (tid ^ 33)]);
  __syncthreads();
  RESULT(x == a[blockIdx.x * 64 + (tid ^ 33)]);
}
KERNEL items_from_a_queue(ARGS) {  // persistent blocks
  INDICES;
  __shared__ unsigned item;
  for (;;) {
    if (tid == 0) item = atomicAdd(w, 1u);
    __syncthreads();
    const unsigned mine = item;
    __syncthreads();
    if (mine >= 4) return;
    o[mine * 64 + tid] = 2 * a[mine * 64 + tid] + 1;
  }
}
