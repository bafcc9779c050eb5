// SPDX-License-Identifier: Apache-2.0
// The candidate-facing headers under NVRTC: stand-ins, toolkit headers beside them, every PTX wrapper, both forms.
#include <fmt/format.h>

#include <chrono>

#include "evaluators/worker/contract/screen.h"
#include "tests/support/catch.h"
#include "tests/unit/nvrtc/compile_fixture.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

constexpr const char* k_plan = R"(
constexpr void plan(const Problem& p, kl::Plan& plan) { plan.launch("work").arg(p.o).arg(p.lse); }
)";

/// "" or what went wrong, the screen included.
std::string problem_of(const std::string& source, Form form = Form::candidate) {
  auto result = compile_text(source, {"ragged"}, form);
  if (const auto* verdict = std::get_if<Verdict>(&result)) return Json(*verdict).dump(1);
  if (const auto verdict = screen(std::get<CompiledCandidate>(result))) return Json(*verdict).dump(1);
  return "";
}

}  // namespace

TEST_CASE("what models use of the standard headers works with and without the include") {
  constexpr const char* body = R"(
__global__ void work(void* o, float* l) {
  uint32_t a = UINT32_MAX; int64_t b = INT64_MIN; std::size_t c = sizeof(uint8_t); uintptr_t d = (uintptr_t)o;
  static_assert(std::is_same_v<std::remove_cv_t<const int>, int> && std::is_integral<long>::value);
  std::array<float, 4> four{}; four.fill(INFINITY); std::pair<int, float> two{1, M_PI};
  l[0] = std::numeric_limits<float>::max() + FLT_MAX + std::min(four[1], two.second) + NAN + std::exp(l[1]) + std::abs(l[2]);
  l[1] = a + b + c + d + std::numeric_limits<int>::lowest() + std::is_floating_point_v<double> + std::sqrt(2.0f) + CHAR_BIT;
  memcpy(l + 4, four.data(), sizeof four);
}
)";
  CHECK(problem_of(std::string(body) + k_plan) == "");
  std::string includes;
  for (const char* name :
       {"stdint.h", "cstdint", "stddef.h", "float.h", "climits", "cmath", "math.h", "type_traits", "utility",
        "string.h", "assert.h", "stdio.h", "array", "limits", "algorithm", "cuda.h", "cuda_runtime.h"}) {
    includes += fmt::format("#include <{}>\n", name);
  }
  CHECK(problem_of(includes + body + k_plan) == "");
}

TEST_CASE("the toolkit's own headers live beside the stand-ins") {
  const std::string includes =
      "#include <cooperative_groups.h>\n#include <cuda_bf16.h>\n#include <cuda_fp16.h>\n"
      "#include <cuda_fp8.h>\n#include <mma.h>\n#include <cuda/barrier>\n";
  const std::string body =
      "namespace cg = cooperative_groups;\n__global__ void work(void* o, float* l) {\n"
      "  cg::this_thread_block().sync(); l[0] = __bfloat162float(__float2bfloat16(l[1]));\n}\n";
  CHECK(problem_of(includes + body + k_plan) == "");
}

TEST_CASE("every PTX wrapper assembles for Hopper") {
  std::string body = R"(#include <kernelites/ptx.cuh>
using namespace kl::ptx;
__global__ void __launch_bounds__(128, 1) work(void* o, float* l) {
  extern __shared__ __align__(1024) char s[];
  __shared__ uint64_t bar;
  const CUtensorMap* m = static_cast<const CUtensorMap*>(o);
  uint32_t a[4] = {};
  float d[4] = {};
  if (l[0] > 0) { mbarrier_init(&bar, 1); fence_mbarrier_init(); mbarrier_arrive(&bar); mbarrier_arrive_expect(&bar, 16); }
  mbarrier_arrive_cluster(&bar, 0); mbarrier_wait(&bar, 0); named_barrier_sync(1, 128); named_barrier_arrive(2, 128);
  fence_proxy_async(); register_decrease<24>(); register_increase<240>();
  if (elect_one()) l[0] = cluster_rank() + cluster_size() + lane_id() + map_shared(smem_address(s), 0);
  cluster_sync(); griddepcontrol_wait(); griddepcontrol_launch_dependents();
  cp_async_16(s, o, l[1] > 0); cp_async_commit(); cp_async_wait<1>();
  ldmatrix_x4(a, s); ldmatrix_x4_trans(a, s + 16); stmatrix_x4(s, a); tma_prefetch(m); bulk_load(s, o, 16, &bar);
  bulk_add_f32(l, s, 16); reduce_add_f32x4(l, d[0], d[1], d[2], d[3]); reduce_add_f32x4<64>(l, d[0], d[1], d[2], d[3]);
  mma_bf16(d, a, 1, 2); mma_f16(d, a, 1, 2); mma_e4m3(d, a, 1, 2);
  l[3] = d[0] + low_bf16(pack_bf16(d[1], d[2])) + high_bf16(pack_f16(d[1], d[2])) + ex2(d[3]) + lg2(d[2]);
)";
  for (int dims = 2; dims <= 5; ++dims) {
    std::string at;
    for (int i = 0; i < dims; ++i) at += ", " + std::to_string(i);
    body += fmt::format(
        "  tma_load_{0}d(s, m, &bar{1}); tma_load_multicast_{0}d(s, m, &bar, 3{1}); tma_store_{0}d(m, "
        "s{1});\n",
        dims, at);
  }
  for (const char* type : {"bf16", "f16"}) {
    for (int count : {16, 32, 48, 64, 80, 88, 96, 128}) {
      body += fmt::format(
          "  {{ float w[{0}] = {{}}; const uint64_t x = wgmma_descriptor(smem_address(s)); wgmma_fence(); "
          "wgmma_{1}_ss<false, true>(w, x, x, l[1] > 0); wgmma_{1}_rs<true>(w, a, x, true); wgmma_commit(); "
          "wgmma_wait<0>(); l[5] = w[0] + w[{0} - 1]; }}\n",
          count, type);
    }
  }
  CHECK(problem_of(body + "  tma_store_commit(); tma_store_wait_read<0>(); tma_store_wait<0>();\n}\n" +
                   k_plan) == "");
}

TEST_CASE("a reference compiles in its own form: f64 outputs, R and rows") {
  constexpr const char* source = R"(
__global__ void reference(const void* q, const int* len, const long long* rows, double* o, double* lse, int R, int D) {
  const int r = blockIdx.x * blockDim.x + threadIdx.x;
  if (r < R) lse[r] = rows[r] + len[0], o[r * D] = 1;
}
constexpr void plan(const Problem& p, kl::Plan& plan) {
  static_assert(Problem::D == 128);
  plan.require(p.o.dtype == kl::f64 && p.o.shape[0] == p.R && p.o.rank == 2 && p.rows.dtype == kl::i64, "the form is wrong");
  plan.launch("reference").grid(kl::cdiv(p.R, 64)).block(64).arg(p.q).arg(p.len).arg(p.rows).arg(p.o).arg(p.lse).arg(p.R).arg(p.D);
}
)";
  CHECK(problem_of(source, Form::reference) == "");
}

TEST_CASE(
    "equal code has one digest, whatever its names and comments; another plan or constant has another") {
  const auto digest = [](const std::string& source) {
    auto result = compile_text(source, {"ragged"});
    REQUIRE(std::holds_alternative<CompiledCandidate>(result));
    return std::get<CompiledCandidate>(result).code_digest;
  };
  const auto source = [](const char* name, const char* value, const char* block) {
    return fmt::format(
        "__global__ void {0}(void* o, float* l) {{ l[threadIdx.x] = {1}; }}\nconstexpr void plan(const "
        "Problem& p, "
        "kl::Plan& plan) {{ plan.launch(\"{0}\").block({2}).arg(p.o).arg(p.lse); }}\n",
        name, value, block);
  };
  const std::string first = digest(source("work", "1", "32"));
  CHECK(digest("// another comment\n" + source("toil", "1", "32")) == first);
  CHECK(digest(source("work", "2", "32")) != first);
  CHECK(digest(source("work", "1", "64")) != first);
}

TEST_CASE("tunables reach the code, and an unknown one is refused") {
  const std::string source =
      "// tune: WIDTH = 32 | 64\n__global__ void work(void* o, float* l) { l[0] = WIDTH; }\n"
      "constexpr void plan(const Problem& p, kl::Plan& plan) {\n"
      "  plan.launch(\"work\").block(WIDTH).arg(p.o).arg(p.lse);\n}\n";
  const Task task = attention_task();
  const PlanPoint point{.workload = task.find_workload("ragged")};
  const auto block = [&](const std::map<std::string, std::int64_t>& tuning) -> std::string {
    auto result = compile_candidate(test_compiler(), {source, tuning}, task, Form::candidate,
                                    std::span(&point, 1), hopper_facts());
    if (const auto* verdict = std::get_if<Verdict>(&result)) return verdict->reason;
    return std::to_string(std::get<CompiledCandidate>(result).plans.at(0).launches.at(0).block[0]);
  };
  CHECK(block({}) == "32");
  CHECK(block({{"WIDTH", 64}}) == "64");
  CHECK(block({{"HEIGHT", 64}}) == "tuning_unknown");
}

TEST_CASE("ptxas errors are told by the candidate's line") {
  auto result = compile_text(
      std::string(
          "\n__global__ void work(void* o, float* l) {\n  l[0] = 1;\n  asm volatile(\"foo.bar;\");\n}\n") +
          k_plan,
      {"ragged"});
  const auto& verdict = std::get<Verdict>(result);
  CHECK(verdict.reason == "compile_error");
  INFO(Json(verdict).dump(1));
  REQUIRE_FALSE(verdict.diagnostics.empty());
  CHECK(verdict.diagnostics[0].line == 4);
  CHECK(verdict.diagnostics[0].message.find("Unknown modifier '.bar'") != std::string::npos);
}
