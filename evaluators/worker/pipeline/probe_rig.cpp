// SPDX-License-Identifier: Apache-2.0
// Sessions per shape, base runs per family, and gates applied to the candidate's own outputs.
#include "evaluators/worker/pipeline/probe_rig.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"
#include "evaluators/worker/pipeline/error_words.h"

namespace kernelites::worker {
namespace {

/// Tensors of a probed shape travel to the host and back for every run.
constexpr std::int64_t k_probe_bytes_max = std::int64_t{512} << 10;
/// Both sides of a comparison are the candidate's, so that both may err.
constexpr double k_two_sided = 1.5;
/// Two sums that lie beside a border of roundings are a whole spacing apart, each with an error of half of one.
constexpr double k_two_roundings = 2;

int index_of(const Task& task, const std::string& name) {
  const auto found = std::find_if(task.tensors.begin(), task.tensors.end(),
                                  [&](const TensorSpec& tensor) { return tensor.name == name; });
  KERNELITES_ASSERT(found != task.tensors.end());
  return static_cast<int>(found - task.tensors.begin());
}

/// The gates of a property's output: none at all, or those of the reference for two that may err.
Precision probe_gates(const Precision& gates, const TensorSpec& output, bool is_exact) {
  const bool has_values = gates.compare == Compare::values || gates.compare == Compare::log_sum_exp;
  Precision result{.name = "probe", .compare = Compare::exact};
  if (is_exact && is_floating(output.dtype))
    result.compare = Compare::values;  // NaN and infinity are told apart
  if (is_exact || !has_values) return result;
  result = gates;
  result.emulated = 0;
  for (double* limit : {&result.row, &result.element_rms, &result.absolute}) *limit *= k_two_sided;
  result.element_ulp *= k_two_roundings;
  return result;
}

}  // namespace

std::vector<std::size_t> ProbeRig::points_for(const Property& property) const {
  if (property.word.contains("from")) return {point_of(property.word.at("from"))};
  std::vector<std::size_t> points;
  for (std::size_t i = 0; i < context_.points.size(); ++i) {
    const EvaluationPoint& point = context_.points[i];
    const bool has_room =
        std::all_of(property.dims.begin(), property.dims.end(),
                    [&](const std::string& dim) { return point.workload.dims.at(dim) >= 2; });
    if (point.use == PointUse::check && has_room &&
        workload_bytes(task(), point.workload) <= k_probe_bytes_max)
      points.push_back(i);
  }
  return points;
}

std::size_t ProbeRig::point_of(const std::string& workload) const {
  for (std::size_t i = 0; i < context_.points.size(); ++i) {
    if (context_.points[i].use == PointUse::check && context_.points[i].workload.name == workload) return i;
  }
  throw Error(fmt::format("a property needs '{}' among the check workloads", workload));
}

const InputFamily& ProbeRig::family(const Property& property) const {
  const auto& families = task().families;
  const auto found = std::find_if(families.begin(), families.end(), [&](const InputFamily& candidate) {
    return candidate.name == property.family;
  });
  return found == families.end() ? families.front() : *found;
}

ProbeRig::Bench& ProbeRig::bench(std::size_t point) {
  Bench& bench = benches_[point];
  if (!bench.session) {
    bench.session = std::make_unique<WorkloadSession>(referee_, *context_.executor, task(), workload(point));
    // A fill gives the tensors their places, for runs too whose inputs all come from another shape.
    bench.session->fill(task().families.front(), 0, context_.request.key.derive("probe", point));
    bench.arm =
        bench.session->add_arm(context_.module, context_.compiled.plans[point], context_.compiled.lowered);
  }
  return bench;
}

const ProbeRun& ProbeRig::base(const Property& property, std::size_t point) {
  const InputFamily& drawn = family(property);
  const auto key = std::pair(point, drawn.name);
  const auto known = bases_.find(key);
  if (known != bases_.end()) return known->second;
  WorkloadSession& session = *bench(point).session;
  // Rotations differ by shape, so that several contents of the metadata come up.
  session.fill(drawn, point % metadata_rotations(task()), context_.request.key.derive("probe", point));
  TensorContents inputs;
  for (const TensorSpec& tensor : task().tensors) {
    if (tensor.role == Role::input || tensor.role == Role::metadata)
      inputs[tensor.name] = session.read(index_of(task(), tensor.name));
  }
  ProbeRun run = launch(point, std::move(inputs));
  for (const auto& [output, values] : run.outputs) {
    if (std::none_of(values.begin(), values.end(), [](double value) { return std::isnan(value); })) continue;
    nan_words_ = fmt::format(
        "output '{}' has values that are no numbers or were never written, at workload '{}' with "
        "inputs '{}'",
        output, workload(point).name, drawn.name);
  }
  return bases_[key] = std::move(run);
}

ProbeRun ProbeRig::run(std::size_t point, const TensorContents& inputs) {
  WorkloadSession& session = *bench(point).session;
  for (const auto& [name, bytes] : inputs) session.write(index_of(task(), name), bytes);
  session.seal();
  return launch(point, inputs);
}

ProbeRun ProbeRig::launch(std::size_t point, TensorContents inputs) {
  Bench& on = bench(point);
  const std::uint64_t ordinal = launches_++;
  on.session->run(on.arm, RunMode::full, context_.request.key.derive("probe_poison", ordinal).seed(),
                  static_cast<int>(ordinal % k_poison_kinds),
                  run_deadline_s(context_.device, PointUse::check));
  ProbeRun run{.point = point, .inputs = std::move(inputs), .outputs = {}};
  for (const TensorSpec& tensor : task().tensors) {
    if (tensor.role != Role::output) continue;
    auto& values = run.outputs[tensor.name];
    if (context_.executor->fault()) {
      values.assign(static_cast<std::size_t>(element_count(tensor, workload(point))), 0);
    } else {
      values = element_values(tensor.dtype, on.session->read(index_of(task(), tensor.name)));
    }
  }
  return run;
}

bool ProbeRig::is_as_expected(const Property& property, const ProbeRun& run, const OutputValues& expected) {
  if (context_.executor->fault()) return true;  // the fault is the verdict
  bool is_right = property.is_exact && is_within(property, run, expected, true);
  if (!is_right) {
    was_inexact_ = was_inexact_ || property.is_exact;
    is_right = is_within(property, run, expected, false);
  }
  if (is_right) violation_words_.clear();
  return is_right;
}

bool ProbeRig::is_within(const Property& property, const ProbeRun& run, const OutputValues& expected,
                         bool is_exact) {
  std::map<std::string, Precision> gates;
  OutputValues outputs = run.outputs, wanted = expected;
  for (auto& [output, values] : wanted) {
    gates[output] =
        probe_gates(precision_of(task(), family(property), output), task().tensor(output), is_exact);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (std::isnan(values[i])) values[i] = outputs.at(output)[i] = 0;
    }
  }
  const auto errors = bench(run.point).session->compare(outputs, wanted, gates);
  const auto wrong =
      std::find_if(errors.begin(), errors.end(), [](const OutputError& error) { return !error.is_passed(); });
  if (wrong == errors.end()) return true;
  const auto rows = static_cast<std::int64_t>(row_count(task(), workload(run.point)));
  violation_words_ =
      fmt::format("at workload '{}' with inputs '{}', output '{}': {} {}", workload(run.point).name,
                  family(property).name, wrong->output, row_place_words(wrong->worst_index, rows),
                  wrong->mismatches > 0
                      ? "have values that are not finite or differ"
                      : "differ by " + error_size_words(std::max(wrong->row_share, wrong->element_share)));
  return false;
}

std::function<bool(const Indices&)> ProbeRig::validity(const ProbeRun& run, const TensorSpec& tensor) const {
  if (!tensor.valid || !tensor.valid->offsets.empty()) return [](const Indices&) { return true; };
  MetadataContents metadata;
  for (const TensorSpec& other : task().tensors) {
    if (other.role == Role::metadata) metadata[other.name] = whole_values(run.inputs.at(other.name));
  }
  const bool is_pool = !tensor.valid->table.empty();
  const auto named = std::find(tensor.shape.begin(), tensor.shape.end(), tensor.valid->axis);
  const std::size_t axis = is_pool ? 1 : static_cast<std::size_t>(named - tensor.shape.begin());
  return [axis, map = leading_map(task(), tensor, workload(run.point), metadata)](const Indices& at) {
    return at[axis] < map[static_cast<std::size_t>(at.front())].valid;
  };
}

Indices ProbeRig::shape(const std::string& tensor, std::size_t point) const {
  return tensor_shape(task().tensor(tensor), workload(point));
}

}  // namespace kernelites::worker
