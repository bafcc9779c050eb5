// SPDX-License-Identifier: Apache-2.0
// Kernels without bugs that wait for asynchronous copies in ways that once raised a false alarm. Launch and buffers as in
// planted.cuh; o[i] = 2 a[i] + 1.
#include "planted.cuh"
#include "asynchronous.cuh"

/// All warps are parked at an mbarrier again and again, also when the slice of a cooperative block ends: the copies under
/// way will wake them.
KERNEL long_ring_of_copies(ARGS) {  // launch: grid 1 block 64 cooperative
  alignas(128) __shared__ float tile[64];
  __shared__ unsigned long long full, empty;
  const int tid = threadIdx.x;
  if (tid == 0) {
    MBARRIER_INIT(&full, 1);
    MBARRIER_INIT(&empty, 64);
    FENCE_INIT;
  }
  __syncthreads();
  const int turns = 2000;
  float sum = 0;
  for (int t = 0; t < turns; ++t) {
    if (tid == 0) {
      if (t > 0) MBARRIER_WAIT(&empty, (t - 1) & 1);
      MBARRIER_EXPECT(&full, 256);
      BULK_LOAD(tile, a + t % 4 * 64, 256, &full);
    }
    MBARRIER_WAIT(&full, t & 1);
    sum += tile[tid];
    MBARRIER_ARRIVE(&empty);
  }
  const bool is_right = sum == turns / 4 * (a[tid] + a[64 + tid] + a[128 + tid] + a[192 + tid]);
  for (int i = tid; i < n; i += 64) o[i] = 2 * a[i] + (is_right ? 1 : 3);
}
