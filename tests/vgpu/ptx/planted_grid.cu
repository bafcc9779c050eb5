// SPDX-License-Identifier: Apache-2.0
// Planted bugs between blocks: races through global memory, missing fences, waits that nobody ends (planted.cuh).
#include "planted.cuh"
#include <cooperative_groups.h>
namespace cg = cooperative_groups;

KERNEL race__overlapping_row_blocks(ARGS) {  // 5 rows each where 4 belong to a block
  INDICES;
  for (int row = r; row < BUG(5, 4); row += 4) {
    const int element = (blockIdx.x * 4 + row) * 16 + d;
    if (element < n) o[element] = a[element] + row;  // <- bug
  }
}
KERNEL race__splits_write_the_output(ARGS) {  // 2 splits of the keys write the same rows
  INDICES;
  const int split = blockIdx.x & 1;
  float sum = 0;
  for (int k = split * 8; k < split * 8 + 8; ++k) sum += a[k * 16 + d];
  o[BUG(blockIdx.x / 2 * 64 + tid, i)] = sum;  // <- bug
  BUG(o[128 + blockIdx.x / 2 * 64 + tid] = sum, );
}
KERNEL race__last_block_without_fence(ARGS) {
  INDICES;
  __shared__ unsigned ticket;
  float* part = reinterpret_cast<float*>(w + 64);
  if (tid < 16) part[blockIdx.x * 16 + d] = a[i];  // <- bug
  BUG(, __threadfence());
  __syncthreads();
  if (tid == 0) ticket = atomicAdd(w, 1u);
  __syncthreads();
  if (ticket != 3) return;
  __threadfence();
  float total = 0;
  for (int split = 0; split < 4; ++split) {
    total += __ldcg(&part[split * 16 + d]);  // <- bug
  }
  for (int row = r; row < 16; row += 4) o[row * 16 + d] = total;
}
KERNEL race__ticket_before_the_block_is_done(ARGS) {  // thread 0 takes the ticket while others still write
  INDICES;
  __shared__ unsigned ticket;
  float* part = reinterpret_cast<float*>(w + 64);
  if (tid >= 48) part[blockIdx.x * 16 + d] = a[i];  // <- bug
  __threadfence();
  BUG(, __syncthreads());
  if (tid == 0) ticket = atomicAdd(w, 1u);
  __syncthreads();
  if (ticket != 3) return;
  __threadfence();
  float total = 0;
  for (int split = 0; split < 4; ++split) {
    total += __ldcg(&part[split * 16 + d]);  // <- bug
  }
  for (int row = r; row < 16; row += 4) o[row * 16 + d] = total;
}
KERNEL race__flag_without_release(ARGS) {  // launch: cooperative
  INDICES;  // block 0 leaves a maximum for the others
  float* shared_maximum = reinterpret_cast<float*>(w + 8);
  if (blockIdx.x == 0 && tid == 0) {
    *shared_maximum = a[5];  // <- bug
    BUG(, __threadfence());
    atomicExch(w, 1u);
  }
  if (tid == 0) {
    while (atomicAdd(w, 0u) == 0) {}
    __threadfence();
  }
  __syncthreads();
  o[i] = a[i] - *reinterpret_cast<volatile float*>(shared_maximum);  // <- bug
}
KERNEL race__flag_without_acquire(ARGS) {  // launch: cooperative
  INDICES;
  float* shared_maximum = reinterpret_cast<float*>(w + 8);
  if (blockIdx.x == 0 && tid == 0) {
    *shared_maximum = a[5];  // <- bug
    __threadfence();
    atomicExch(w, 1u);
  }
  if (tid == 0) {
    while (*reinterpret_cast<volatile unsigned*>(w) == 0) {}
    BUG(, __threadfence());
  }
  __syncthreads();
  o[i] = a[i] - *shared_maximum;  // <- bug
}
KERNEL race__one_thread_acquires(ARGS) {  // launch: cooperative
  INDICES;  // the others go on without waiting for it
  float* shared_maximum = reinterpret_cast<float*>(w + 8);
  if (blockIdx.x == 0 && tid == 0) {
    *shared_maximum = a[5];  // <- bug
    __threadfence();
    atomicExch(w, 1u);
  }
  if (tid == 0) {
    while (atomicAdd(w, 0u) == 0) {}
    __threadfence();
  }
  BUG(__syncwarp(), __syncthreads());
  o[i] = a[i] - *reinterpret_cast<volatile float*>(shared_maximum);  // <- bug
}
KERNEL race__stale_row_of_another_block(ARGS) {  // a stencil over rows that the neighbours are writing
  INDICES;
  float* rows = reinterpret_cast<float*>(w);
  if (tid < 16) rows[blockIdx.x * 16 + tid] = a[i];  // <- bug
  __syncthreads();
  float sum = rows[blockIdx.x * 16 + d];
  if (blockIdx.x > 0) {
    sum += BUG(rows[blockIdx.x * 16 - 16 + d], a[blockIdx.x * 64 - 64 + d]);  // <- bug
  }
  o[i] = sum;
}
KERNEL race__missing_grid_sync(ARGS) {  // launch: cooperative
  INDICES;
  float* sums = reinterpret_cast<float*>(w);
  if (tid < 16) sums[blockIdx.x * 16 + tid] = a[i];  // <- bug
  BUG(__syncthreads(), cg::this_grid().sync());
  o[i] = sums[(blockIdx.x ^ 1) * 16 + d];  // <- bug
}
KERNEL race__grid_sync_missing_at_the_end_of_the_step(ARGS) {  // launch: cooperative
  INDICES;
  float* state = reinterpret_cast<float*>(w + 64);
  float x = a[i];
  for (int step = 0; step < 3; ++step) {
    if (tid < 16) state[blockIdx.x * 16 + tid] = x;  // <- bug
    cg::this_grid().sync();
    x += state[(blockIdx.x + 1) % 4 * 16 + d];  // <- bug
    BUG(, cg::this_grid().sync());
  }
  o[i] = x;
}
KERNEL race__grid_barrier_without_fence(ARGS) {  // launch: cooperative
  INDICES;
  float* sums = reinterpret_cast<float*>(w + 64);
  if (tid < 16) sums[blockIdx.x * 16 + tid] = a[i];  // <- bug
  __syncthreads();
  if (tid == 0) {
    BUG(, __threadfence());
    atomicAdd(w, 1u);
    while (atomicAdd(w, 0u) < gridDim.x) {}
    BUG(, __threadfence());
  }
  __syncthreads();
  o[i] = *reinterpret_cast<volatile float*>(&sums[(blockIdx.x ^ 1) * 16 + d]);  // <- bug
}
KERNEL race__counter_without_atomic(ARGS) {
  INDICES;
  if (tid == 0) {
    BUG(w[0] += 1, atomicAdd(w, 1u));  // <- bug
  }
  o[i] = a[i];
}
KERNEL race__global_histogram_without_atomic(ARGS) {
  INDICES;
  unsigned* bin = &w[static_cast<int>(a[i]) + 6];
  BUG(*bin += 1, atomicAdd(bin, 1u));  // <- bug
  o[i] = a[i];
}
KERNEL race__warps_exchange_through_global(ARGS) {  // in one block, without its barrier
  INDICES;
  float* row = reinterpret_cast<float*>(w + 64) + blockIdx.x * 32;
  if (warp == 0) row[lane] = a[i];  // <- bug
  BUG(, __syncthreads());
  o[i] = row[31 - lane];  // <- bug
}
KERNEL race__halo_of_the_neighbour(ARGS) {  // launch: cooperative
  INDICES;
  float* row = reinterpret_cast<float*>(w + 64);  // blocks shift a row of 64 in place
  if (tid < 16) row[blockIdx.x * 16 + tid] = a[i];
  cg::this_grid().sync();
  const float x = row[(blockIdx.x * 16 + d + 1) & 63];  // <- bug
  BUG(, cg::this_grid().sync());
  if (tid < 16) row[blockIdx.x * 16 + tid] = x;  // <- bug
  o[i] = x;
}
KERNEL race__atomic_of_block_scope(ARGS) {  // a counter of all blocks, atomic within each
  INDICES;
  if (tid == 0) {
    BUG(atomicAdd_block(w, 1u), atomicAdd(w, 1u));  // <- bug
  }
  o[i] = a[i];
}
KERNEL race__plain_read_of_an_atomic_sum(ARGS) {
  INDICES;
  float* sum = reinterpret_cast<float*>(w);
  if (tid == 0) {
    atomicAdd(sum, a[i]);  // <- bug
  }
  BUG(__syncthreads(), );
  o[i] = BUG(sum[0], a[i]);  // <- bug
}
KERNEL race__result_written_by_every_block(ARGS) {  // the norm of all rows, different in each block
  INDICES;
  if (tid == 0 && BUG(true, blockIdx.x == 0)) {
    w[3] = blockIdx.x;  // <- bug
  }
  o[i] = a[i];
}

KERNEL deadlock__grid_barrier_without_residency(ARGS) {  // launch: grid 1200, block 1024
  const int tid = threadIdx.x;  // a barrier of all blocks, more of them than the device holds
  if (blockIdx.x < 4 && tid < 64) o[blockIdx.x * 64 + tid] = a[tid];
#ifndef MENDED
  __syncthreads();
  if (tid == 0) {
    __threadfence();
    atomicAdd(w, 1u);
    while (*reinterpret_cast<volatile unsigned*>(w) < gridDim.x) {}  // <- bug
  }
  __syncthreads();
#endif
}
KERNEL deadlock__blocks_wait_for_each_other(ARGS) {  // launch: cooperative
  INDICES;
  if (tid == 0) {
    BUG(, atomicExch(&w[blockIdx.x], 1u));
    while (atomicAdd(&w[blockIdx.x ^ 1], 0u) == 0) {}  // <- bug
    BUG(atomicExch(&w[blockIdx.x], 1u), );
  }
  __syncthreads();
  o[i] = a[i];
}
KERNEL deadlock__lock_not_released(ARGS) {
  INDICES;
  if (tid == 0) {
    while (atomicCAS(w, 0u, 1u) != 0) {}  // <- bug
    __threadfence();
    w[1] += 1;
    __threadfence();
    BUG(, atomicExch(w, 0u));
  }
  o[i] = a[i];
}
KERNEL deadlock__flag_of_a_block_that_is_not_there(ARGS) {  // launch: cooperative
  INDICES;  // waits for block 4 of 0..3
  if (tid == 0) {
    __threadfence();
    atomicExch(&w[blockIdx.x], 1u);
    while (atomicAdd(&w[(blockIdx.x + 1) % BUG(5, 4)], 0u) == 0) {}  // <- bug
  }
  o[i] = a[i];
}
__device__ __forceinline__ unsigned acquired(const unsigned* at) {
  unsigned value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(at) : "memory");
  return value;
}
KERNEL race__stale_line_behind_a_grid_barrier(ARGS) {  // launch: cooperative
  INDICES;  // all blocks meet, but the L1 cache still holds the neighbour's row of the last step
  float* state = reinterpret_cast<float*>(w + 64);
  float x = a[i];
  auto meet = [&](unsigned arrivals) {
    __syncthreads();
    if (tid == 0) {
      asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(w) : "memory");
      while (BUG(*reinterpret_cast<volatile unsigned*>(w), acquired(w)) < arrivals) {}
    }
    __syncthreads();
  };
  for (unsigned step = 0; step < 3; ++step) {
    if (tid < 16) state[blockIdx.x * 16 + tid] = x;
    meet(4 * (2 * step + 1));
    x += state[(blockIdx.x + 1) % 4 * 16 + d];  // <- bug
    meet(4 * (2 * step + 2));
  }
  o[i] = x;
}
