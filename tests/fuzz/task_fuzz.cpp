// SPDX-License-Identifier: Apache-2.0
// task.json, which a user writes and a request carries, with every formula in it; FlashInfer-Bench's files.
#include "engine/core/calibration.h"
#include "engine/core/task.h"
#include "engine/core/task_reference.h"
#include "evaluators/worker/contract/problem_source.h"
#include "tests/fuzz/fuzz_folder.h"
#include "tests/fuzz/fuzzed_parser.h"
#include "tools/flashinfer_file.h"

namespace kernelites::fuzz {
namespace {

/// What a run asks of a task that was accepted.
void use_task(const Task& task) {
  std::vector<worker::PlanPoint> points;
  for (const auto* workloads : {&task.check, &task.bench}) {
    for (const Workload& workload : *workloads) {
      for (const TensorSpec& tensor : task.tensors)
        demand(element_count(tensor, workload) > 0, "tensors hold elements");
      demand(row_count(task, workload) > 0, "a task has rows");
      is_taken([&] { roofline_counts(task, workload); });
      points.push_back({.workload = &workload, .reference_rows = 4});
    }
  }
  for (const TensorSpec& tensor : task.tensors) {
    if (tensor.role != Role::output) continue;
    row_group_of(task, tensor);
    column_axes(task, tensor);
  }
  python_of(task);
  worker::code_unit(task, worker::Form::candidate, points, "// nothing");
  worker::code_unit(task, worker::Form::reference, points, "// nothing");
}

}  // namespace

void fuzz_task(std::string_view input) {
  is_taken([&] {
    const Task task = parse_task(parse_json(input, "task.json"), "// reference", "task.json");
    use_task(task);
    demand(parse_task(task.document, "// reference", "task.json").digest == task.digest,
           "a task travels as it is");
  });
}

void fuzz_flashinfer(std::string_view input) {
  static const FuzzFolder folder;
  is_taken([&] { flashinfer::read_bundle({folder.write("bundle.jsonl", input)}); });
}

}  // namespace kernelites::fuzz
