// SPDX-License-Identifier: Apache-2.0
// Stage sanitize: tiny shapes on the virtual GPU with every check on, before any device is asked for, and in front of a
// real one a few blocks of bench shapes.
//
// It finds what hardware lets pass: reads of memory that nothing wrote, accesses beyond a tensor by one element, races
// between barriers, divergent barriers, loops without end. Each shape runs in the usual order of blocks and warps and
// once more in an order that the key draws. Where results may differ by the roundings of atomic additions, and a real
// device is to judge, the virtual GPU runs both orders without those roundings first: the results are then the same,
// or something else makes them differ. Where the virtual GPU lacks what a newer device has, the stage says "unchecked",
// and the device decides (sanitize_limits.h).
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "engine/core/code_measures.h"
#include "engine/core/rng.h"
#include "evaluators/worker/pipeline/evaluation_context.h"
#include "evaluators/worker/pipeline/sampled_rows.h"
#include "evaluators/worker/pipeline/sanitize_limits.h"
#include "evaluators/worker/vgpu/memory.h"

namespace kernelites::worker {
namespace {

constexpr std::size_t k_shapes_max = 4;
/// Beyond the shapes that show another kernel; the second one is there for another remainder of every tile.
constexpr std::size_t k_shapes_least = 2;
constexpr std::int64_t k_bytes_max = std::int64_t{1} << 20;
/// As a count of instructions: hundreds of times what honest kernels need at these shapes.
constexpr double k_sanitize_s_max = 1;

/// The largest shapes within this much of the reference's work come too: a race may need several tiles.
constexpr double k_larger_flops_max = 4e6;
constexpr std::size_t k_larger_shapes = 2;
constexpr std::int64_t k_remarks_max = 4;
/// Of drawn blocks at so many bench shapes: a fifth of a second.
constexpr std::uint64_t k_bench_instructions_max = 4'000'000;
constexpr std::size_t k_bench_shapes = 2;

void add_larger_shapes(const EvaluationContext& context, std::vector<std::size_t>& chosen) {
  std::vector<std::pair<double, std::size_t>> larger;
  for (const std::size_t i : smallest_checks(context)) {
    const Workload& workload = context.points[i].workload;
    const double flops = roofline_counts(context.task, workload).flops;
    if (flops <= k_larger_flops_max && workload_bytes(context.task, workload) <= k_bytes_max &&
        std::find(chosen.begin(), chosen.end(), i) == chosen.end())
      larger.emplace_back(-flops, i);
  }
  std::sort(larger.begin(), larger.end());
  for (std::size_t i = 0; i < std::min(larger.size(), k_larger_shapes); ++i)
    chosen.push_back(larger[i].second);
}

/// Small check shapes that launch all kernels that check shapes launch, as far as there is room.
std::vector<std::size_t> choose_shapes(const EvaluationContext& context) {
  std::vector<std::size_t> chosen;
  std::set<std::string> seen;
  for (const std::size_t i : smallest_checks(context)) {
    const bool is_small = workload_bytes(context.task, context.points[i].workload) <= k_bytes_max;
    if (chosen.size() == k_shapes_max || (!is_small && !chosen.empty())) break;
    bool is_new = false;
    for (const PlannedLaunch& launch : context.compiled.plans[i].launches)
      is_new |= seen.insert(launch.kernel).second;
    if (is_new || chosen.size() < k_shapes_least) chosen.push_back(i);
  }
  add_larger_shapes(context, chosen);
  return chosen;
}

/// What the stage tells besides a fault.
struct Told {
  std::map<std::string, std::int64_t> counts;
  std::set<std::string> remarks;
  bool is_bench_seen = true;  ///< whether a block of a bench shape was completed, where that was tried
};

/// Stage stress does so itself where its device is virtual.
void compare_orders(const EvaluationContext& context, WorkloadSession& session, ExecutorClient& executor,
                    ExecutorClient::Run order, std::size_t point) {
  const Key key = context.request.key.derive("sanitize", point);
  order.poison_seed = key.derive("poison").seed();
  order.adds_exactly = true;
  session.run(order);
  const auto first = session.outputs();
  order.schedule_seed = key.derive("schedule").seed() | 1;
  session.run(order);
  const Workload& workload = context.points[point].workload;
  if (executor.fault() || session.outputs() == first) return;
  executor.report({.reason = "not_repeatable",
                   .message = fmt::format("at workload '{}' the result depends on the order in which blocks "
                                          "and warps run, and not by the roundings of atomic additions",
                                          workload.name)});
}

/// Runs the chosen shapes, and counts; the fault, if any, is in the executor.
void run_shapes(const EvaluationContext& context, Referee& referee, ExecutorClient& executor, int module,
                Told& told) {
  for (const std::size_t i : choose_shapes(context)) {
    WorkloadSession session(referee, executor, context.task, context.points[i].workload);
    const int arm = session.add_arm(module, context.compiled.plans[i], context.compiled.lowered);
    const Key key = context.request.key.derive("sanitize", i);
    session.fill(context.task.families.front(), i, key);
    for (const std::uint64_t schedule : {std::uint64_t{0}, key.derive("schedule").seed() | 1}) {
      session.run({.plan = arm,
                   .poison_seed = key.derive("poison", schedule).seed(),
                   .poison_kind = static_cast<int>(i % k_poison_kinds),
                   .deadline_s = k_sanitize_s_max,
                   .schedule_seed = schedule,
                   .checks_races = true});
      if (executor.fault()) return;
      told.counts["launches"] += 1;
      told.remarks.insert(executor.remarks().begin(), executor.remarks().end());
    }
    told.counts["shapes"] += 1;
    const StaticCounts& counts = context.examination.counts;
    if (context.device.is_virtual || !adds_floats(counts)) continue;
    compare_orders(context, session, executor, {.plan = arm, .deadline_s = k_sanitize_s_max}, i);
    if (executor.fault()) return;
  }
}

/// Whether the virtual GPU maps what a shape's launches see; a serving engine's pool may be larger than it does.
bool is_mapped(const EvaluationContext& context, std::size_t point) {
  constexpr auto k_bytes_mapped = static_cast<std::int64_t>(vgpu::k_max_allocation);
  const Workload& workload = context.points[point].workload;
  for (const TensorSpec& tensor : context.task.tensors) {
    const auto element_bytes = static_cast<std::int64_t>(dtype_bytes(tensor.dtype));
    if (element_count(tensor, workload) > k_bytes_mapped / element_bytes) return false;
  }
  for (const Workspace& workspace : context.compiled.plans[point].workspaces)
    if (workspace.bytes > k_bytes_mapped) return false;
  return true;
}

/// Drawn blocks of bench shapes that the key draws: a device tells nothing of what a candidate reaches or leaves
/// unordered at large shapes alone. On the virtual GPU stage bench runs such blocks.
void run_bench_blocks(const EvaluationContext& context, Referee& referee, ExecutorClient& executor,
                      int module, Told& told) {
  std::vector<std::size_t> points;
  for (std::size_t i = 0; i < context.points.size(); ++i) {
    const EvaluationPoint& point = context.points[i];
    if (point.use == PointUse::bench && can_sample_rows(context.task, point.workload) &&
        is_mapped(context, i))
      points.push_back(i);
  }
  Rng(context.request.key.derive("sanitize_bench").seed()).shuffle(points);
  points.resize(std::min(points.size(), k_bench_shapes));
  std::uint64_t used = 0;
  for (const std::size_t i : points) {
    if (used >= k_bench_instructions_max || executor.fault()) return;
    const Workload& workload = context.points[i].workload;
    const Key key = context.request.key.derive("sanitize_bench", i);
    WorkloadSession session(referee, executor, context.task, workload, /*is_modelled=*/true);
    const int arm = session.add_arm(module, context.compiled.plans[i], context.compiled.lowered);
    session.fill(context.task.families.front(), i, key);
    const auto sampled = run_sampled_rows(executor, context.task, workload,
                                          {.plan = arm,
                                           .seed = key.derive("blocks").seed(),
                                           .instructions_max = k_bench_instructions_max - used,
                                           .checks_races = true});
    used += sampled.instructions;
    told.counts["blocks"] += static_cast<std::int64_t>(sampled.blocks);
  }
}

/// In a station of the virtual GPU, for a candidate that another device is waiting for.
std::optional<DeviceFault> run_beside_device(const EvaluationContext& context,
                                             const CompiledCandidate& compiled, Told& told) {
  StationPool::Lease station = context.sanitizers.take(context.seconds_left());
  context.use_computed_inputs(station->referee());
  const std::unique_ptr<ExecutorClient> executor = station->take_executor(LeaseUse::proving);
  const int module = executor->load(image_of(compiled));
  run_shapes(context, station->referee(), *executor, module, told);
  if (executor->fault()) return executor->fault();
  run_bench_blocks(context, station->referee(), *executor, module, told);
  told.is_bench_seen = told.counts["blocks"] > 0;
  return executor->fault();
}

/// The candidate with line tables, which code for a real device lacks: they are made once it has failed.
std::optional<DeviceFault> fault_with_line(const EvaluationContext& context, const DeviceFault& fault) {
  DeviceFacts with_lines = context.device;
  with_lines.is_virtual = true;
  std::vector<PlanPoint> points;
  for (const EvaluationPoint& point : context.points)
    points.push_back({.workload = &point.workload, .is_hidden = point.use == PointUse::hold_out});
  auto again = compile_candidate(context.compiler, context.request.candidate, context.task, Form::candidate,
                                 points, with_lines);
  const auto* compiled = std::get_if<CompiledCandidate>(&again);
  if (!compiled) return fault;
  Told untold;
  const auto repeated = run_beside_device(context, *compiled, untold);
  return repeated && repeated->reason == fault.reason ? repeated : fault;
}

/// For people alone, as in stage bench.
std::string remark_of(const Told& told, const Look& look) {
  std::string remark =
      "bounds, unwritten reads, races, barriers, input writes; two orders of blocks and warps";
  if (!told.is_bench_seen) remark += "; no block of a bench shape was completed";
  if (!look.first_end.empty()) remark += "; at the second attempt: " + look.first_end;
  return remark;
}

}  // namespace

std::optional<Verdict> run_sanitize_stage(EvaluationContext& context) {
  Told told;
  Look look;
  if (context.device.is_virtual) {
    context.take_device();
    run_shapes(context, (*context.station)->referee(), *context.executor, context.module, told);
    look.fault = context.executor->fault();
  } else {
    look = look_until_sure(
        [&] {
          told = {};
          return run_beside_device(context, context.compiled, told);
        },
        [&] { return context.seconds_left() > 0; });
    if (look.fault && !is_process_end(*look.fault) && !is_unknown_code(*look.fault, context.device))
      look.fault = fault_with_line(context, *look.fault);
  }
  for (const std::string& remark : told.remarks)
    if (told.counts["remarks"]++ < k_remarks_max)
      context.examination.notes.push_back("virtual GPU: " + remark);
  StageReport& report = context.report();
  report.counts = told.counts;
  report.remark = remark_of(told, look);
  if (!look.fault) return std::nullopt;
  if (context.device.is_virtual || !is_unknown_code(*look.fault, context.device))
    return fault_verdict("sanitize", *look.fault);
  report.outcome = "unchecked";
  report.remark = fmt::format("not sanitized: {}", look.fault->message);
  return std::nullopt;
}

}  // namespace kernelites::worker
