// SPDX-License-Identifier: Apache-2.0
// What can be sampled, at what cost, and the comparison.
#include "evaluators/worker/pipeline/sampled_rows.h"

#include <algorithm>
#include <cmath>

#include "engine/core/rng.h"
#include "engine/core/roofline.h"
#include "engine/core/task_reference.h"

namespace kernelites::worker {
namespace {

/// The reference's work on the compared rows of one shape.
constexpr double k_reference_flops_max = 8e6;
/// A row beyond this, a head of a long recurrence, would keep the virtual GPU busy for minutes.
constexpr double k_row_flops_max = 6e8;
/// What a reference.py gets through in some seconds.
constexpr std::int64_t k_python_bytes_max = std::int64_t{256} << 20;
constexpr double k_python_flops_max = 1e10;

/// Where the rows of an output lie, up to its last axis that counts rows; empty where they are not these, in this
/// order.
std::vector<RowAxis> layout_of(const std::vector<std::string>& rows, const TensorSpec& tensor,
                               const Workload& workload) {
  const std::vector<std::int64_t> shape = tensor_shape(tensor, workload);
  std::vector<RowAxis> axes;
  std::size_t found = 0;
  for (std::size_t i = 0; i < shape.size() && found < rows.size(); ++i) {
    const bool counts_rows = tensor.shape[i] == rows[found];
    axes.push_back({shape[i], counts_rows});
    found += counts_rows ? 1 : 0;
  }
  return found == rows.size() ? axes : std::vector<RowAxis>{};
}

bool is_output(const TensorSpec& tensor) { return tensor.role == Role::output || tensor.role == Role::inout; }

/// Of all outputs; empty if one has rows of its own, or computed inputs are missing.
std::vector<std::vector<RowAxis>> layouts_of(const Task& task, const Workload& workload) {
  std::vector<std::vector<RowAxis>> layouts;
  if (row_groups(task).size() != 1 || !computes_when_modelled(task, workload)) return {};
  for (const TensorSpec& tensor : task.tensors) {
    if (!is_output(tensor)) continue;
    layouts.push_back(layout_of(task.rows, tensor, workload));
    if (layouts.back().empty()) return {};
  }
  return layouts;
}

double row_flops(const Task& task, const Workload& workload) {
  return roofline_counts(task, workload).flops / static_cast<double>(row_count(task, workload));
}

/// A reference.py is handed all inputs in float64, and computes everything unless it knows how to give some rows.
bool is_too_much_for_python(const Task& task, const Workload& workload) {
  if (python_of(task).empty()) return false;
  const bool gives_rows = task.reference_source.find("def reference_rows") != std::string::npos;
  return workload_bytes(task, workload) > k_python_bytes_max ||
         (!gives_rows && roofline_counts(task, workload).flops > k_python_flops_max);
}

}  // namespace

bool can_sample_rows(const Task& task, const Workload& workload) {
  return !layouts_of(task, workload).empty() && row_flops(task, workload) <= k_row_flops_max &&
         !is_too_much_for_python(task, workload);
}

std::int64_t affordable_rows(const Task& task, const Workload& workload, std::int64_t rows) {
  const double per_row = std::max(1.0, row_flops(task, workload));
  const auto affordable = static_cast<std::int64_t>(std::floor(k_reference_flops_max / per_row));
  return std::min(rows, std::max<std::int64_t>(1, affordable));
}

ExecutorClient::SampledRows run_sampled_rows(ExecutorClient& executor, const Task& task,
                                             const Workload& workload, ExecutorClient::Sample order) {
  order.layouts = layouts_of(task, workload);
  return executor.sample(order);
}

RowSampleOutcome check_sampled_rows(const RowSample& sample) {
  const ExecutorClient::SampledRows sampled = run_sampled_rows(sample.executor, sample.task, sample.workload,
                                                               {.plan = sample.arm,
                                                                .seed = sample.key.derive("blocks").seed(),
                                                                .timed_seed = sample.timed_seed,
                                                                .instructions_max = sample.instructions_max,
                                                                .checks_races = sample.checks_races});
  RowSampleOutcome outcome{.instructions = sampled.instructions,
                           .blocks = sampled.blocks,
                           .lacks_rows = sampled.lacks_rows,
                           .is_barren = sampled.is_barren,
                           .is_cut = sampled.is_cut,
                           .wrong = {},
                           .launch_instructions = sampled.launch_instructions};
  if (sample.executor.fault() || sampled.rows.empty() || sampled.lacks_rows) return outcome;
  // As many as the reference's plan computes; fewer rows than that come more than once.
  std::vector<std::int64_t> rows;
  Rng rng(sample.key.derive("rows").seed());
  for (std::int64_t i = 0; i < sample.rows; ++i) rows.push_back(sampled.rows[rng.below(sampled.rows.size())]);
  std::sort(rows.begin(), rows.end());
  outcome.rows = sample.rows;
  for (OutputError& error : sample.session.check(sample.reference, {rows}))
    if (!error.is_passed()) outcome.wrong = std::move(error);
  return outcome;
}

}  // namespace kernelites::worker
