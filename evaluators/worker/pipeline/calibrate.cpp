// SPDX-License-Identifier: Apache-2.0
// Errors of one kernel over many keys: every family, check shapes and metadata contents in turn, all rows; of large
// shapes, where a task has no others, a sample.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <memory>

#include "evaluators/worker/pipeline/evaluation_context.h"
#include "evaluators/worker/pipeline/examine.h"

namespace kernelites::worker {
namespace {

using Clock = std::chrono::steady_clock;

/// Shapes of more data than this would make up most of the time and little of the rows.
constexpr std::int64_t k_shape_bytes_max = std::int64_t{1} << 20;

/// Shares of one output under one family.
struct Tally {
  std::int64_t trials = 0, mismatches = 0;
  ShareHistogram rows, elements;

  void add(const OutputError& error) {
    ++trials;
    mismatches += static_cast<std::int64_t>(error.mismatches);
    for (const RowResult& part : error.parts) {
      rows.add(part.share);
      elements.add(part.element);
    }
  }
};

class CalibrationRun {
 public:
  CalibrationRun(const CalibrateRequest& request, const Task& task, Station& station,
                 const CompiledCandidate& compiled, const Reference& reference,
                 const std::vector<const Workload*>& shapes, const std::vector<std::int64_t>& rows)
      : request_(request),
        task_(task),
        reference_(reference),
        shapes_(shapes),
        rows_(rows),
        run_s_max_(run_deadline_s(station.facts(), PointUse::bench)) {
    reference.load_into(station.referee());
    executor_ = station.take_executor(LeaseUse::proving);
    const int module = executor_->load(image_of(compiled));
    for (std::size_t i = 0; i < shapes.size() && !executor_->fault(); ++i) {
      sessions_.push_back(std::make_unique<WorkloadSession>(station.referee(), *executor_, task, *shapes[i]));
      arms_.push_back(sessions_.back()->add_arm(module, compiled.plans[i], compiled.lowered));
    }
  }

  /// Words of what ended it early; empty if nothing did.
  std::string run(Clock::time_point deadline) {
    for (int draw = 0; draw < request_.draws; ++draw) {
      for (std::size_t f = 0; f < task_.families.size(); ++f) {
        if (executor_->fault())
          return fmt::format("it faults with inputs '{}': {}", task_.families[f].name,
                             executor_->fault()->message);
        if (Clock::now() > deadline) return fmt::format("the deadline passed after {} draws", draw);
        trial(static_cast<std::size_t>(draw), f);
      }
    }
    return "";
  }

  std::vector<CalibrationRow> rows() const {
    std::vector<CalibrationRow> result;
    for (const auto& [place, tally] : tallies_) {
      const InputFamily& family = task_.families[place.first];
      const Precision& gates = precision_of(task_, family, place.second);
      result.push_back({.family = family.name,
                        .output = place.second,
                        .gates = gates.name,
                        .gate_row = gates.row,
                        .trials = tally.trials,
                        .rows = tally.rows.count(),
                        .row_p50 = tally.rows.quantile(0.5),
                        .row_p99 = tally.rows.quantile(0.99),
                        .row_max = tally.rows.largest(),
                        .element_p50 = tally.elements.quantile(0.5),
                        .element_p99 = tally.elements.quantile(0.99),
                        .element_max = tally.elements.largest(),
                        .mismatches = tally.mismatches});
    }
    return result;
  }

 private:
  void trial(std::size_t draw, std::size_t family) {
    const std::size_t shape = (draw + family) % shapes_.size();
    const Key key = request_.key.derive("calibrate", draw * task_.families.size() + family);
    WorkloadSession& session = *sessions_[shape];
    session.fill(task_.families[family], draw % metadata_rotations(task_), key);
    session.run(arms_[shape], RunMode::full, key.derive("poison").seed(),
                static_cast<int>(draw % k_poison_kinds), run_s_max_);
    if (executor_->fault()) return;
    const RowLists rows = draw_rows(task_, *shapes_[shape], rows_[shape], key);
    for (const OutputError& error : session.check(reference_.plan(shape), rows, true))
      tallies_[{family, error.output}].add(error);
  }

  const CalibrateRequest& request_;
  const Task& task_;
  const Reference& reference_;
  const std::vector<const Workload*>& shapes_;
  const std::vector<std::int64_t>& rows_;  ///< compared of each shape
  const double run_s_max_;
  std::unique_ptr<ExecutorClient> executor_;
  std::vector<std::unique_ptr<WorkloadSession>> sessions_;
  std::vector<int> arms_;
  std::map<std::pair<std::size_t, std::string>, Tally> tallies_;
};

}  // namespace

Calibration calibrate(const Workshop& workshop, const CalibrateRequest& request, const Task& task,
                      double deadline_s, double& device_s) {
  const auto start = Clock::now();
  const DeviceFacts device = workshop.stations.facts();
  const auto is_small = [&](const Workload& workload) {
    return workload_bytes(task, workload) <= k_shape_bytes_max;
  };
  const bool has_small = std::any_of(task.check.begin(), task.check.end(), is_small);
  if (!has_small && device.is_virtual)
    return {.problem = "no check workload is small enough for the virtual GPU", .rows = {}};
  std::vector<const Workload*> shapes;
  std::vector<std::int64_t> rows;
  std::vector<PlanPoint> points;
  for (const Workload& workload : task.check) {
    if (has_small && !is_small(workload)) continue;
    shapes.push_back(&workload);
    rows.push_back(has_small ? k_all_reference_rows : std::min(row_count(task, workload), task.sampled_rows));
    points.push_back({.workload = &workload, .reference_rows = rows.back()});
  }
  auto result =
      compile_candidate(workshop.compiler, request.candidate, task, Form::candidate, points, device);
  if (const auto* verdict = std::get_if<Verdict>(&result))
    return {.problem = fmt::format("stage {}: {}", verdict->stage, verdict->message), .rows = {}};
  const auto& compiled = std::get<CompiledCandidate>(result);
  const Reference reference = compile_reference(workshop.compiler, task, points, device);
  StationPool::Lease station = workshop.stations.take(deadline_s);
  const auto held = Clock::now();
  CalibrationRun run(request, task, *station, compiled, reference, shapes, rows);
  Calibration calibration;
  calibration.problem =
      run.run(start + station.forgiven() + std::chrono::milliseconds(static_cast<long>(deadline_s * 1000)));
  calibration.rows = run.rows();
  device_s += std::chrono::duration<double>(Clock::now() - held).count();
  return calibration;
}

}  // namespace kernelites::worker
