// SPDX-License-Identifier: Apache-2.0
// Stage check, and the trials of stage bench: input families at shapes against the float64 reference, by rows.
//
// Check and hold-out shapes are compared on all rows; bench shapes on a secret sample, drawn after the candidate ran.
// On the virtual GPU hold-out shapes of much work are sampled likewise, and bench shapes that are too large to
// interpret are left out (bench_stage.cpp samples them); races are looked for with the first family of every shape.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "engine/core/error.h"
#include "evaluators/worker/pipeline/check_pairs.h"
#include "evaluators/worker/pipeline/error_words.h"
#include "evaluators/worker/pipeline/evaluation_context.h"

namespace kernelites::worker {
namespace {

/// Families tried at shapes that are costly: the first, and others drawn by the key. What is unstable at bench shapes
/// only shows with few of them.
constexpr std::size_t k_bench_families = 8;
constexpr std::size_t k_hold_out_families = 3, k_virtual_hold_out_families = 2;
/// Hold-out shapes of more bytes see so few, and those of a quarter of the device's memory none.
constexpr std::size_t k_large_hold_out_families = 1;
constexpr std::int64_t k_large_hold_out_bytes = std::int64_t{1} << 30;
/// So many pairs of check shape and family make up an examination, if there are as many.
constexpr std::size_t k_check_pairs = 96;

/// One trial: a shape, a family, contents of the metadata.
struct Trial {
  std::size_t point = 0;
  std::size_t family = 0;
  std::size_t rotation = 0;
  std::uint64_t ordinal = 0;  ///< among all trials of the examination: keys its draws
};

/// What the reference does at each check shape, which come first among all shapes.
std::vector<double> check_costs(const EvaluationContext& context) {
  std::vector<double> costs;
  for (std::size_t i = 0; i < context.points.size() && context.points[i].use == PointUse::check; ++i)
    costs.push_back(roofline_counts(context.task, context.points[i].workload).flops);
  KERNELITES_ASSERT(costs.size() == context.task.check.size());
  return costs;
}

/// How many of the families a shape is tried with, on hardware, and everywhere at shapes that are no check shapes.
std::size_t family_count(const EvaluationContext& context, const EvaluationPoint& shape) {
  const std::size_t families = context.task.families.size();
  if (shape.use == PointUse::check) {
    const std::size_t shapes = context.task.check.size();
    return std::min((k_check_pairs + shapes - 1) / shapes, families);
  }
  const bool is_virtual = context.device.is_virtual;
  if (is_virtual && !is_small_enough_to_interpret(context.task, shape.workload)) return 0;
  if (shape.use == PointUse::hold_out) {
    const std::int64_t bytes = workload_bytes(context.task, shape.workload);
    if (!is_virtual && bytes > context.device.memory_bytes / 4) return 0;
    if (bytes > k_large_hold_out_bytes) return k_large_hold_out_families;
    return std::min(is_virtual ? k_virtual_hold_out_families : k_hold_out_families, families);
  }
  return std::min(k_bench_families, families);
}

/// Metadata contents with which a family may show what it is for: a single token everywhere has no tail, no late
/// maximum and nothing that could be dropped.
std::vector<std::size_t> telling_rotations(const Task& task) {
  std::vector<std::size_t> telling;
  for (std::size_t rotation = 0; rotation < metadata_rotations(task); ++rotation) {
    const bool is_single =
        std::any_of(task.tensors.begin(), task.tensors.end(), [&](const TensorSpec& tensor) {
          if (tensor.role != Role::metadata || tensor.fill.empty()) return false;
          const std::string& kind = tensor.fill[rotation % tensor.fill.size()].kind;
          return kind == "lengths_one" || kind == "lengths_short";
        });
    if (!is_single) telling.push_back(rotation);
  }
  if (telling.empty()) telling.push_back(0);
  return telling;
}

/// Contents of the metadata for the `i`-th trial of a shape. The first family meets them all in turn over the check
/// shapes. At bench shapes every other trial has the contents that are timed, which come first: a kernel may know them.
std::size_t rotation_of(const EvaluationContext& context, const Trial& trial, std::size_t i) {
  const std::size_t rotations = metadata_rotations(context.task);
  if (context.points[trial.point].use == PointUse::bench)
    return i % 2 == 0 && context.task.families.size() > 1 ? 0 : (trial.point + i / 2) % rotations;
  if (trial.family == 0) return (trial.point + i) % rotations;
  const std::vector<std::size_t> telling = telling_rotations(context.task);
  return telling[(trial.point + i) % telling.size()];
}

/// Every shape is tried with the first family. The others come in turn over the shapes, from one that the key draws, so
/// that each meets several shapes. On the virtual GPU check_pairs.h chooses.
std::vector<Trial> plan_trials(const EvaluationContext& context) {
  std::vector<Trial> trials;
  const std::size_t families = context.task.families.size();
  const std::size_t first = context.request.key.derive("families").seed() % families;
  std::vector<std::vector<std::size_t>> chosen;
  if (context.device.is_virtual) chosen = choose_pairs(check_costs(context), families, first);
  std::size_t next = first;
  for (std::size_t point = 0; point < context.points.size(); ++point) {
    const bool is_chosen = context.device.is_virtual && context.points[point].use == PointUse::check;
    const std::size_t count =
        is_chosen ? chosen.at(point).size() : family_count(context, context.points[point]);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t family = is_chosen ? chosen[point][i] : i == 0 ? 0 : 1 + next++ % (families - 1);
      trials.push_back({.point = point, .family = family, .ordinal = trials.size()});
      trials.back().rotation = rotation_of(context, trials.back(), i);
    }
  }
  return trials;
}

/// Hold-out shapes of about a benchmark's size come after the bench shapes: what is wrong there is told in more words.
bool is_of_stage_bench(const EvaluationContext& context, const EvaluationPoint& point) {
  if (point.use != PointUse::hold_out) return point.use == PointUse::bench;
  const std::int64_t bytes = workload_bytes(context.task, point.workload);
  return std::any_of(context.task.bench.begin(), context.task.bench.end(),
                     [&](const Workload& bench) { return 2 * bytes >= workload_bytes(context.task, bench); });
}

/// The trials of stage check or bench, bench shapes before others.
std::vector<Trial> trials_of(const EvaluationContext& context, bool is_bench) {
  std::vector<Trial> trials = plan_trials(context);
  const auto point = [&](const Trial& trial) -> const EvaluationPoint& {
    return context.points[trial.point];
  };
  std::erase_if(trials,
                [&](const Trial& trial) { return is_of_stage_bench(context, point(trial)) != is_bench; });
  std::stable_partition(trials.begin(), trials.end(),
                        [&](const Trial& trial) { return point(trial).use != PointUse::hold_out; });
  return trials;
}

/// What an element breaks that has no size of error.
const char* mismatch_words(Compare compare) {
  if (compare == Compare::selection)
    return "indices that are repeated, out of range, missing or cannot be chosen";
  if (compare == Compare::exact || compare == Compare::bitmap) return "elements that differ";
  return "values that are not finite or were never written";
}

Verdict wrong_output(const EvaluationContext& context, const char* stage, const Trial& trial,
                     const OutputError& error, std::int64_t row_index, std::int64_t rows) {
  const EvaluationPoint& point = context.points[trial.point];
  if (point.use == PointUse::hold_out) {
    return Verdict::failed(stage, "hold_out_mismatch",
                           "the result is wrong at a shape that is not among the listed workloads");
  }
  const InputFamily& family = context.task.families[trial.family];
  std::string message = fmt::format("output '{}' is wrong at workload '{}' with inputs '{}'", error.output,
                                    point.workload.name, family.name);
  const Compare compare = precision_of(context.task, family, error.output).compare;
  const bool has_values = compare == Compare::values || compare == Compare::log_sum_exp;
  if (error.mismatches > 0)
    message += fmt::format(": {} has {}", row_place_words(row_index, rows), mismatch_words(compare));
  else
    message += fmt::format(": the error of {} is {}", row_place_words(row_index, rows),
                           error_size_words(std::max(error.row_share, error.element_share)));
  if (!family.catches.empty()) message += fmt::format(". These inputs show: {}", family.catches);
  const bool is_unwritten = error.mismatches > 0 && has_values;
  return Verdict::failed(stage, is_unwritten ? "not_finite_or_unwritten" : "numerical_mismatch", message);
}

/// The trials of one stage, in the executor that `smoke` has used.
class CheckRun {
 public:
  CheckRun(EvaluationContext& context, const char* stage, const Reference& reference, Referee& referee)
      : context_(context), stage_(stage), reference_(reference), referee_(referee) {
    for (const CheckSummary& entry : context.examination.checks) summary_[entry.output] = entry;
  }

  std::optional<Verdict> run(bool is_bench) {
    std::set<std::size_t> shapes, families;
    for (const Trial& trial : trials_of(context_, is_bench)) {
      if (context_.seconds_left() <= 0) {
        return Verdict::failed(stage_, "deadline",
                               "the checks did not finish within the evaluation's deadline");
      }
      enter(trial.point);
      shapes.insert(trial.point);
      families.insert(trial.family);
      StageReport& report = context_.report();
      report.counts["launches"] += 1;
      report.counts["shapes"] = static_cast<std::int64_t>(shapes.size());
      report.counts["families"] = static_cast<std::int64_t>(families.size());
      if (auto verdict = run_trial(trial, trial.ordinal)) return verdict;
    }
    return std::nullopt;
  }

  std::vector<CheckSummary> summary() const {
    std::vector<CheckSummary> entries;
    for (const auto& [output, entry] : summary_) entries.push_back(entry);
    return entries;
  }

 private:
  /// Trials come sorted by shape: tensors are allocated once for each.
  void enter(std::size_t point) {
    if (session_ && point_ == point) return;
    session_.reset();
    session_.emplace(referee_, *context_.executor, context_.task, context_.points[point].workload);
    arm_ = session_->add_arm(context_.module, context_.compiled.plans[point], context_.compiled.lowered);
    point_ = point;
  }

  std::optional<Verdict> run_trial(const Trial& trial, std::uint64_t ordinal) {
    const EvaluationPoint& point = context_.points[trial.point];
    const Key key = context_.request.key.derive("trial", ordinal);
    session_->fill(context_.task.families[trial.family], trial.rotation, key);
    session_->run({.plan = arm_,
                   .poison_seed = key.derive("poison").seed(),
                   .poison_kind = static_cast<int>(ordinal % k_poison_kinds),
                   .deadline_s = run_deadline_s(context_.device, point.use),
                   .checks_races = trial.family == 0});
    if (context_.executor->fault()) {
      if (point.use != PointUse::hold_out) return fault_at(point, *context_.executor->fault());
      return Verdict::failed(stage_, "hold_out_fault",
                             "it faults at a shape that is not among the listed workloads");
    }
    const RowLists rows = draw_rows(context_.task, point.workload, point.rows, key);
    context_.report().counts["rows"] += static_cast<std::int64_t>(rows.front().size());
    std::optional<Verdict> verdict;
    for (const OutputError& error : session_->check(reference_.plan(trial.point), rows)) {
      const std::size_t group = row_group_of(context_.task, context_.task.tensor(error.output));
      const auto compared = static_cast<std::int64_t>(rows.at(group).size());
      if (point.use != PointUse::hold_out) add_to_summary(error, compared);
      if (!error.is_passed() && !verdict)
        verdict = wrong_output(context_, stage_, trial, error, error.worst_index, compared);
    }
    return verdict;
  }

  Verdict fault_at(const EvaluationPoint& point, const DeviceFault& fault) const {
    if (fault.reason != "deadline") return fault_verdict(stage_, fault);
    DeviceFault told = fault;
    told.message += fmt::format(", at workload '{}': it hangs there, or is far too slow to be worth timing",
                                point.workload.name);
    return fault_verdict(stage_, told);
  }

  void add_to_summary(const OutputError& error, std::int64_t rows) {
    CheckSummary& entry = summary_[error.output];
    entry.output = error.output;
    // Families may have gates of their own: what is reported is the row that came nearest to its gate.
    if (error.row_share * entry.gate_row >= entry.worst_row) {
      entry.worst_row = error.worst_row;
      entry.gate_row = error.row_share > 0 ? error.worst_row / error.row_share
                                           : context_.task.precision.at(error.output).row;
    }
    entry.rows += rows;
    entry.trials += 1;
  }

  EvaluationContext& context_;
  const char* stage_;
  const Reference& reference_;
  Referee& referee_;
  std::optional<WorkloadSession> session_;
  std::size_t point_ = 0;
  int arm_ = -1;
  std::map<std::string, CheckSummary> summary_;
};

std::optional<Verdict> run_trials(EvaluationContext& context, const char* stage, bool is_bench) {
  const Reference& reference = context.reference.get();
  Station& station = **context.station;
  reference.load_into(station.referee());
  CheckRun run(context, stage, reference, station.referee());
  std::optional<Verdict> verdict = run.run(is_bench);
  context.examination.checks = run.summary();
  return verdict;
}

}  // namespace

std::optional<Verdict> run_check_stage(EvaluationContext& context) {
  context.report().remark = "all rows at check and hold-out shapes against the float64 reference";
  return run_trials(context, "check", /*is_bench=*/false);
}

std::optional<Verdict> run_bench_trials(EvaluationContext& context) {
  return run_trials(context, "bench", /*is_bench=*/true);
}

}  // namespace kernelites::worker
