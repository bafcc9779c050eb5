// SPDX-License-Identifier: Apache-2.0
// What stages share.
#include "evaluators/worker/pipeline/evaluation_context.h"

#include <algorithm>

#include "engine/core/axes.h"
#include "evaluators/worker/contract/descriptors.h"

#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

/// A module of one kernel with this instruction, launched in clusters of `blocks`.
CompiledCandidate clustered(const std::string& opcode, std::uint32_t blocks) {
  CompiledCandidate candidate;
  candidate.ptx = ".version 8.8\n.target sm_90a\n.visible .entry k() {\n" + opcode + "\nret;\n}\n";
  LaunchPlan plan;
  plan.launches = {{.kernel = "k", .grid = {64, 1, 1}, .block = {128, 1, 1}, .cluster = {blocks, 1, 1}}};
  candidate.plans = {plan};
  return candidate;
}

std::string split_of(const CompiledCandidate& candidate) {
  return describe(candidate, candidate.plans, DeviceFacts{}).at("split");
}

}  // namespace

TEST_CASE("a cluster is a split where its blocks exchange values, and specialised only where warps are") {
  CHECK(split_of(clustered("barrier.cluster.arrive.aligned;", 2)) == "tile");
  CHECK(split_of(clustered("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r1];", 2)) == "tile");
  CHECK(split_of(clustered("ld.shared::cluster.f32 %f1, [%r1];", 2)) == "split_kv");
  CHECK(split_of(clustered("ld.shared::cluster.f32 %f1, [%r1];", 1)) == "tile");
  CHECK(split_of(clustered("mapa.u64 %rd1, %rd2, %r1;", 2)) == "split_kv");
  CHECK(split_of(clustered("bar.arrive 1, 64;", 1)) == "specialised");
  CHECK(split_of(clustered("setmaxnreg.inc.sync.aligned.u32 240;", 2)) == "specialised");
}

TEST_CASE("occupancy is that of the launch that is handed most of the task's bytes") {
  CompiledCandidate candidate;
  candidate.ptx = ".version 8.8\n.target sm_90a\n.visible .entry k() {\nret;\n}\n";
  candidate.kernels = {{.kernel = "split", .registers = 255}, {.kernel = "merge", .registers = 16}};
  const Argument keys{.kind = ArgumentKind::tensor, .index = 0},
      out{.kind = ArgumentKind::tensor, .index = 1};
  LaunchPlan plan;
  plan.launches = {{.kernel = "split", .grid = {8, 1, 1}, .block = {128, 1, 1}, .arguments = {keys}},
                   {.kernel = "merge", .grid = {999, 1, 1}, .block = {128, 1, 1}, .arguments = {out}}};
  const auto occupancy = [&](const std::vector<double>& bytes) {
    return describe(candidate, {plan}, DeviceFacts{}, bytes).at("occupancy");
  };
  CHECK(occupancy({1e9, 1e4}) == "occ12");
  CHECK(occupancy({}) == "occ100");  // by threads alone
  plan.tensor_maps = {{.is_workspace = false, .index = 0}};
  plan.launches[0].arguments = {{.kind = ArgumentKind::tensor_map, .index = 0}};
  CHECK(occupancy({1e9, 1e4}) == "occ12");
}

TEST_CASE("a label of every axis that the worker can give is one that the grid knows") {
  CompiledCandidate candidate;
  for (const char* opcode :
       {"fma.rn.f32 %f1,%f2,%f3,%f4;", "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {};",
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {};"}) {
    candidate.ptx =
        std::string(".version 8.8\n.target sm_90a\n.visible .entry k() {\n") + opcode + "\nret;\n}\n";
    const Descriptors descriptors = describe(candidate, candidate.plans, DeviceFacts{});
    for (const Axis& axis : axis_table()) {
      const std::string& label = descriptors.at(std::string(axis.name));
      INFO(axis.name << " " << label);
      CHECK(std::find(axis.labels.begin(), axis.labels.end(), label) != axis.labels.end());
    }
  }
}
