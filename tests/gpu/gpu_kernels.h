// SPDX-License-Identifier: Apache-2.0
// Small kernels for the tests of the real device, as PTX: they need no compiler but the driver's.
#pragma once

namespace kernelites {

// Kernels, with their parameters:
//   scale         (out, in, n: u32, bias: f32)  out[i] = 2 in[i] + bias
//   poke          (address)                     writes 7 there
//   spin          (flag)                        runs until *flag is not zero
//   cluster_ranks (out)                         out[block] = 100 * blocks in the cluster + rank in it
//   last_shared   (out, bytes: u32)             writes and reads the last word of dynamic shared memory
//   meet          (count, out)                  all blocks wait for each other: needs a cooperative launch
//   producer      (data)                        lets its dependents start, then writes 41 late
//   consumer      (data)                        waits for the producer, data[1] = data[0] + 1
//   tma_tile      (map, out, x: u32, y: u32)    one 32 x 32 tile of f32 through the copy engine; 1024 threads
inline constexpr const char* k_gpu_kernels_ptx = R"(
.version 8.0
.target sm_90
.address_size 64

.visible .entry scale(.param .u64 out, .param .u64 in, .param .u32 n, .param .f32 bias)
{
  .reg .pred %done;
  .reg .b32 %block, %threads, %thread, %index, %n;
  .reg .f32 %value, %bias, %two;
  .reg .b64 %to, %from, %offset;
  ld.param.u64 %to, [out];
  ld.param.u64 %from, [in];
  ld.param.u32 %n, [n];
  ld.param.f32 %bias, [bias];
  mov.u32 %block, %ctaid.x;
  mov.u32 %threads, %ntid.x;
  mov.u32 %thread, %tid.x;
  mad.lo.u32 %index, %block, %threads, %thread;
  setp.ge.u32 %done, %index, %n;
  @%done bra end;
  mul.wide.u32 %offset, %index, 4;
  add.u64 %from, %from, %offset;
  add.u64 %to, %to, %offset;
  ld.global.f32 %value, [%from];
  mov.f32 %two, 0f40000000;
  fma.rn.f32 %value, %value, %two, %bias;
  st.global.f32 [%to], %value;
end:
  ret;
}

.visible .entry poke(.param .u64 address)
{
  .reg .b32 %seven;
  .reg .b64 %to;
  ld.param.u64 %to, [address];
  mov.u32 %seven, 7;
  st.global.u32 [%to], %seven;
  ret;
}

.visible .entry spin(.param .u64 flag)
{
  .reg .pred %more;
  .reg .b32 %value;
  .reg .b64 %from;
  ld.param.u64 %from, [flag];
again:
  ld.volatile.global.u32 %value, [%from];
  setp.eq.u32 %more, %value, 0;
  @%more bra again;
  ret;
}

.visible .entry cluster_ranks(.param .u64 out)
{
  .reg .b32 %rank, %size, %block, %value;
  .reg .b64 %to, %offset;
  ld.param.u64 %to, [out];
  mov.u32 %rank, %cluster_ctarank;
  mov.u32 %size, %cluster_nctarank;
  mov.u32 %block, %ctaid.x;
  mad.lo.u32 %value, %size, 100, %rank;
  mul.wide.u32 %offset, %block, 4;
  add.u64 %to, %to, %offset;
  st.global.u32 [%to], %value;
  ret;
}

.extern .shared .align 16 .b8 dynamic[];

.visible .entry last_shared(.param .u64 out, .param .u32 bytes)
{
  .reg .b32 %at, %base, %value;
  .reg .b64 %to;
  ld.param.u64 %to, [out];
  ld.param.u32 %at, [bytes];
  mov.u32 %base, dynamic;
  add.u32 %at, %at, %base;
  mov.u32 %value, 1234;
  st.shared.u32 [%at+-4], %value;
  bar.sync 0;
  ld.shared.u32 %value, [%at+-4];
  st.global.u32 [%to], %value;
  ret;
}

.visible .entry meet(.param .u64 count, .param .u64 out)
{
  .reg .pred %more;
  .reg .b32 %old, %blocks, %seen, %block;
  .reg .b64 %counter, %to, %offset;
  ld.param.u64 %counter, [count];
  ld.param.u64 %to, [out];
  mov.u32 %blocks, %nctaid.x;
  mov.u32 %block, %ctaid.x;
  atom.global.add.u32 %old, [%counter], 1;
again:
  ld.volatile.global.u32 %seen, [%counter];
  setp.lt.u32 %more, %seen, %blocks;
  @%more bra again;
  mul.wide.u32 %offset, %block, 4;
  add.u64 %to, %to, %offset;
  st.global.u32 [%to], %seen;
  ret;
}

.visible .entry producer(.param .u64 data)
{
  .reg .pred %more;
  .reg .b32 %value;
  .reg .b64 %to, %start, %now;
  ld.param.u64 %to, [data];
  griddepcontrol.launch_dependents;
  mov.u64 %start, %globaltimer;
again:
  mov.u64 %now, %globaltimer;
  sub.u64 %now, %now, %start;
  setp.lt.u64 %more, %now, 2000000;
  @%more bra again;
  mov.u32 %value, 41;
  st.global.u32 [%to], %value;
  ret;
}

.visible .entry consumer(.param .u64 data)
{
  .reg .b32 %value;
  .reg .b64 %to;
  ld.param.u64 %to, [data];
  griddepcontrol.wait;
  ld.volatile.global.u32 %value, [%to];
  add.u32 %value, %value, 1;
  st.global.u32 [%to+4], %value;
  ret;
}

.visible .entry tma_tile(.param .align 64 .b8 map[128], .param .u64 out, .param .u32 x, .param .u32 y)
{
  .reg .pred %other, %ready;
  .reg .b32 %thread, %barrier, %tile, %x, %y, %at, %bytes;
  .reg .f32 %value;
  .reg .b64 %map, %to, %offset, %state;
  .shared .align 128 .b8 tile[4096];
  .shared .align 8 .b64 barrier;
  ld.param.u64 %to, [out];
  ld.param.u32 %x, [x];
  ld.param.u32 %y, [y];
  mov.b64 %map, map;
  cvta.param.u64 %map, %map;
  mov.u32 %thread, %tid.x;
  mov.u32 %barrier, barrier;
  mov.u32 %tile, tile;
  setp.ne.u32 %other, %thread, 0;
  @%other bra initialised;
  mbarrier.init.shared.b64 [%barrier], 1;
  fence.mbarrier_init.release.cluster;
initialised:
  bar.sync 0;
  @%other bra wait;
  mov.u32 %bytes, 4096;
  mbarrier.arrive.expect_tx.shared.b64 %state, [%barrier], %bytes;
  cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%tile], [%map, {%x, %y}], [%barrier];
wait:
  mbarrier.try_wait.parity.shared.b64 %ready, [%barrier], 0;
  @!%ready bra wait;
  shl.b32 %at, %thread, 2;
  cvt.u64.u32 %offset, %at;
  add.u32 %at, %at, %tile;
  ld.shared.f32 %value, [%at];
  add.u64 %to, %to, %offset;
  st.global.f32 [%to], %value;
  ret;
}
)";

}  // namespace kernelites
