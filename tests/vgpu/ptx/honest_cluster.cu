// SPDX-License-Identifier: Apache-2.0
// Clusters of two blocks that hand memory to each other in every way that PTX allows, or that CUTLASS uses. Launch and
// buffers as in planted.cuh; o[i] = 2 a[i] + 1.
#include "planted.cuh"
#include "asynchronous.cuh"

#undef KERNEL
#define KERNEL extern "C" __global__ void __cluster_dims__(2, 1, 1)
#define CLUSTER_SYNC asm volatile("barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;" ::: "memory")
__device__ inline unsigned mapped(const void* p, unsigned rank) {
  unsigned address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(SHARED_ADDRESS(p)), "r"(rank));
  return address;
}
#define BULK_MULTICAST(to, from, bytes, bar, mask)                                                         \
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "       \
               "[%0], [%1], %2, [%3], %4;" ::"r"(SHARED_ADDRESS(to)), "l"(from), "r"(bytes),               \
               "r"(SHARED_ADDRESS(bar)), "h"(static_cast<unsigned short>(mask)) : "memory")

/// CUTLASS's pipeline: each block fills its half of both blocks' tile, and both release a tile at both blocks' barriers
/// with arrivals that name no scope.
KERNEL stages_released_by_arrivals_without_a_scope(ARGS) {
  __shared__ alignas(128) float tile[64];
  __shared__ unsigned long long full, empty;
  const int tid = threadIdx.x, i = blockIdx.x * 64 + tid;
  const unsigned rank = blockIdx.x & 1;
  if (tid == 0) {
    MBARRIER_INIT(&full, 1);
    MBARRIER_INIT(&empty, 4);
    FENCE_INIT;
  }
  CLUSTER_SYNC;
  bool is_right = true;
  for (int t = 0; t < 4; ++t) {
    if (tid == 0) {
      MBARRIER_WAIT(&empty, (t & 1) ^ 1);
      MBARRIER_EXPECT(&full, 256);
      BULK_MULTICAST(tile + rank * 32, a + t * 64 + rank * 32, 128, &full, 3);
    }
    MBARRIER_WAIT(&full, t & 1);
    is_right &= tile[tid] == a[t * 64 + tid];
    __syncwarp();
    if (tid % 32 < 2)
      asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(mapped(&empty, tid % 32)) : "memory");
  }
  if (tid == 0) MBARRIER_WAIT(&empty, 1);
  CLUSTER_SYNC;
  o[i] = 2 * a[i] + (is_right ? 1 : 3);
}
/// The arrivals and waits of PTX's own examples: restricted fences around relaxed operations.
KERNEL relaxed_arrival_between_fences(ARGS) {
  __shared__ float inbox[64];
  __shared__ unsigned long long full;
  const int tid = threadIdx.x, i = blockIdx.x * 64 + tid;
  const unsigned other = (blockIdx.x & 1) ^ 1;
  if (tid == 0) {
    MBARRIER_INIT(&full, 64);
    FENCE_INIT;
  }
  CLUSTER_SYNC;
  asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(mapped(&inbox[tid], other)), "f"(a[i ^ 64]) : "memory");
  asm volatile("fence.acq_rel.cluster;" ::: "memory");
  asm volatile("mbarrier.arrive.relaxed.cluster.shared::cluster.b64 _, [%0];" ::"r"(mapped(&full, other)) : "memory");
  for (unsigned done = 0; done == 0;)
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.relaxed.cluster.shared::cta.b64 p, [%1], 0; selp.u32 %0, 1, 0, p; }"
                 : "=r"(done) : "r"(SHARED_ADDRESS(&full)) : "memory");
  asm volatile("fence.acquire.sync_restrict::shared::cluster.cluster;" ::: "memory");
  o[i] = 2 * inbox[tid] + 1;
  CLUSTER_SYNC;
}
/// A neighbour's row, read in its own memory, behind an arrival that releases to the cluster.
KERNEL row_read_behind_a_release_to_the_cluster(ARGS) {
  __shared__ float tile[64];
  __shared__ unsigned long long full;
  const int tid = threadIdx.x, i = blockIdx.x * 64 + tid;
  const unsigned other = (blockIdx.x & 1) ^ 1;
  if (tid == 0) {
    MBARRIER_INIT(&full, 64);
    FENCE_INIT;
  }
  CLUSTER_SYNC;
  tile[tid] = a[i ^ 64];
  asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(mapped(&full, other)) : "memory");
  MBARRIER_WAIT(&full, 0);
  float x;
  asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(x) : "r"(mapped(&tile[tid], other)) : "memory");
  CLUSTER_SYNC;
  o[i] = 2 * x + 1;
}
