// SPDX-License-Identifier: Apache-2.0
// Machine instructions by mnemonic, of code that ptxas made a moment ago.
#include "evaluators/worker/contract/sass.h"

#include <span>

#include "evaluators/worker/contract/cubin.h"
#include "tests/support/catch.h"
#include "tests/unit/nvrtc/compile_fixture.h"

using namespace kernelites::worker;

namespace {

std::map<std::string, std::int64_t> sass_of(const std::string& source, const std::string& architecture) {
  const CompileOutput output =
      test_compiler().compile({.source = source, .headers = {}, .options = {"-arch=" + architecture}}, 60);
  INFO(output.log);
  REQUIRE(output.ok);
  const auto cubin = parse_cubin(output.cubin);
  REQUIRE(cubin);
  REQUIRE(cubin->kernels.size() == 1);
  return count_sass(cubin->kernels.begin()->second.code);
}

constexpr const char* k_source = R"(
extern "C" __global__ void work(const float* x, float* y) {
  __shared__ float tile[64];
  tile[threadIdx.x] = exp2f(x[threadIdx.x]);
  __syncthreads();
  float d[4] = {0, 0, 0, 0};
  unsigned a = __float_as_uint(tile[63 - threadIdx.x]);
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%4,%4,%4}, {%4,%4}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a));
  y[threadIdx.x] = d[0] + d[1] + d[2] + d[3];
}
)";

}  // namespace

TEST_CASE("loads, stores, barriers, exponentials and tensor instructions are found in machine code") {
  for (const char* architecture : {"sm_80", "sm_90a"}) {
    INFO(architecture);
    auto counts = sass_of(k_source, architecture);
    CHECK(counts["LDG"] == 1);
    CHECK(counts["STG"] == 1);
    CHECK(counts["STS"] == 1);
    CHECK(counts["LDS"] == 1);
    CHECK(counts["BAR"] == 1);
    CHECK(counts["MUFU"] == 1);
    CHECK(counts["HMMA"] == 1);
    CHECK(counts["EXIT"] == 1);
    for (const auto& [mnemonic, count] : counts) CHECK(mnemonic.substr(0, 3) != "op_");
  }
}

TEST_CASE("an operation that is not in the table keeps its number, and torn code is cut") {
  std::string code(40, '\0');
  code[0] = '\xff';
  code[1] = '\x01';
  const auto counts = count_sass(code);
  CHECK(counts.at("op_0x1ff") == 1);
  CHECK(counts.at("op_0x000") == 1);
  CHECK(counts.size() == 2);
}
