// SPDX-License-Identifier: Apache-2.0
// Every planted bug is found, with the right kind at the right line.
#include <algorithm>

#include "tests/support/catch.h"
#include "tests/vgpu/vgpu_fixture.h"

using namespace kernelites::worker::vgpu;

TEST_CASE("planted bugs are found with kind and line", "[vgpu]") {
  const auto program = parse(read_test_file("planted_bugs.ptx"));
  CHECK(unsupported(*program).empty());
  const auto kernels = kernels_of(read_test_file("planted_bugs.cu"));
  REQUIRE(kernels.size() >= 30);
  for (const auto& [kernel, lines] : kernels) {
    Fixture fixture;
    const LaunchResult result =
        fixture.launch(*program, kernel, {.instruction_budget = 1'000'000, .checks = {}, .sample = {}});
    INFO(kernel << " " << (result.fault ? describe(*result.fault) : "no fault"));
    REQUIRE(result.fault.has_value());
    CHECK(to_string(result.fault->kind) == kernel.substr(0, kernel.find("__")));
    CHECK(std::count(lines.begin(), lines.end(), result.fault->line) == 1);
    CHECK(result.fault->kernel == kernel);
  }
}

TEST_CASE("an overrun is described by tensor and distance", "[vgpu]") {
  const auto program = parse(read_test_file("planted_bugs.ptx"));
  Fixture fixture;
  const LaunchResult result =
      fixture.launch(*program, "out_of_bounds__off_by_one", {.checks = {}, .sample = {}});
  REQUIRE(result.fault.has_value());
  CHECK(result.fault->message.find("4 bytes past the end of 'a'") != std::string::npos);
  CHECK(result.fault->block == Dim3{3, 0, 0});
  CHECK(result.fault->thread == Dim3{63, 0, 0});
}

TEST_CASE("the first fault does not depend on the number of threads", "[vgpu]") {
  const auto program = parse(read_test_file("planted_bugs.ptx"));
  for (const char* kernel :
       {"out_of_bounds__store_past_end", "race__missing_barrier", "divergent_barrier__odd_lanes"}) {
    Fixture one, four;
    const LaunchResult serial = one.launch(*program, kernel, {.threads = 1, .checks = {}, .sample = {}});
    const LaunchResult parallel = four.launch(*program, kernel, {.threads = 4, .checks = {}, .sample = {}});
    REQUIRE((serial.fault && parallel.fault));
    CHECK(describe(*serial.fault) == describe(*parallel.fault));
  }
}
