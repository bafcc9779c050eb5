// SPDX-License-Identifier: Apache-2.0
// What the planted-bug kernels share. One source holds a kernel and its honest twin: BUG(planted, mended) is the only
// place where they differ, -DMENDED chooses the twin.
//
// The name of a kernel says the fault ("kind__story"), a line marked "<- bug" is where it must be reported (of two
// racing accesses either may be; "also KIND" behind the name: what some schedules show instead). Launched with 4 blocks
// of 64 threads unless "launch:" behind the name says otherwise.
// a: 256 floats, read-only, 16 rows of 16; o: 256 floats, unwritten, to be written completely; w: 256 words of workspace,
// the first 64 zeroed, the rest unwritten; n = 256. PTX: tests/vgpu/ptx/generate.
#pragma once
#include <cuda_fp16.h>
#pragma nv_diag_suppress 177  // not every kernel uses every index
#pragma nv_diag_suppress 186  // an unsigned value that is compared with zero is one of the bugs

#ifdef MENDED
#define BUG(planted, mended) mended
#else
#define BUG(planted, mended) planted
#endif

#define KERNEL extern "C" __global__ void
#define ARGS const float* __restrict__ a, float* o, unsigned* w, int n
/// A block of 64 threads owns 4 rows: query q = 4 block + r, channel d; i is the thread's element of the output.
#define INDICES                                                                           \
  const int tid = threadIdx.x, lane = tid & 31, warp = tid / 32, r = tid / 16, d = tid & 15; \
  const int q = blockIdx.x * 4 + r, i = blockIdx.x * 64 + tid

// Macros, so that an access keeps the line of the kernel that makes it.
#define SHARED_ADDRESS(p) static_cast<unsigned>(__cvta_generic_to_shared(p))
#define COPY_4(to, from) \
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(SHARED_ADDRESS(to)), "l"(from) : "memory")
#define COPY_16(to, from) \
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(SHARED_ADDRESS(to)), "l"(from) : "memory")
#define COMMIT asm volatile("cp.async.commit_group;" ::: "memory")
#define WAIT(groups) asm volatile("cp.async.wait_group " #groups ";" ::: "memory")
#define BARRIER(id, threads) asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory")
#define ARRIVE(id, threads) asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory")
#define LDMATRIX_X4(x, p)                                                             \
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"        \
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"(SHARED_ADDRESS(p)) : "memory")
