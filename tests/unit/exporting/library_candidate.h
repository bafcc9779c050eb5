// SPDX-License-Identifier: Apache-2.0
// A task and two candidates for exports: every feature of a plan, in kernels that compile in no time.
#pragma once

#include "engine/core/task.h"
#include "tests/support/small_task.h"
#include "tools/exporting/portfolio.h"

namespace kernelites {

/// small_task.h with a second bench workload and a reference.
inline Task library_task() {
  Json document = small_task_document();
  document["bench"].push_back(
      {{"name", "tall"}, {"dims", {{"M", 512}, {"N", 64}}}, {"weight", 1}, {"source", "a test"}});
  return parse_task(
      document,
      "extern \"C\" __global__ void rows_reference(const unsigned short* x, const int* len, double* y,\n"
      "    const long long* rows, int N, float factor) {\n"
      "  const long long m = rows[blockIdx.x];\n"
      "  for (int i = threadIdx.x; i < N * 8; i += 32)\n"
      "    y[blockIdx.x * (long long)N * 8 + i] = i / 8 < len[m] ? (double)factor * "
      "__uint_as_float((unsigned)x[m * N * 8 + i] << 16) : 0;\n"
      "}\n"
      "constexpr void plan(const Problem& p, kl::Plan& plan) {\n"
      "  "
      "plan.launch(\"rows_reference\").grid(p.R).block(32).arg(p.x).arg(p.len).arg(p.y).arg(p.rows).arg(p.N)."
      "arg(p.factor);\n"
      "}\n",
      "library_task.json");
}

/// Tensor map, cluster, programmatic launch, all kinds of workspaces, two template instances; device code around the
/// plan that no host compiler takes.
inline const char* k_rich_candidate = R"(// Scales rows.
// tune: THREADS = 64 | 128
#include <cuda_bf16.h>
#include <kernelites/ptx.cuh>
#define ROUNDED(x) (((x) + 31) / 32 * 32)
constexpr int D = Problem::D, TILE = 8;
enum Step { first_step, second_step = 5 };
struct Shared {
  __nv_bfloat16 tile[TILE][D];
  float4 sum;
  __device__ void clear() { asm volatile("" ::: "memory"); sum = make_float4(0, 0, 0, 0); }
  static constexpr int rows() { return TILE; }
};
__device__ __forceinline__ unsigned lane_of(unsigned x) {
  unsigned y;
  asm("mov.u32 %0, %1;" : "=r"(y) : "r"(x));
  return y;
}
template <int N>
__device__ int spread(int value) { return __shfl_xor_sync(0xffffffffu, value, N); }
namespace shapes {
constexpr int waves(const Problem& p) {
  int least = 1;
  for (const int step : {1, 2}) least = step == 1 ? kl::cdiv(p.M, p.device.sms) : least;
  return least;
}
}
template <int KIND>
__global__ void __launch_bounds__(THREADS) scale_5(const __grid_constant__ CUtensorMap map, const int* len, __nv_bfloat16* y, float factor, int n) {
  Shared shared;
  shared.clear();
  if (threadIdx.x == 0 && n < 0) y[lane_of(len[0]) + spread<1>(n)] = __float2bfloat16(factor * KIND);
}
extern "C" __global__ void finish_4(unsigned* ticket, float* part, float* zero, unsigned long long n) {
  kernelites::ptx::griddepcontrol_wait();
  if (n == 0) part[0] = zero[0] + ticket[0];
}
constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (!plan.require(p.N <= 1024, "more than 1024 columns")) return;
  auto ticket = plan.workspace(kl::i32, 16, kl::self_clearing);
  auto zero = plan.workspace(kl::f32, ROUNDED(p.M), kl::zeroed);
  auto part = plan.workspace(kl::f32, (long long)p.M * shapes::waves(p));
  auto& map = plan.tensor_map(p.x.view(p.M, p.N * D), {1, 0}, {TILE, Shared::rows()}, kl::swizzle_none).l2_promotion(128);
  plan.launch(p.M > 100 ? "scale_5<1>" : "scale_5<0>").grid(kl::round_up(kl::cdiv(p.M, 4), 2)).block(THREADS).cluster(2)
      .shared(sizeof(Shared) + second_step).arg(map).arg(p.len).arg(p.y).arg(p.factor * 1.5f).arg(p.N);
  plan.launch("finish_4").grid(1).block(32).programmatic().arg(ticket).arg(part).arg(zero).arg((unsigned long long)p.M);
}
)";

inline const char* k_plain_candidate = R"(
extern "C" __global__ void plain_4(const unsigned short* x, const int* len, unsigned short* y, long long n) {
  if (threadIdx.x < len[0] && n > 0) y[threadIdx.x] = x[threadIdx.x];
}
constexpr int shapes_wide() { return 3; }
constexpr void plan(const Problem& p, kl::Plan& plan) {
  if (p.N == 48) plan.workspace(kl::f32, 8);
  plan.launch("plain_4").grid(p.M).block(32).carveout(p.M > 100 ? 20 : 60).arg(p.x).arg(p.len).arg(p.y).arg((long long)p.N * shapes_wide());
}
)";

inline PortfolioArm library_arm(std::string label, std::uint64_t ordinal, const char* source) {
  PortfolioArm arm;
  arm.label = std::move(label);
  arm.ordinal = ordinal;
  arm.candidate = {.source = source, .tuning = {}};
  arm.candidate_id = candidate_id(arm.candidate);
  arm.summary = "a test's kernel \\";
  arm.lineage = {{.ordinal = ordinal,
                  .candidate_id = arm.candidate_id,
                  .operator_name = "refine",
                  .endpoint = "model",
                  .summary = "?"
                             "?/ and */"}};
  arm.examination.verdict = Verdict::passed();
  arm.provenance.device.architecture = "sm_90a";
  arm.provenance.device.kind = "NVIDIA H100 80GB HBM3";
  return arm;
}

/// The rich one where there are more than 100 rows or so; elsewhere the caller's own function, or the plain one.
inline Portfolio library_portfolio() {
  Portfolio portfolio;
  portfolio.task = "scaled_rows";
  portfolio.arms = {library_arm("arm_0", 1, k_plain_candidate), library_arm("arm_1", 2, k_rich_candidate)};
  portfolio.shapes = {
      {.workload = "wide", .dims = {{"M", 16}, {"N", 1024}}, .time_us = {10, 12}, .fallback_us = 8},
      {.workload = "tall", .dims = {{"M", 512}, {"N", 64}}, .time_us = {10, 9}}};
  portfolio.dispatch = choose_dispatch(portfolio.shapes, {"M", "N"}, 0.01);
  return portfolio;
}

}  // namespace kernelites
