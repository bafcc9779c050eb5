// SPDX-License-Identifier: Apache-2.0
// What stages share.
#include "evaluators/worker/pipeline/evaluation_context.h"

#include <algorithm>

#include "engine/core/axes.h"
#include "evaluators/worker/contract/descriptors.h"

#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

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
