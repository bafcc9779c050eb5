// SPDX-License-Identifier: Apache-2.0
// Recursion, pointers to functions and virtual functions compute what C++ says, in any schedule.
#include <functional>

#include "tests/support/catch.h"
#include "tests/vgpu/vgpu_fixture.h"

using namespace kernelites::worker::vgpu;

namespace {

const Program& calls_program() {
  static const auto program = parse(read_test_file("calls.ptx"));
  return *program;
}

int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

int sum_of_frames(const int* outer, int depth) {
  int own[4];
  for (int k = 0; k < 4; ++k) own[k] = outer[3 - k] + k * depth;
  const int inner = depth > 0 ? sum_of_frames(own, depth - 1) : 0;
  return own[0] + own[3] + inner + own[1] - outer[2];
}

int framed(int i) {
  const int first[4] = {i, i + 1, i + 2, i + 3};
  return sum_of_frames(first, i % 5);
}

int factorial(int n) { return n == 0 ? 1 : n * factorial(n - 1); }

void check_calls(const std::string& kernel, const std::function<int(int)>& expected) {
  for (u64 seed = 0; seed < 4; ++seed) {
    Fixture fixture;
    const LaunchResult result =
        fixture.launch(calls_program(), kernel, {.schedule_seed = seed, .checks = {}, .sample = {}});
    INFO(kernel << " seed " << seed << " " << (result.fault ? describe(*result.fault) : "no fault"));
    REQUIRE_FALSE(result.fault.has_value());
    for (int i = 0; i < Fixture::k_count; ++i) {
      INFO(i);
      REQUIRE(fixture.o[static_cast<std::size_t>(i)] == static_cast<float>(expected(i)));
    }
  }
}

void check_trap(const std::string& kernel, const std::string& words) {
  Fixture fixture;
  const LaunchResult result = fixture.launch(calls_program(), kernel, {.checks = {}, .sample = {}});
  REQUIRE(result.fault.has_value());
  INFO(describe(*result.fault));
  CHECK(result.fault->kind == FaultKind::trap);
  CHECK(result.fault->message.find(words) != std::string::npos);
  for (const TestKernel& candidate : kernels_of(read_test_file("calls.cu"))) {
    if (candidate.name == kernel) CHECK(candidate.bug_lines == std::vector<int>{result.fault->line});
  }
}

}  // namespace

TEST_CASE("all of a module with unusual calls is executable", "[vgpu]") {
  CHECK(unsupported(calls_program()).empty());
}

TEST_CASE("a function that calls itself twice keeps its registers", "[vgpu]") {
  check_calls("recursion", [](int i) { return fibonacci(i % 12); });
}

TEST_CASE("functions that call each other return to the right caller", "[vgpu]") {
  check_calls("mutual_recursion", [](int i) { return i % 37 % 2 == 0 ? 1 : 0; });
}

TEST_CASE("every depth of a recursion has its own local variables", "[vgpu]") {
  check_calls("recursive_frames", framed);
}

TEST_CASE("lanes call different functions through a pointer", "[vgpu]") {
  check_calls("function_pointers", [](int i) { return i % 3 == 0 ? 2 * i : i % 3 == 1 ? i * i : -i; });
}

TEST_CASE("virtual functions are those of the object", "[vgpu]") {
  check_calls("virtual_functions", [](int i) { return i % 2 == 0 ? i * i : 3 * i; });
}

TEST_CASE("a function may call itself through a pointer", "[vgpu]") {
  check_calls("recursion_through_pointers", [](int i) { return factorial(i % 8); });
}

TEST_CASE("endless recursion is a fault at its line", "[vgpu]") {
  check_trap("endless_recursion", "256 deep");
}

TEST_CASE("a call through a null pointer is a fault at its line", "[vgpu]") {
  check_trap("null_function", "no function of this signature");
}
