// SPDX-License-Identifier: Apache-2.0
// Export for FlashInfer-Bench: a folder that its TraceSet loads, with
// definition, solution, workloads and traces.
//
// Its schema (flashinfer_bench.data, version 0.1.2) has shapes made of axis
// names only, axes that some input has, and solutions as texts; times in a
// trace are ours, taken by our harness, and each trace says so.
#pragma once

#include <string>
#include <vector>

#include "engine/core/json.h"
#include "tools/exporting/export_target.h"

namespace kernelites {

/// definitions/, solutions/, workloads/, traces/ and blob/ (metadata tensors as
/// safetensors), a README and a script that has FlashInfer-Bench check all of
/// it. Throws ConfigError where the task has an extent that no input shows.
std::vector<ExportFile> flashinfer_files(const ExportInputs& inputs);

/// Parts of it, as JSON.
Json flashinfer_definition(const Task& task);
Json flashinfer_solution(const ExportInputs& inputs);
std::vector<Json> flashinfer_workloads(const Task& task);
std::vector<Json> flashinfer_traces(const ExportInputs& inputs);

/// int32 tensors as a safetensors file.
struct SafeTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::vector<std::int32_t> values;
};
std::string safetensors_bytes(const std::vector<SafeTensor>& tensors);

}  // namespace kernelites
