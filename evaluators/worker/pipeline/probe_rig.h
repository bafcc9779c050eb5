// SPDX-License-Identifier: Apache-2.0
// Runs a candidate on changed inputs and compares its outputs with what its earlier outputs lead one to expect.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evaluators/worker/pipeline/evaluation_context.h"
#include "evaluators/worker/pipeline/tensor_values.h"

namespace kernelites::worker {

/// Contents of tensors by name.
using TensorContents = std::map<std::string, TensorBytes>;
/// Outputs by name, as numbers.
using OutputValues = std::map<std::string, std::vector<double>>;

/// Inputs, metadata and outputs of one run at one shape.
struct ProbeRun {
  std::size_t point = 0;
  TensorContents inputs;  ///< inputs and metadata
  OutputValues outputs;
};

/// The candidate at the shapes of one examination. A fault of the executor sticks, as everywhere; runs after it have
/// outputs of zeros.
class ProbeRig {
 public:
  ProbeRig(EvaluationContext& context, Referee& referee) : context_(context), referee_(referee) {}

  const Task& task() const { return context_.task; }
  const Workload& workload(std::size_t point) const { return context_.points[point].workload; }
  /// Check points at which `property` says something and that are small enough, in order; for kinds with two
  /// workloads their "from".
  std::vector<std::size_t> points_for(const Property& property) const;
  /// Index of the point of a workload. Throws Error if it is not among the check workloads.
  std::size_t point_of(const std::string& workload) const;

  /// The run on inputs of the property's family; drawn once per shape and family.
  const ProbeRun& base(const Property& property, std::size_t point);
  /// The run on `inputs`, which hold every input and metadata tensor.
  ProbeRun run(std::size_t point, const TensorContents& inputs);

  /// Whether the outputs of `run` that `property` names are as expected: within their gates; NaN is expected where
  /// anything may stand. That a property is exact
  /// and they are not, bit for bit, is remembered: the order of additions may depend on the data.
  bool is_as_expected(const Property& property, const ProbeRun& run, const OutputValues& expected);
  bool was_inexact() const { return was_inexact_; }
  /// Where the last comparison that failed found what: shape, inputs, output, place and size. Empty if none failed.
  const std::string& violation_words() const { return violation_words_; }
  /// Words for a NaN in the outputs of a base run: it has every property and none. Empty if there was none.
  const std::string& nan_words() const { return nan_words_; }

  Indices shape(const std::string& tensor, std::size_t point) const;
  /// Whether an element belongs to a sequence, by the metadata of `run`.
  std::function<bool(const Indices&)> validity(const ProbeRun& run, const TensorSpec& tensor) const;

 private:
  struct Bench {
    std::unique_ptr<WorkloadSession> session;
    int arm = -1;
  };
  Bench& bench(std::size_t point);
  const InputFamily& family(const Property& property) const;
  ProbeRun launch(std::size_t point, TensorContents inputs);
  bool is_within(const Property& property, const ProbeRun& run, const OutputValues& expected, bool is_exact);

  EvaluationContext& context_;
  Referee& referee_;
  std::map<std::size_t, Bench> benches_;
  std::map<std::pair<std::size_t, std::string>, ProbeRun> bases_;
  std::uint64_t launches_ = 0;
  bool was_inexact_ = false;
  std::string nan_words_, violation_words_;
};

}  // namespace kernelites::worker
