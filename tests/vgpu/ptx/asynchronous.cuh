// SPDX-License-Identifier: Apache-2.0
// Mbarriers and bulk copies for kernels of this folder (PTX 9.7.13.15 and 9.7.9.25).
#pragma once

// Macros, so that an access keeps the line of the kernel that makes it.
#define MBARRIER_INIT(bar, count) \
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(SHARED_ADDRESS(bar)), "r"(count) : "memory")
#define MBARRIER_ARRIVE(bar) \
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(SHARED_ADDRESS(bar)) : "memory")
#define MBARRIER_EXPECT(bar, bytes)                                                                       \
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(SHARED_ADDRESS(bar)), "r"(bytes) \
               : "memory")
#define MBARRIER_WAIT(bar, parity)                                                                        \
  for (unsigned done = 0; done == 0;)                                                                     \
  asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }" \
               : "=r"(done) : "r"(SHARED_ADDRESS(bar)), "r"(unsigned(parity)) : "memory")
#define FENCE_INIT asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory")
#define FENCE_PROXY asm volatile("fence.proxy.async.shared::cta;" ::: "memory")
#define BULK_LOAD(to, from, bytes, bar)                                                                   \
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"( \
                   SHARED_ADDRESS(to)), "l"(from), "r"(bytes), "r"(SHARED_ADDRESS(bar)) : "memory")
#define BULK_STORE(to, from, bytes)                                                                       \
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to), "r"(SHARED_ADDRESS(from)), \
               "r"(bytes) : "memory")
#define BULK_ADD(to, from, bytes)                                                                         \
  asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [%0], [%1], %2;" ::"l"(to),      \
               "r"(SHARED_ADDRESS(from)), "r"(bytes) : "memory")
#define BULK_COMMIT asm volatile("cp.async.bulk.commit_group;" ::: "memory")
#define BULK_WAIT_READ(groups) asm volatile("cp.async.bulk.wait_group.read " #groups ";" ::: "memory")
