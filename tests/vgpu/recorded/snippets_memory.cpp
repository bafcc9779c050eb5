// SPDX-License-Identifier: Apache-2.0
// Snippets of loads, stores, asynchronous copies and atomics: what matters is the memory that is left.
#include "tests/vgpu/recorded/snippet_tables.h"

namespace kernelites::recorded {
namespace {

#define KERNELITES_SHARED_CELL ".shared .align 16 .b8 cells[4096]; .reg .b32 at; mov.u32 at, cells; "
#define KERNELITES_MY_16_BYTES "mad.lo.u32 at, thread, 16, at; "
#define KERNELITES_MY_GLOBAL_16_BYTES ".reg .b64 at; mad.wide.u32 at, thread, 16, scratch; "

constexpr Row k_access[] = {
    {"ld.shared.<s8,u8,s16,u16>", "a[4]:b32 -> d:b32",
     KERNELITES_SHARED_CELL KERNELITES_MY_16_BYTES "st.shared.v4.b32 [at], {a0, a1, a2, a3}; $0 d, [at+6];"},
    {"ld.global.<s8,u8,s16,u16>", "a[4]:b32 -> d:b32",
     KERNELITES_MY_GLOBAL_16_BYTES "st.global.v4.b32 [at], {a0, a1, a2, a3}; $0 d, [at+10];"},
    {"ld.global.<s32,s16> wide", "a[4]:b32 -> d:b64",
     KERNELITES_MY_GLOBAL_16_BYTES "st.global.v4.b32 [at], {a0, a1, a2, a3}; $0 d, [at+4];"},
    {"ld.shared.v4.b32", "a[2]:b64 -> d[4]:b32",
     KERNELITES_SHARED_CELL KERNELITES_MY_16_BYTES
     "st.shared.v2.b64 [at], {a0, a1}; $0 {d0, d1, d2, d3}, [at];"},
    {"ld.shared.v2.b32", "a[2]:b64 -> d[2]:b32",
     KERNELITES_SHARED_CELL KERNELITES_MY_16_BYTES "st.shared.v2.b64 [at], {a0, a1}; $0 {d0, d1}, [at+8];"},
    {"ld.shared.v2.b64", "a[4]:b32 -> d[2]:b64",
     KERNELITES_SHARED_CELL KERNELITES_MY_16_BYTES
     "st.shared.v4.b32 [at], {a0, a1, a2, a3}; $0 {d0, d1}, [at];"},
    {"ld.shared.v4.b16", "a[4]:b32 -> d[4]:b16",
     KERNELITES_SHARED_CELL KERNELITES_MY_16_BYTES
     "st.shared.v4.b32 [at], {a0, a1, a2, a3}; $0 {d0, d1, d2, d3}, [at+8];"},
    {"ld.shared.v2.<s8,u8>", "a[4]:b32 -> d[2]:b16",
     KERNELITES_SHARED_CELL KERNELITES_MY_16_BYTES
     "st.shared.v4.b32 [at], {a0, a1, a2, a3}; $0 {d0, d1}, [at+2];"},
    {"ld.global.nc.v4.b32", "a:b32 -> d[4]:b32", "$0 {d0, d1, d2, d3}, [scratch+16];"},
    {"st.shared.<b8,b16>", "a[2]:b32 -> d:b32",
     KERNELITES_SHARED_CELL KERNELITES_MY_16_BYTES "st.shared.b32 [at], a0; .reg .b16 h; cvt.u16.u32 h, a1;"
                                                   "$0 [at+2], h; ld.shared.b32 d, [at];"},
    {"st.shared.v4.b8", "a:b32 b[4]:b16 -> d:b32",
     KERNELITES_SHARED_CELL KERNELITES_MY_16_BYTES "st.shared.b32 [at], a; $0 [at], {b0, b1, b2, b3};"
                                                   "ld.shared.b32 d, [at];"},
    {"st.local.v2.b64", "a[2]:b64 -> d:b64",
     ".local .align 16 .b8 own[64]; st.local.v2.b64 [own+16], {a0, a1}; ld.local.b64 d, [own+24];"},
    {"st generic", "a:b64 -> d:b64",
     KERNELITES_SHARED_CELL KERNELITES_MY_16_BYTES
     ".reg .b64 x; cvt.u64.u32 x, at; cvta.shared.u64 x, x; st.b64 [x], a; ld.shared.b64 d, [at];"},
    {"cp.async.c<a,g>.shared.global", "a[4]:b32 -> d[4]:b32",
     KERNELITES_SHARED_CELL KERNELITES_MY_16_BYTES
     ".reg .b64 from; mad.wide.u32 from, thread, 16, scratch; st.global.v4.b32 [from], {a0, a1, a2, a3};"
     "$0 [at], [from], 16; cp.async.commit_group; cp.async.wait_group 0;"
     "ld.shared.v4.b32 {d0, d1, d2, d3}, [at];"},
    {"cp.async.cg.shared.global filled with zeros", "a[4]:b32 n:u32/few -> d[4]:b32",
     KERNELITES_SHARED_CELL KERNELITES_MY_16_BYTES
     ".reg .b64 from; mad.wide.u32 from, thread, 16, scratch; st.global.v4.b32 [from], {a0, a1, a2, a3};"
     "shl.b32 n, n, 2; $0 [at], [from], 16, n; cp.async.wait_all; ld.shared.v4.b32 {d0, d1, d2, d3}, [at];"},
};

// One cell per thread: the old value and what is left are defined.
#define KERNELITES_ATOMIC_SHARED(access)                                                    \
  KERNELITES_SHARED_CELL KERNELITES_MY_16_BYTES "st.shared.$2 [at], a; $0 d, [at], " access \
                                                "; ld.shared.$2 e, [at];"
#define KERNELITES_ATOMIC_GLOBAL(access) \
  KERNELITES_MY_GLOBAL_16_BYTES "st.global.$2 [at], a; $0 d, [at], " access "; ld.global.$2 e, [at];"

constexpr Row k_atomics[] = {
    {"atom.shared.<add,min,max>.<s32,u32,u64>", "a:$2 b:$2 -> d:$2 e:$2", KERNELITES_ATOMIC_SHARED("b")},
    {"atom.global.<add,min,max>.<s32,u32,u64>", "a:$2 b:$2 -> d:$2 e:$2", KERNELITES_ATOMIC_GLOBAL("b")},
    {"atom.global.<min,max>.s64", "a:s64 b:s64 -> d:s64 e:s64",
     KERNELITES_MY_GLOBAL_16_BYTES "st.global.b64 [at], a; $0 d, [at], b; ld.global.b64 e, [at];"},
    {"atom.global.<and,or,xor,exch>.<b32,b64>", "a:$2 b:$2 -> d:$2 e:$2", KERNELITES_ATOMIC_GLOBAL("b")},
    {"atom.shared.<and,or,xor,exch>.b32", "a:b32 b:b32 -> d:b32 e:b32",
     KERNELITES_SHARED_CELL KERNELITES_MY_16_BYTES
     "st.shared.b32 [at], a; $0 d, [at], b; ld.shared.b32 e, [at];"},
    {"atom.global.<inc,dec>.u32", "a:u32 b:u32 -> d:u32 e:u32",
     KERNELITES_MY_GLOBAL_16_BYTES "st.global.u32 [at], a; $0 d, [at], b; ld.global.u32 e, [at];"},
    {"atom.global.<cas>.<b16,b32,b64>", "a:$2/few b:$2/few c:$2 -> d:$2 e:$2",
     KERNELITES_ATOMIC_GLOBAL("b, c")},
    {"atom.global.<add>.<f32,f64>", "a:$2 b:$2 -> d:$2 e:$2", KERNELITES_ATOMIC_GLOBAL("b")},
    {"atom.shared.<add>.<f32,f64>", "a:$2 b:$2 -> d:$2 e:$2", KERNELITES_ATOMIC_SHARED("b")},
    {"atom.global.add.noftz.<f16x2,bf16x2>", "a:$1 b:$1 -> d:$1 e:$1",
     KERNELITES_MY_GLOBAL_16_BYTES "st.global.b32 [at], a; $0 d, [at], b; ld.global.b32 e, [at];"},
    {"atom.global.add.noftz.<f16,bf16>", "a:$1 b:$1 -> d:$1 e:$1",
     KERNELITES_MY_GLOBAL_16_BYTES "st.global.b16 [at], a; $0 d, [at], b; ld.global.b16 e, [at];"},
    {"atom.global.v<2,4>.f32.add", "a:f32 b[4]:f32 -> d[4]:f32",
     KERNELITES_MY_GLOBAL_16_BYTES "st.global.v4.b32 [at], {a, a, a, a}; .reg .b32 x<4>;"
                                   "atom.global.v4.f32.add {x0, x1, x2, x3}, [at], {b0, b1, b2, b3}; "
                                   "ld.global.v4.b32 {d0, d1, d2, d3}, [at];"},
    {"red.global.<add,min,max>.s32 contended", "a:s32 -> d:s32",
     ".reg .b64 at; .reg .b32 cell; and.b32 cell, thread, 3; mad.wide.u32 at, cell, 4, scratch;"
     "red.global.$1.s32 [at], a; bar.sync 0; ld.volatile.global.b32 d, [at];"},
    {"red.shared.<xor.b32,or.b32,add.u32,max.s32> contended", "a:b32 -> d:b32",
     KERNELITES_SHARED_CELL
     ".reg .b32 cell; .reg .pred first; and.b32 cell, thread, 7; mad.lo.u32 at, cell, 4, at;"
     "setp.lt.u32 first, thread, 8; @first st.shared.b32 [at], 0; bar.sync 0; red.shared.$1 [at], a; "
     "bar.sync 0; ld.shared.b32 d, [at];"},
    {"red.global.add.<f32,f64> contended", "a:$1/n -> d:$1",
     ".reg .b64 at; .reg .b32 cell; and.b32 cell, thread, 3; mad.wide.u32 at, cell, 8, scratch;"
     "red.global.add.$1 [at], a; bar.sync 0; ld.volatile.global.$1 d, [at];"},
};

}  // namespace

std::vector<Family> memory_families() { return {{"memory", k_access}, {"atomics", k_atomics}}; }

}  // namespace kernelites::recorded
