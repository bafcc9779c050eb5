// SPDX-License-Identifier: Apache-2.0
// Honest kernels raise no alarm and compute the same in every schedule.
#include "tests/support/catch.h"
#include "tests/vgpu/vgpu_fixture.h"

using namespace kernelites::worker::vgpu;

namespace {

void check_honest(const Program& program, const std::string& kernel, unsigned threads, u64 seed) {
  Fixture fixture;
  const LaunchResult result = fixture.launch(program, kernel,
                                             {.threads = threads,
                                              .instruction_budget = 200'000'000,
                                              .schedule_seed = seed,
                                              .checks = {},
                                              .sample = {}});
  INFO(kernel << " seed " << seed << " " << (result.fault ? describe(*result.fault) : "no fault"));
  CHECK(!result.fault.has_value());
  if (result.fault) return;
  CHECK(fixture.memory.first_uninitialised(fixture.o_address) == Fixture::k_count * sizeof(float));
  int wrong = 0;
  for (std::size_t i = 0; i < fixture.o.size(); ++i) wrong += fixture.o[i] != 2 * fixture.a[i] + 1;
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("honest kernels pass all checks in every schedule", "[vgpu]") {
  const auto program = parse(read_test_file("honest.ptx"));
  CHECK(unsupported(*program).empty());
  for (const auto& [kernel, lines] : kernels_of(read_test_file("honest.cu"))) {
    check_honest(*program, kernel, 1, 0);
    check_honest(*program, kernel, 2, 0);
    for (u64 seed = 1; seed <= 5; ++seed) check_honest(*program, kernel, 1, seed);
  }
}
