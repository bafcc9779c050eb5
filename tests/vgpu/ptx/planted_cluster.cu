// SPDX-License-Identifier: Apache-2.0
// Planted bugs of clusters: two blocks that see each other's shared memory (planted.cuh). All kernels here are launched
// in clusters of two blocks.
#include "planted.cuh"
#include "asynchronous.cuh"

#undef KERNEL
#define KERNEL extern "C" __global__ void __cluster_dims__(2, 1, 1)
/// The block's rank in its cluster and the other one's.
#define RANKS const unsigned rank = blockIdx.x & 1, other = rank ^ 1
#define CLUSTER_ARRIVE asm volatile("barrier.cluster.arrive.aligned;" ::: "memory")
#define CLUSTER_ARRIVE_RELAXED asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory")
#define CLUSTER_WAIT asm volatile("barrier.cluster.wait.aligned;" ::: "memory")
#define CLUSTER_SYNC asm volatile("barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;" ::: "memory")
__device__ inline unsigned mapped(const void* p, unsigned rank) {
  unsigned address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(SHARED_ADDRESS(p)), "r"(rank));
  return address;
}
#define REMOTE_LOAD(x, address) asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(x) : "r"(address) : "memory")
#define REMOTE_STORE(address, x) asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(address), "f"(x) : "memory")
#define REMOTE_ARRIVE(address) \
  asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(address) : "memory")
#define STORE_ASYNC(address, x, bar)                                                                       \
  asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [%0], %1, [%2];" ::"r"(address),   \
               "r"(__float_as_uint(x)), "r"(bar) : "memory")
#define BULK_SEND(address, from, bytes, bar)                                                               \
  asm volatile("cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"( \
                   address), "r"(SHARED_ADDRESS(from)), "r"(bytes), "r"(bar) : "memory")
#define BULK_MULTICAST(to, from, bytes, bar, mask)                                                         \
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "       \
               "[%0], [%1], %2, [%3], %4;" ::"r"(SHARED_ADDRESS(to)), "l"(from), "r"(bytes),               \
               "r"(SHARED_ADDRESS(bar)), "h"(static_cast<unsigned short>(mask)) : "memory")

KERNEL cluster_peer_absent__first_store_before_the_other_block_has_begun(ARGS) {
  INDICES;
  RANKS;
  __shared__ float inbox[64];
  BUG(, CLUSTER_SYNC;)
  REMOTE_STORE(mapped(&inbox[tid], other), a[i]);  // <- bug
  CLUSTER_SYNC;
  o[i] = inbox[tid];
}
KERNEL cluster_peer_absent__leaves_before_the_other_has_read(ARGS) {
  INDICES;
  RANKS;
  __shared__ float tile[64];
  tile[tid] = a[i];
  CLUSTER_SYNC;
  float x;
  REMOTE_LOAD(x, mapped(&tile[tid], other));  // <- bug
  BUG(, CLUSTER_SYNC;)
  o[i] = x;
}
KERNEL cluster_peer_absent__release_of_a_stage_whose_owner_has_left(ARGS) {  // the producer's tail is missing
  INDICES;
  RANKS;
  __shared__ unsigned long long empty;
  if (tid == 0) MBARRIER_INIT(&empty, 1);
  FENCE_INIT;
  CLUSTER_SYNC;
  o[i] = a[i];
  if (rank == 1 && tid == 0) REMOTE_ARRIVE(mapped(&empty, 0));  // <- bug
  if (rank == 0) {
    BUG(, MBARRIER_WAIT(&empty, 0);)
  }
}
KERNEL race__neighbour_read_behind_a_block_barrier(ARGS) {
  INDICES;
  RANKS;
  __shared__ float tile[64];
  CLUSTER_SYNC;
  tile[tid] = a[i];  // <- bug
  BUG(__syncthreads(), CLUSTER_SYNC);
  float x;
  REMOTE_LOAD(x, mapped(&tile[tid], other));  // <- bug
  CLUSTER_SYNC;
  o[i] = x;
}
KERNEL race__tile_overwritten_while_the_neighbour_reads(ARGS) {
  INDICES;
  RANKS;
  __shared__ float tile[64];
  float sum = 0, x;
  tile[tid] = a[i];
  CLUSTER_SYNC;
  REMOTE_LOAD(x, mapped(&tile[tid], other));  // <- bug
  sum += x;
  BUG(, CLUSTER_SYNC;)
  tile[tid] = sum;  // <- bug
  CLUSTER_SYNC;
  REMOTE_LOAD(x, mapped(&tile[tid], other));
  CLUSTER_SYNC;
  o[i] = sum + x;
}
KERNEL race__both_blocks_write_one_cell(ARGS) {
  INDICES;
  RANKS;
  __shared__ float cell;
  CLUSTER_SYNC;
  if (tid == 0) REMOTE_STORE(mapped(&cell, BUG(0, rank)), float(rank));  // <- bug
  CLUSTER_SYNC;
  float x;
  REMOTE_LOAD(x, mapped(&cell, BUG(0, rank)));
  CLUSTER_SYNC;
  o[i] = x;
}
KERNEL race__relaxed_arrival_without_fence(ARGS) {
  INDICES;
  RANKS;
  __shared__ float tile[64];
  CLUSTER_SYNC;
  tile[tid] = a[i];  // <- bug
  BUG(CLUSTER_ARRIVE_RELAXED, CLUSTER_ARRIVE);
  CLUSTER_WAIT;
  float x;
  REMOTE_LOAD(x, mapped(&tile[tid], other));  // <- bug
  CLUSTER_SYNC;
  o[i] = x;
}
KERNEL race__multicast_before_the_neighbour_has_read(ARGS) {  // launch: also copy_not_waited
  INDICES;
  RANKS;
  __shared__ alignas(128) float tile[64];
  __shared__ unsigned long long full;
  float sum = 0;
  if (tid == 0) MBARRIER_INIT(&full, 1);
  FENCE_INIT;
  CLUSTER_SYNC;
  for (int t = 0; t < 2; ++t) {
    if (tid == 0) MBARRIER_EXPECT(&full, 256);
    if (rank == 0 && tid == 0) BULK_MULTICAST(tile, a + t * 64, 256, &full, 3);  // <- bug
    MBARRIER_WAIT(&full, t);
    sum += tile[tid];  // <- bug
    BUG(__syncthreads(), CLUSTER_SYNC);
  }
  CLUSTER_SYNC;
  o[i] = sum;
}
KERNEL copy_not_waited__multicast_received(ARGS) {  // launch: also race uninitialised async_in_flight
  INDICES;
  RANKS;
  __shared__ alignas(128) float tile[64];
  __shared__ unsigned long long full;
  if (tid == 0) MBARRIER_INIT(&full, 1);
  if (tid == 0) MBARRIER_EXPECT(&full, 256);
  FENCE_INIT;
  CLUSTER_SYNC;
  if (rank == 0 && tid == 0) BULK_MULTICAST(tile, a, 256, &full, 3);  // <- bug
  if (rank == 0 || !BUG(true, false)) MBARRIER_WAIT(&full, 0);
  o[i] = tile[tid];  // <- bug
}
KERNEL deadlock__multicast_leaves_a_block_out(ARGS) {
  INDICES;
  RANKS;
  __shared__ alignas(128) float tile[64];
  __shared__ unsigned long long full;
  if (tid == 0) MBARRIER_INIT(&full, 1);
  if (tid == 0) MBARRIER_EXPECT(&full, 256);
  FENCE_INIT;
  CLUSTER_SYNC;
  if (rank == 0 && tid == 0) BULK_MULTICAST(tile, a, 256, &full, BUG(1, 3));
  MBARRIER_WAIT(&full, 0);  // <- bug
  o[i] = tile[tid];
}
KERNEL copy_not_waited__store_async(ARGS) {  // launch: also race uninitialised async_in_flight
  INDICES;
  RANKS;
  __shared__ float inbox[64];
  __shared__ unsigned long long full;
  if (tid == 0) MBARRIER_INIT(&full, 1);
  if (tid == 0) MBARRIER_EXPECT(&full, 256);
  FENCE_INIT;
  CLUSTER_SYNC;
  STORE_ASYNC(mapped(&inbox[tid], other), a[i], mapped(&full, other));  // <- bug
  BUG(CLUSTER_SYNC, MBARRIER_WAIT(&full, 0));
  o[i] = inbox[tid];  // <- bug
}
KERNEL deadlock__the_two_blocks_wait_crosswise(ARGS) {
  INDICES;
  RANKS;
  __shared__ unsigned long long go;
  if (tid == 0) MBARRIER_INIT(&go, 1);
  FENCE_INIT;
  CLUSTER_SYNC;
  if (rank == 0) {
    BUG(CLUSTER_SYNC, );  // <- bug
    if (tid == 0) REMOTE_ARRIVE(mapped(&go, 1));
    BUG(, CLUSTER_SYNC);
  } else {
    MBARRIER_WAIT(&go, 0);  // <- bug
    CLUSTER_SYNC;
  }
  o[i] = a[i];
}
KERNEL deadlock__arrives_at_the_own_mbarrier(ARGS) {
  INDICES;
  RANKS;
  __shared__ unsigned long long go;
  if (tid == 0) MBARRIER_INIT(&go, 1);
  FENCE_INIT;
  CLUSTER_SYNC;
  if (rank == 0 && tid == 0) REMOTE_ARRIVE(mapped(&go, BUG(0, 1)));
  if (rank == 1) MBARRIER_WAIT(&go, 0);  // <- bug
  CLUSTER_SYNC;  // <- bug
  o[i] = a[i];
}
KERNEL barrier_misuse__arrives_twice(ARGS) {
  INDICES;
  CLUSTER_ARRIVE;
  BUG(CLUSTER_ARRIVE, );  // <- bug
  CLUSTER_WAIT;
  o[i] = a[i];
}
KERNEL barrier_misuse__waits_without_arriving(ARGS) {
  INDICES;
  BUG(, CLUSTER_ARRIVE;)
  CLUSTER_WAIT;  // <- bug
  o[i] = a[i];
}
KERNEL out_of_bounds__rank_beyond_the_cluster(ARGS) {
  INDICES;
  RANKS;
  __shared__ float inbox[64];
  CLUSTER_SYNC;
  const unsigned next = BUG(rank + 1, (rank + 1) % 2);
  unsigned address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(SHARED_ADDRESS(&inbox[tid])), "r"(next));  // <- bug
  REMOTE_STORE(address, a[i]);  // <- bug
  CLUSTER_SYNC;
  o[i] = inbox[tid];
}
KERNEL out_of_bounds__mapped_address_read_as_an_own_one(ARGS) {
  INDICES;
  RANKS;
  __shared__ float tile[64];
  tile[tid] = a[i];
  CLUSTER_SYNC;
  float x;
  const unsigned address = mapped(&tile[tid], other);
  asm volatile(BUG("ld.shared.f32", "ld.shared::cluster.f32") " %0, [%1];" : "=f"(x) : "r"(address) : "memory");  // <- bug
  CLUSTER_SYNC;
  o[i] = x;
}
KERNEL async_in_flight__sent_tile_overwritten(ARGS) {
  INDICES;
  RANKS;
  __shared__ alignas(128) float tile[64], inbox[64];
  __shared__ unsigned long long full;
  if (tid == 0) MBARRIER_INIT(&full, 1);
  if (tid == 0) MBARRIER_EXPECT(&full, 256);
  tile[tid] = a[i];
  FENCE_INIT;
  FENCE_PROXY;
  CLUSTER_SYNC;
  if (tid == 0) {
    BULK_SEND(mapped(inbox, other), tile, 256, mapped(&full, other));
    BUG(tile[0] = 0, );  // <- bug
  }
  MBARRIER_WAIT(&full, 0);
  CLUSTER_SYNC;
  o[i] = inbox[tid];
}
KERNEL missing_proxy_fence__sent_without_fence(ARGS) {
  INDICES;
  RANKS;
  __shared__ alignas(128) float tile[64], inbox[64];
  __shared__ unsigned long long full;
  if (tid == 0) MBARRIER_INIT(&full, 1);
  if (tid == 0) MBARRIER_EXPECT(&full, 256);
  tile[tid] = a[i];
  FENCE_INIT;
  BUG(, FENCE_PROXY;)
  CLUSTER_SYNC;
  if (tid == 0) BULK_SEND(mapped(inbox, other), tile, 256, mapped(&full, other));  // <- bug
  MBARRIER_WAIT(&full, 0);
  CLUSTER_SYNC;
  o[i] = inbox[tid];
}
KERNEL missing_proxy_fence__store_of_what_the_neighbour_wrote(ARGS) {
  INDICES;
  RANKS;
  __shared__ alignas(128) float inbox[64];
  CLUSTER_SYNC;
  REMOTE_STORE(mapped(&inbox[tid], other), a[i]);
  BUG(, FENCE_PROXY;)
  CLUSTER_SYNC;
  if (tid == 0) {
    BULK_STORE(o + blockIdx.x * 64, inbox, 256);  // <- bug
    BULK_COMMIT;
    BULK_WAIT_READ(0);
  }
}

// Block 1 writes a row that block 0 reads behind an mbarrier of its own.
#define ARRIVE_BY(words, address) asm volatile("mbarrier.arrive" words ".shared::cluster.b64 _, [%0];" ::"r"(address) : "memory")
#define HAND_OVER()                                                \
  INDICES;                                                         \
  RANKS;                                                           \
  __shared__ float tile[64], inbox[64];                            \
  __shared__ unsigned long long full;                              \
  if (tid == 0) MBARRIER_INIT(&full, 64);                          \
  FENCE_INIT;                                                      \
  CLUSTER_SYNC;                                                    \
  float x = a[i];

KERNEL race__relaxed_arrival_at_the_neighbours_mbarrier(ARGS) {
  HAND_OVER();
  if (rank == 1) {
    tile[tid] = x;  // <- bug
    ARRIVE_BY(BUG(".relaxed.cluster", ".release.cluster"), mapped(&full, 0));
  } else {
    MBARRIER_WAIT(&full, 0);
    REMOTE_LOAD(x, mapped(&tile[tid], 1));  // <- bug
  }
  CLUSTER_SYNC;
  o[i] = x;
}
KERNEL race__arrival_of_block_scope_at_the_neighbours_mbarrier(ARGS) {
  HAND_OVER();
  if (rank == 1) {
    REMOTE_STORE(mapped(&inbox[tid], 0), x);  // <- bug
    ARRIVE_BY(BUG(".release.cta", ".release.cluster"), mapped(&full, 0));
  } else {
    MBARRIER_WAIT(&full, 0);
    x += inbox[tid];  // <- bug
  }
  CLUSTER_SYNC;
  o[i] = x;
}
KERNEL race__arrival_without_a_scope_at_the_neighbours_mbarrier(ARGS) {  // it releases what was read, not what was written
  HAND_OVER();
  if (rank == 1) {
    tile[tid] = x;  // <- bug
    ARRIVE_BY(BUG("", ".release.cluster"), mapped(&full, 0));
  } else {
    MBARRIER_WAIT(&full, 0);
    REMOTE_LOAD(x, mapped(&tile[tid], 1));  // <- bug
  }
  CLUSTER_SYNC;
  o[i] = x;
}
KERNEL race__fence_of_block_scope_before_a_relaxed_arrival(ARGS) {
  HAND_OVER();
  if (rank == 1) {
    REMOTE_STORE(mapped(&inbox[tid], 0), x);  // <- bug
    BUG(__threadfence_block();, asm volatile("fence.acq_rel.cluster;" ::: "memory");)
    ARRIVE_BY(".relaxed.cluster", mapped(&full, 0));
  } else {
    MBARRIER_WAIT(&full, 0);
    x += inbox[tid];  // <- bug
  }
  CLUSTER_SYNC;
  o[i] = x;
}
KERNEL unfenced_mbarrier_init__multicast_completes_there(ARGS) {  // only a remark: kernels that work do it
  INDICES;
  RANKS;
  __shared__ alignas(128) float tile[64];
  __shared__ unsigned long long full;
  if (tid == 0) MBARRIER_INIT(&full, 1);
  if (tid == 0) MBARRIER_EXPECT(&full, 256);
  BUG(, FENCE_INIT;)
  CLUSTER_SYNC;
  if (rank == 0 && tid == 0) BULK_MULTICAST(tile, a, 256, &full, 3);  // <- bug
  MBARRIER_WAIT(&full, 0);
  o[i] = tile[tid];
  CLUSTER_SYNC;
}
