// SPDX-License-Identifier: Apache-2.0
// Stage stress: the same launch again and again, on other rubbish, in other orders; the answer must not move.
//
// A candidate gives the same bits every time, whatever lay in outputs and workspaces before. Only floating-point
// additions by atomics, whose order is free, are an excuse: repeats may then lie apart by a quarter of the gates, and
// single elements by one unit in their last place, which a sum's last bit decides. The virtual GPU tells whether it was
// they: the same run once more, without roundings in those sums, gives the same in every order. Sixteen launches in a
// row, with nothing reset but what the plan itself resets, must leave the right answer: a counter that is not put back
// shows here. On the virtual GPU further runs interleave blocks and warps in orders that the key draws; on hardware a
// rival holds multiprocessors, so that blocks start late, at other places and not together.
#include <fmt/format.h>

#include <algorithm>

#include "engine/core/code_measures.h"
#include "evaluators/worker/pipeline/evaluation_context.h"
#include "evaluators/worker/pipeline/output_spread.h"

namespace kernelites::worker {
namespace {

constexpr int k_back_to_back = 16;
/// Further runs one by one: each is scheduled anew, on the virtual GPU by another seed, on hardware beside a rival.
constexpr int k_repeats = 12;
constexpr int k_virtual_repeats = 3;
/// Of the gates: how far repeats with atomics may lie apart (verification of H05).
constexpr double k_spread_share = 0.25;
/// Outputs are read and compared on the host.
constexpr std::int64_t k_output_bytes_max = std::int64_t{8} << 20;
constexpr std::int64_t k_virtual_bytes_max = std::int64_t{256} << 10;

using Outputs = std::vector<std::vector<std::byte>>;

std::int64_t output_bytes(const EvaluationContext& context, std::size_t point) {
  std::int64_t bytes = 0;
  for (const TensorSpec& tensor : context.task.tensors) {
    if (tensor.role != Role::output && tensor.role != Role::inout) continue;
    bytes += element_count(tensor, context.points[point].workload) *
             static_cast<std::int64_t>(dtype_bytes(tensor.dtype));
  }
  return bytes;
}

/// The largest check shape that is affordable, another one that the key draws, and on hardware a bench shape.
std::vector<std::size_t> choose_shapes(const EvaluationContext& context) {
  const std::vector<std::size_t> checks = smallest_checks(context);
  std::size_t affordable = 0;
  while (affordable < checks.size() && output_bytes(context, checks[affordable]) <= k_output_bytes_max &&
         (!context.device.is_virtual ||
          workload_bytes(context.task, context.points[checks[affordable]].workload) <= k_virtual_bytes_max))
    ++affordable;
  if (affordable == 0) return {};
  std::vector<std::size_t> chosen{checks[affordable - 1]};
  if (affordable > 1) {
    const std::uint64_t draw = context.request.key.derive("stress_shape").seed();
    chosen.push_back(checks[draw % (affordable - 1)]);
  }
  for (std::size_t i = 0; i < context.points.size() && !context.device.is_virtual; ++i) {
    if (context.points[i].use != PointUse::bench || output_bytes(context, i) > k_output_bytes_max) continue;
    chosen.push_back(i);
    break;
  }
  return chosen;
}

/// One shape under stress.
class ShapeStress {
 public:
  ShapeStress(EvaluationContext& context, const Reference& reference, std::size_t point)
      : context_(context),
        reference_(reference),
        point_(point),
        key_(context.request.key.derive("stress", point)),
        session_((*context.station)->referee(), *context.executor, context.task,
                 context.points[point].workload),
        arm_(session_.add_arm(context.module, context.compiled.plans[point], context.compiled.lowered)) {}

  std::optional<Verdict> run() {
    const auto& families = context_.task.families;
    family_ = &families[key_.derive("family").seed() % families.size()];
    session_.fill(*family_, point_, key_);
    launch({.poison_seed = poison(0), .checks_races = true});
    if (auto verdict = fault()) return verdict;
    first_ = session_.outputs();
    if (auto verdict = vary_poison()) return verdict;
    if (auto verdict = repeat()) return verdict;
    return launch_back_to_back();
  }

  /// Every result the same, bit for bit.
  bool is_repeatable() const { return is_repeatable_; }

 private:
  std::uint64_t poison(std::uint64_t ordinal) const { return key_.derive("poison", ordinal).seed(); }

  void launch(ExecutorClient::Run order) {
    order.plan = arm_;
    // A plan that is repeated is one run, of many launches.
    order.deadline_s =
        run_deadline_s(context_.device, order.repeats > 1 ? PointUse::bench : context_.points[point_].use);
    session_.run(order);
    context_.report().counts["launches"] += order.repeats;
    last_ = order;
  }

  std::optional<Verdict> fault() const {
    if (!context_.executor->fault()) return std::nullopt;
    return fault_verdict("stress", *context_.executor->fault());
  }

  std::string where() const {
    return fmt::format("at workload '{}' with inputs '{}'", context_.points[point_].workload.name,
                       family_->name);
  }

  /// How far the outputs as they are lie from those of the first run.
  OutputSpread distance() {
    const OutputSpread spread = distance_from(first_);
    is_repeatable_ = is_repeatable_ && spread.is_equal;
    return spread;
  }

  OutputSpread distance_from(const Outputs& first) {
    return outputs_spread(context_.task, context_.points[point_].workload, *family_, first,
                          session_.outputs());
  }

  /// Whether the last run and the first differ by the roundings of atomic additions alone. A real device cannot tell
  /// (stage sanitize has asked the virtual GPU at small shapes).
  bool is_rounding() {
    if (!context_.device.is_virtual) return true;
    ExecutorClient::Run again = last_;
    again.adds_exactly = true;
    if (exact_.empty()) {
      launch({.poison_seed = poison(0), .adds_exactly = true});
      exact_ = session_.outputs();
    }
    launch(again);
    return !context_.executor->fault() && distance_from(exact_).is_equal;
  }

  /// A verdict unless the outputs are those of the first run, or as near as atomic additions excuse.
  std::optional<Verdict> judge(const OutputSpread& spread, const char* reason, const std::string& words) {
    if (spread.is_equal) return std::nullopt;
    const char* why = "";
    if (adds_floats(context_.examination.counts)) {
      if (spread.share > k_spread_share)
        why = ": by more than the order of atomic additions explains";
      else if (is_rounding())
        return std::nullopt;
      else if (auto verdict = fault())
        return verdict;
      else
        why = ": the order of atomic additions is not what decides";
    }
    return Verdict::failed("stress", reason, fmt::format("{} {}{}", words, where(), why));
  }

  /// Other rubbish in outputs and workspaces.
  std::optional<Verdict> vary_poison() {
    for (int kind = 0; kind < k_poison_kinds; ++kind) {
      launch({.poison_seed = poison(1 + static_cast<std::uint64_t>(kind)), .poison_kind = kind});
      if (auto verdict = fault()) return verdict;
      const OutputSpread spread = distance();
      if (spread.is_equal) continue;
      const ExecutorClient::Run varied = last_;
      // The first run once more, byte for byte: if that differs too, the rubbish is not to blame.
      launch({.poison_seed = poison(0)});
      if (auto verdict = fault()) return verdict;
      const bool is_repeatable = distance().is_equal;
      last_ = varied;
      auto verdict = is_repeatable
                         ? judge(spread, "depends_on_poison",
                                 "the result depends on what lay in outputs or workspaces before the launch")
                         : judge(spread, "not_repeatable", "equal launches give different results");
      if (verdict) return verdict;
    }
    return std::nullopt;
  }

  std::optional<Verdict> repeat() {
    const int repeats = context_.device.is_virtual ? k_virtual_repeats : k_repeats;
    for (int i = 0; i < repeats; ++i) {
      const auto ordinal = static_cast<std::uint64_t>(i);
      launch({.poison_seed = poison(0), .schedule_seed = key_.derive("schedule", ordinal).seed() | 1});
      if (auto verdict = fault()) return verdict;
      auto verdict =
          judge(distance(), "not_repeatable",
                context_.device.is_virtual
                    ? "the result depends on the order in which blocks and warps run,"
                    : "the result depends on when blocks run: not all of a grid need run at once,");
      if (verdict) return verdict;
    }
    return std::nullopt;
  }

  std::optional<Verdict> launch_back_to_back() {
    launch({.poison_seed = poison(9), .poison_kind = 1, .repeats = k_back_to_back});
    if (auto verdict = fault()) return verdict;
    const EvaluationPoint& point = context_.points[point_];
    const RowLists rows = draw_rows(context_.task, point.workload, point.rows, key_);
    for (const auto& list : rows) context_.report().counts["rows"] += static_cast<std::int64_t>(list.size());
    for (const OutputError& error : session_.check(reference_.plan(point_), rows)) {
      if (error.is_passed()) continue;
      return Verdict::failed(
          "stress", "wrong_after_repeats",
          fmt::format("output '{}' is wrong {} after {} launches in a row: something is not put back",
                      error.output, where(), k_back_to_back));
    }
    return judge(distance(), "wrong_after_repeats", "launches in a row end with another result");
  }

  EvaluationContext& context_;
  const Reference& reference_;
  const std::size_t point_;
  const Key key_;
  WorkloadSession session_;
  const int arm_;
  const InputFamily* family_ = nullptr;
  Outputs first_, exact_;  ///< of the first run; without roundings in sums by atomics
  ExecutorClient::Run last_;
  bool is_repeatable_ = true;
};

}  // namespace

std::optional<Verdict> run_stress_stage(EvaluationContext& context) {
  const Reference& reference = context.reference.get();
  StageReport& report = context.report();
  bool is_repeatable = true;
  for (const std::size_t point : choose_shapes(context)) {
    if (context.seconds_left() <= 0)
      return Verdict::failed("stress", "deadline", "the evaluation's deadline passed during this stage");
    ShapeStress stress(context, reference, point);
    auto verdict = stress.run();
    report.counts["shapes"] += 1;
    if (verdict) return verdict;
    is_repeatable = is_repeatable && stress.is_repeatable();
  }
  report.remark =
      fmt::format("repeats on three kinds of poison{}, {} launches in a row; {}",
                  context.device.is_virtual ? " and in other orders of blocks and warps"
                                            : " and beside a rival for multiprocessors",
                  k_back_to_back,
                  is_repeatable ? "every result the same, bit for bit"
                                : "results differ within a quarter of the gates (atomic additions)");
  if (!is_repeatable) context.examination.notes.push_back("results are not repeatable bit for bit (atomics)");
  return std::nullopt;
}

}  // namespace kernelites::worker
