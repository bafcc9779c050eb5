// SPDX-License-Identifier: Apache-2.0
// Stage probe: properties of the operator, on the candidate's own outputs, without a reference.
//
// Every property that the task declares runs at one check shape, drawn by the key among those where it says something.
// It cannot be passed by recognising inputs for which an answer is known: there is no known answer.
#include <fmt/format.h>

#include "engine/core/error.h"
#include "evaluators/worker/pipeline/evaluation_context.h"
#include "evaluators/worker/pipeline/probe_kinds.h"

namespace kernelites::worker {
namespace {

const ProbeKind& kind_of(const Property& property) {
  for (const ProbeKind& kind : probe_kinds()) {
    if (kind.kind == property.kind) return kind;
  }
  throw Error(fmt::format("no probe for properties of kind '{}'", property.kind));
}

std::optional<Verdict> probe(EvaluationContext& context, ProbeRig& rig, std::size_t ordinal) {
  const Property& property = context.task.properties[ordinal];
  const std::vector<std::size_t> points = rig.points_for(property);
  if (points.empty())
    throw Error(fmt::format("property '{}' has no check workload to show itself at", property.name));
  Rng rng(context.request.key.derive("property", ordinal).seed());
  const ProbeKind& kind = kind_of(property);
  const bool holds = kind.holds(rig, property, points[rng.below(points.size())], rng);
  if (context.executor->fault()) return fault_verdict("probe", *context.executor->fault());
  if (!rig.nan_words().empty()) return Verdict::failed("probe", "not_finite_or_unwritten", rig.nan_words());
  if (holds) return std::nullopt;
  return Verdict::failed(
      "probe", "property_violated",
      fmt::format("property '{}' does not hold: the outputs must {}{}{}", property.name, kind.expectation,
                  rig.violation_words().empty() ? "" : "; ", rig.violation_words()));
}

}  // namespace

std::optional<Verdict> run_probe_stage(EvaluationContext& context) {
  context.take_device();
  ProbeRig rig(context, (*context.station)->referee());
  std::optional<Verdict> verdict;
  for (std::size_t i = 0; i < context.task.properties.size() && !verdict; ++i) {
    if (context.seconds_left() <= 0)
      verdict =
          Verdict::failed("probe", "deadline", "the probes did not finish within the evaluation's deadline");
    else
      verdict = probe(context, rig, i);
    context.report().counts["properties"] += 1;
  }
  context.report().remark = rig.was_inexact()
                                ? "relations between the candidate's own outputs; some within the gates only"
                                : "relations between the candidate's own outputs, bit for bit where due";
  return verdict;
}

}  // namespace kernelites::worker
