// SPDX-License-Identifier: Apache-2.0
// Order between blocks, warps and lanes: kernels with one planted bug each (kind in front, marked line where it is
// reported) and their honest counterparts (honest__, which compute o = 2 a + 1).
// Launched with 4 blocks of 64 threads, a and o hold n = 256 floats, w 64 zeroed words. PTX: tests/vgpu/ptx/generate.
#include <cuda_fp16.h>
#include <cooperative_groups.h>
#define KERNEL extern "C" __global__ void
#define ARGS const float* __restrict__ a, float* o, unsigned* w, int n

__device__ __forceinline__ int thread() { return blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ float* parts(unsigned* w) { return reinterpret_cast<float*>(w + 8); }
__device__ __forceinline__ unsigned volatile_load(unsigned* p) { return *(volatile unsigned*)p; }
__device__ __forceinline__ unsigned at(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

// ---- blocks: nobody orders them

KERNEL race__output_written_by_all_blocks(ARGS) {
  o[threadIdx.x] = a[thread()];  // <- bug
}
KERNEL race__tiles_overlap_by_one(ARGS) {
  if (blockIdx.x > 0 || threadIdx.x > 0) o[blockIdx.x * 63 + threadIdx.x] = a[thread()] + blockIdx.x;  // <- bug
}
KERNEL race__reads_what_another_block_writes(ARGS) {
  parts(w)[blockIdx.x] = a[thread()];  // <- bug
  __syncthreads();
  o[thread()] = parts(w)[(blockIdx.x + 1) % 4];  // <- bug
}
KERNEL race__fence_is_no_barrier(ARGS) {
  if (threadIdx.x == 0) parts(w)[blockIdx.x] = a[thread()];  // <- bug
  __threadfence();
  __syncthreads();
  o[thread()] = parts(w)[(blockIdx.x + 3) % 4];  // <- bug
}
KERNEL race__counts_without_atomic(ARGS) {
  if (threadIdx.x == 0) w[0] += 1;  // <- bug
  o[thread()] = a[thread()];
}
KERNEL race__reads_a_counter_plainly(ARGS) {
  if (threadIdx.x == 0) atomicAdd(w, 1u);  // <- bug
  o[thread()] = w[0];  // <- bug
}
KERNEL race__block_scope_atomic(ARGS) {
  if (threadIdx.x == 0) atomicAdd_block(w, 1u);  // <- bug
  o[thread()] = a[thread()];
}
KERNEL race__one_block_clears_for_all(ARGS) {
  if (blockIdx.x == 0 && threadIdx.x == 0) w[3] = 5;  // <- bug
  if (threadIdx.x == 0) atomicAdd(&w[3], 1u);  // <- bug
  o[thread()] = a[thread()];
}
KERNEL race__shares_a_half_word(ARGS) {
  __half* h = reinterpret_cast<__half*>(w);
  if (threadIdx.x < 5) h[4 * blockIdx.x + threadIdx.x] = __float2half(1.0f + blockIdx.x);  // <- bug
  o[thread()] = a[thread()];
}
KERNEL race__vector_store_into_the_next_part(ARGS) {
  float2* p = reinterpret_cast<float2*>(parts(w));
  if (threadIdx.x < 3) p[2 * blockIdx.x + threadIdx.x] = make_float2(blockIdx.x + 1, threadIdx.x);  // <- bug
  o[thread()] = a[thread()];
}

// ---- blocks: handing over, with one step wrong

/// The last block to take a ticket.
__device__ __forceinline__ bool takes_last_ticket(unsigned* w) {
  __shared__ bool is_last;
  if (threadIdx.x == 0) is_last = atomicAdd(w, 1u) == gridDim.x - 1;
  __syncthreads();
  return is_last;
}
__device__ __forceinline__ void finish(float* o, unsigned* w, int k) {
  o[k] = 2 * parts(w)[k / 8] + 1;
}
KERNEL race__last_block_without_fence(ARGS) {
  if (threadIdx.x == 0) parts(w)[blockIdx.x] = a[thread()];
  __syncthreads();
  if (takes_last_ticket(w)) o[threadIdx.x] = parts(w)[threadIdx.x % 4];  // <- bug
}
KERNEL race__fence_before_the_store(ARGS) {
  __threadfence();
  if (threadIdx.x == 0) parts(w)[blockIdx.x] = a[thread()];
  __syncthreads();
  if (takes_last_ticket(w)) o[threadIdx.x] = parts(w)[threadIdx.x % 4];  // <- bug
}
KERNEL race__block_scope_fence(ARGS) {
  if (threadIdx.x == 0) parts(w)[blockIdx.x] = a[thread()];
  __threadfence_block();
  __syncthreads();
  if (takes_last_ticket(w)) o[threadIdx.x] = parts(w)[threadIdx.x % 4];  // <- bug
}
KERNEL race__ticket_before_the_other_warps_are_done(ARGS) {
  if (threadIdx.x % 32 == 0) parts(w)[2 * blockIdx.x + threadIdx.x / 32] = a[thread()];
  __threadfence();
  if (takes_last_ticket(w)) o[threadIdx.x] = parts(w)[threadIdx.x % 8];  // <- bug
}
KERNEL race__flag_without_fence(ARGS) {
  if (blockIdx.x == 3 && threadIdx.x == 0) {
    parts(w)[0] = a[0];
    *(volatile unsigned*)w = 1;
  }
  if (blockIdx.x == 0) {
    while (volatile_load(w) == 0) {}
    o[threadIdx.x] = parts(w)[0];  // <- bug
  }
}
KERNEL race__flag_stored_plainly(ARGS) {
  if (blockIdx.x == 3 && threadIdx.x == 0) {
    parts(w)[0] = a[0];
    __threadfence();
    w[0] = 1;  // <- bug
  }
  if (blockIdx.x == 0) {
    while (*(volatile unsigned*)w == 0) {}  // <- bug
    o[threadIdx.x] = parts(w)[0];
  }
}
KERNEL race__counter_reset_while_others_count(ARGS) {
  if (threadIdx.x == 0 && atomicAdd(w, 1u) == 0) {
    while (volatile_load(&w[1]) == 0) {}
    w[0] = 0;  // <- bug
  } else if (threadIdx.x == 0) {
    atomicExch(&w[1], 1u);
  }
  o[thread()] = a[thread()];
}
KERNEL race__warps_through_global_memory(ARGS) {
  o[thread()] = a[thread()];  // <- bug
  o[thread() ^ 32] = 1;  // <- bug
}

KERNEL honest__last_block_each_thread_fences(ARGS) {
  parts(w)[blockIdx.x * 8 + threadIdx.x % 8] = a[blockIdx.x * 64 + threadIdx.x % 8];
  __threadfence();
  __syncthreads();
  if (takes_last_ticket(w)) {
    for (int k = threadIdx.x; k < 32; k += 64) o[k / 8 * 64 + k % 8] = 2 * parts(w)[k] + 1;
    if (threadIdx.x == 0) w[0] = 0;
  }
  if (threadIdx.x >= 8) o[thread()] = 2 * a[thread()] + 1;
}
KERNEL honest__last_block_one_thread_fences(ARGS) {
  if (threadIdx.x < 8) parts(w)[blockIdx.x * 8 + threadIdx.x] = a[thread()];
  __syncthreads();
  if (threadIdx.x == 0) __threadfence();
  if (takes_last_ticket(w)) {
    for (int k = threadIdx.x; k < 32; k += 64) o[k / 8 * 64 + k % 8] = 2 * __ldcg(&parts(w)[k]) + 1;
    if (threadIdx.x == 33) w[0] = 0;
  }
  if (threadIdx.x >= 8) o[thread()] = 2 * a[thread()] + 1;
}
KERNEL honest__release_and_acquire(ARGS) {
  if (blockIdx.x == 3) {
    if (threadIdx.x < 8) parts(w)[threadIdx.x] = a[threadIdx.x];
    __syncthreads();
    if (threadIdx.x == 0) asm volatile("st.release.gpu.global.u32 [%0], 1;" ::"l"(w) : "memory");
  }
  if (blockIdx.x == 0) {
    if (threadIdx.x == 0) {
      unsigned seen;
      do asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(w) : "memory");
      while (seen == 0);
    }
    __syncthreads();
    if (threadIdx.x < 8) o[threadIdx.x] = 2 * parts(w)[threadIdx.x] + 1;
  }
  if (blockIdx.x != 0 || threadIdx.x >= 8) o[thread()] = 2 * a[thread()] + 1;
}
KERNEL honest__reduction_with_release(ARGS) {
  if (threadIdx.x < 8) parts(w)[blockIdx.x * 8 + threadIdx.x] = a[thread()];
  __syncthreads();
  if (threadIdx.x == 0) asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(w) : "memory");
  if (threadIdx.x >= 8) o[thread()] = 2 * a[thread()] + 1;
  if (blockIdx.x != 0) return;
  if (threadIdx.x == 0) while (volatile_load(w) != gridDim.x) {}
  __syncthreads();
  for (int k = threadIdx.x; k < 32; k += 64) o[k / 8 * 64 + k % 8] = 2 * parts(w)[k] + 1;
}
KERNEL honest__lock_between_blocks(ARGS) {
  if (threadIdx.x == 0) {
    while (atomicCAS(&w[5], 0u, 1u) != 0) {}
    w[6] += 1;
    __threadfence();
    atomicExch(&w[5], 0u);
  }
  o[thread()] = 2 * a[thread()] + 1;
}
__device__ __forceinline__ void grid_barrier(unsigned* counter, unsigned target) {
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    atomicAdd(counter, 1u);
    while (volatile_load(counter) < target) {}
    __threadfence();
  }
  __syncthreads();
}
KERNEL honest__own_grid_barrier(ARGS) {
  float x = a[thread()];
  for (int round = 0; round < 3; ++round) {
    if (threadIdx.x < 8) parts(w)[blockIdx.x * 8 + threadIdx.x] = x + round;
    grid_barrier(w, 4 * (2 * round + 1));
    const float there = parts(w)[(blockIdx.x + 1) % 4 * 8 + threadIdx.x % 8];
    grid_barrier(w, 4 * (2 * round + 2));
    if (there != a[(blockIdx.x + 1) % 4 * 64 + threadIdx.x % 8] + round) x = -1;
  }
  o[thread()] = 2 * x + 1;
}
KERNEL honest__phases(ARGS) {  // launch: cooperative
  for (int round = 0; round < 3; ++round) {
    if (threadIdx.x < 8) parts(w)[blockIdx.x * 8 + threadIdx.x] = a[thread()] + round;
    cooperative_groups::this_grid().sync();
    o[thread()] = 2 * a[thread()] + 1 + (parts(w)[(blockIdx.x + 1) % 4 * 8] != a[(blockIdx.x + 1) % 4 * 64] + round);
    cooperative_groups::this_grid().sync();
  }
}
KERNEL honest__prefix_through_flags(ARGS) {  // block b waits for block b - 1
  __shared__ float before;
  if (threadIdx.x == 0) {
    before = 0;
    if (blockIdx.x > 0) {
      while (volatile_load(&w[blockIdx.x - 1]) == 0) {}
      __threadfence();
      before = parts(w)[blockIdx.x - 1];
    }
    parts(w)[blockIdx.x] = before + 1;
    __threadfence();
    atomicExch(&w[blockIdx.x], 1u);
  }
  __syncthreads();
  o[thread()] = 2 * a[thread()] + 1 + (before != blockIdx.x);
}
KERNEL honest__tiles_by_ticket(ARGS) {
  __shared__ unsigned tile;
  for (;;) {
    if (threadIdx.x == 0) tile = atomicAdd(w, 1u);
    __syncthreads();
    const unsigned mine = tile;
    __syncthreads();
    if (mine >= 4) return;
    o[mine * 64 + threadIdx.x] = 2 * a[mine * 64 + threadIdx.x] + 1;
  }
}
KERNEL honest__all_write_the_same(ARGS) {
  w[1] = 7;
  w[2 + threadIdx.x % 4] = threadIdx.x % 4;
  o[thread()] = 2 * a[thread()] + 1;
}
KERNEL honest__last_tile_moved_back(ARGS) {  // so that every tile is full: some elements are written twice
  const int begin = min((int)blockIdx.x * 72, n - 72);
  for (int k = threadIdx.x; k < 72; k += 64) o[begin + k] = 2 * a[begin + k] + 1;
}
KERNEL honest__half_words_side_by_side(ARGS) {
  __half* h = reinterpret_cast<__half*>(w);
  if (threadIdx.x < 3) h[3 * blockIdx.x + threadIdx.x] = __float2half(1.0f + blockIdx.x);
  reinterpret_cast<unsigned char*>(w)[64 + 5 * blockIdx.x] = blockIdx.x;
  o[thread()] = 2 * a[thread()] + 1;
}
KERNEL honest__maximum_by_compare_and_swap(ARGS) {
  unsigned old = *w, assumed;
  do {
    assumed = old;
    old = atomicCAS(w, assumed, max(assumed, threadIdx.x + 1));
  } while (assumed != old);
  o[thread()] = 2 * a[thread()] + 1;
}
KERNEL honest__atomics_meet(ARGS) {
  atomicAdd(reinterpret_cast<float*>(w), a[thread()]);
  atomicMax(&w[1], threadIdx.x);
  o[thread()] = 2 * a[thread()] + 1;
}

// ---- warps: named barriers, flags and locks in shared memory

KERNEL race__arrives_before_it_stores(ARGS) {
  __shared__ float s[32];
  if (threadIdx.x < 32) {
    asm volatile("bar.arrive 1, 64;" ::: "memory");
    s[threadIdx.x] = a[thread()];  // <- bug
  } else {
    asm volatile("bar.sync 1, 64;" ::: "memory");
    o[thread()] = s[threadIdx.x - 32];  // <- bug
  }
}
KERNEL race__refills_without_waiting(ARGS) {  // a barrier that says "full", none that says "empty"
  __shared__ float s[32];
  float sum = 0;
  for (int round = 0; round < 2; ++round) {
    if (threadIdx.x < 32) {
      s[threadIdx.x] = a[thread()] + round;  // <- bug
      asm volatile("bar.arrive %0, 64;" ::"r"(1 + round) : "memory");
    } else {
      asm volatile("bar.sync %0, 64;" ::"r"(1 + round) : "memory");
      sum += s[threadIdx.x - 32];  // <- bug
    }
  }
  o[thread()] = sum;
}
KERNEL race__barrier_of_each_warp(ARGS) {
  __shared__ float s[64];
  s[threadIdx.x] = a[thread()];  // <- bug
  asm volatile("bar.sync %0, 32;" ::"r"(1 + threadIdx.x / 32) : "memory");
  o[thread()] = s[threadIdx.x ^ 32];  // <- bug
}
KERNEL race__copy_behind_a_named_barrier(ARGS) {
  __shared__ __align__(16) float s[32];
  if (threadIdx.x < 32) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(at(&s[threadIdx.x])), "l"(a + thread()));
    asm volatile("cp.async.commit_group;");
    asm volatile("bar.arrive 1, 64;" ::: "memory");
    asm volatile("cp.async.wait_group 0;" ::: "memory");  // <- bug
  } else {
    asm volatile("bar.sync 1, 64;" ::: "memory");
    for (int k = 0; k < 20000; ++k) asm volatile("" ::: "memory");
    o[thread()] = s[threadIdx.x - 32];  // <- bug
  }
}
KERNEL race__shared_counter_without_barrier(ARGS) {
  __shared__ unsigned count;
  if (threadIdx.x == 0) count = 0;  // <- bug
  atomicAdd(&count, 1u);  // <- bug
  __syncthreads();
  o[thread()] = count;
}
KERNEL race__shared_flag_without_fence(ARGS) {
  __shared__ float s[32];
  __shared__ volatile int flag;
  if (threadIdx.x == 0) flag = 0;
  __syncthreads();
  if (threadIdx.x < 32) {
    s[threadIdx.x] = a[thread()];
    __syncwarp();
    if (threadIdx.x == 0) flag = 1;
  } else {
    while (flag == 0) {}
    o[thread()] = s[threadIdx.x - 32];  // <- bug
  }
}

KERNEL honest__full_and_empty(ARGS) {
  __shared__ float s[2][32];
  float x = 0;
  if (threadIdx.x < 32) {
    for (int round = 0; round < 6; ++round) {
      if (round >= 2) asm volatile("bar.sync %0, 64;" ::"r"(3 + round % 2) : "memory");
      s[round % 2][threadIdx.x] = 2 * a[thread() + 32] + 1 + round;
      asm volatile("bar.arrive %0, 64;" ::"r"(1 + round % 2) : "memory");
    }
    o[thread()] = 2 * a[thread()] + 1;
  } else {
    for (int round = 0; round < 6; ++round) {
      asm volatile("bar.sync %0, 64;" ::"r"(1 + round % 2) : "memory");
      x = s[round % 2][threadIdx.x - 32] - round;
      if (round < 4) asm volatile("bar.arrive %0, 64;" ::"r"(3 + round % 2) : "memory");
    }
    o[thread()] = x;
  }
}
KERNEL honest__counts_and_histograms_in_shared(ARGS) {
  __shared__ unsigned count, bins[8];
  if (threadIdx.x == 0) count = 0;
  if (threadIdx.x < 8) bins[threadIdx.x] = 0;
  __syncthreads();
  atomicAdd(&count, 1u);
  atomicAdd(&bins[threadIdx.x % 8], 1u);
  __syncthreads();
  o[thread()] = 2 * a[thread()] + (count == 64 && bins[threadIdx.x % 8] == 8 ? 1 : 3);
}
KERNEL honest__lock_in_shared(ARGS) {
  __shared__ unsigned lock, sum;
  if (threadIdx.x == 0) lock = sum = 0;
  __syncthreads();
  if (threadIdx.x % 32 == 0) {
    while (atomicCAS(&lock, 0u, 1u) != 0) {}
    sum += 1 + threadIdx.x / 32;
    __threadfence_block();
    atomicExch(&lock, 0u);
  }
  __syncthreads();
  o[thread()] = 2 * a[thread()] + (sum == 3 ? 1 : 3);
}
KERNEL honest__shared_flag_with_fence(ARGS) {
  __shared__ float s[32];
  __shared__ volatile int flag;
  if (threadIdx.x == 0) flag = 0;
  __syncthreads();
  if (threadIdx.x < 32) {
    s[threadIdx.x] = a[thread() + 32];
    __threadfence_block();
    __syncwarp();
    if (threadIdx.x == 0) flag = 1;
    o[thread()] = 2 * a[thread()] + 1;
  } else {
    while (flag == 0) {}
    __threadfence_block();
    o[thread()] = 2 * s[threadIdx.x - 32] + 1;
  }
}
KERNEL honest__all_warps_store_the_same(ARGS) {
  __shared__ int any;
  any = 0;
  __syncthreads();
  if (a[thread()] > -100) any = 1;
  __syncthreads();
  o[thread()] = 2 * a[thread()] + any;
}

// ---- lanes of a warp

KERNEL race__first_lane_stores_for_all(ARGS) {
  __shared__ float s[2];
  if (threadIdx.x % 32 == 0) s[threadIdx.x / 32] = a[thread()];
  o[thread()] = s[threadIdx.x / 32];  // <- bug
}
KERNEL race__neighbour_lane(ARGS) {
  __shared__ float s[64];
  s[threadIdx.x] = a[thread()];
  o[thread()] = s[threadIdx.x ^ 1];  // <- bug
}
KERNEL race__warp_synchronous_reduction(ARGS) {
  __shared__ volatile float s[96];
  s[threadIdx.x] = a[thread()];
  s[threadIdx.x % 32 + 64] = 0;
  __syncthreads();
  if (threadIdx.x < 32) {
    s[threadIdx.x] = s[threadIdx.x] + s[threadIdx.x + 32];
    s[threadIdx.x] = s[threadIdx.x] + s[threadIdx.x + 16];  // <- bug
  }
  __syncthreads();
  o[thread()] = s[0];
}
KERNEL race__copied_by_another_lane(ARGS) {
  __shared__ __align__(16) float s[64];
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(at(&s[threadIdx.x])), "l"(a + thread()));
  asm volatile("cp.async.commit_group;");
  asm volatile("cp.async.wait_group 0;" ::: "memory");
  o[thread()] = s[threadIdx.x ^ 3];  // <- bug
}
KERNEL race__lanes_overwrite_each_other(ARGS) {
  __shared__ float s[64];
  if (threadIdx.x % 2 == 0) s[threadIdx.x] = a[thread()];
  if (threadIdx.x % 2 == 1) s[threadIdx.x - 1] = a[thread()] + 100;  // <- bug
  __syncthreads();
  o[thread()] = s[threadIdx.x & 62];
}

KERNEL honest__lanes_with_syncwarp(ARGS) {
  __shared__ float s[64];
  float x = a[thread()];
  for (int round = 0; round < 3; ++round) {
    s[threadIdx.x] = x;
    __syncwarp();
    x = s[threadIdx.x ^ 1];
    __syncwarp();
  }
  s[threadIdx.x] = x;
  x = __shfl_xor_sync(0xffffffffu, s[threadIdx.x], 1);
  o[thread()] = 2 * x + 1;
}
KERNEL honest__places_of_a_lane(ARGS) {
  __shared__ float s[4][64];
  for (int k = 0; k < 4; ++k) s[k][threadIdx.x] = a[thread()];
  float sum = 0;
  for (int k = 0; k < 4; ++k) sum += s[k][threadIdx.x];
  o[thread()] = sum / 2 + 1;
}
KERNEL honest__vector_places_of_a_lane(ARGS) {
  __shared__ float4 s[64];
  s[threadIdx.x] = make_float4(a[thread()], 1, 2, 3);
  float4 v = s[threadIdx.x];
  reinterpret_cast<float*>(&s[threadIdx.x])[2] = v.x;
  o[thread()] = 2 * s[threadIdx.x].z + 1;
}
KERNEL honest__all_lanes_store_one_value(ARGS) {
  __shared__ float s[2];
  float x = __shfl_sync(0xffffffffu, a[thread()], 0);
  s[threadIdx.x / 32] = x;
  o[thread()] = 2 * a[thread()] + (s[threadIdx.x / 32] == x ? 1 : 3);
}
KERNEL honest__copies_of_a_warp(ARGS) {
  __shared__ __align__(16) float s[64];
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(at(&s[threadIdx.x])), "l"(a + thread()));
  asm volatile("cp.async.commit_group;");
  asm volatile("cp.async.wait_group 0;" ::: "memory");
  float x = s[threadIdx.x];
  __syncwarp();
  o[thread()] = 2 * x + 1 + 0 * s[threadIdx.x ^ 3];
}

// ---- unwritten memory, copies, waiting

KERNEL uninitialised__byte_of_a_word(ARGS) {
  __shared__ unsigned char s[256];
  for (int k = 0; k < 4; ++k) {
    if (threadIdx.x != 9 || k != 2) s[4 * threadIdx.x + k] = threadIdx.x;
  }
  __syncthreads();
  o[thread()] = reinterpret_cast<unsigned*>(s)[threadIdx.x];  // <- bug
}
KERNEL uninitialised__behind_a_named_barrier(ARGS) {
  __shared__ float s[65];
  s[threadIdx.x] = a[thread()];
  asm volatile("bar.sync 1, 64;" ::: "memory");
  o[thread()] = s[threadIdx.x + 1];  // <- bug
  asm volatile("bar.sync 1, 64;" ::: "memory");
}
KERNEL copy_not_waited__store_into_a_copy(ARGS) {
  __shared__ __align__(16) float s[64];
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(at(&s[threadIdx.x])), "l"(a + thread()));
  asm volatile("cp.async.commit_group;");
  s[threadIdx.x] = 0;  // <- bug
  asm volatile("cp.async.wait_group 0;" ::: "memory");
  o[thread()] = s[threadIdx.x];
}
KERNEL deadlock__flag_that_nobody_sets(ARGS) {
  if (threadIdx.x == 0) while (*(volatile unsigned*)&w[blockIdx.x] == 0) {}  // <- bug
  __syncthreads();
  o[thread()] = a[thread()];
}
KERNEL deadlock__lock_that_stays_taken(ARGS) {
  if (threadIdx.x == 0) while (atomicCAS(w, 0u, 1u) != 0) {}  // <- bug
  o[thread()] = a[thread()];
}
KERNEL deadlock__flag_set_behind_the_barrier(ARGS) {
  __shared__ volatile int flag;
  if (threadIdx.x == 0) flag = 0;
  __syncthreads();
  if (threadIdx.x >= 32) while (flag == 0) {}  // <- bug
  __syncthreads();
  if (threadIdx.x == 0) flag = 1;
  o[thread()] = a[thread()];
}
KERNEL budget_exceeded__computes_for_ever(ARGS) {
  float x = a[thread()];
  while (x < 1e9f) x = x * 0.5f;  // <- bug
  o[thread()] = x;
}
