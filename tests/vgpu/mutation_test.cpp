// SPDX-License-Identifier: Apache-2.0
// Mutated PTX ends in an Error, a fault or a result; never in a crash. The sanitizer builds make this test strict, and
// vgpu_fuzz goes on for as long as one likes.
#include "tests/support/catch.h"
#include "tests/vgpu/ptx_mutator.h"
#include "tests/vgpu/vgpu_fixture.h"

using namespace kernelites::worker::vgpu;

TEST_CASE("mutated PTX never crashes the virtual GPU", "[vgpu]") {
  std::vector<std::string> corpus;
  for (const char* file : {"counted.ptx", "honest.ptx", "planted_sync.ptx"}) {
    for (std::string& part : split_ptx(read_test_file(file))) corpus.push_back(std::move(part));
  }
  CHECK(corpus.size() > 50);
  int ran = 0, refused = 0;
  for (u64 seed = 0; seed < 1500; ++seed) {
    MutationRandom random{seed};
    const std::string& text = corpus[random.below(corpus.size())];
    const bool is_run =
        run_mutant(mutate_ptx(text, corpus[random.below(corpus.size())], random, 1u << 17), seed);
    ++(is_run ? ran : refused);
  }
  CHECK(ran > 200);
  CHECK(refused > 200);
}

TEST_CASE("sizes that no device has are refused, before memory is taken for them", "[vgpu]") {
  const std::string head = ".version 9.0\n.target sm_90a\n.address_size 64\n", body = "{ ret; }\n";
  CHECK(!run_mutant(head + ".visible .entry k(.param .b8 p[2147483647], .param .b8 q[2147483647])\n" + body,
                    1));
  std::string variables;
  for (int k = 0; k < 5; ++k) variables += ".global .b8 v" + std::to_string(k) + "[67108864];\n";
  CHECK(!run_mutant(head + variables + ".visible .entry k()\n" + body, 1));
  const auto program = parse(head + ".visible .entry k()\n{ .local .b8 x[600000]; ret; }\n");
  Memory memory;
  const Launch launch{.kernel = "k",
                      .grid = {},
                      .block = {32, 1, 1},
                      .cluster = {},
                      .dynamic_shared_bytes = 0,
                      .parameters = {},
                      .cooperative = false};
  const LaunchResult result = run(*program, memory, launch, {.checks = {}, .sample = {}});
  REQUIRE(result.fault.has_value());
  CHECK(result.fault->kind == FaultKind::invalid_launch);
}

TEST_CASE("an initial value wider than 64 bits is filled with zeros", "[vgpu]") {
  CHECK(run_mutant(".version 9.0\n.target sm_90a\n.address_size 64\n.global .b128 x = 7;\n", 1));
}
