// SPDX-License-Identifier: Apache-2.0
// What an exported library is tested and timed with: the reference's code and plans, how inputs are drawn, and the
// kernels that this harness has around a launch.
//
//   {"harness": {architecture: {"cubin": hex}},
//    "reference": {"images": {architecture: {"cubin": hex, "lowered"}},
//                  "workloads": {name: {"rows": R, "words": [...]}}} or null,
//    "inputs": the same of the task's program for its computed inputs, or null,
//    "draws": {workload: [[seed, variant, family, rotation]]}   which that program is given, draw by draw
//    "fills": {workload: {tensor: {"order": hex of a FillOrder, "unit"}}},
//    "compares": {workload: {output: {"order": hex of a CompareOrder, "columns", "parts", "chosen", "is_selection"}}},
//    "metadata": {workload: [{tensor: [values]}]}}
//
// Tasks whose reference is Python's have none here: it runs where PyTorch is. A workload whose metadata
// would be too large has none, and is not tested.
#pragma once

#include <string>
#include <vector>

#include "evaluators/worker/contract/problem_source.h"
#include "evaluators/worker/nvrtc/compile_child.h"

namespace kernelites::worker {

struct TestOrder {
  const Task& task;
  const std::vector<PlanPoint>& points;  ///< listed workloads
  DeviceFacts device;
  std::vector<std::string> architectures;
  int jobs = 1;
};

/// Throws Error with the compiler's words if the reference cannot be compiled.
Json test_material(Compiler& compiler, const TestOrder& order);

/// Lower-case hex of bytes, as cubins travel.
std::string hex_of(const void* bytes, std::size_t count);

}  // namespace kernelites::worker
