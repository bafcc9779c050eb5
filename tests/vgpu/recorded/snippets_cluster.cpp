// SPDX-License-Identifier: Apache-2.0
// Snippets of clusters: two or four blocks that see each other's shared memory.
#include "tests/vgpu/recorded/snippet_tables.h"

namespace kernelites::recorded {
namespace {

#define KERNELITES_MEET "barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;"
// 16 bytes of a thread at `at`, an mbarrier at b, the neighbour's copy of both at far and far_b; `leads`: thread 0 of a
// block.
#define KERNELITES_CLUSTER                                                                     \
  ".shared .align 128 .b8 cells[4096]; .shared .align 8 .b64 bars[1]; .reg .pred leads, done;" \
  ".reg .b32 t, b, at, far, far_t, far_b, next, e<4>; mov.u32 t, cells; mov.u32 b, bars;"      \
  "setp.eq.u32 leads, tid, 0; mad.lo.u32 at, tid, 16, t; mov.u32 next, %cluster_nctarank;"     \
  "add.u32 far, rank, 1; rem.u32 next, far, next; mapa.shared::cluster.u32 far, at, next;"     \
  "mapa.shared::cluster.u32 far_b, b, next; mapa.shared::cluster.u32 far_t, t, next;"          \
  "@leads mbarrier.init.shared::cta.b64 [b], 1; @leads fence.mbarrier_init.release.cluster;"
#define KERNELITES_EXPECT(bytes) "@leads mbarrier.arrive.expect_tx.shared::cta.b64 _, [b], " bytes ";"
#define KERNELITES_WAIT \
  "WAIT: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [b], 0; @!done bra WAIT;"
#define KERNELITES_DIGEST_E \
  "mad.lo.u32 d, e0, 0x9e3779b1, e1; mad.lo.u32 d, d, 0x9e3779b1, e2; mad.lo.u32 d, d, 0x9e3779b1, e3;"
#define KERNELITES_READ_MINE "ld.shared.v4.b32 {e0, e1, e2, e3}, [at];" KERNELITES_DIGEST_E

constexpr Row k_registers[] = {
    {"mov.u32 "
     "<%cluster_ctaid.x,%cluster_nctaid.x,%cluster_nctaid.y,%clusterid.x,%nclusterid.x,%cluster_ctarank,"
     "%cluster_nctarank>",
     "a:b32 -> d:b32", "mov.u32 d, $1;", k_exact, 1, 4},
    {"mov.pred %is_explicit_cluster", "a:b32 -> p:pred", "mov.pred p, %is_explicit_cluster;", k_exact, 1, 2},
    {"getctarank.shared::cluster.u32", "a:b32 -> d:b32", KERNELITES_CLUSTER "$0 d, far;" KERNELITES_MEET,
     k_exact, 1, 4},
    {"getctarank.u64", "a:b32 -> d:b32",
     KERNELITES_CLUSTER
     ".reg .b64 w; cvt.u64.u32 w, at; cvta.shared.u64 w, w; mapa.u64 w, w, next; $0 d, w;" KERNELITES_MEET,
     k_exact, 1, 4},
    {"isspacep.shared::<cta,cluster>", "a:b32 -> p:pred q:pred",
     KERNELITES_CLUSTER ".reg .b64 w, v; cvt.u64.u32 w, at; cvta.shared.u64 w, w; mapa.u64 v, w, next;"
                        "isspacep.shared::$1 p, w; isspacep.shared::$1 q, v;" KERNELITES_MEET,
     k_exact, 1, 2},
};

constexpr Row k_distributed[] = {
    {"ld.shared::cluster.v4.b32", "a[4]:b32 -> d:b32",
     KERNELITES_CLUSTER "st.shared.v4.b32 [at], {a0, a1, a2, a3};" KERNELITES_MEET
                        "$0 {e0, e1, e2, e3}, [far];" KERNELITES_MEET KERNELITES_DIGEST_E,
     k_exact, 2, 4},
    {"ld.b32 through a mapped generic address", "a[4]:b32 -> d:b32",
     KERNELITES_CLUSTER "st.shared.v4.b32 [at], {a0, a1, a2, a3};" KERNELITES_MEET
                        ".reg .b64 w; cvt.u64.u32 w, at; cvta.shared.u64 w, w; mapa.u64 w, w, next; ld.b32 "
                        "d, [w+8];" KERNELITES_MEET,
     k_exact, 2, 2},
    {"st.shared::cluster.<b32,b64>", "a:$1 -> d:$1",
     KERNELITES_CLUSTER KERNELITES_MEET "$0 [far], a;" KERNELITES_MEET "ld.shared.$1 d, [at];", k_exact, 2,
     4},
    {"atom.shared::cluster.<add,min,max,inc,dec>.u32", "a:u32 b:u32 -> d:u32 e:u32",
     ".shared .align 4 .b8 cells[1024]; .reg .b32 at, far, next; mov.u32 at, cells; mad.lo.u32 at, tid, 4, "
     "at;"
     "xor.b32 next, rank, 1; mapa.shared::cluster.u32 far, at, next; st.shared.u32 [at], a;" KERNELITES_MEET
     "$0 d, [far], b;" KERNELITES_MEET "ld.shared.u32 e, [at];",
     k_exact, 2, 2},
    {"atom.shared::cluster.<exch,and>.b32", "a:u32 b:u32 -> d:u32 e:u32",
     ".shared .align 4 .b8 cells[1024]; .reg .b32 at, far, next; mov.u32 at, cells; mad.lo.u32 at, tid, 4, "
     "at;"
     "xor.b32 next, rank, 1; mapa.shared::cluster.u32 far, at, next; st.shared.u32 [at], a;" KERNELITES_MEET
     "$0 d, [far], b;" KERNELITES_MEET "ld.shared.u32 e, [at];",
     k_exact, 2, 2},
    {"red.shared::cluster.add.<u32,f32>", "a:$1 b:$1 -> e:$1",
     ".shared .align 4 .b8 cells[1024]; .reg .b32 at, far, next; mov.u32 at, cells; mad.lo.u32 at, tid, 4, "
     "at;"
     "xor.b32 next, rank, 1; mapa.shared::cluster.u32 far, at, next; st.shared.$1 [at], a;" KERNELITES_MEET
     "$0 [far], b;" KERNELITES_MEET "ld.shared.$1 e, [at];",
     k_exact, 2, 2},
    {"barrier.cluster.arrive.relaxed behind a fence", "a[4]:b32 -> d:b32",
     KERNELITES_CLUSTER
     "st.shared.v4.b32 [at], {a0, a1, a2, a3}; fence.acq_rel.cluster; $0;"
     "barrier.cluster.wait.acquire; ld.shared::cluster.v4.b32 {e0, e1, e2, e3}, [far];" KERNELITES_MEET
         KERNELITES_DIGEST_E,
     k_exact, 2, 2},
};

constexpr Row k_asynchronous[] = {
    {"mbarrier.arrive.release.cluster.shared::cluster.b64", "a:b32 -> d:b32",
     KERNELITES_CLUSTER KERNELITES_MEET
     "st.shared::cluster.b32 [far], a; bar.sync 0; @leads $0 _, [far_b];" KERNELITES_WAIT
     "ld.shared.b32 d, [at];" KERNELITES_MEET,
     k_exact, 2, 4},
    {"st.async.shared::cluster.mbarrier::complete_tx::bytes.<b32>", "a:$1 -> d:$1",
     KERNELITES_CLUSTER KERNELITES_MEET KERNELITES_EXPECT("256") "$0 [far], a, [far_b];" KERNELITES_WAIT
                                                                 "ld.shared.$1 d, [at];" KERNELITES_MEET,
     k_exact, 2, 2},
    {"st.async.shared::cluster.mbarrier::complete_tx::bytes.<b64>", "a:$1 -> d:$1",
     KERNELITES_CLUSTER KERNELITES_MEET KERNELITES_EXPECT("512") "$0 [far], a, [far_b];" KERNELITES_WAIT
                                                                 "ld.shared.$1 d, [at];" KERNELITES_MEET,
     k_exact, 2, 2},
    {"st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32", "a[4]:b32 -> d:b32",
     KERNELITES_CLUSTER KERNELITES_MEET KERNELITES_EXPECT(
         "1024") "$0 [far], {a0, a1, a2, a3}, [far_b];" KERNELITES_WAIT KERNELITES_READ_MINE KERNELITES_MEET,
     k_exact, 2, 4},
    {"red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.<add,min,max,inc,dec>.u32",
     "a:u32 c:u32 -> d:u32",
     KERNELITES_CLUSTER "st.shared.u32 [at], c;" KERNELITES_MEET KERNELITES_EXPECT(
         "256") "$0 [far], a, [far_b];" KERNELITES_WAIT "ld.shared.u32 d, [at];" KERNELITES_MEET,
     k_exact, 2, 2},
    {"red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.<and,or,xor>.b32",
     "a:b32 c:b32 -> d:b32",
     KERNELITES_CLUSTER "st.shared.b32 [at], c;" KERNELITES_MEET KERNELITES_EXPECT(
         "256") "$0 [far], a, [far_b];" KERNELITES_WAIT "ld.shared.b32 d, [at];" KERNELITES_MEET,
     k_exact, 2, 2},
    {"cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes", "a[4]:b32 -> d:b32",
     KERNELITES_CLUSTER
     "st.shared.v4.b32 [at+2048], {a0, a1, a2, a3}; fence.proxy.async;" KERNELITES_MEET KERNELITES_EXPECT(
         "1024") ".reg .b32 from; add.u32 from, t, 2048; @leads $0 [far_t], [from], 1024, "
                 "[far_b];" KERNELITES_WAIT KERNELITES_READ_MINE KERNELITES_MEET,
     k_exact, 2, 4},
    {"cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.<add,min,max>.<u32,s32>",
     "a[4]:$2 c[4]:$2 -> d:b32",
     KERNELITES_CLUSTER
     "st.shared.v4.b32 [at+2048], {a0, a1, a2, a3}; st.shared.v4.b32 [at], {c0, c1, c2, c3};"
     "fence.proxy.async;" KERNELITES_MEET KERNELITES_EXPECT(
         "1024") ".reg .b32 from; add.u32 from, t, 2048; @leads $0 [far_t], [from], 1024, "
                 "[far_b];" KERNELITES_WAIT KERNELITES_READ_MINE KERNELITES_MEET,
     k_exact, 2, 2},
    {"cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.<and,or,xor>.b32",
     "a[4]:b32 c[4]:b32 -> d:b32",
     KERNELITES_CLUSTER
     "st.shared.v4.b32 [at+2048], {a0, a1, a2, a3}; st.shared.v4.b32 [at], {c0, c1, c2, c3};"
     "fence.proxy.async;" KERNELITES_MEET KERNELITES_EXPECT(
         "1024") ".reg .b32 from; add.u32 from, t, 2048; @leads $0 [far_t], [from], 1024, "
                 "[far_b];" KERNELITES_WAIT KERNELITES_READ_MINE KERNELITES_MEET,
     k_exact, 2, 2},
    {"cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.<add>.u64",
     "a[4]:b32 c[4]:b32 -> d:b32",
     KERNELITES_CLUSTER
     "st.shared.v4.b32 [at+2048], {a0, a1, a2, a3}; st.shared.v4.b32 [at], {c0, c1, c2, c3};"
     "fence.proxy.async;" KERNELITES_MEET KERNELITES_EXPECT(
         "1024") ".reg .b32 from; add.u32 from, t, 2048; @leads $0 [far_t], [from], 1024, "
                 "[far_b];" KERNELITES_WAIT KERNELITES_READ_MINE KERNELITES_MEET,
     k_exact, 2, 2},
};

/// 8 KiB of operands as rows of 64 bytes; boxes of 16 rows.
constexpr TensorMap k_rows{.dtype = Dtype::f16,
                           .rank = 2,
                           .extent = {32, 128, 1, 1, 1},
                           .stride_bytes = {2, 64, 0, 0, 0},
                           .box = {32, 16, 1, 1, 1},
                           .swizzle_bytes = 64};

constexpr Row k_multicast[] = {
    {"cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster",
     "a[4]:b32 -> d:b32",
     KERNELITES_CLUSTER KERNELITES_EXPECT("1024") KERNELITES_MEET
     ".reg .b16 mask; mov.b16 mask, 15; .reg .pred one; setp.eq.and.u32 one, rank, 2, leads;"
     "@one $0 [t], [%in], 1024, [b], mask;" KERNELITES_WAIT KERNELITES_READ_MINE KERNELITES_MEET,
     k_exact, 2, 4},
    {"tensor load 2d multicast", "a[16]:b32 -> d:b32",
     KERNELITES_CLUSTER KERNELITES_EXPECT("2048") KERNELITES_MEET
     ".reg .b16 mask; mov.b16 mask, 3; .reg .b32 row, to; mad.lo.u32 row, rank, 40, -5; mad.lo.u32 to, rank, "
     "1024, t;"
     "@leads "
     "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster"
     " [to], [map, {8, row}], [b], mask;" KERNELITES_WAIT
     ".reg .b32 f; ld.shared.v4.b32 {e0, e1, e2, e3}, [at];" KERNELITES_DIGEST_E "mov.b32 f, d;"
     "ld.shared.v4.b32 {e0, e1, e2, e3}, [at+1024];" KERNELITES_DIGEST_E
     "mad.lo.u32 d, f, 0x9e3779b1, d;" KERNELITES_MEET,
     k_exact, 2, 2, k_rows},
};

}  // namespace

std::vector<Family> cluster_families() {
  return {{"cluster registers", k_registers},
          {"distributed shared memory", k_distributed},
          {"asynchronous copies in a cluster", k_asynchronous},
          {"multicast", k_multicast}};
}

}  // namespace kernelites::recorded
