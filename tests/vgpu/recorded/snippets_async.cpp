// SPDX-License-Identifier: Apache-2.0
// Snippets of mbarriers and TMA: bulk and tensor copies, stores and reductions. Thread 0 issues; all of a block look at
// what is left.
#include "tests/vgpu/recorded/snippet_tables.h"

namespace kernelites::recorded {
namespace {

// An mbarrier for one arrival at b, 4 KiB at t; thread 0 leads.
#define KERNELITES_ASYNC                                                                       \
  ".shared .align 1024 .b8 tile[4096]; .shared .align 8 .b64 bars[2]; .reg .pred leads, done;" \
  ".reg .b32 t, b, at, e<4>; mov.u32 t, tile; mov.u32 b, bars; setp.eq.u32 leads, thread, 0;"  \
  "@leads mbarrier.init.shared::cta.b64 [b], 1; @leads fence.mbarrier_init.release.cluster; bar.sync 0;"
#define KERNELITES_EXPECT(bytes) "@leads mbarrier.arrive.expect_tx.shared::cta.b64 _, [b], " bytes ";"
#define KERNELITES_WAIT "WAIT: mbarrier.try_wait.parity.shared::cta.b64 done, [b], 0; @!done bra WAIT;"
#define KERNELITES_DIGEST_E \
  "mad.lo.u32 d, e0, 0x9e3779b1, e1; mad.lo.u32 d, d, 0x9e3779b1, e2; mad.lo.u32 d, d, 0x9e3779b1, e3;"
// The thread's 16 bytes of the first 2 KiB of shared memory.
#define KERNELITES_READ_TILE \
  "mad.lo.u32 at, thread, 16, t; ld.shared.v4.b32 {e0, e1, e2, e3}, [at];" KERNELITES_DIGEST_E
// The same of 1 KiB: half of the threads.
#define KERNELITES_READ_KIB                                                                  \
  ".reg .pred low; setp.lt.u32 low, thread, 64; mov.b32 d, 0; mov.b32 e0, 0; mov.b32 e1, 0;" \
  "mov.b32 e2, 0; mov.b32 e3, 0; mad.lo.u32 at, thread, 16, t;"                              \
  "@low ld.shared.v4.b32 {e0, e1, e2, e3}, [at];" KERNELITES_DIGEST_E
// Operands a of all threads into shared memory, for the asynchronous proxy.
#define KERNELITES_FILL_TILE \
  "mad.lo.u32 at, thread, 16, t; st.shared.v4.b32 [at], {a0, a1, a2, a3}; fence.proxy.async; bar.sync 0;"
// Operands c of all threads into scratch.
#define KERNELITES_FILL_SCRATCH                                                                        \
  ".reg .b64 mine; mad.wide.u32 mine, thread, 16, scratch; st.global.v4.b32 [mine], {c0, c1, c2, c3};" \
  "fence.proxy.async; bar.sync 0;"
#define KERNELITES_STORED \
  "@leads cp.async.bulk.commit_group; @leads cp.async.bulk.wait_group 0; fence.proxy.async; bar.sync 0;"
#define KERNELITES_READ_SCRATCH                                                   \
  ".reg .b64 from; mad.wide.u32 from, thread, 16, scratch;"                       \
  "ld.relaxed.gpu.global.b32 e0, [from]; ld.relaxed.gpu.global.b32 e1, [from+4];" \
  "ld.relaxed.gpu.global.b32 e2, [from+8]; ld.relaxed.gpu.global.b32 e3, [from+12];" KERNELITES_DIGEST_E

constexpr TensorMap rows_of(Dtype type, std::int64_t element_bytes, std::int64_t width, std::int64_t height,
                            std::uint32_t box_width, std::uint32_t box_height, int swizzle_bytes,
                            bool is_scratch = false) {
  TensorMap map;
  map.is_workspace = is_scratch;
  map.dtype = type;
  map.rank = 2;
  map.extent = {width, height, 1, 1, 1};
  map.stride_bytes = {element_bytes, width * element_bytes, 0, 0, 0};
  map.box = {box_width, box_height, 1, 1, 1};
  map.swizzle_bytes = swizzle_bytes;
  return map;
}

/// Boxes of 4 x 2 x 2 x 2 x 2 (16 bytes along the first axis).
constexpr TensorMap five_dimensions() {
  TensorMap map;
  map.dtype = Dtype::f32;
  map.rank = 5;
  map.extent = {8, 4, 4, 4, 2};
  map.stride_bytes = {4, 32, 128, 512, 2048};
  map.box = {4, 2, 2, 2, 2};
  return map;
}

constexpr TensorMap one_dimension() {
  TensorMap map;
  map.dtype = Dtype::f16;
  map.rank = 1;
  map.extent = {1000, 1, 1, 1, 1};
  map.stride_bytes = {2, 0, 0, 0, 0};
  map.box = {256, 1, 1, 1, 1};
  return map;
}
constexpr TensorMap every_other_row() {
  TensorMap map = rows_of(Dtype::f16, 2, 64, 16, 64, 16, 128);
  map.element_stride = {1, 2, 1, 1, 1};
  return map;
}

constexpr Row k_barriers[] = {
    {"mbarrier.test_wait.shared::cta.b64 of two arrivals", "a:b32 -> p:pred q:pred r:pred",
     KERNELITES_ASYNC
     ".reg .b64 token; .reg .b32 own; mad.lo.u32 own, warp, 8, t; .reg .pred first; setp.eq.u32 first, lane, "
     "0;"
     "@first mbarrier.init.shared::cta.b64 [own], 64; bar.sync 0;"
     "mbarrier.arrive.shared::cta.b64 token, [own]; mbarrier.test_wait.shared::cta.b64 p, [own], token;"
     "bar.warp.sync -1; mbarrier.arrive.shared::cta.b64 _, [own]; bar.warp.sync -1;"
     "mbarrier.test_wait.shared::cta.b64 q, [own], token;"
     "mbarrier.test_wait.parity.shared::cta.b64 r, [own], 1;"},
    {"mbarrier.arrive_drop.shared::cta.b64", "a:b32 -> p:pred q:pred",
     KERNELITES_ASYNC
     ".reg .b32 own; mad.lo.u32 own, warp, 8, t; .reg .pred first; setp.lt.u32 first, lane, 8;"
     ".reg .pred one; setp.eq.u32 one, lane, 0; @one mbarrier.init.shared::cta.b64 [own], 32; bar.sync 0;"
     "@first mbarrier.arrive_drop.shared::cta.b64 _, [own]; @!first mbarrier.arrive.shared::cta.b64 _, [own];"
     "bar.warp.sync -1; mbarrier.test_wait.parity.shared::cta.b64 p, [own], 0; bar.warp.sync -1;"
     "@!first mbarrier.arrive.shared::cta.b64 _, [own]; bar.warp.sync -1;"
     "mbarrier.test_wait.parity.shared::cta.b64 q, [own], 1;"},
    {"mbarrier.expect_tx and complete_tx", "a:b32 -> p:pred q:pred r:pred",
     KERNELITES_ASYNC "@leads mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [b], 48; @leads "
                      "mbarrier.arrive.shared::cta.b64 _, [b];"
                      "@leads mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [b], 16; bar.sync 0;"
                      "mbarrier.test_wait.parity.shared::cta.b64 p, [b], 0; bar.sync 0;"
                      "@leads mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [b], 32; bar.sync 0;"
                      "mbarrier.test_wait.parity.shared::cta.b64 q, [b], 0; "
                      "mbarrier.test_wait.parity.shared::cta.b64 r, [b], 1;"},
    {"mbarrier.arrive.noComplete.release.cta.shared::cta.b64 and pending_count",
     "a:b32 -> d:b32 f:b32 p:pred",
     KERNELITES_ASYNC
     ".reg .b64 one, two; .reg .b32 own; mad.lo.u32 own, warp, 8, t; .reg .pred first; setp.eq.u32 first, "
     "lane, 0;"
     "@first mbarrier.init.shared::cta.b64 [own], 9; bar.sync 0; mov.b64 one, 0; mov.b64 two, 0;"
     "@first mbarrier.arrive.noComplete.release.cta.shared::cta.b64 one, [own], 3;"
     "@first mbarrier.arrive.noComplete.release.cta.shared::cta.b64 two, [own], 5; bar.warp.sync -1;"
     "mov.b32 d, 0; mov.b32 f, 0; @first mbarrier.pending_count.b64 d, one;"
     "@first mbarrier.pending_count.b64 f, two; bar.warp.sync -1; @first mbarrier.arrive.shared::cta.b64 _, "
     "[own];"
     "bar.warp.sync -1; mbarrier.test_wait.parity.shared::cta.b64 p, [own], 0;"},
    {"mbarrier.arrive_drop.noComplete.release.cta.shared::cta.b64", "a:b32 -> d:b32 p:pred q:pred",
     KERNELITES_ASYNC
     ".reg .b64 token; .reg .b32 own; mad.lo.u32 own, warp, 8, t; .reg .pred first; setp.eq.u32 first, lane, "
     "0;"
     "@first mbarrier.init.shared::cta.b64 [own], 9; bar.sync 0; mov.b64 token, 0; mov.b32 d, 0;"
     "@first mbarrier.arrive_drop.noComplete.release.cta.shared::cta.b64 token, [own], 2;"
     "@first mbarrier.pending_count.b64 d, token; @first mbarrier.arrive.shared::cta.b64 _, [own], 7; "
     "bar.warp.sync -1;"
     "mbarrier.test_wait.parity.shared::cta.b64 p, [own], 0; bar.warp.sync -1;"
     "@first mbarrier.arrive.shared::cta.b64 _, [own], 7; bar.warp.sync -1;"
     "mbarrier.test_wait.parity.shared::cta.b64 q, [own], 1;"},
};

#define KERNELITES_TENSOR_LOAD(dimensions, coordinates, bytes)                                          \
  KERNELITES_ASYNC KERNELITES_EXPECT(bytes) "@leads cp.async.bulk.tensor." dimensions                   \
                                            ".shared::cluster.global.tile.mbarrier::complete_tx::bytes" \
                                            " [t], [map, {" coordinates "}], [b];" KERNELITES_WAIT

constexpr Row k_loads[] = {
    {"cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes", "a[4]:b32 -> d:b32",
     KERNELITES_ASYNC KERNELITES_EXPECT(
         "2048") "@leads $0 [t], [%in], 2048, [b];" KERNELITES_WAIT KERNELITES_READ_TILE},
    {"tensor load 2d f16 in rows", "a[8]:b32 -> d:b32",
     KERNELITES_TENSOR_LOAD("2d", "24, 3", "2048") KERNELITES_READ_TILE, k_exact, 4, 1,
     rows_of(Dtype::f16, 2, 64, 32, 32, 32, 0)},
    {"tensor load 2d f16 32 bytes beyond the end", "a[8]:b32 -> d:b32",
     KERNELITES_TENSOR_LOAD("2d", "56, 5", "1024") KERNELITES_READ_KIB, k_exact, 4, 1,
     rows_of(Dtype::f16, 2, 64, 32, 16, 32, 32)},
    {"tensor load 2d bf16 64 bytes before the start", "a[8]:b32 -> d:b32",
     KERNELITES_TENSOR_LOAD("2d", "-8, -3", "2048") KERNELITES_READ_TILE, k_exact, 4, 1,
     rows_of(Dtype::bf16, 2, 64, 32, 32, 32, 64)},
    {"tensor load 2d f16 128 bytes", "a[8]:b32 -> d:b32",
     KERNELITES_TENSOR_LOAD("2d", "0, 8", "2048") KERNELITES_READ_TILE, k_exact, 4, 1,
     rows_of(Dtype::f16, 2, 64, 32, 64, 16, 128)},
    {"tensor load 2d f32 128 bytes beyond a corner", "a[8]:b32 -> d:b32",
     KERNELITES_TENSOR_LOAD("2d", "12, 25", "2048") KERNELITES_READ_TILE, k_exact, 4, 1,
     rows_of(Dtype::f32, 4, 32, 32, 32, 16, 128)},
    {"tensor load 2d u8 128 bytes", "a[8]:b32 -> d:b32",
     KERNELITES_TENSOR_LOAD("2d", "-16, 17", "2048") KERNELITES_READ_TILE, k_exact, 4, 1,
     rows_of(Dtype::u8, 1, 128, 32, 128, 16, 128)},
    {"tensor load 2d i64 in rows", "a[8]:b32 -> d:b32",
     KERNELITES_TENSOR_LOAD("2d", "6, 30", "2048") KERNELITES_READ_TILE, k_exact, 4, 1,
     rows_of(Dtype::i64, 8, 16, 32, 16, 16, 0)},
    {"tensor load 2d every other row", "a[4]:b32 -> d:b32",
     KERNELITES_TENSOR_LOAD("2d", "0, 3", "1024") KERNELITES_READ_KIB, k_exact, 4, 1, every_other_row()},
    {"tensor load 5d", "a[8]:b32 -> d:b32",
     KERNELITES_TENSOR_LOAD(
         "5d", "4, 3, 1, 0, 0",
         "256") ".reg .pred low; setp.lt.u32 low, thread, 64; mov.b32 d, 0; mad.lo.u32 at, thread, 4, t;"
                "@low ld.shared.b32 d, [at];",
     k_exact, 4, 1, five_dimensions()},
    {"tensor load 1d", "a[8]:b32 -> d:b32",
     KERNELITES_TENSOR_LOAD("1d", "800", "512") "mad.lo.u32 at, thread, 4, t; ld.shared.b32 d, [at];",
     k_exact, 4, 1, one_dimension()},
};

#define KERNELITES_TENSOR_STORE(coordinates)                                                  \
  KERNELITES_ASYNC KERNELITES_FILL_TILE                                                       \
      "@leads cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [map, {" coordinates \
      "}], [t];" KERNELITES_STORED KERNELITES_READ_SCRATCH
#define KERNELITES_TENSOR_REDUCE(coordinates)                                                           \
  KERNELITES_ASYNC KERNELITES_FILL_SCRATCH KERNELITES_FILL_TILE                                         \
      "@leads cp.reduce.async.bulk.tensor.2d.global.shared::cta.$1.tile.bulk_group [map, {" coordinates \
      "}], [t];" KERNELITES_STORED KERNELITES_READ_SCRATCH
#define KERNELITES_BULK_REDUCE                                  \
  KERNELITES_ASYNC KERNELITES_FILL_SCRATCH KERNELITES_FILL_TILE \
      "@leads $0 [scratch], [t], 2048;" KERNELITES_STORED KERNELITES_READ_SCRATCH

constexpr Row k_stores[] = {
    {"cp.async.bulk.global.shared::cta.bulk_group", "a[4]:b32 -> d:b32",
     KERNELITES_ASYNC KERNELITES_FILL_TILE
     "@leads $0 [scratch], [t], 2048;" KERNELITES_STORED KERNELITES_READ_SCRATCH},
    {"tensor store 2d f16 128 bytes", "a[4]:b32 -> d:b32", KERNELITES_TENSOR_STORE("0, 3"), k_exact, 4, 1,
     rows_of(Dtype::f16, 2, 64, 16, 64, 16, 128, true)},
    {"tensor store 2d f16 64 bytes beyond a corner", "a[4]:b32 -> d:b32", KERNELITES_TENSOR_STORE("48, 5"),
     k_exact, 4, 1, rows_of(Dtype::f16, 2, 64, 16, 32, 16, 64, true)},
    {"tensor store 2d f32 32 bytes beyond a corner", "a[4]:b32 -> d:b32", KERNELITES_TENSOR_STORE("28, 9"),
     k_exact, 4, 1, rows_of(Dtype::f32, 4, 32, 16, 8, 16, 32, true)},
    {"tensor store 2d bf16 32 bytes", "a[4]:b32 -> d:b32", KERNELITES_TENSOR_STORE("16, 2"), k_exact, 4, 1,
     rows_of(Dtype::bf16, 2, 64, 16, 16, 8, 32, true)},
};

constexpr Row k_reductions[] = {
    {"cp.reduce.async.bulk.global.shared::cta.bulk_group.<add,min,max>.<u32,s32,u64>",
     "a[4]:b32 c[4]:b32 -> d:b32", KERNELITES_BULK_REDUCE},
    {"cp.reduce.async.bulk.global.shared::cta.bulk_group.<min,max>.<s64>", "a[4]:b32 c[4]:b32 -> d:b32",
     KERNELITES_BULK_REDUCE},
    {"cp.reduce.async.bulk.global.shared::cta.bulk_group.<inc,dec>.u32", "a[4]:u32/few c[4]:u32/few -> d:b32",
     KERNELITES_BULK_REDUCE},
    {"cp.reduce.async.bulk.global.shared::cta.bulk_group.<and,or,xor>.<b32,b64>",
     "a[4]:b32 c[4]:b32 -> d:b32", KERNELITES_BULK_REDUCE},
    {"cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 <,w>", "a[4]:f32/$1 c[4]:f32/$1 -> d:b32",
     KERNELITES_BULK_REDUCE},
    {"cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f64", "a[4]:b32 c[4]:b32 -> d:b32",
     KERNELITES_BULK_REDUCE},
    {"cp.reduce.async.bulk.global.shared::cta.bulk_group.add.noftz.<f16,bf16>",
     "a[4]:$1x2 c[4]:$1x2 -> d:b32", KERNELITES_BULK_REDUCE},
    {"cp.reduce.async.bulk.global.shared::cta.bulk_group.<min,max>.<f16,bf16>",
     "a[4]:$2x2 c[4]:$2x2 -> d:b32", KERNELITES_BULK_REDUCE},
    {"tensor reduction <add,min,max,and,or,xor> i32", "a[4]:b32 c[4]:b32 -> d:b32",
     KERNELITES_TENSOR_REDUCE("4, 2"), k_exact, 4, 1, rows_of(Dtype::i32, 4, 32, 16, 32, 16, 128, true)},
    {"tensor reduction <min,max> i64", "a[4]:b32 c[4]:b32 -> d:b32", KERNELITES_TENSOR_REDUCE("0, 1"),
     k_exact, 4, 1, rows_of(Dtype::i64, 8, 16, 16, 16, 16, 0, true)},
    {"tensor reduction <add> f32", "a[4]:f32 c[4]:f32 -> d:b32", KERNELITES_TENSOR_REDUCE("0, 0"), k_exact, 4,
     1, rows_of(Dtype::f32, 4, 32, 16, 32, 16, 0, true)},
    {"tensor reduction <add> f64", "a[4]:b32 c[4]:b32 -> d:b32", KERNELITES_TENSOR_REDUCE("0, 0"), k_exact, 4,
     1, rows_of(Dtype::f64, 8, 16, 16, 16, 16, 0, true)},
    {"tensor reduction <add,min,max> f16", "a[4]:f16x2 c[4]:f16x2 -> d:b32", KERNELITES_TENSOR_REDUCE("0, 2"),
     k_exact, 4, 1, rows_of(Dtype::f16, 2, 64, 16, 64, 16, 128, true)},
    {"tensor reduction <add,min,max> bf16", "a[4]:bf16x2 c[4]:bf16x2 -> d:b32",
     KERNELITES_TENSOR_REDUCE("0, 2"), k_exact, 4, 1, rows_of(Dtype::bf16, 2, 64, 16, 64, 16, 128, true)},
};

// An H100 ended each of these with an illegal instruction: an innermost coordinate between the 16-byte pieces of a row,
// a store or reduction that begins before the tensor, a reduction that signed integers do not have.
constexpr Row k_refused[] = {
    {"not a multiple of 16: a load of f32 at byte 4", "a[8]:b32 -> d:b32",
     KERNELITES_TENSOR_LOAD("2d", "1, 0", "2048") KERNELITES_READ_TILE, k_exact, 4, 1,
     rows_of(Dtype::f32, 4, 32, 32, 16, 32, 0)},
    {"not a multiple of 16: a load of f16 at byte 8", "a[8]:b32 -> d:b32",
     KERNELITES_TENSOR_LOAD("2d", "4, 0", "2048") KERNELITES_READ_TILE, k_exact, 4, 1,
     rows_of(Dtype::f16, 2, 64, 32, 32, 32, 64)},
    {"not a multiple of 16: a store of f32 at byte 4", "a[4]:b32 -> d:b32", KERNELITES_TENSOR_STORE("1, 0"),
     k_exact, 4, 1, rows_of(Dtype::f32, 4, 32, 16, 8, 16, 32, true)},
    {"not a multiple of 16: a store of f16 at byte 8", "a[4]:b32 -> d:b32", KERNELITES_TENSOR_STORE("4, 1"),
     k_exact, 4, 1, rows_of(Dtype::f16, 2, 64, 16, 32, 16, 64, true)},
    {"negative coordinate: a store before the first row", "a[4]:b32 -> d:b32",
     KERNELITES_TENSOR_STORE("0, -2"), k_exact, 4, 1, rows_of(Dtype::f16, 2, 64, 16, 64, 16, 128, true)},
    {"negative coordinate: a store before the first column", "a[4]:b32 -> d:b32",
     KERNELITES_TENSOR_STORE("-4, 1"), k_exact, 4, 1, rows_of(Dtype::f32, 4, 32, 16, 8, 64, 32, true)},
    {"negative coordinate: <add> before the first row", "a[4]:f16x2 c[4]:f16x2 -> d:b32",
     KERNELITES_TENSOR_REDUCE("0, -2"), k_exact, 4, 1, rows_of(Dtype::f16, 2, 64, 16, 64, 16, 128, true)},
    {"does not exist: <inc,dec> of i32", "a[4]:b32 c[4]:b32 -> d:b32", KERNELITES_TENSOR_REDUCE("4, 2"),
     k_exact, 4, 1, rows_of(Dtype::i32, 4, 32, 16, 32, 16, 128, true)},
    {"does not exist: <add,and,or,xor> of i64", "a[4]:b32 c[4]:b32 -> d:b32",
     KERNELITES_TENSOR_REDUCE("0, 1"), k_exact, 4, 1, rows_of(Dtype::i64, 8, 16, 16, 16, 16, 0, true)},
};

}  // namespace

std::vector<Family> refused_families() { return {{"refused", k_refused}}; }

std::vector<Family> async_families() {
  return {{"mbarriers", k_barriers},
          {"TMA loads", k_loads},
          {"TMA stores", k_stores},
          {"TMA reductions", k_reductions}};
}

}  // namespace kernelites::recorded
