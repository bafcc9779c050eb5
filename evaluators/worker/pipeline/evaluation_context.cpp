// SPDX-License-Identifier: Apache-2.0
// Shapes, rows and faults: what several stages need.
#include "evaluators/worker/pipeline/evaluation_context.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/rng.h"

namespace kernelites::worker {
namespace {

/// Hold-out shapes drawn from each range.
constexpr int k_hold_out_draws = 2;
/// Of larger ones a sample of rows is compared, as of bench shapes.
constexpr std::int64_t k_whole_hold_out_bytes = std::int64_t{16} << 20;
/// Bytes of tensors that the interpreter gets through in about a second.
constexpr std::int64_t k_interpreted_bytes_max = std::int64_t{4} << 20;

/// A hang may cost two seconds of a real device, its executor's end included; honest launches take milliseconds.
constexpr double k_run_s_max = 1, k_small_run_s_max = 0.5;
constexpr double k_virtual_run_s_max = 10;

}  // namespace

double EvaluationContext::seconds_left() const {
  return std::chrono::duration<double>(deadline - std::chrono::steady_clock::now()).count();
}

void EvaluationContext::take_device() {
  if (station) return;
  station.emplace(stations.take(seconds_left()));
  deadline += station->forgiven();
  device_since = std::chrono::steady_clock::now();
  use_computed_inputs((*station)->referee());
  executor = (*station)->take_executor(LeaseUse::proving);
  module = executor->load(image_of(compiled));
}

void EvaluationContext::give_back_device() {
  executor.reset();  // the end of a hanging one costs device time too
  station.reset();
  if (!device_since) return;
  device_s += std::chrono::duration<double>(std::chrono::steady_clock::now() - *device_since).count();
  device_since.reset();
}

void EvaluationContext::use_computed_inputs(Referee& referee) const {
  // Only tasks that have some wait for their reference's compile here.
  if (std::none_of(task.tensors.begin(), task.tensors.end(), is_computed)) return;
  if (const InputsProgram* inputs = reference.get().inputs()) referee.use_inputs(*inputs);
}

double run_deadline_s(const DeviceFacts& device, PointUse use) {
  if (device.is_virtual) return k_virtual_run_s_max;
  return use == PointUse::bench ? k_run_s_max : k_small_run_s_max;
}

std::vector<std::size_t> smallest_checks(const EvaluationContext& context) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < context.points.size(); ++i) {
    if (context.points[i].use == PointUse::check) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return workload_bytes(context.task, context.points[a].workload) <
           workload_bytes(context.task, context.points[b].workload);
  });
  return order;
}

Reference reference_for(Compiler& compiler, const Task& task, const std::vector<EvaluationPoint>& shapes,
                        const DeviceFacts& device) {
  std::vector<PlanPoint> points;
  for (const EvaluationPoint& shape : shapes) {
    points.push_back({.workload = &shape.workload,
                      .reference_rows = shape.rows,
                      .is_hidden = shape.use == PointUse::hold_out});
  }
  return compile_reference(compiler, task, points, device);
}

std::vector<EvaluationPoint> draw_points(const Task& task, const Key& key) {
  std::vector<EvaluationPoint> points;
  for (const Workload& workload : task.check) {
    points.push_back({workload, PointUse::check, k_all_reference_rows});
  }
  for (std::size_t i = 0; i < task.hold_out.size(); ++i) {
    Rng rng(key.derive("hold_out", i).seed());
    for (int draw = 0; draw < k_hold_out_draws; ++draw) {
      Workload workload{.name = fmt::format("hold_out_{}_{}", i, draw)};
      for (const DimSpec& dim : task.dims) {
        if (dim.constant) workload.dims[dim.name] = *dim.constant;
      }
      for (const auto& [name, range] : task.hold_out[i].dims) {
        workload.dims[name] =
            range.first +
            static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(range.second - range.first + 1)));
      }
      const bool is_whole = workload_bytes(task, workload) <= k_whole_hold_out_bytes;
      points.push_back(
          {workload, PointUse::hold_out,
           is_whole ? k_all_reference_rows : std::min(row_count(task, workload), task.sampled_rows)});
    }
  }
  for (const Workload& workload : task.bench) {
    points.push_back({workload, PointUse::bench, std::min(row_count(task, workload), task.sampled_rows)});
  }
  return points;
}

bool is_small_enough_to_interpret(const Task& task, const Workload& workload) {
  return workload_bytes(task, workload) <= k_interpreted_bytes_max;
}

Verdict fault_verdict(const char* stage, const DeviceFault& fault) {
  Verdict verdict = Verdict::failed(stage, fault.reason, fault.message);
  verdict.diagnostics.push_back({.code = fault.reason, .message = fault.message, .line = fault.line});
  return verdict;
}

}  // namespace kernelites::worker
