// SPDX-License-Identifier: Apache-2.0
// Snippets of the tensor cores: mma.sync, wmma, and the moves of matrices between shared memory and registers.
#include "tests/vgpu/recorded/snippet_tables.h"

namespace kernelites::recorded {
namespace {

// Each shape with moderate values, a wide range of exponents, signed powers of two that cancel, and some special
// values.
constexpr Row k_multiply[] = {
    {"mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 <m,w,z,s>",
     "a[2]:f16x2/$1 b[1]:f16x2/$1 c[4]:f32/$1 -> d[4]:f32"},
    {"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 <m,w,z,s>",
     "a[4]:f16x2/$1 b[2]:f16x2/$1 c[4]:f32/$1 -> d[4]:f32"},
    {"mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 <m,w,z,s>",
     "a[2]:f16x2/$1 b[1]:f16x2/$1 c[2]:f16x2/$1 -> d[2]:f16x2"},
    {"mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 <m,w,z,s>",
     "a[4]:f16x2/$1 b[2]:f16x2/$1 c[2]:f16x2/$1 -> d[2]:f16x2"},
    {"mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 <m,w,z,s>",
     "a[2]:bf16x2/$1 b[1]:bf16x2/$1 c[4]:f32/$1 -> d[4]:f32"},
    {"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 <m,w,z,s>",
     "a[4]:bf16x2/$1 b[2]:bf16x2/$1 c[4]:f32/$1 -> d[4]:f32"},
    {"mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 <m,w,z,s>",
     "a[2]:tf32/$1 b[1]:tf32/$1 c[4]:f32/$1 -> d[4]:f32"},
    {"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 <m,w,z,s>",
     "a[4]:tf32/$1 b[2]:tf32/$1 c[4]:f32/$1 -> d[4]:f32"},
    {"mma.sync.aligned.m16n8k32.row.col.f32.<e4m3,e5m2>.<e4m3,e5m2>.f32 <w,z,s>",
     "a[4]:$1x4/$3 b[2]:$2x4/$3 c[4]:f32/$3 -> d[4]:f32"},
    {"mma.sync.aligned.m8n8k16.row.col.s32.<s8,u8>.<s8,u8>.s32", "a[1]:$1x4 b[1]:$2x4 c[2]:s32 -> d[2]:s32"},
    {"mma.sync.aligned.m16n8k16.row.col.s32.<s8,u8>.<s8>.s32", "a[2]:$1x4 b[1]:$2x4 c[4]:s32 -> d[4]:s32"},
    {"mma.sync.aligned.m16n8k32.row.col.s32.<s8,u8>.<s8,u8>.s32", "a[4]:$1x4 b[2]:$2x4 c[4]:s32 -> d[4]:s32"},
    {"mma.sync.aligned.m16n8k32.row.col.satfinite.s32.<s8,u8>.s8.s32",
     "a[4]:$1x4 b[2]:s8x4 c[4]:s32 -> d[4]:s32"},
    {"mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 <w,s>",
     "a[1]:f64/$1 b[1]:f64/$1 c[2]:f64/$1 -> d[2]:f64", "$0 {d0, d1}, {a0}, {b0}, {c0, c1};", k_exact, 2},
    {"mma.sync.aligned.m16n8k4.row.col.f64.f64.f64.f64 <w,s>",
     "a[2]:f64/$1 b[1]:f64/$1 c[4]:f64/$1 -> d[4]:f64", "", k_exact, 2},
    {"mma.sync.aligned.m16n8k8.row.col.f64.f64.f64.f64 <w,s>",
     "a[4]:f64/$1 b[2]:f64/$1 c[4]:f64/$1 -> d[4]:f64", "", k_exact, 2},
    {"mma.sync.aligned.m16n8k16.row.col.f64.f64.f64.f64 <w,s>",
     "a[8]:f64/$1 b[4]:f64/$1 c[4]:f64/$1 -> d[4]:f64", "", k_exact, 2},
};

// Denormal factors, accumulators and results.
constexpr Row k_denormal[] = {
    {"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 d",
     "a[4]:f16x2/d b[2]:f16x2/m c[4]:f32/n -> d[4]:f32",
     "mul.f32 c0, c0, 0f33800000; mul.f32 c1, c1, 0f34000000; mul.f32 c2, c2, 0f36000000;"
     "$0 {d0, d1, d2, d3}, {a0, a1, a2, a3}, {b0, b1}, {c0, c1, c2, c3};"},
    {"mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 d",
     "a[2]:f16x2/d b[1]:f16x2/m c[2]:f16x2/d -> d[2]:f16x2"},
    {"mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 d",
     "a[4]:f16x2/d b[2]:f16x2/m c[2]:f16x2/d -> d[2]:f16x2"},
    {"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 d",
     "a[4]:bf16x2/d b[2]:bf16x2/m c[4]:f32/d -> d[4]:f32"},
    {"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 d",
     "a[4]:tf32/d b[2]:tf32/m c[4]:f32/d -> d[4]:f32"},
    {"mma.sync.aligned.m16n8k32.row.col.f32.<e4m3,e5m2>.<e4m3,e5m2>.f32 d",
     "a[4]:$1x4/d b[2]:$2x4/d c[4]:f32/d -> d[4]:f32"},
};

// Every warp has 512 bytes of shared memory.
#define KERNELITES_WARP_TILE                                                                                 \
  ".shared .align 16 .b8 tiles[2048]; .reg .b32 tile, at; mov.u32 tile, tiles; mad.lo.u32 tile, warp, 512, " \
  "tile;"                                                                                                    \
  "mad.lo.u32 at, lane, 16, tile;"
#define KERNELITES_FILL_MATRIX "st.shared.v4.b32 [at], {a0, a1, a2, a3}; bar.warp.sync -1;"
#define KERNELITES_READ_MATRIX "bar.warp.sync -1; ld.shared.v4.b32 {d0, d1, d2, d3}, [at];"

constexpr Row k_moves[] = {
    {"ldmatrix.sync.aligned.m8n8.x1<,.trans>.shared.b16", "a[4]:b32 -> d[1]:b32",
     KERNELITES_WARP_TILE KERNELITES_FILL_MATRIX "$0 {d0}, [at];"},
    {"ldmatrix.sync.aligned.m8n8.x2<,.trans>.shared.b16", "a[4]:b32 -> d[2]:b32",
     KERNELITES_WARP_TILE KERNELITES_FILL_MATRIX "$0 {d0, d1}, [at];"},
    {"ldmatrix.sync.aligned.m8n8.x4<,.trans>.shared.b16", "a[4]:b32 -> d[4]:b32",
     KERNELITES_WARP_TILE KERNELITES_FILL_MATRIX
     "xor.b32 at, lane, 5; mad.lo.u32 at, at, 16, tile; $0 {d0, d1, d2, d3}, [at];"},
    {"stmatrix.sync.aligned.m8n8.x1<,.trans>.shared.b16", "a[4]:b32 -> d[4]:b32",
     KERNELITES_WARP_TILE KERNELITES_FILL_MATRIX "$0 [at], {a0};" KERNELITES_READ_MATRIX},
    {"stmatrix.sync.aligned.m8n8.x2<,.trans>.shared.b16", "a[4]:b32 -> d[4]:b32",
     KERNELITES_WARP_TILE KERNELITES_FILL_MATRIX "$0 [at], {a0, a1};" KERNELITES_READ_MATRIX},
    {"stmatrix.sync.aligned.m8n8.x4<,.trans>.shared.b16", "a[4]:b32 -> d[4]:b32",
     KERNELITES_WARP_TILE ".reg .b32 row; xor.b32 row, lane, 9; mad.lo.u32 row, row, 16, tile;"
                          "$0 [row], {a0, a1, a2, a3};" KERNELITES_READ_MATRIX},
    {"movmatrix.sync.aligned.m8n8.trans.b16", "a:b32 -> d:b32"},
};

// Factors of a warp in two tiles of 512 bytes, the accumulator in 1024 bytes, where the result goes too.
#define KERNELITES_WMMA_BEGIN                                                                         \
  ".shared .align 32 .b8 tiles[8192]; .reg .b32 ta, tb, tc, at, x<8>, y<8>, z<8>; mov.u32 ta, tiles;" \
  "mad.lo.u32 ta, warp, 2048, ta; add.u32 tb, ta, 512; add.u32 tc, ta, 1024;"                         \
  "mad.lo.u32 at, lane, 16, ta; st.shared.v4.b32 [at], {a0, a1, a2, a3};"                             \
  "st.shared.v4.b32 [at+512], {b0, b1, b2, b3};"
#define KERNELITES_WMMA_FLOAT_C                                           \
  "mad.lo.u32 at, lane, 32, tc; st.shared.v4.b32 [at], {c0, c1, c2, c3};" \
  "st.shared.v4.b32 [at+16], {c4, c5, c6, c7}; bar.warp.sync -1;"
#define KERNELITES_WMMA_FLOAT_D \
  "bar.warp.sync -1; ld.shared.v4.b32 {d0, d1, d2, d3}, [at]; ld.shared.v4.b32 {d4, d5, d6, d7}, [at+16];"
#define KERNELITES_EIGHT(r) "{" r "0, " r "1, " r "2, " r "3, " r "4, " r "5, " r "6, " r "7}"
#define KERNELITES_FOUR(r) "{" r "0, " r "1, " r "2, " r "3}"

constexpr Row k_wmma[] = {
    {"wmma.mma.sync.aligned.<row,col>.<row,col>.<m16n16k16>.f32.f32",
     "a[4]:f16x2/w b[4]:f16x2/w c[8]:f32/w -> d[8]:f32",
     KERNELITES_WMMA_BEGIN KERNELITES_WMMA_FLOAT_C
     "wmma.load.a.sync.aligned.$1.$3.shared.f16 " KERNELITES_EIGHT(
         "x") ", [ta];"
              "wmma.load.b.sync.aligned.$2.$3.shared.f16 " KERNELITES_EIGHT(
                  "y") ", [tb];"
                       "wmma.load.c.sync.aligned.row.$3.shared.f32 " KERNELITES_EIGHT(
                           "z") ", [tc];"
                                "$0 " KERNELITES_EIGHT("z") ", " KERNELITES_EIGHT("x") ", " KERNELITES_EIGHT(
                                    "y") ", " KERNELITES_EIGHT("z") ";"
                                                                    "wmma.store.d.sync.aligned.row.$3.shared."
                                                                    "f32 [tc], " KERNELITES_EIGHT(
                                                                        "z") ";" KERNELITES_WMMA_FLOAT_D},
    {"wmma.mma.sync.aligned.<row>.<col>.<m32n8k16,m8n32k16>.f32.f32",
     "a[4]:f16x2/w b[4]:f16x2/w c[8]:f32/w -> d[8]:f32",
     KERNELITES_WMMA_BEGIN KERNELITES_WMMA_FLOAT_C
     "wmma.load.a.sync.aligned.$1.$3.shared.f16 " KERNELITES_EIGHT(
         "x") ", [ta];"
              "wmma.load.b.sync.aligned.$2.$3.shared.f16 " KERNELITES_EIGHT(
                  "y") ", [tb];"
                       "wmma.load.c.sync.aligned.row.$3.shared.f32 " KERNELITES_EIGHT(
                           "z") ", [tc];"
                                "$0 " KERNELITES_EIGHT("z") ", " KERNELITES_EIGHT("x") ", " KERNELITES_EIGHT(
                                    "y") ", " KERNELITES_EIGHT("z") ";"
                                                                    "wmma.store.d.sync.aligned.row.$3.shared."
                                                                    "f32 [tc], " KERNELITES_EIGHT(
                                                                        "z") ";" KERNELITES_WMMA_FLOAT_D},
    {"wmma.mma.sync.aligned.row.col.m16n16k16.f16.f16",
     "a[4]:f16x2/m b[4]:f16x2/m c[4]:f16x2/m -> d[4]:f16x2",
     KERNELITES_WMMA_BEGIN
     "mad.lo.u32 at, lane, 16, tc; st.shared.v4.b32 [at], {c0, c1, c2, c3}; bar.warp.sync -1;"
     "wmma.load.a.sync.aligned.row.m16n16k16.shared.f16 " KERNELITES_EIGHT(
         "x") ", [ta];"
              "wmma.load.b.sync.aligned.col.m16n16k16.shared.f16 " KERNELITES_EIGHT(
                  "y") ", [tb];"
                       "wmma.load.c.sync.aligned.col.m16n16k16.shared.f16 " KERNELITES_FOUR(
                           "z") ", [tc];"
                                "$0 " KERNELITES_FOUR("z") ", " KERNELITES_EIGHT("x") ", " KERNELITES_EIGHT(
                                    "y") ", " KERNELITES_FOUR("z") ";"
                                                                   "wmma.store.d.sync.aligned.row.m16n16k16."
                                                                   "shared.f16 [tc], " KERNELITES_FOUR(
                                                                       "z") "; bar.warp.sync -1;"
                                                                            "ld.shared.v4.b32 {d0, d1, d2, "
                                                                            "d3}, [at];"},
    {"wmma.mma.sync.aligned.<row,col>.col.m16n16k16.f32.bf16.bf16.f32",
     "a[4]:bf16x2/w b[4]:bf16x2/w c[8]:f32/w -> d[8]:f32",
     KERNELITES_WMMA_BEGIN KERNELITES_WMMA_FLOAT_C
     "wmma.load.a.sync.aligned.$1.m16n16k16.shared.bf16 " KERNELITES_FOUR(
         "x") ", [ta];"
              "wmma.load.b.sync.aligned.col.m16n16k16.shared.bf16 " KERNELITES_FOUR(
                  "y") ", [tb];"
                       "wmma.load.c.sync.aligned.row.m16n16k16.shared.f32 " KERNELITES_EIGHT(
                           "z") ", [tc];"
                                "$0 " KERNELITES_EIGHT("z") ", " KERNELITES_FOUR("x") ", " KERNELITES_FOUR(
                                    "y") ", " KERNELITES_EIGHT("z") ";"
                                                                    "wmma.store.d.sync.aligned.col.m16n16k16."
                                                                    "shared.f32 [tc], " KERNELITES_EIGHT(
                                                                        "z") ";" KERNELITES_WMMA_FLOAT_D},
    {"wmma.mma.sync.aligned.<row,col>.col.m32n8k16.f32.bf16.bf16.f32",
     "a[4]:bf16x2/w b[4]:bf16x2/w c[8]:f32/w -> d[8]:f32",
     KERNELITES_WMMA_BEGIN KERNELITES_WMMA_FLOAT_C
     "wmma.load.a.sync.aligned.$1.m32n8k16.shared.bf16 " KERNELITES_EIGHT(
         "x") ", [ta];"
              "wmma.load.b.sync.aligned.col.m32n8k16.shared.bf16 "
              "{y0, y1}"
              ", [tb];"
              "wmma.load.c.sync.aligned.row.m32n8k16.shared.f32 " KERNELITES_EIGHT(
                  "z") ", [tc];"
                       "$0 " KERNELITES_EIGHT("z") ", " KERNELITES_EIGHT(
                           "x") ", "
                                "{y0, y1}"
                                ", " KERNELITES_EIGHT("z") ";"
                                                           "wmma.store.d.sync.aligned.col.m32n8k16.shared."
                                                           "f32 [tc], " KERNELITES_EIGHT(
                                                               "z") ";" KERNELITES_WMMA_FLOAT_D},
    {"wmma.mma.sync.aligned.row.col.m16n16k8.f32.tf32.tf32.f32",
     "a[4]:tf32/w b[4]:tf32/w c[8]:f32/w -> d[8]:f32",
     KERNELITES_WMMA_BEGIN KERNELITES_WMMA_FLOAT_C
     "wmma.load.a.sync.aligned.row.m16n16k8.shared.tf32 " KERNELITES_FOUR(
         "x") ", [ta];"
              "wmma.load.b.sync.aligned.col.m16n16k8.shared.tf32 " KERNELITES_FOUR(
                  "y") ", [tb];"
                       "wmma.load.c.sync.aligned.row.m16n16k8.shared.f32 " KERNELITES_EIGHT(
                           "z") ", [tc];"
                                "$0 " KERNELITES_EIGHT("z") ", " KERNELITES_FOUR("x") ", " KERNELITES_FOUR(
                                    "y") ", " KERNELITES_EIGHT("z") ";"
                                                                    "wmma.store.d.sync.aligned.row.m16n16k8."
                                                                    "shared.f32 [tc], " KERNELITES_EIGHT(
                                                                        "z") ";" KERNELITES_WMMA_FLOAT_D},
    {"wmma.mma.sync.aligned.row.col.m16n16k16.s32.<s8.s8,u8.u8>.s32",
     "a[4]:s8x4 b[4]:s8x4 c[8]:s32 -> d[8]:s32",
     KERNELITES_WMMA_BEGIN KERNELITES_WMMA_FLOAT_C
     ".reg .b32 u<2>, v<2>;"
     "wmma.load.a.sync.aligned.row.m16n16k16.shared.s8 {u0, u1}, [ta];"
     "wmma.load.b.sync.aligned.col.m16n16k16.shared.s8 {v0, v1}, [tb];"
     "wmma.load.c.sync.aligned.row.m16n16k16.shared.s32 " KERNELITES_EIGHT(
         "z") ", [tc];"
              "$0 " KERNELITES_EIGHT("z") ", {u0, u1}, {v0, v1}, " KERNELITES_EIGHT(
                  "z") ";"
                       "wmma.store.d.sync.aligned.row.m16n16k16.shared.s32 [tc], " KERNELITES_EIGHT(
                           "z") ";" KERNELITES_WMMA_FLOAT_D},
};

}  // namespace

std::vector<Family> matrix_families() {
  return {{"mma.sync", k_multiply},
          {"mma.sync with denormals", k_denormal},
          {"matrix moves", k_moves},
          {"wmma", k_wmma}};
}

}  // namespace kernelites::recorded
