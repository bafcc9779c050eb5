// SPDX-License-Identifier: Apache-2.0
// A launch in a process of its own, alone and under a tool.
#include "evaluators/worker/pipeline/lone_launch.h"

#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

// copy: thread i copies word i from `in` to `out`, and from word `offset` + i on.
constexpr const char* k_lone_ptx = R"(.version 8.8
.target sm_90a
.address_size 64
.visible .entry copy(.param .u64 in, .param .u64 out, .param .u32 offset) {
  .reg .u64 %rd<7>; .reg .u32 %r<5>;
  ld.param.u64 %rd1, [in];
  ld.param.u64 %rd2, [out];
  ld.param.u32 %r1, [offset];
  mov.u32 %r2, %tid.x;
  add.u32 %r3, %r1, %r2;
  mul.wide.u32 %rd3, %r3, 4;
  add.u64 %rd4, %rd1, %rd3;
  ld.global.u32 %r4, [%rd4];
  mul.wide.u32 %rd5, %r2, 4;
  add.u64 %rd6, %rd2, %rd5;
  st.global.u32 [%rd6], %r4;
  ret;
}
)";

LoneOutcome launch(const std::vector<std::string>& tool, std::int64_t offset) {
  PlannedLaunch planned{.kernel = "copy", .grid = {1, 1, 1}, .block = {32, 1, 1}};
  planned.arguments = {{.kind = ArgumentKind::tensor, .index = 0},
                       {.kind = ArgumentKind::tensor, .index = 1},
                       {.kind = ArgumentKind::i32, .integer = offset}};
  const std::vector<LoneTensor> tensors{
      {.name = "in", .bytes = 128, .contents = std::vector<std::byte>(128, std::byte{1})},
      {.name = "out", .bytes = 128}};
  return launch_alone(tool, "vgpu", {.ptx = k_lone_ptx}, {.launches = {planned}}, {{"copy", "copy"}}, tensors,
                      30);
}

}  // namespace

TEST_CASE("a launch without fault ends with code 0") {
  const LoneOutcome outcome = launch({}, 0);
  INFO((outcome.fault ? outcome.fault->message : ""));
  CHECK_FALSE(outcome.fault.has_value());
  CHECK(outcome.exit_code == 0);
}

TEST_CASE("a launch that reads beyond an input says so") {
  const LoneOutcome outcome = launch({}, 1);
  REQUIRE(outcome.fault.has_value());
  CHECK(outcome.fault->reason == "out_of_bounds");
}

TEST_CASE("a tool runs the launch, and its own exit code is told") {
  CHECK(launch({"/usr/bin/env"}, 0).exit_code == 0);
  const LoneOutcome outcome = launch({"/bin/sh", "-c", "\"$@\"; exit 86", "sh"}, 0);
  CHECK_FALSE(outcome.fault.has_value());
  CHECK(outcome.exit_code == 86);
}

TEST_CASE("a tool that never starts the launch is a child that died") {
  const LoneOutcome outcome = launch({"/bin/sh", "-c", "exit 3"}, 0);
  REQUIRE(outcome.fault.has_value());
  CHECK(outcome.fault->reason == "child_died");
  CHECK(outcome.exit_code == 3);
}
