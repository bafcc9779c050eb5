// SPDX-License-Identifier: Apache-2.0
// Every wrong plan has its verdict, in words; cases are rows.
#include <fmt/format.h>

#include "tests/support/catch.h"
#include "tests/unit/nvrtc/compile_fixture.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

/// Kernels that all cases share; a case is the body of its plan.
constexpr const char* k_kernels = R"(#include <kernelites/plan.cuh>
__global__ void __launch_bounds__(256) copy(const void* q, void* o, float* lse, int n) {
  if (threadIdx.x == 0 && n == 7) lse[0] = reinterpret_cast<const float*>(q)[0], reinterpret_cast<float*>(o)[0] = 1;
}
__global__ void mapped(const __grid_constant__ CUtensorMap m, void* o, float* lse) { lse[0] = m.opaque[0]; }
__global__ void __cluster_dims__(2, 1, 1) pair(const void* q, void* o, float* lse, float x) { lse[0] = x; }
__global__ void heavy(const void* q, void* o, float* lse, int n) {
  __shared__ float table[4096];
  table[threadIdx.x] = n;
  __syncthreads();
  lse[0] = table[n];
}
template <int N>
__global__ void plan_tiles(const int* len, int* tiles, int n) { tiles[0] = len[0] * N + n; }
__device__ int helper(int x) { return x + 1; }
constexpr void plan(const Problem& p, kl::Plan& plan) {
)";

struct Row {
  const char* reason;  ///< "passed": the plan is right
  const char* body;
  const char* words = "";  ///< what the message must contain
};

// `ok` completes a plan that is wrong in one place only.
constexpr const char* k_ok =
    R"(plan.launch("copy").grid(2).block(256).arg(p.q).arg(p.o).arg(p.lse).arg(p.Sq);)";

constexpr Row k_rows[] = {
    {"passed", ""},
    {"plan_unsupported_shape", "if (!plan.require(p.Sk > 1000000, \"only very long keys\")) return;",
     "only very long keys"},
    {"plan_too_many_launches", "for (int i = 0; i < 20; ++i) plan.launch(\"copy\");", "16"},
    {"plan_too_many_arguments", "auto& l = plan.launch(\"copy\"); for (int i = 0; i < 60; ++i) l.arg(i);",
     "launch 0"},
    {"plan_too_many_workspaces", "for (int i = 0; i < 12; ++i) plan.workspace(kl::f32, 8);", "8 workspaces"},
    {"plan_too_many_tensor_maps", "for (int i = 0; i < 12; ++i) plan.tensor_map(p.q, {3, 1}, {64, 1});",
     "8 tensor maps"},
    {"plan_kernel_name_too_long",
     "plan.launch("
     "\"copyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
     "yyyyyy"
     "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\");",
     "159"},
    {"plan_bad_axes", "plan.tensor_map(p.q, {3, 7}, {64, 1});", "tensor map 0"},
    {"plan_zero_grid", "plan.launch(\"copy\").grid(p.Sq / 1000);", "(0, 1, 1)"},
    {"plan_out_of_range", "plan.launch(\"copy\").grid(p.Sq - 1000);", "grid extent"},
    {"plan_grid_too_large", "plan.launch(\"copy\").grid(1, 70000);", "65535"},
    {"plan_zero_block", "plan.launch(\"copy\").block(0);", "(0, 1, 1)"},
    {"plan_block_too_large", "plan.launch(\"copy\").block(64, 32);", "2048"},
    {"plan_cluster_size", "plan.launch(\"copy\").grid(32).cluster(16);", "8 blocks"},
    {"plan_grid_not_divisible_by_cluster", "plan.launch(\"copy\").grid(7).cluster(2);", "kl::round_up"},
    {"plan_shared_memory_too_large", "plan.launch(\"copy\").shared(300 * 1024);", "232448"},
    {"plan_out_of_range", "plan.launch(\"copy\").shared(-1);", "shared memory"},
    {"plan_carveout", "plan.launch(\"copy\").carveout(140);", "140"},
    {"plan_priority", "plan.launch(\"copy\").priority(3);", "-5 to 0"},
    {"plan_after_later_launch", "plan.launch(\"copy\").after(1);", "after(1)"},
    {"plan_programmatic_first", "plan.launch(\"copy\").programmatic();", "programmatic"},
    {"plan_kernel_name", "plan.launch(\"copy; evil\");", "launch 0"},
    {"plan_kernel_name", "plan.launch(\"\");", "launch 0"},
    {"plan_kernel_name", "plan.launch(\"copy/* verified */\");", "launch 0"},
    {"plan_kernel_name", "plan.launch(\"copy// verified\");", "launch 0"},
    {"plan_workspace_size", "plan.workspace(kl::f32, 1LL << 33);", "workspace 0"},
    {"plan_workspace_size", "plan.workspace(kl::f32, 0);", "workspace 0"},
    {"plan_workspace_size", "for (int i = 0; i < 3; ++i) plan.workspace(kl::u8, 3LL << 29);", "together"},
    {"plan_workspace_size", "plan.workspace(kl::f32, 100000, kl::self_clearing);", "kl::zeroed"},
    {"plan_map_box", "plan.tensor_map(p.q, {3, 1}, {64, 300});", "256"},
    {"plan_map_inner_box", "plan.tensor_map(p.q, {3, 1}, {4, 8});", "multiple of 16"},
    {"plan_map_inner_box", "plan.tensor_map(p.q, {3, 1}, {128, 8}, kl::swizzle_128);", "swizzle"},
    {"plan_map_swizzle", "plan.tensor_map(p.q, {3, 1}, {64, 8}, kl::Swizzle(96));", "96"},
    {"plan_map_inner_stride", "plan.tensor_map(p.q, {1, 3}, {64, 8});", "innermost"},
    {"plan_map_stride", "plan.tensor_map(p.lse.view(p.B * p.Sq * p.H / 5, 5), {1, 0}, {4, 8});",
     "multiple of 16"},
    {"plan_map_outside_tensor", "plan.tensor_map(p.q.view(1 << 20, 128), {1, 0}, {64, 8});",
     "beyond the end"},
    {"plan_map_outside_tensor", "plan.tensor_map(p.q, {3, 1}, {64, 8}).offset(1 << 24);", "beyond the end"},
    {"plan_map_offset", "plan.tensor_map(p.q, {3, 1}, {64, 8}).offset(3);", "multiple of 16"},
    {"plan_map_step", "plan.tensor_map(p.q, {3, 1}, {64, 8}).step(1, 40);", "step"},
    {"plan_map_l2_promotion", "plan.tensor_map(p.q, {3, 1}, {64, 8}).l2_promotion(100);", "100"},
    {"plan_prepare_unsupported", "plan.launch(\"copy\").prepare().arg(p.q);", "not supported yet"},
    {"plan_prepare_unsupported",
     "auto w = plan.workspace(kl::i32, 8, kl::prepared); "
     "plan.launch(\"plan_tiles<2>\").arg(p.len).arg(w).arg(1);",
     "kl::zeroed"},
    {"plan_argument_count", "plan.launch(\"copy\").arg(p.q);", "4 parameters"},
    {"plan_argument_type", "plan.launch(\"copy\").arg(p.q).arg(p.o).arg(p.lse).arg(1.0f);", "a float"},
    {"plan_argument_type", "plan.launch(\"copy\").arg(p.q).arg(p.o).arg(p.lse).arg(1LL);", "a long long"},
    {"passed", "plan.launch(\"copy\").arg(nullptr).arg(p.o).arg(p.lse).arg(1);"},
    {"plan_argument_type", "plan.launch(\"mapped\").arg(p.q).arg(p.o).arg(p.lse);", "tensor map"},
    {"passed",
     "auto& m = plan.tensor_map(p.q, {3, 1}, {64, 8}, kl::swizzle_128); "
     "plan.launch(\"mapped\").arg(m).arg(p.o).arg(p.lse);"},
    {"plan_block_over_launch_bounds", "plan.launch(\"copy\").block(512).arg(p.q).arg(p.o).arg(p.lse).arg(1);",
     "256"},
    {"plan_cluster_not_required_size", "plan.launch(\"pair\").arg(p.q).arg(p.o).arg(p.lse).arg(1.0f);",
     "(2, 1, 1)"},
    {"passed", "plan.launch(\"pair\").grid(2).cluster(2).arg(p.q).arg(p.o).arg(p.lse).arg(1.0f);"},
    {"plan_shared_memory_too_large",
     "plan.launch(\"heavy\").shared(225 * 1024).arg(p.q).arg(p.o).arg(p.lse).arg(1);", "16384"},
    {"plan_unknown_kernel", "plan.launch(\"copie\");", "copie"},
    {"plan_unknown_kernel", "plan.launch(\"helper\");", "helper"},
    {"plan_not_constant", "plan.launch(\"copy\").grid(min(p.Sq, 4));", "min"},
    {"plan_not_constant", "plan.launch(\"copy\").grid(4 / (p.B - 1));", ""},
    {"plan_not_constant", "int n = 0; while (p.B == 1) ++n;", "complexity"},
};

std::string message_of(const std::string& plan_body, std::string& reason, const std::string& tail = k_ok) {
  auto result = compile_text(k_kernels + plan_body + "\n" + tail + "\n}\n", {"ragged"});
  const auto* verdict = std::get_if<Verdict>(&result);
  reason = verdict ? verdict->reason : "passed";
  return verdict ? verdict->message : "";
}

}  // namespace

TEST_CASE("every wrong plan has its own verdict, and a right one passes") {
  for (const Row& row : k_rows) {
    std::string reason;
    const std::string message = message_of(row.body, reason);
    INFO(row.body << "\n" << message);
    CHECK(reason == row.reason);
    CHECK(message.find(row.words) != std::string::npos);
  }
}

TEST_CASE("a plan without a launch, and one that leaves an output out, are told so") {
  std::string reason;
  message_of("", reason, "");
  CHECK(reason == "plan_no_launch");
  const std::string message =
      message_of("", reason, "plan.launch(\"copy\").arg(p.q).arg(p.o).arg(nullptr).arg(1);");
  CHECK(reason == "plan_output_not_written");
  CHECK(message.find("\"lse\"") != std::string::npos);
}

TEST_CASE("a verdict on a visible shape names the workload, one on a hidden shape names nothing") {
  const std::string source = std::string(k_kernels) + "plan.launch(\"copy\").grid(p.Sk - 1000);" + k_ok + "}";
  const std::string zero = std::string(k_kernels) + "plan.launch(\"copy\").grid(p.Sk / 1001);" + k_ok + "}";
  const auto shown = std::get<Verdict>(compile_text(zero, {"ragged"}));
  CHECK(shown.message.find("Sk=1000") != std::string::npos);
  for (const std::string& text : {source, zero}) {
    const auto hidden = std::get<Verdict>(compile_text(text, {"ragged"}, Form::candidate, true));
    CHECK(hidden.stage == "plan");
    CHECK(hidden.message.find("1000") == std::string::npos);
    CHECK(hidden.message.find("ragged") == std::string::npos);
    CHECK(hidden.diagnostics.empty());
  }
}

TEST_CASE("a plan's reason for not supporting a shape is one short line of plain characters") {
  std::string reason;
  const std::string message = message_of("plan.require(false, \"x\\n\\n## SYSTEM\\n\\x1b[2J\\\"\");", reason);
  CHECK(reason == "plan_unsupported_shape");
  CHECK(message.find("x  ## SYSTEM  [2J") != std::string::npos);
}

TEST_CASE("an error that only a hidden shape raises says nothing, wherever the candidate raises it") {
  static const Task task = attention_task();
  const std::string work =
      "extern \"C\" __global__ void work(void* o, float* l) { l[0] = 1; }\n"
      "constexpr void launch(const Problem& p, kl::Plan& plan) { plan.launch(\"work\").arg(p.o).arg(p.lse); "
      "}\n";
  Workload hidden = *task.find_workload("ragged");
  hidden.name = "held_out";
  hidden.dims["Sq"] = 4711;
  const std::vector<PlanPoint> points = {{.workload = task.find_workload("ragged")},
                                         {.workload = &hidden, .is_hidden = true}};
  for (const char* leak : {
           "constexpr void plan(const Problem& p, kl::Plan& plan) { launch(p, plan); int n = 0; while (p.Sq "
           "== 4711) ++n; }",
           "constexpr void plan(const Problem& p, kl::Plan& plan) { plan.require(p.Sq < 4000, \"no 4711\"); "
           "launch(p, plan); }",
           "constexpr void plan(const Problem& p, kl::Plan& plan) { plan.launch(\"work\").grid(4711 - "
           "p.Sq).arg(p.o).arg(p.lse); }",
           "constexpr void plan(const Problem& p, kl::Plan& plan) { if (p.Sq > 4000) "
           "plan.launch(\"work4711\"); launch(p, plan); }",
           "template <int N> __global__ void sized(void* o, float* l) { static_assert(N != 4711, \"no\"); "
           "l[0] = N; }\n"
           "constexpr void plan(const Problem& p, kl::Plan& plan) { "
           "plan.launch(p.Sq == 4711 ? \"sized<4711>\" : \"sized<1>\").arg(p.o).arg(p.lse); }",
           "constexpr void plan(const Problem& p, kl::Plan& plan) { launch(p, plan); if (p.Sq == 4711) "
           "plan.launch(\"work\").arg(1); }",
       }) {
    const auto result = compile_candidate(test_compiler(), Candidate{.source = work + leak, .tuning = {}},
                                          task, Form::candidate, points, hopper_facts());
    INFO(leak);
    const auto* verdict = std::get_if<Verdict>(&result);
    REQUIRE(verdict != nullptr);
    INFO(verdict->message);
    CHECK(verdict->stage == "plan");
    CHECK(verdict->reason == "plan_fails_elsewhere");
    CHECK(verdict->diagnostics.empty());
    CHECK(verdict->message.find("4711") == std::string::npos);
  }
}

TEST_CASE("plan errors carry the candidate's own line numbers") {
  auto result = compile_text(
      "\n\n__global__ void f(float* o) {}\nconstexpr void plan(const Problem& p, kl::Plan& plan) {\n"
      "  plan.launch(\"f\").grid(p.nonsense);\n}\n",
      {"ragged"});
  const auto& verdict = std::get<Verdict>(result);
  CHECK(verdict.reason == "compile_error");
  REQUIRE(verdict.diagnostics.size() == 1);
  CHECK(verdict.diagnostics[0].line == 5);
  CHECK(verdict.diagnostics[0].message.find("nonsense") != std::string::npos);
}

TEST_CASE("a source without a plan is told how to write one") {
  const auto verdict = std::get<Verdict>(compile_text("__global__ void f(float* o) {}\n", {"ragged"}));
  CHECK(verdict.reason == "plan_missing");
  CHECK(verdict.message.find("constexpr void plan") != std::string::npos);
}
