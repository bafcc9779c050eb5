// SPDX-License-Identifier: Apache-2.0
// The contract's first two tests: an FA3-class Hopper kernel and a split-KV decode are expressible, and their
// plans come back exactly, without a GPU.
#include "evaluators/worker/contract/descriptors.h"
#include "evaluators/worker/contract/screen.h"
#include "tests/support/catch.h"
#include "tests/unit/nvrtc/compile_fixture.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

CompiledCandidate compiled(const std::string& file, const std::vector<std::string>& workloads) {
  auto result = compile_text(candidate_text(file), workloads);
  if (const auto* verdict = std::get_if<Verdict>(&result)) {
    INFO(Json(*verdict).dump(2));
    FAIL();
  }
  return std::get<CompiledCandidate>(std::move(result));
}

Argument tensor(int index) { return {.kind = ArgumentKind::tensor, .index = index}; }
Argument workspace(int index) { return {.kind = ArgumentKind::workspace, .index = index}; }
Argument map(int index) { return {.kind = ArgumentKind::tensor_map, .index = index}; }
Argument whole(std::int64_t value) { return {.kind = ArgumentKind::i32, .integer = value}; }
Argument real(float value) { return {.kind = ArgumentKind::f32, .real = value}; }

TensorMap head_map(int index, std::int64_t seq, std::int64_t heads, std::int64_t batch, std::uint32_t rows) {
  return {.is_workspace = false,
          .index = index,
          .dtype = Dtype::bf16,
          .rank = 4,
          .extent = {128, seq, heads, batch},
          .stride_bytes = {2, heads * 256, 256, seq * heads * 256},
          .box = {64, rows, 1, 1},
          .element_stride = {1, 1, 1, 1, 1},
          .swizzle_bytes = 128,
          .l2_promotion_bytes = 256,
          .offset_bytes = 0};
}

std::string place_of(const CompiledCandidate& candidate) {
  const Descriptors place = describe(candidate, candidate.plans, DeviceFacts{});
  return place.at("movement") + " " + place.at("compute") + " " + place.at("split");
}

const float k_scale_log2 = 0.0932f * 1.4426950408889634f;

}  // namespace

TEST_CASE(
    "an FA3-class kernel with TMA, wgmma, a cluster and register reallocation compiles and its plan comes "
    "back") {
  const CompiledCandidate candidate = compiled("sm90_cluster_attention.cu", {"prefill", "ragged"});
  REQUIRE(candidate.plans.size() == 2);
  LaunchPlan expected;
  expected.tensor_maps = {head_map(0, 300, 32, 1, 128), head_map(1, 1000, 8, 1, 64),
                          head_map(2, 1000, 8, 1, 64)};
  // 3 tiles of 128 queries, rounded up to whole clusters of 2; Smem is q, two stages of k and v, and 9
  // barriers.
  expected.launches = {{.kernel = "cluster_attention",
                        .grid = {4, 32, 1},
                        .block = {384, 1, 1},
                        .cluster = {2, 1, 1},
                        .shared_bytes = 5 * 128 * 128 * 2 + 9 * 8 + 1024,
                        .arguments = {map(0), map(1), map(2), tensor(4), tensor(5), whole(32), whole(4),
                                      whole(300), whole(1000), real(k_scale_log2)}}};
  CHECK(Json(candidate.plans[1]).dump(1) == Json(expected).dump(1));
  CHECK(candidate.plans[0].launches.at(0).grid == std::array<std::uint32_t, 3>{64, 16, 2});

  REQUIRE(candidate.kernels.size() == 1);
  CHECK(candidate.kernels[0].registers ==
        168);  // 65536 / 384, rounded down to a multiple of 8: setmaxnreg needs it
  CHECK(candidate.kernels[0].spill_store_bytes == 0);
  CHECK(candidate.kernels[0].threads_max == 384);
  CHECK(candidate.advisories.empty());
  CHECK_FALSE(screen(candidate));
  CHECK(place_of(candidate) == "tma wgmma specialised");
}

TEST_CASE(
    "a split-KV decode with combine kernel, workspaces and a loop in its plan compiles and its plan comes "
    "back") {
  const CompiledCandidate candidate = compiled("split_kv_decode.cu", {"decode_long", "decode_batch"});
  REQUIRE(candidate.plans.size() == 2);
  // 8 tiles on 132 SMs: 33 splits fill two waves exactly; 131072 / 33 rounds up to 63 chunks of 64 keys.
  const int splits = 33, chunk = 63 * 64;
  LaunchPlan expected;
  expected.workspaces = {{.bytes = 32 * splits * 128 * 4}, {.bytes = 32 * splits * 2 * 4}};
  expected.launches = {
      {.kernel = "split_kv<128, 4>",
       .grid = {splits, 8, 1},
       .block = {128, 1, 1},
       .arguments = {tensor(0), tensor(1), tensor(2), workspace(0), workspace(1), whole(32), whole(8),
                     whole(131072), whole(chunk), real(k_scale_log2)}},
      {.kernel = "combine<128>",
       .grid = {32, 1, 1},
       .block = {128, 1, 1},
       .is_programmatic = true,
       .after = 0,
       .arguments = {workspace(0), workspace(1), tensor(4), tensor(5), whole(splits), real(k_scale_log2)}}};
  CHECK(Json(candidate.plans[0]).dump(1) == Json(expected).dump(1));
  CHECK(candidate.lowered.at("split_kv<128, 4>").find("split_kv") != std::string::npos);
  CHECK_FALSE(screen(candidate));
  CHECK(place_of(candidate) == "direct fma split_kv");
}
