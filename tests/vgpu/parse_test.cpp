// SPDX-License-Identifier: Apache-2.0
// What the parser accepts and refuses.
#include "engine/core/error.h"
#include "evaluators/worker/vgpu/machine.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker::vgpu;

TEST_CASE("text that is not PTX is refused", "[vgpu]") {
  CHECK_THROWS_AS(parse("__global__ void k() {}"), Error);
}

TEST_CASE("an unknown instruction is no parse error but is listed", "[vgpu]") {
  const auto program = parse(
      ".version 9.0\n.target sm_90a\n.address_size 64\n"
      ".visible .entry k() { .reg .b32 %r<2>; frobnicate.u32 %r1, %r0; ret; }");
  CHECK(unsupported(*program) == std::vector<std::string>{"frobnicate.u32"});
}
