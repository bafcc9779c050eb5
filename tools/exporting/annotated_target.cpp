// SPDX-License-Identifier: Apache-2.0
// The target "cu": every arm as one annotated file, with the headers that it includes and the task's reference.
#include <fmt/format.h>

#include "evaluators/worker/contract/plan_batch.h"
#include "tools/exporting/export_target.h"
#include "tools/exporting/source_text_parts.h"

namespace kernelites {

std::vector<ExportFile> annotated_files(const ExportInputs& inputs) {
  std::vector<ExportFile> files;
  std::vector<worker::PlanPoint> typed_by;
  for (const auto* workloads : {&inputs.task.check, &inputs.task.bench})
    for (const Workload& workload : *workloads) typed_by.push_back({.workload = &workload});
  const std::string problem = worker::problem_declaration(inputs.task, worker::Form::candidate, typed_by);
  for (std::size_t i = 0; i < inputs.portfolio.arms.size(); ++i) {
    const std::string label = inputs.portfolio.arms[i].label;
    files.push_back({fmt::format("{}.cu", label), annotated_kernel(inputs, i)});
    for (const LibraryImage& image : inputs.code.arms[i].images)
      files.push_back({fmt::format("{}.{}.cubin", label, image.architecture), image.cubin});
  }
  files.push_back({"problem.cuh",
                   "// SPDX-License-Identifier: Apache-2.0\n"
                   "// What a kernel's file expects before it: NVRTC's --pre-include=problem.cuh.\n"
                   "#pragma once\n\n#include <kernelites/plan.cuh>\n\n" +
                       problem});
  files.push_back({"reference.cu", inputs.task.reference_source});
  for (const worker::HeaderText& header : worker::contract_headers())
    files.push_back({"nvrtc/" + header.name, header.text});
  return files;
}

}  // namespace kernelites
