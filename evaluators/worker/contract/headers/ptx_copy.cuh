// SPDX-License-Identifier: Apache-2.0
// Data movement: cp.async, TMA tensor copies in 2 to 5 dimensions, bulk copies, ldmatrix and stmatrix.
#pragma once

#include <kernelites/ptx_barrier.cuh>

namespace kernelites::ptx {

/// Copies 16 bytes from global to shared, past L1; zeroes instead if `valid` is false (9.7.9.25.3, cp.async).
__device__ __forceinline__ void cp_async_16(void* to_shared, const void* from_global, bool valid = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(smem_address(to_shared)), "l"(from_global),
               "r"(valid ? 16 : 0)
               : "memory");
}
/// Ends a group of cp.async copies (9.7.9.25.3.2).
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most `pending` of this thread's latest groups are under way (9.7.9.25.3.3).
template <int pending>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

/// Loads four 8x8 matrices of 16-bit elements; lane i gives the address of row i%8 of matrix i/8 (9.7.14.5.15).
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(smem_address(row))
               : "memory");
}
/// The same, transposed: for V as the B operand of P V.
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(smem_address(row))
               : "memory");
}
/// Stores four 8x8 matrices (9.7.14.5.16).
__device__ __forceinline__ void stmatrix_x4(void* row, const uint32_t (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(smem_address(row)), "r"(r[0]),
               "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
}

/// Brings a tensor map into the descriptor cache early (9.7.9.16, prefetch.tensormap).
__device__ __forceinline__ void tma_prefetch(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// TMA copies (9.7.9.27.1, cp.async.bulk.tensor): one thread starts them; coordinates are in elements, innermost axis
// first, as in the plan's tensor_map. Loads complete on an mbarrier that expects the box's bytes, also for the part
// outside the tensor, which arrives as zeros. Stores need fence_proxy_async after the shared-memory writes, then
// tma_store_commit and tma_store_wait.
#define KERNELITES_TMA(dims, coordinates, load_list, store_list, ...)                                              \
  __device__ __forceinline__ void tma_load_##dims##d(void* to_shared, const CUtensorMap* map, uint64_t* barrier,   \
                                                     coordinates) {                                                \
    asm volatile("cp.async.bulk.tensor." #dims "d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"         \
                 " [%0], [%1, {" load_list "}], [%2];" ::"r"(smem_address(to_shared)),                              \
                 "l"(map), "r"(smem_address(barrier)), __VA_ARGS__                                                  \
                 : "memory");                                                                                      \
  }                                                                                                                \
  __device__ __forceinline__ void tma_load_multicast_##dims##d(void* to_shared, const CUtensorMap* map,            \
                                                               uint64_t* barrier, uint16_t blocks, coordinates) {  \
    asm volatile("cp.async.bulk.tensor." #dims                                                                     \
                 "d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster"                    \
                 " [%0], [%1, {" load_list "}], [%2], %" KERNELITES_AFTER_##dims ";" ::"r"(smem_address(to_shared)), \
                 "l"(map), "r"(smem_address(barrier)), __VA_ARGS__, "h"(blocks)                                     \
                 : "memory");                                                                                      \
  }                                                                                                                \
  __device__ __forceinline__ void tma_store_##dims##d(const CUtensorMap* map, const void* from_shared,             \
                                                      coordinates) {                                               \
    asm volatile("cp.async.bulk.tensor." #dims "d.global.shared::cta.tile.bulk_group [%0, {" store_list "}], [%1];" \
                 ::"l"(map), "r"(smem_address(from_shared)), __VA_ARGS__                                            \
                 : "memory");                                                                                      \
  }
#define KERNELITES_AFTER_2 "5"
#define KERNELITES_AFTER_3 "6"
#define KERNELITES_AFTER_4 "7"
#define KERNELITES_AFTER_5 "8"
#define KERNELITES_C2 int c0, int c1
#define KERNELITES_C3 KERNELITES_C2, int c2
#define KERNELITES_C4 KERNELITES_C3, int c3
#define KERNELITES_C5 KERNELITES_C4, int c4
// clang-format off
KERNELITES_TMA(2, KERNELITES_C2, "%3,%4", "%2,%3", "r"(c0), "r"(c1))
KERNELITES_TMA(3, KERNELITES_C3, "%3,%4,%5", "%2,%3,%4", "r"(c0), "r"(c1), "r"(c2))
KERNELITES_TMA(4, KERNELITES_C4, "%3,%4,%5,%6", "%2,%3,%4,%5", "r"(c0), "r"(c1), "r"(c2), "r"(c3))
KERNELITES_TMA(5, KERNELITES_C5, "%3,%4,%5,%6,%7", "%2,%3,%4,%5,%6", "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4))
// clang-format on
#undef KERNELITES_TMA
#undef KERNELITES_AFTER_2
#undef KERNELITES_AFTER_3
#undef KERNELITES_AFTER_4
#undef KERNELITES_AFTER_5
#undef KERNELITES_C2
#undef KERNELITES_C3
#undef KERNELITES_C4
#undef KERNELITES_C5

/// Copies `bytes` (a multiple of 16, both ends 16-byte aligned) and completes on the mbarrier (9.7.9.25.4.1).
__device__ __forceinline__ void bulk_load(void* to_shared, const void* from_global, uint32_t bytes, uint64_t* barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   smem_address(to_shared)),
               "l"(from_global), "r"(bytes), "r"(smem_address(barrier))
               : "memory");
}
/// Adds `bytes` of floats (a multiple of 16, both ends 16-byte aligned) in shared memory to global ones, as part of a group
/// of bulk stores (9.7.9.25.4.2, cp.reduce.async.bulk); fence_proxy_async first.
__device__ __forceinline__ void bulk_add_f32(void* to_global, const void* from_shared, uint32_t bytes) {
  asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;" ::"l"(to_global),
               "r"(smem_address(from_shared)), "r"(bytes)
               : "memory");
}
/// Adds four floats to 16-byte aligned ones in global memory, `bytes` behind the address, without an answer (9.7.13.6,
/// red.v4; sm_90).
template <int bytes = 0>
__device__ __forceinline__ void reduce_add_f32x4(float* to_global, float a, float b, float c, float d) {
  asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0 + %5], {%1, %2, %3, %4};" ::"l"(to_global), "f"(a), "f"(b), "f"(c),
               "f"(d), "n"(bytes)
               : "memory");
}
/// Ends a group of bulk stores (9.7.9.25.4.3, cp.async.bulk.commit_group).
__device__ __forceinline__ void tma_store_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
/// Waits until at most `pending` groups still read shared memory (9.7.9.25.4.4, .read).
template <int pending>
__device__ __forceinline__ void tma_store_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(pending) : "memory");
}
/// Waits until at most `pending` groups are under way: the others are written.
template <int pending>
__device__ __forceinline__ void tma_store_wait() {
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(pending) : "memory");
}

}  // namespace kernelites::ptx
