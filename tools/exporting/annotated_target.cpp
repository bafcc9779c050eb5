// SPDX-License-Identifier: Apache-2.0
// The target "cu": every arm as one annotated file, with the headers that it includes and the task's reference.
#include <fmt/format.h>

#include "evaluators/worker/contract/plan_batch.h"
#include "tools/exporting/export_target.h"
#include "tools/exporting/source_text_parts.h"

namespace kernelites {

namespace {

std::string annotated_readme(const ExportInputs& inputs) {
  const DeviceFacts& device = inputs.portfolio.arms.front().provenance.device;
  std::string kernels, taken;
  for (std::size_t i = 0; i < inputs.portfolio.arms.size(); ++i) {
    const PortfolioArm& arm = inputs.portfolio.arms[i];
    kernels +=
        fmt::format("- `{}.cu`: candidate {} of its run, {}\n", arm.label, arm.ordinal,
                    device.is_virtual ? "checked on a virtual GPU" : "proved on " + one_line(device.kind));
  }
  for (const std::string& line : coverage_words(inputs.coverage))
    taken += fmt::format("- {}\n", one_line(line));
  const std::string architecture = inputs.code.arms.front().images.empty()
                                       ? "sm_90a"
                                       : inputs.code.arms.front().images.front().architecture;
  return fmt::format(
      "# {}\n\n{}\n\nEach kernel as one file, annotated: where it comes from, what its plan launches at each "
      "workload, with "
      "which arguments. `MANIFEST.json` has lineage, verdicts and times (whether measured or modelled), and "
      "a digest of "
      "every file.\n\n{}\n## Compile and launch\n\n`*.cubin` are the same kernels compiled: load one by "
      "`cuModuleLoad`, "
      "and launch what the comment at the top of its file lists. To compile yourself, with NVRTC (nvcc needs "
      "the same "
      "three headers first):\n\n```\nnvrtc options: -arch={} --std=c++20 -default-device -Invrtc "
      "--pre-include=problem.cuh -DTUNABLE=value (the values stand in the file)\n```\n\n`plan` in the file "
      "says how the "
      "launches follow from a shape. `reference.cu` is the float64 reference. A library that does all of "
      "this is `kernelites "
      "export RUN --as cpp`.\n\n## Shapes\n\nOf the shapes that the export tried:\n\n{}",
      inputs.task.name, one_line(inputs.task.title), kernels, architecture, taken);
}

}  // namespace

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
  files.push_back({"README.md", annotated_readme(inputs)});
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
