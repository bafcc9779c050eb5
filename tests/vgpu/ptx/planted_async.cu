// SPDX-License-Identifier: Apache-2.0
// Planted bugs of asynchronous copies and products: mbarriers, bulk copies (TMA), wgmma and the fences they need
// (planted.cuh).
#include "planted.cuh"
#include "asynchronous.cuh"

#define WGMMA_FENCE asm volatile("wgmma.fence.sync.aligned;" ::: "memory")
#define WGMMA_COMMIT asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory")
#define WGMMA_WAIT(groups) asm volatile("wgmma.wait_group.sync.aligned " #groups ";" ::: "memory")
/// c[4] = A (64 x 16, rows of 32 bytes in core matrices) times B (8 x 16); without swizzle, K-major.
#define WGMMA_N8(c, a, b)                                                                                 \
  asm volatile("wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%0,%1,%2,%3}, %4, %5, 0, 1, 1, 0, 0;"    \
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "l"(DESCRIPTOR(a)), "l"(DESCRIPTOR(b)) : "memory")
/// Core matrices of 8 x 16 bytes: 128 bytes from one to the next along K, 256 along M or N.
#define DESCRIPTOR(p) ((unsigned long long)(SHARED_ADDRESS(p) >> 4) | (8ull << 16) | (16ull << 32))

// One block's row of 64 floats comes by a bulk copy.
KERNEL copy_not_waited__bulk_load(ARGS) {  // launch: also async_in_flight
  INDICES;
  __shared__ alignas(128) float tile[64];
  __shared__ unsigned long long full;
  if (tid == 0) MBARRIER_INIT(&full, 1);
  FENCE_INIT;
  __syncthreads();
  if (tid == 0) {
    MBARRIER_EXPECT(&full, 256);
    BULK_LOAD(tile, a + blockIdx.x * 64, 256, &full);  // <- bug
  }
  __syncthreads();
  BUG(, MBARRIER_WAIT(&full, 0);)
  o[i] = tile[tid];  // <- bug
}
KERNEL copy_not_waited__wrong_parity(ARGS) {  // launch: also deadlock
  INDICES;
  __shared__ alignas(128) float tile[64];
  __shared__ unsigned long long full;
  if (tid == 0) MBARRIER_INIT(&full, 1);
  FENCE_INIT;
  __syncthreads();
  if (tid == 0) {
    MBARRIER_EXPECT(&full, 256);
    BULK_LOAD(tile, a + blockIdx.x * 64, 256, &full);
  }
  __syncthreads();
  MBARRIER_WAIT(&full, BUG(1, 0));  // <- bug
  o[i] = tile[tid];  // <- bug
}
KERNEL copy_not_waited__stale_phase_of_the_second_round(ARGS) {  // launch: also deadlock
  INDICES;
  __shared__ alignas(128) float tile[64];
  __shared__ unsigned long long full;
  float sum = 0;
  if (tid == 0) MBARRIER_INIT(&full, 1);
  FENCE_INIT;
  __syncthreads();
  for (int t = 0; t < 2; ++t) {
    if (tid == 0) {
      MBARRIER_EXPECT(&full, 256);
      BULK_LOAD(tile, a + t * 64, 256, &full);
    }
    __syncthreads();
    MBARRIER_WAIT(&full, BUG(0, t));  // <- bug
    sum += tile[tid];  // <- bug
    __syncthreads();
  }
  o[i] = sum;
}
KERNEL copy_not_waited__other_stage(ARGS) {  // launch: also race
  INDICES;
  __shared__ alignas(128) float tile[2][64];
  __shared__ unsigned long long full[2];
  if (tid < 2) MBARRIER_INIT(&full[tid], 1);
  FENCE_INIT;
  __syncthreads();
  if (tid == 0) {
    for (int s = 0; s < 2; ++s) {
      MBARRIER_EXPECT(&full[s], 256);
      BULK_LOAD(tile[s], a + s * 64, 256, &full[s]);
    }
  }
  MBARRIER_WAIT(&full[0], 0);
  float sum = tile[0][tid];
  MBARRIER_WAIT(&full[BUG(0, 1)], 0);
  sum += tile[1][tid];  // <- bug
  o[i] = sum;
}
KERNEL copy_not_waited__store_into_a_load(ARGS) {  // clears the tile while it is being filled
  INDICES;
  __shared__ alignas(128) float tile[64];
  __shared__ unsigned long long full;
  if (tid == 0) MBARRIER_INIT(&full, 1);
  FENCE_INIT;
  __syncthreads();
  if (tid == 0) {
    MBARRIER_EXPECT(&full, 256);
    BULK_LOAD(tile, a + blockIdx.x * 64, 256, &full);
    if (BUG(true, false)) tile[63] = 0;  // <- bug
  }
  MBARRIER_WAIT(&full, 0);
  o[i] = tile[tid];
}

#define ARRIVE_BEHIND_COPIES(bar) \
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(SHARED_ADDRESS(bar)) : "memory")

KERNEL copy_not_waited__mbarrier_behind_cp_async(ARGS) {  // launch: also race
  INDICES;
  __shared__ alignas(128) float tile[64];
  __shared__ unsigned long long full;
  if (tid == 0) MBARRIER_INIT(&full, 64);
  __syncthreads();
  COPY_4(&tile[tid], a + i);
  ARRIVE_BEHIND_COPIES(&full);
  BUG(, MBARRIER_WAIT(&full, 0);)
  o[i] = tile[tid ^ 32];  // <- bug
}
KERNEL deadlock__arrival_behind_cp_async_missing(ARGS) {
  INDICES;
  __shared__ alignas(128) float tile[64];
  __shared__ unsigned long long full;
  if (tid == 0) MBARRIER_INIT(&full, 64);
  __syncthreads();
  COPY_4(&tile[tid], a + i);
  if (BUG(warp == 0, true)) ARRIVE_BEHIND_COPIES(&full);
  MBARRIER_WAIT(&full, 0);  // <- bug
  o[i] = tile[tid ^ 32];
}

// A producer (warp 0) and a consumer (warp 1) share a ring of one or two stages.
KERNEL race__released_before_the_last_read(ARGS) {
  INDICES;
  __shared__ alignas(128) float tile[32];
  __shared__ unsigned long long full, empty;
  if (tid == 0) {
    MBARRIER_INIT(&full, 1);
    MBARRIER_INIT(&empty, 32);
  }
  FENCE_INIT;
  __syncthreads();
  float sum = 0;
  if (warp == 0) {
    if (lane == 0) {
      for (int t = 0; t < 4; ++t) {
        MBARRIER_WAIT(&empty, (t & 1) ^ 1);
        MBARRIER_EXPECT(&full, 128);
        BULK_LOAD(tile, a + t * 32, 128, &full);  // <- bug
      }
    }
    __syncwarp();
  } else {
    for (int t = 0; t < 4; ++t) {
      MBARRIER_WAIT(&full, t & 1);
      BUG(MBARRIER_ARRIVE(&empty); sum += tile[lane];, sum += tile[lane]; MBARRIER_ARRIVE(&empty);)  // <- bug
    }
  }
  o[i] = sum;
}
KERNEL race__no_empty_barrier(ARGS) {  // launch: also copy_not_waited
  INDICES;
  __shared__ alignas(128) float tile[2][32];
  __shared__ unsigned long long full[2], empty[2];
  if (tid < 2) {
    MBARRIER_INIT(&full[tid], 1);
    MBARRIER_INIT(&empty[tid], 32);
  }
  FENCE_INIT;
  __syncthreads();
  float sum = 0;
  if (warp == 0) {
    if (lane == 0) {
      for (int t = 0; t < 4; ++t) {
        BUG(if (t > 1) MBARRIER_WAIT(&full[t & 1], 0);, MBARRIER_WAIT(&empty[t & 1], (t >> 1) ^ 1);)
        MBARRIER_EXPECT(&full[t & 1], 128);
        BULK_LOAD(tile[t & 1], a + t * 32, 128, &full[t & 1]);  // <- bug
      }
    }
    __syncwarp();
  } else {
    for (int t = 0; t < 4; ++t) {
      MBARRIER_WAIT(&full[t & 1], t >> 1);
      sum += tile[t & 1][lane];  // <- bug
      MBARRIER_ARRIVE(&empty[t & 1]);
    }
  }
  o[i] = sum;
}
KERNEL race__barrier_used_before_its_init_is_seen(ARGS) {  // launch: also barrier_misuse
  INDICES;
  __shared__ unsigned long long bar;
  if (tid == 0) MBARRIER_INIT(&bar, 64);  // <- bug
  BUG(__syncwarp();, __syncthreads();)
  if (warp == 0 || BUG(tid >= 32, true)) {
    MBARRIER_ARRIVE(&bar);  // <- bug
    MBARRIER_WAIT(&bar, 0);
  }
  o[i] = a[i];
}

KERNEL deadlock__copies_fewer_bytes_than_expected(ARGS) {
  INDICES;
  __shared__ alignas(128) float tile[64];
  __shared__ unsigned long long full;
  if (tid == 0) MBARRIER_INIT(&full, 1);
  FENCE_INIT;
  __syncthreads();
  if (tid == 0) {
    MBARRIER_EXPECT(&full, 256);
    BULK_LOAD(tile, a + blockIdx.x * 64, BUG(128, 256), &full);
  }
  MBARRIER_WAIT(&full, 0);  // <- bug
  o[i] = tile[tid];
}
KERNEL deadlock__expects_fewer_bytes_than_come(ARGS) {
  INDICES;
  __shared__ alignas(128) float tile[64];
  __shared__ unsigned long long full;
  if (tid == 0) MBARRIER_INIT(&full, 1);
  FENCE_INIT;
  __syncthreads();
  if (tid == 0) {
    MBARRIER_EXPECT(&full, BUG(128, 256));
    BULK_LOAD(tile, a + blockIdx.x * 64, 256, &full);
  }
  MBARRIER_WAIT(&full, 0);  // <- bug
  o[i] = tile[tid];
}
KERNEL copy_not_waited__nobody_expects_the_copy(ARGS) {  // launch: also deadlock
  INDICES;
  __shared__ alignas(128) float tile[64];
  __shared__ unsigned long long full;
  if (tid == 0) MBARRIER_INIT(&full, 2);
  FENCE_INIT;
  __syncthreads();
  if (tid == 0) {
    BULK_LOAD(tile, a + blockIdx.x * 64, 256, &full);
    BUG(MBARRIER_ARRIVE(&full), MBARRIER_EXPECT(&full, 256));
    MBARRIER_ARRIVE(&full);
  }
  MBARRIER_WAIT(&full, 0);  // <- bug
  o[i] = tile[tid];  // <- bug
}
KERNEL deadlock__one_arrival_is_missing(ARGS) {
  INDICES;
  __shared__ unsigned long long bar;
  if (tid == 0) MBARRIER_INIT(&bar, BUG(64, 63));
  __syncthreads();
  if (tid != 5) MBARRIER_ARRIVE(&bar);
  MBARRIER_WAIT(&bar, 0);  // <- bug
  o[i] = a[i];
}
KERNEL deadlock__ring_starts_with_the_wrong_parity(ARGS) {  // the producer waits for a first release that nobody owes
  INDICES;
  __shared__ alignas(128) float tile[32];
  __shared__ unsigned long long full, empty;
  if (tid == 0) {
    MBARRIER_INIT(&full, 1);
    MBARRIER_INIT(&empty, 32);
  }
  FENCE_INIT;
  __syncthreads();
  float sum = 0;
  if (warp == 0) {
    if (lane == 0) {
      for (int t = 0; t < 2; ++t) {
        MBARRIER_WAIT(&empty, BUG(t & 1, (t & 1) ^ 1));  // <- bug
        MBARRIER_EXPECT(&full, 128);
        BULK_LOAD(tile, a + t * 32, 128, &full);
      }
    }
    __syncwarp();
  } else {
    for (int t = 0; t < 2; ++t) {
      MBARRIER_WAIT(&full, t & 1);  // <- bug
      sum += tile[lane];
      MBARRIER_ARRIVE(&empty);
    }
  }
  o[i] = sum;
}
KERNEL deadlock__consumer_forgets_the_release(ARGS) {
  INDICES;
  __shared__ alignas(128) float tile[32];
  __shared__ unsigned long long full, empty;
  if (tid == 0) {
    MBARRIER_INIT(&full, 1);
    MBARRIER_INIT(&empty, 32);
  }
  FENCE_INIT;
  __syncthreads();
  float sum = 0;
  if (warp == 0) {
    if (lane == 0) {
      for (int t = 0; t < 3; ++t) {
        MBARRIER_WAIT(&empty, (t & 1) ^ 1);  // <- bug
        MBARRIER_EXPECT(&full, 128);
        BULK_LOAD(tile, a + t * 32, 128, &full);
      }
    }
    __syncwarp();
  } else {
    for (int t = 0; t < 3; ++t) {
      MBARRIER_WAIT(&full, t & 1);  // <- bug
      sum += tile[lane];
      if (BUG(t == 0, true)) MBARRIER_ARRIVE(&empty);
    }
  }
  o[i] = sum;
}

KERNEL barrier_misuse__never_initialised(ARGS) {
  INDICES;
  __shared__ unsigned long long bar[2];
  if (tid < BUG(1, 2)) MBARRIER_INIT(&bar[tid], 64);
  __syncthreads();
  MBARRIER_ARRIVE(&bar[1]);  // <- bug
  MBARRIER_WAIT(&bar[1], 0);
  o[i] = a[i];
}
KERNEL barrier_misuse__too_many_arrivals(ARGS) {  // the phase still waits for its bytes
  INDICES;
  __shared__ alignas(128) float tile[64];
  __shared__ unsigned long long full;
  if (tid == 0) MBARRIER_INIT(&full, 1);
  FENCE_INIT;
  __syncthreads();
  if (tid == 0) {
    MBARRIER_EXPECT(&full, 256);
    BULK_LOAD(tile, a + blockIdx.x * 64, 256, &full);
    if (BUG(true, false)) MBARRIER_ARRIVE(&full);  // <- bug
  }
  MBARRIER_WAIT(&full, 0);
  o[i] = tile[tid];
}
KERNEL barrier_misuse__count_of_zero(ARGS) {
  INDICES;
  __shared__ unsigned long long bar;
  if (tid == 0) MBARRIER_INIT(&bar, n / 4 - BUG(64, 0));  // <- bug
  __syncthreads();
  MBARRIER_ARRIVE(&bar);
  MBARRIER_WAIT(&bar, 0);
  o[i] = a[i];
}

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
KERNEL missing_proxy_fence__mbarrier_init(ARGS) {
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

// A warpgroup multiplies ones: all of o is 16. The operands of 64 x 16 and 8 x 16 halves are core matrices.
#define OPERANDS                                                       \
  INDICES;                                                             \
  __shared__ alignas(128) __half left[64 * 16], right[8 * 16];         \
  for (int k = tid; k < 64 * 16; k += 128) left[k] = __float2half(1);  \
  if (tid < 8 * 16) right[tid] = __float2half(1);                      \
  float c[4] = {}
#define STORE_PRODUCT                      \
  for (int k = 0; k < 2; ++k) o[tid * 2 + k] = c[k]

KERNEL missing_proxy_fence__operands_of_wgmma(ARGS) {  // launch: grid 1, block 128
  OPERANDS;
  BUG(, FENCE_PROXY;)
  __syncthreads();
  WGMMA_FENCE;
  WGMMA_N8(c, left, right);  // <- bug
  WGMMA_COMMIT;
  WGMMA_WAIT(0);
  STORE_PRODUCT;
}
KERNEL async_in_flight__accumulator_read_before_the_wait(ARGS) {  // launch: grid 1, block 128
  OPERANDS;
  FENCE_PROXY;
  __syncthreads();
  WGMMA_FENCE;
  WGMMA_N8(c, left, right);
  WGMMA_COMMIT;
  BUG(, WGMMA_WAIT(0);)
  o[tid * 2] = c[0];  // <- bug
  o[tid * 2 + 1] = c[1];
  BUG(WGMMA_WAIT(0);, )
}
KERNEL async_in_flight__waits_for_too_few_groups(ARGS) {  // launch: grid 1, block 128
  OPERANDS;
  float e[4] = {};
  FENCE_PROXY;
  __syncthreads();
  WGMMA_FENCE;
  WGMMA_N8(c, left, right);
  WGMMA_COMMIT;
  WGMMA_N8(e, left, right);
  WGMMA_COMMIT;
  BUG(WGMMA_WAIT(1), WGMMA_WAIT(0));
  o[tid * 2] = c[0];
  o[tid * 2 + 1] = e[0];  // <- bug
}
KERNEL async_in_flight__wgmma_never_committed(ARGS) {  // launch: grid 1, block 128
  OPERANDS;
  FENCE_PROXY;
  __syncthreads();
  WGMMA_FENCE;
  WGMMA_N8(c, left, right);
  BUG(, WGMMA_COMMIT;)
  WGMMA_WAIT(0);
  o[tid * 2] = c[0];  // <- bug
  o[tid * 2 + 1] = c[1];
}
KERNEL async_in_flight__operand_overwritten(ARGS) {  // launch: grid 1, block 128
  OPERANDS;
  FENCE_PROXY;
  __syncthreads();
  WGMMA_FENCE;
  WGMMA_N8(c, left, right);
  WGMMA_COMMIT;
  BUG(, WGMMA_WAIT(0); __syncthreads();)
  if (tid < 8 * 16) right[tid] = __float2half(2);  // <- bug
  BUG(WGMMA_WAIT(0), );
  STORE_PRODUCT;
}
KERNEL async_in_flight__no_wgmma_fence(ARGS) {  // launch: grid 1, block 128
  OPERANDS;
  FENCE_PROXY;
  __syncthreads();
  BUG(, WGMMA_FENCE;)
  WGMMA_N8(c, left, right);  // <- bug
  WGMMA_COMMIT;
  WGMMA_WAIT(0);
  STORE_PRODUCT;
}
KERNEL out_of_bounds__descriptor_beyond_shared_memory(ARGS) {  // launch: grid 1, block 128
  OPERANDS;
  FENCE_PROXY;
  __syncthreads();
  WGMMA_FENCE;
  WGMMA_N8(c, BUG(left + 4096, left), right);  // <- bug
  WGMMA_COMMIT;
  WGMMA_WAIT(0);
  STORE_PRODUCT;
}
KERNEL deadlock__a_warp_of_the_warpgroup_stays_away(ARGS) {  // launch: grid 1, block 128
  OPERANDS;
  FENCE_PROXY;
  __syncthreads();
  if (BUG(warp != 3, true)) {
    WGMMA_FENCE;
    WGMMA_N8(c, left, right);
    WGMMA_COMMIT;
    WGMMA_WAIT(0);  // <- bug
  }
  STORE_PRODUCT;
}
KERNEL race__operand_written_without_barrier(ARGS) {  // launch: grid 1, block 128, also uninitialised async_in_flight
  OPERANDS;
  FENCE_PROXY;
  BUG(__syncwarp();, __syncthreads();)
  WGMMA_FENCE;
  WGMMA_N8(c, left, right);  // <- bug
  WGMMA_COMMIT;
  WGMMA_WAIT(0);
  STORE_PRODUCT;
}
