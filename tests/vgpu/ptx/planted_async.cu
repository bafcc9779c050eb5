// SPDX-License-Identifier: Apache-2.0
// Planted bugs of asynchronous copies: mbarriers, bulk copies (TMA) and the fences they need (planted.cuh).
#include "planted.cuh"
#include "asynchronous.cuh"

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
KERNEL barrier_misuse__arrival_that_must_not_complete_is_the_last(ARGS) {  // as of a pipeline's extra arrivals
  INDICES;
  __shared__ unsigned long long bar;
  if (tid == 0) MBARRIER_INIT(&bar, BUG(64, 65));
  __syncthreads();
  unsigned long long token;
  asm volatile("mbarrier.arrive.noComplete.release.cta.shared::cta.b64 %0, [%1], 1;"
               : "=l"(token) : "r"(SHARED_ADDRESS(&bar)) : "memory");  // <- bug
  __syncthreads();
  (void)token;
  if (BUG(false, tid == 0)) MBARRIER_ARRIVE(&bar);
  MBARRIER_WAIT(&bar, 0);
  o[i] = a[i];
}

// Warp 0 hands a row to warp 1.
KERNEL race__relaxed_arrival_of_the_writer(ARGS) {
  INDICES;
  __shared__ float tile[32];
  __shared__ unsigned long long full;
  if (tid == 0) MBARRIER_INIT(&full, 32);
  __syncthreads();
  float x = a[i];
  if (warp == 0) {
    tile[lane] = x;  // <- bug
    asm volatile(BUG("mbarrier.arrive.relaxed.cta.shared::cta.b64 _, [%0];", "mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];")
                 ::"r"(SHARED_ADDRESS(&full)) : "memory");
  } else {
    MBARRIER_WAIT(&full, 0);
    x += tile[lane];  // <- bug
  }
  o[i] = x;
}
KERNEL race__relaxed_wait_of_the_reader(ARGS) {
  INDICES;
  __shared__ float tile[32];
  __shared__ unsigned long long full;
  if (tid == 0) MBARRIER_INIT(&full, 32);
  __syncthreads();
  float x = a[i];
  if (warp == 0) {
    tile[lane] = x;  // <- bug
    MBARRIER_ARRIVE(&full);
  } else {
    for (unsigned done = 0; done == 0;)
      asm volatile("{ .reg .pred p; mbarrier.try_wait.parity" BUG(".relaxed.cta", ".acquire.cta")
                   ".shared::cta.b64 p, [%1], 0; selp.u32 %0, 1, 0, p; }"
                   : "=r"(done) : "r"(SHARED_ADDRESS(&full)) : "memory");
    x += tile[lane];  // <- bug
  }
  o[i] = x;
}
