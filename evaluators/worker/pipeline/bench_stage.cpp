// SPDX-License-Identifier: Apache-2.0
// Stage bench: the shapes that are timed. Whoever tells them from the check shapes and does less there is found here.
//
// On hardware, and where the virtual GPU can interpret a shape in full, a sample of rows is compared. Larger shapes are
// sampled on the virtual GPU: a few blocks, drawn by the key, run with all inputs in place (large ones are some hundred
// drawn pages over and over, each tensor with a period of its own, so that no two stretches of keys and values look
// alike) until they complete whole rows of the outputs; some of these, drawn by the key again, are compared with the
// reference. Shapes come in an order that the key draws while the budget of instructions lasts. A shape of which no row
// could be completed counts as unchecked, and its modelled times as unproven.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/core/rng.h"
#include "engine/core/task_reference.h"
#include "evaluators/worker/pipeline/evaluation_context.h"

namespace kernelites::worker {
namespace {

/// Warp instructions for all shapes together, and for one.
constexpr std::uint64_t k_instructions_max = 80'000'000;
constexpr std::uint64_t k_shape_instructions_max = 40'000'000;
/// The reference's work on the compared rows of one shape.
constexpr double k_reference_flops_max = 8e6;
constexpr std::int64_t k_rows_max = 16;
/// A row beyond this, a head of a long recurrence, would keep the virtual GPU busy for minutes.
constexpr double k_row_flops_max = 6e8;
/// What a reference.py gets through in some seconds.
constexpr std::int64_t k_python_bytes_max = std::int64_t{256} << 20;
constexpr double k_python_flops_max = 1e10;
/// Of a hold-out shape, whatever they cost: an error in one row of twenty escapes one trial in 27.
constexpr std::int64_t k_hold_out_rows_least = 64;

/// What became of one shape.
struct SampleOutcome {
  std::optional<Verdict> verdict;
  std::uint64_t instructions = 0;
  std::uint64_t blocks = 0;
  std::int64_t rows = 0;  ///< compared
};

/// Families whose values mean the same when a tensor repeats: each element alone, or what stands out in a sequence.
bool is_repeatable(const InputFamily& family) {
  constexpr std::string_view k_kinds[] = {"normal", "uniform",   "shifted",   "rising",
                                          "spike",  "student_t", "heavy_tail"};
  return family.hidden == 0 && std::all_of(family.fill.begin(), family.fill.end(), [&](const auto& entry) {
           return std::find(std::begin(k_kinds), std::end(k_kinds), entry.second.kind) != std::end(k_kinds);
         });
}

/// For the `ordinal`-th sampled shape: the first family once, then drawn ones.
const InputFamily& sampled_family(const EvaluationContext& context, std::size_t ordinal) {
  std::vector<const InputFamily*> families;
  for (const InputFamily& family : context.task.families) {
    if (is_repeatable(family)) families.push_back(&family);
  }
  if (ordinal == 0 || families.empty()) return context.task.families.front();
  return *families[Rng(context.request.key.derive("bench_family", ordinal).seed()).below(families.size())];
}

Verdict wrong_rows(const EvaluationPoint& point, const InputFamily& family, const OutputError& error) {
  const bool is_unwritten = error.mismatches > 0;
  return Verdict::failed(
      "bench", is_unwritten ? "not_finite_or_unwritten" : "numerical_mismatch",
      fmt::format("output '{}' is wrong at the bench workload '{}' with inputs '{}'{}", error.output,
                  point.workload.name, family.name, is_unwritten ? ": values are not finite" : ""));
}

SampleOutcome sample_shape(EvaluationContext& context, std::size_t index, const InputFamily& family,
                           std::uint64_t instructions_max) {
  const EvaluationPoint& point = context.points[index];
  const Key key = context.request.key.derive("bench_sample", index);
  WorkloadSession session((*context.station)->referee(), *context.executor, context.task, point.workload,
                          /*is_modelled=*/true);
  const int arm = session.add_arm(context.module, context.compiled.plans[index], context.compiled.lowered);
  session.fill(family, index, key);
  const ExecutorClient::SampledRows sampled =
      context.executor->sample({.plan = arm,
                                .seed = key.derive("blocks").seed(),
                                .rows = row_count(context.task, point.workload),
                                .instructions_max = instructions_max});
  SampleOutcome outcome{.instructions = sampled.instructions, .blocks = sampled.blocks};
  if (context.executor->fault()) {
    outcome.verdict = fault_verdict("bench", *context.executor->fault());
    return outcome;
  }
  if (sampled.lacks_rows) {
    outcome.verdict = Verdict::failed(
        "bench", "not_finite_or_unwritten",
        fmt::format("at the bench workload '{}' the grid does not write all rows of the outputs",
                    point.workload.name));
  }
  if (sampled.rows.empty() || outcome.verdict) return outcome;
  // As many as the reference's plan computes; fewer rows than that come more than once.
  std::vector<std::int64_t> rows;
  Rng rng(key.derive("rows").seed());
  for (std::int64_t i = 0; i < point.rows; ++i) rows.push_back(sampled.rows[rng.below(sampled.rows.size())]);
  std::sort(rows.begin(), rows.end());
  outcome.rows = point.rows;
  for (const OutputError& error : session.check(context.reference.get().plan(index), {rows})) {
    if (!error.is_passed()) outcome.verdict = wrong_rows(point, family, error);
  }
  return outcome;
}

/// A sample deals with rows that lie together in every output, and with inputs that are drawn and not computed.
bool has_plain_rows(const Task& task) {
  if (row_groups(task).size() != 1) return false;
  return std::all_of(task.tensors.begin(), task.tensors.end(), [&](const TensorSpec& tensor) {
    if (is_computed(tensor)) return false;
    if (tensor.role != Role::output && tensor.role != Role::inout) return true;
    return tensor.shape.size() >= task.rows.size() &&
           std::equal(task.rows.begin(), task.rows.end(), tensor.shape.begin());
  });
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

bool is_sampled(const Task& task, const EvaluationPoint& point) {
  return point.use == PointUse::bench && !is_small_enough_to_interpret(task, point.workload);
}

std::vector<std::size_t> sampled_points(const EvaluationContext& context) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < context.points.size(); ++i) {
    if (is_sampled(context.task, context.points[i])) order.push_back(i);
  }
  Rng(context.request.key.derive("bench_order").seed()).shuffle(order);
  return order;
}

}  // namespace

void limit_sampled_rows(const Task& task, std::vector<EvaluationPoint>& points) {
  for (EvaluationPoint& point : points) {
    if (point.use != PointUse::hold_out && !is_sampled(task, point)) continue;
    const double per_row = std::max(1.0, row_flops(task, point.workload));
    const std::int64_t rows = row_count(task, point.workload);
    const auto affordable = static_cast<std::int64_t>(std::floor(k_reference_flops_max / per_row));
    if (is_sampled(task, point))
      point.rows = std::min({point.rows, k_rows_max, std::max<std::int64_t>(1, affordable)});
    else if (std::max(k_hold_out_rows_least, affordable) < rows)
      point.rows = std::max(k_hold_out_rows_least, affordable);
  }
}

std::optional<Verdict> run_bench_stage(EvaluationContext& context) {
  StageReport& report = context.report();
  report.remark = "sampled rows against the float64 reference";
  if (auto verdict = run_bench_trials(context)) return verdict;
  const std::vector<std::size_t> sampled =
      context.device.is_virtual ? sampled_points(context) : std::vector<std::size_t>{};
  std::uint64_t used = 0;
  std::size_t ordinal = 0;
  std::vector<std::string> unchecked;
  for (const std::size_t index : sampled) {
    const EvaluationPoint& point = context.points[index];
    if (context.seconds_left() <= 0)
      return Verdict::failed("bench", "deadline", "the evaluation's deadline passed during this stage");
    if (used >= k_instructions_max || !has_plain_rows(context.task) ||
        row_flops(context.task, point.workload) > k_row_flops_max ||
        is_too_much_for_python(context.task, point.workload)) {
      unchecked.push_back(point.workload.name);
      continue;
    }
    const SampleOutcome outcome = sample_shape(context, index, sampled_family(context, ordinal++),
                                               std::min(k_shape_instructions_max, k_instructions_max - used));
    used += outcome.instructions;
    if (outcome.verdict) return outcome.verdict;
    if (outcome.rows == 0) {
      unchecked.push_back(point.workload.name);
      continue;
    }
    report.counts["shapes"] += 1;
    report.counts["blocks"] += static_cast<std::int64_t>(outcome.blocks);
    report.counts["rows"] += outcome.rows;
  }
  if (!sampled.empty()) report.remark = "rows that drawn blocks complete, against the float64 reference";
  if (unchecked.empty()) return std::nullopt;
  std::sort(unchecked.begin(), unchecked.end());
  // For people alone: notes reach the model, which must not learn where nobody looks.
  report.remark +=
      fmt::format("; unchecked, so that their modelled times are unproven: {}", fmt::join(unchecked, ", "));
  if (report.counts["shapes"] == 0) report.outcome = "unchecked";
  return std::nullopt;
}

}  // namespace kernelites::worker
