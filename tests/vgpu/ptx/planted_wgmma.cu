// SPDX-License-Identifier: Apache-2.0
// Planted bugs of wgmma: operands and accumulators in flight, groups, fences and descriptors (planted.cuh).
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
