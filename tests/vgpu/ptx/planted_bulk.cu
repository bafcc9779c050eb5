// SPDX-License-Identifier: Apache-2.0
// Planted bugs of bulk stores and of what TMA reads: proxy fences, groups, bounds (planted.cuh).
#include "planted.cuh"
#include "asynchronous.cuh"

KERNEL missing_proxy_fence__bulk_store(ARGS) {
  INDICES;
  __shared__ alignas(128) float tile[64];
  tile[tid] = a[i];
  BUG(, FENCE_PROXY;)
  __syncthreads();
  if (tid == 0) {
    BULK_STORE(o + blockIdx.x * 64, tile, 256);  // <- bug
    BULK_COMMIT;
    BULK_WAIT_READ(0);
  }
}
KERNEL missing_proxy_fence__fence_before_the_store(ARGS) {
  INDICES;
  __shared__ alignas(128) float tile[64];
  BUG(FENCE_PROXY; tile[tid] = a[i];, tile[tid] = a[i]; FENCE_PROXY;)
  __syncthreads();
  if (tid == 0) {
    BULK_STORE(o + blockIdx.x * 64, tile, 256);  // <- bug
    BULK_COMMIT;
    BULK_WAIT_READ(0);
  }
}
KERNEL missing_proxy_fence__only_one_thread_fences_too_early(ARGS) {  // before the barrier: only for its own store
  INDICES;
  __shared__ alignas(128) float tile[64];
  tile[tid] = a[i];
  BUG(if (tid == 0) FENCE_PROXY; __syncthreads();, __syncthreads(); if (tid == 0) FENCE_PROXY;)
  if (tid == 0) {
    BULK_STORE(o + blockIdx.x * 64, tile, 256);  // <- bug
    BULK_COMMIT;
    BULK_WAIT_READ(0);
  }
}
KERNEL unfenced_mbarrier_init__copy_completes_there(ARGS) {  // only a remark: kernels that work do it
  INDICES;
  __shared__ alignas(128) float tile[64];
  __shared__ unsigned long long full;
  if (tid == 0) MBARRIER_INIT(&full, 1);
  BUG(, FENCE_INIT;)
  __syncthreads();
  if (tid == 0) {
    MBARRIER_EXPECT(&full, 256);
    BULK_LOAD(tile, a + blockIdx.x * 64, 256, &full);  // <- bug
  }
  MBARRIER_WAIT(&full, 0);
  o[i] = tile[tid];
}

KERNEL missing_proxy_fence__fence_of_global_memory_only(ARGS) {
  INDICES;
  __shared__ alignas(128) float tile[64];
  tile[tid] = a[i];
  BUG(asm volatile("fence.proxy.async.global;" ::: "memory"), FENCE_PROXY);
  __syncthreads();
  if (tid == 0) {
    BULK_STORE(o + blockIdx.x * 64, tile, 256);  // <- bug
    BULK_COMMIT;
    BULK_WAIT_READ(0);
  }
}

KERNEL async_in_flight__source_overwritten(ARGS) {  // the next tile is written before the store has read this one
  INDICES;
  __shared__ alignas(128) float tile[64];
  for (int t = 0; t < 2; ++t) {
    tile[tid] = a[i] * (t + 1);  // <- bug
    FENCE_PROXY;
    __syncthreads();
    if (tid == 0) {
      BULK_STORE(o + blockIdx.x * 64, tile, 256);
      BULK_COMMIT;
      BUG(, BULK_WAIT_READ(0);)
    }
    __syncthreads();
  }
  if (tid == 0) BULK_WAIT_READ(0);
}
KERNEL async_in_flight__group_never_committed(ARGS) {  // so that the wait waits for nothing
  INDICES;
  __shared__ alignas(128) float tile[64];
  tile[tid] = a[i];
  FENCE_PROXY;
  __syncthreads();
  if (tid == 0) {
    BULK_STORE(o + blockIdx.x * 64, tile, 256);  // <- bug
    BUG(, BULK_COMMIT;)
    BULK_WAIT_READ(0);
  }
}
KERNEL async_in_flight__block_ends_before_the_store_has_read(ARGS) {
  INDICES;
  __shared__ alignas(128) float tile[64];
  tile[tid] = a[i];
  FENCE_PROXY;
  __syncthreads();
  if (tid == 0) {
    BULK_STORE(o + blockIdx.x * 64, tile, 256);  // <- bug
    BULK_COMMIT;
    BUG(, BULK_WAIT_READ(0);)
  }
}
KERNEL async_in_flight__block_ends_before_a_prefetched_tile_comes(ARGS) {  // one load too many at the end of the ring
  INDICES;
  __shared__ alignas(128) float tile[2][64];
  __shared__ unsigned long long full[2];
  if (tid < 2) MBARRIER_INIT(&full[tid], 1);
  FENCE_INIT;
  __syncthreads();
  if (tid == 0) {
    for (int s = 0; s < BUG(2, 1); ++s) {
      MBARRIER_EXPECT(&full[s], 256);
      BULK_LOAD(tile[s], a + s * 64, 256, &full[s]);  // <- bug
    }
  }
  MBARRIER_WAIT(&full[0], 0);
  o[i] = tile[0][tid];
}
KERNEL uninitialised__bulk_reduction_into_unwritten_memory(ARGS) {  // all blocks add to the same words, which is no race
  INDICES;
  __shared__ alignas(128) unsigned tile[64];
  tile[tid] = tid;
  FENCE_PROXY;
  __syncthreads();
  if (tid == 0) {
    BULK_ADD(w + BUG(64, 0), tile, 256);  // <- bug
    BULK_COMMIT;
    BULK_WAIT_READ(0);
  }
  o[i] = a[i];
}
KERNEL out_of_bounds__bulk_load_past_the_end(ARGS) {
  INDICES;
  __shared__ alignas(128) float tile[64];
  __shared__ unsigned long long full;
  if (tid == 0) MBARRIER_INIT(&full, 1);
  FENCE_INIT;
  __syncthreads();
  if (tid == 0) {
    MBARRIER_EXPECT(&full, 256);
    BULK_LOAD(tile, a + blockIdx.x * 64 + BUG(4, 0), 256, &full);  // <- bug
  }
  MBARRIER_WAIT(&full, 0);
  o[i] = tile[tid];
}
KERNEL misaligned__bulk_load(ARGS) {
  INDICES;
  __shared__ alignas(128) float tile[64];
  __shared__ unsigned long long full;
  if (tid == 0) MBARRIER_INIT(&full, 1);
  FENCE_INIT;
  __syncthreads();
  if (tid == 0) {
    MBARRIER_EXPECT(&full, 128);
    BULK_LOAD(tile, a + BUG(1, 0), 128, &full);  // <- bug
  }
  MBARRIER_WAIT(&full, 0);
  o[i] = tile[lane];
}
