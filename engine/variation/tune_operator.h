// SPDX-License-Identifier: Apache-2.0
// The model-free operator: an untried choice of the parent's tunables.
#pragma once

#include "engine/variation/operator.h"

namespace kernelites {

/// Submits, on Started, the parent with one tunable changed, or two once no single change is left (sometimes
/// before), drawn by `rng` among the choices that `input.is_known` does not know. Gives up with
/// "tune_exhausted" when there is none, with "not_tunable" when the source declares no tunables.
class TuneOperator : public Operator {
 public:
  TuneOperator(VariationInput input, Rng rng);
  Action next(const Observation& observation) override;

 private:
  VariationInput input_;
  Rng rng_;
};

}  // namespace kernelites
