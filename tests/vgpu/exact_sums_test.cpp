// SPDX-License-Identifier: Apache-2.0
// Sums by atomics differ from schedule to schedule by their roundings, and by nothing where they are not rounded.
#include <algorithm>
#include <set>

#include "tests/support/catch.h"
#include "tests/vgpu/vgpu_fixture.h"

using namespace kernelites::worker::vgpu;

namespace {

/// Every thread adds a fraction to sums of three types.
constexpr const char* k_sums = R"(
.version 9.0
.target sm_90a
.address_size 64
.visible .entry sums(.param .u64 p0, .param .u64 p1, .param .u64 w, .param .u32 n)
{
  .reg .b32 %r<6>;
  .reg .f32 %f<3>;
  .reg .f64 %d<3>;
  .reg .b64 %rd<3>;
  ld.param.u64 %rd1, [w];
  cvta.to.global.u64 %rd1, %rd1;
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %ntid.x;
  mov.u32 %r3, %tid.x;
  mad.lo.s32 %r4, %r1, %r2, %r3;
  add.s32 %r4, %r4, 3;
  cvt.rn.f64.u32 %d1, %r4;
  rcp.rn.f64 %d1, %d1;
  cvt.rn.f32.f64 %f1, %d1;
  cvt.rn.bf16x2.f32 %r5, %f1, %f1;
  red.global.add.f64 [%rd1], %d1;
  red.global.add.f32 [%rd1+8], %f1;
  red.global.add.noftz.bf16x2 [%rd1+12], %r5;
  ret;
}
)";

/// What the sums' words hold after a launch.
std::vector<u32> sums_of(u64 seed, bool adds_exactly) {
  static const auto program = parse(k_sums);
  Fixture fixture;
  const LaunchResult result = fixture.launch(
      *program, "sums",
      {.threads = 2, .schedule_seed = seed, .checks = {}, .adds_exactly = adds_exactly, .sample = {}});
  INFO((result.fault ? describe(*result.fault) : "no fault"));
  REQUIRE(!result.fault.has_value());
  return {fixture.w.begin(), fixture.w.begin() + 4};
}

std::size_t different(bool adds_exactly, std::size_t word) {
  std::set<u32> values;
  for (u64 seed = 0; seed < 12; ++seed) values.insert(sums_of(seed, adds_exactly).at(word));
  return values.size();
}

}  // namespace

TEST_CASE("the order of additions by atomics shows in their roundings, and not where nothing is rounded",
          "[vgpu]") {
  for (const std::size_t word : {0, 2, 3}) {  // the lower half of the f64 sum, the f32 sum, two bf16 sums
    INFO("word " << word);
    CHECK(different(false, word) > 1);
    CHECK(different(true, word) == 1);
  }
}

TEST_CASE("a sum that is not rounded on the way is the correctly rounded one", "[vgpu]") {
  double sum = 0;  // a double is far more exact than the f32 that is asked for
  for (int k = 3; k < 3 + 256; ++k) sum += static_cast<double>(static_cast<float>(1.0 / k));
  const u32 word = sums_of(5, true).at(2);
  float held;
  std::memcpy(&held, &word, sizeof held);
  CHECK(held == static_cast<float>(sum));
}
