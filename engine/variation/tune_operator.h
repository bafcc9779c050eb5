// SPDX-License-Identifier: Apache-2.0
// The model-free operator: an untried choice of the parent's tunables.
#pragma once

#include "engine/variation/operator.h"

namespace kernelites {

/// Submits, on Started, the choice that `next_tuning` (tune_search.h) makes from the tunings in `input.tuned` and what
/// `input.is_known` does not know. Gives up with "tune_exhausted" when every choice of one or two of the parent's
/// tunables is known or ruled out, with "not_tunable" when the source declares no tunables.
class TuneOperator : public Operator {
 public:
  TuneOperator(VariationInput input, Rng rng);
  Action next(const Observation& observation) override;

 private:
  VariationInput input_;
  Rng rng_;
};

}  // namespace kernelites
