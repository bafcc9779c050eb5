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

#include "engine/core/rng.h"
#include "evaluators/worker/pipeline/evaluation_context.h"
#include "evaluators/worker/pipeline/sampled_rows.h"

namespace kernelites::worker {
namespace {

constexpr std::int64_t k_rows_max = 16;
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

/// The `ordinal`-th sampled shape. Races are looked for at the first: looking costs two fifths more.
SampleOutcome sample_shape(EvaluationContext& context, std::size_t index, std::size_t ordinal,
                           std::uint64_t instructions_max) {
  const InputFamily& family = sampled_family(context, ordinal);
  const EvaluationPoint& point = context.points[index];
  const Key key = context.request.key.derive("bench_sample", index);
  WorkloadSession session((*context.station)->referee(), *context.executor, context.task, point.workload,
                          /*is_modelled=*/true);
  const int arm = session.add_arm(context.module, context.compiled.plans[index], context.compiled.lowered);
  session.fill(family, index, key);
  const ReferencePlan reference = context.reference.get().plan(index);
  const RowSampleOutcome sampled = check_sampled_rows({.session = session,
                                                       .executor = *context.executor,
                                                       .task = context.task,
                                                       .workload = point.workload,
                                                       .reference = reference,
                                                       .arm = arm,
                                                       .rows = point.rows,
                                                       .key = key,
                                                       .instructions_max = instructions_max,
                                                       .checks_races = ordinal == 0});
  SampleOutcome outcome{
      .verdict = {}, .instructions = sampled.instructions, .blocks = sampled.blocks, .rows = sampled.rows};
  if (context.executor->fault()) {
    outcome.verdict = fault_verdict("bench", *context.executor->fault());
  } else if (sampled.lacks_rows) {
    outcome.verdict = Verdict::failed(
        "bench", "not_finite_or_unwritten",
        fmt::format("at the bench workload '{}' the grid does not write all rows of the outputs",
                    point.workload.name));
  } else if (sampled.wrong) {
    outcome.verdict = wrong_rows(point, family, *sampled.wrong);
  }
  return outcome;
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
    if (is_sampled(task, point)) {
      point.rows = affordable_rows(task, point.workload, std::min(point.rows, k_rows_max));
    } else if (point.use == PointUse::hold_out) {
      const std::int64_t rows = row_count(task, point.workload);
      const std::int64_t affordable =
          std::max(k_hold_out_rows_least, affordable_rows(task, point.workload, rows));
      if (affordable < rows) point.rows = affordable;
    }
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
    if (used >= k_sampled_instructions_max || !can_sample_rows(context.task, point.workload)) {
      unchecked.push_back(point.workload.name);
      continue;
    }
    const SampleOutcome outcome =
        sample_shape(context, index, ordinal++,
                     std::min(k_sampled_shape_instructions_max, k_sampled_instructions_max - used));
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
