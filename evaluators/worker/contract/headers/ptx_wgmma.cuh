// SPDX-License-Identifier: Apache-2.0
// Warpgroup arithmetic of Hopper: wgmma m64nNk16, bf16 and f16, with the A operand in shared memory or registers.
//
// Protocol (9.7.15): wgmma_fence; one or more wgmma_*; wgmma_commit; wgmma_wait<n>. Between fence and wait nobody else
// touches the accumulators or registers of A, else ptxas serialises (it says so, and the harness passes it on).
//
// Accumulators of one thread, with warp w of the warpgroup, g = lane / 4, t = lane % 4: d[4j], d[4j+1] are row
// 16w + g, columns 8j + 2t, 8j + 2t + 1; d[4j+2], d[4j+3] the same of row 16w + g + 8. So the d of S = Q K^T, packed
// pairwise, is the register A operand of P V: a[0] = pack(d[8i], d[8i+1]), a[1] = pack(d[8i+2], d[8i+3]), ...
#pragma once

#include <kernelites/ptx_barrier.cuh>

namespace kernelites::ptx {

/// Orders register and shared-memory accesses before the next wgmma (9.7.15.7.1, wgmma.fence).
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
/// Ends a group (9.7.15.7.2, wgmma.commit_group).
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Waits until at most `pending` groups are under way (9.7.15.7.3, wgmma.wait_group).
template <int pending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

/// Matrix descriptor of a tile in shared memory with 128-byte swizzle, as TMA with swizzle_128 writes it (9.7.15.5.1).
/// `leading` and `stride` are byte offsets:
/// - K-major (Q, K: 64 elements of the inner axis per row of 128 bytes): stride = 1024 (8 rows), leading is ignored;
///   the next 16 elements of K are 32 bytes further;
/// - MN-major (V as B operand with `transpose_b`): stride = 1024 from 8 rows of K to the next 8, leading = offset from
///   64 columns to the next 64; the next 16 of K are 2048 bytes further.
/// The tile begins at a multiple of 1024 bytes.
__device__ __forceinline__ uint64_t wgmma_descriptor(uint32_t address, uint32_t leading = 16, uint32_t stride = 1024) {
  return static_cast<uint64_t>((address & 0x3ffff) >> 4) | (static_cast<uint64_t>(leading >> 4) << 16) |
         (static_cast<uint64_t>(stride >> 4) << 32) | (1ull << 62);
}

// wgmma.mma_async (9.7.15.5.2): d = a b + (accumulate ? d : 0). `ss`: both operands in shared memory, `rs`: A in four
// registers. The number of accumulators fixes N: 16 for n32, 32 for n64, 64 for n128, 128 for n256 (and 48, 80, 88,
// 96 for n96, n160, n176, n192).
// clang-format off
#define KERNELITES_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define KERNELITES_D16(i) KERNELITES_D4(i), KERNELITES_D4(i + 4), KERNELITES_D4(i + 8), KERNELITES_D4(i + 12)
#define KERNELITES_D16_ALL KERNELITES_D16(0)
#define KERNELITES_L16 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define KERNELITES_D32_ALL KERNELITES_D16(0), KERNELITES_D16(16)
#define KERNELITES_L32 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define KERNELITES_D48_ALL KERNELITES_D16(0), KERNELITES_D16(16), KERNELITES_D16(32)
#define KERNELITES_L48 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define KERNELITES_D64_ALL KERNELITES_D16(0), KERNELITES_D16(16), KERNELITES_D16(32), KERNELITES_D16(48)
#define KERNELITES_L64 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define KERNELITES_D80_ALL KERNELITES_D16(0), KERNELITES_D16(16), KERNELITES_D16(32), KERNELITES_D16(48), KERNELITES_D16(64)
#define KERNELITES_L80 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63," \
  "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79"
#define KERNELITES_D88_ALL KERNELITES_D16(0), KERNELITES_D16(16), KERNELITES_D16(32), KERNELITES_D16(48), KERNELITES_D16(64), KERNELITES_D4(80), KERNELITES_D4(84)
#define KERNELITES_L88 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63," \
  "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79," \
  "%80,%81,%82,%83,%84,%85,%86,%87"
#define KERNELITES_D96_ALL KERNELITES_D16(0), KERNELITES_D16(16), KERNELITES_D16(32), KERNELITES_D16(48), KERNELITES_D16(64), KERNELITES_D16(80)
#define KERNELITES_L96 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63," \
  "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79," \
  "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
#define KERNELITES_D128_ALL KERNELITES_D16(0), KERNELITES_D16(16), KERNELITES_D16(32), KERNELITES_D16(48), KERNELITES_D16(64), KERNELITES_D16(80), KERNELITES_D16(96), KERNELITES_D16(112)
#define KERNELITES_L128 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63," \
  "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79," \
  "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95," \
  "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111," \
  "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define KERNELITES_WGMMA(type, count, n, a_, b_, p_, ta_, tb_, r0, r1, r2, r3, rb, rp, rt) \
  template <bool transpose_a = false, bool transpose_b = false> \
  __device__ __forceinline__ void wgmma_##type##_ss(float (&d)[count], uint64_t a, uint64_t b, bool accumulate) { \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #p_ ", 0;\n" \
                 "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." #type "." #type " {" KERNELITES_L##count "}, %" #a_ \
                 ", %" #b_ ", p, 1, 1, %" #ta_ ", %" #tb_ ";\n}" \
                 : KERNELITES_D##count##_ALL \
                 : "l"(a), "l"(b), "r"(int(accumulate)), "n"(int(transpose_a)), "n"(int(transpose_b))); \
  } \
  template <bool transpose_b = false> \
  __device__ __forceinline__ void wgmma_##type##_rs(float (&d)[count], const uint32_t (&a)[4], uint64_t b, \
                                                    bool accumulate) { \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #rp ", 0;\n" \
                 "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." #type "." #type " {" KERNELITES_L##count "}, {%" #r0 \
                 ",%" #r1 ",%" #r2 ",%" #r3 "}, %" #rb ", p, 1, 1, %" #rt ";\n}" \
                 : KERNELITES_D##count##_ALL \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int(accumulate)), "n"(int(transpose_b))); \
  }
KERNELITES_WGMMA(bf16, 16, 32, 16, 17, 18, 19, 20, 16, 17, 18, 19, 20, 21, 22)
KERNELITES_WGMMA(bf16, 32, 64, 32, 33, 34, 35, 36, 32, 33, 34, 35, 36, 37, 38)
KERNELITES_WGMMA(bf16, 48, 96, 48, 49, 50, 51, 52, 48, 49, 50, 51, 52, 53, 54)
KERNELITES_WGMMA(bf16, 64, 128, 64, 65, 66, 67, 68, 64, 65, 66, 67, 68, 69, 70)
KERNELITES_WGMMA(bf16, 80, 160, 80, 81, 82, 83, 84, 80, 81, 82, 83, 84, 85, 86)
KERNELITES_WGMMA(bf16, 88, 176, 88, 89, 90, 91, 92, 88, 89, 90, 91, 92, 93, 94)
KERNELITES_WGMMA(bf16, 96, 192, 96, 97, 98, 99, 100, 96, 97, 98, 99, 100, 101, 102)
KERNELITES_WGMMA(bf16, 128, 256, 128, 129, 130, 131, 132, 128, 129, 130, 131, 132, 133, 134)
KERNELITES_WGMMA(f16, 16, 32, 16, 17, 18, 19, 20, 16, 17, 18, 19, 20, 21, 22)
KERNELITES_WGMMA(f16, 32, 64, 32, 33, 34, 35, 36, 32, 33, 34, 35, 36, 37, 38)
KERNELITES_WGMMA(f16, 48, 96, 48, 49, 50, 51, 52, 48, 49, 50, 51, 52, 53, 54)
KERNELITES_WGMMA(f16, 64, 128, 64, 65, 66, 67, 68, 64, 65, 66, 67, 68, 69, 70)
KERNELITES_WGMMA(f16, 80, 160, 80, 81, 82, 83, 84, 80, 81, 82, 83, 84, 85, 86)
KERNELITES_WGMMA(f16, 88, 176, 88, 89, 90, 91, 92, 88, 89, 90, 91, 92, 93, 94)
KERNELITES_WGMMA(f16, 96, 192, 96, 97, 98, 99, 100, 96, 97, 98, 99, 100, 101, 102)
KERNELITES_WGMMA(f16, 128, 256, 128, 129, 130, 131, 132, 128, 129, 130, 131, 132, 133, 134)
#undef KERNELITES_WGMMA
#undef KERNELITES_D4
#undef KERNELITES_D16
#undef KERNELITES_D16_ALL
#undef KERNELITES_L16
#undef KERNELITES_D32_ALL
#undef KERNELITES_L32
#undef KERNELITES_D48_ALL
#undef KERNELITES_L48
#undef KERNELITES_D64_ALL
#undef KERNELITES_L64
#undef KERNELITES_D80_ALL
#undef KERNELITES_L80
#undef KERNELITES_D88_ALL
#undef KERNELITES_L88
#undef KERNELITES_D96_ALL
#undef KERNELITES_L96
#undef KERNELITES_D128_ALL
#undef KERNELITES_L128
// clang-format on

}  // namespace kernelites::ptx
