// SPDX-License-Identifier: Apache-2.0
// The model-free operator that makes fixed decisions of a source tunable: what the tuner then settles.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/variation/operator.h"

namespace kernelites {

/// `source` with one more tunable, or nothing if there is nothing of its kind to declare (or its name is taken). The
/// default keeps the code as it is; no value of it can change what a kernel computes.
/// - MIN_BLOCKS: the second argument of every `__launch_bounds__(threads)` that has none, blocks per multiprocessor for
///   which ptxas saves registers.
/// - CARVEOUT: the share of the L1 that every launch of the plan asks to have as shared memory, in per cent.
std::optional<std::string> with_min_blocks(std::string_view source);
std::optional<std::string> with_carveout(std::string_view source);

/// Submits, on Started, the parent with one of these tunables declared and set to another value than the default. Gives
/// up with "nothing_to_declare".
class DeclareOperator : public Operator {
 public:
  DeclareOperator(VariationInput input, Rng rng) : input_(std::move(input)), rng_(rng) {}
  Action next(const Observation& observation) override;

 private:
  VariationInput input_;
  Rng rng_;
};

}  // namespace kernelites
