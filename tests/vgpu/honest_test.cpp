// SPDX-License-Identifier: Apache-2.0
// Honest kernels raise no alarm and compute the same in every schedule.
#include <set>

#include "tests/support/catch.h"
#include "tests/vgpu/planted_corpus.h"

using namespace kernelites::worker::vgpu;

namespace {

// Alarms that are false. A kernel of this list that is silent fails the test, so that the list cannot rot.
const std::set<std::string> k_false_alarms_yet = {};

void check_honest(const Program& program, const TestKernel& kernel, unsigned threads, u64 seed) {
  Fixture fixture;
  const LaunchResult result = fixture.launch(program, kernel,
                                             {.threads = threads,
                                              .instruction_budget = 200'000'000,
                                              .schedule_seed = seed,
                                              .checks = {},
                                              .sample = {}});
  INFO(kernel.name << " seed " << seed << " " << (result.fault ? describe(*result.fault) : "no fault"));
  CHECK(result.fault.has_value() == k_false_alarms_yet.contains(kernel.name));
  if (result.fault) return;
  CHECK(result.remarks.empty());
  CHECK(fixture.is_output_complete());
  int wrong = 0;
  for (std::size_t i = 0; i < fixture.o.size(); ++i) wrong += fixture.o[i] != 2 * fixture.a[i] + 1;
  CHECK(wrong == 0);
}

void check_file(const std::string& file, std::size_t least) {
  const auto program = parse(read_test_file(file + ".ptx"));
  CHECK(unsupported(*program).empty());
  const auto kernels = kernels_of(read_test_file(file + ".cu"));
  CHECK(kernels.size() >= least);
  for (const TestKernel& kernel : kernels) {
    check_honest(*program, kernel, 1, 0);
    check_honest(*program, kernel, 2, 0);
    for (u64 seed = 1; seed <= 5; ++seed) check_honest(*program, kernel, 1 + seed % 4, seed);
  }
}

}  // namespace

TEST_CASE("honest kernels pass all checks in every schedule", "[vgpu]") { check_file("honest", 23); }

TEST_CASE("honest synchronisation passes all checks in every schedule", "[vgpu]") {
  check_file("honest_patterns", 22);
}

TEST_CASE("a block whose warps are all parked behind copies when its slice ends is not stuck", "[vgpu]") {
  check_file("honest_async", 1);
}

TEST_CASE("blocks of a cluster may hand over in every way that PTX allows or CUTLASS uses", "[vgpu]") {
  check_file("honest_cluster", 3);
}

TEST_CASE("the honest twin of a planted bug passes all checks in every schedule", "[vgpu]") {
  for (const char* file : k_planted_files) {
    const auto program = parse(read_test_file(std::string(file) + ".mended.ptx"));
    CHECK(unsupported(*program).empty());
    for (const TestKernel& kernel : kernels_of(read_test_file(std::string(file) + ".cu"))) {
      for (u64 seed = 0; seed < 6; ++seed) {
        const PlantedResult result = run_planted(*program, kernel, seed, 1 + seed % 3);
        INFO(kernel.name << " seed " << seed << " " << result.text);
        CHECK(result.kind.empty());
      }
    }
  }
}
