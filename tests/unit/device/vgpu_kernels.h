// SPDX-License-Identifier: Apache-2.0
// Small kernels as PTX, and their launches, for the tests of the virtual GPU behind the device seam.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "evaluators/worker/device/device.h"

namespace kernelites {

// scale (out, in, n: u32)  out[i] = 2 in[i], a thread for each element
// poke  (address)          writes 7 there
// spin  (flag)             runs until *flag is not zero
// draw  (counter, n: u32)  every warp takes numbers from the counter until they are n or more
inline constexpr const char* k_vgpu_kernels_ptx = R"(
.version 8.0
.target sm_90
.address_size 64

.visible .entry scale(.param .u64 scale_out, .param .u64 scale_in, .param .u32 scale_n)
{
  .reg .pred %p<2>;
  .reg .b32 %r<5>;
  .reg .f32 %f<3>;
  .reg .b64 %rd<7>;
  ld.param.u64 %rd1, [scale_out];
  ld.param.u64 %rd2, [scale_in];
  ld.param.u32 %r1, [scale_n];
  mov.u32 %r2, %ctaid.x;
  mov.u32 %r3, %ntid.x;
  mov.u32 %r4, %tid.x;
  mad.lo.s32 %r2, %r2, %r3, %r4;
  setp.ge.u32 %p1, %r2, %r1;
  @%p1 bra $end;
  mul.wide.u32 %rd3, %r2, 4;
  add.s64 %rd4, %rd2, %rd3;
  add.s64 %rd5, %rd1, %rd3;
  ld.global.f32 %f1, [%rd4];
  add.f32 %f2, %f1, %f1;
  st.global.f32 [%rd5], %f2;
$end:
  ret;
}

.visible .entry poke(.param .u64 poke_address)
{
  .reg .b32 %r<2>;
  .reg .b64 %rd<2>;
  ld.param.u64 %rd1, [poke_address];
  mov.u32 %r1, 7;
  st.global.u32 [%rd1], %r1;
  ret;
}

.visible .entry spin(.param .u64 spin_flag)
{
  .reg .pred %p<2>;
  .reg .b32 %r<2>;
  .reg .b64 %rd<2>;
  ld.param.u64 %rd1, [spin_flag];
$again:
  ld.global.u32 %r1, [%rd1];
  setp.eq.s32 %p1, %r1, 0;
  @%p1 bra $again;
  ret;
}

.visible .entry draw(.param .u64 draw_counter, .param .u32 draw_n)
{
  .reg .pred %p<2>;
  .reg .b32 %r<3>;
  .reg .b64 %rd<2>;
  ld.param.u64 %rd1, [draw_counter];
  ld.param.u32 %r2, [draw_n];
$more:
  atom.global.add.u32 %r1, [%rd1], 1;
  setp.lt.u32 %p1, %r1, %r2;
  @%p1 bra $more;
  ret;
}
)";

inline worker::ModuleId load_vgpu_kernels(worker::Device& device) {
  return device.load({.ptx = k_vgpu_kernels_ptx, .cubin = {}, .registers = {{"scale", 16}}});
}

template <typename T>
worker::BoundArgument vgpu_argument(T value) {
  worker::BoundArgument bound;
  bound.bytes.resize(sizeof value);
  std::memcpy(bound.bytes.data(), &value, sizeof value);
  return bound;
}

inline worker::BoundLaunch vgpu_launch(worker::ModuleId module, const std::string& kernel,
                                       std::vector<worker::BoundArgument> arguments) {
  worker::BoundLaunch launch{.module = module, .kernel = kernel};
  launch.plan.kernel = kernel;
  launch.arguments = std::move(arguments);
  return launch;
}

inline worker::BoundLaunch scale_launch(worker::ModuleId module, const worker::Buffer& out,
                                        const worker::Buffer& in, std::uint32_t count) {
  auto launch = vgpu_launch(module, "scale",
                            {vgpu_argument(out.address), vgpu_argument(in.address), vgpu_argument(count)});
  launch.plan.block = {128, 1, 1};
  launch.plan.grid = {(count + 127) / 128, 1, 1};
  return launch;
}

}  // namespace kernelites
