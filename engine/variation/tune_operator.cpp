// SPDX-License-Identifier: Apache-2.0
// The model-free operator: an untried choice of the parent's tunables.
#include "engine/variation/tune_operator.h"

#include "engine/core/error.h"
#include "engine/variation/tune_search.h"

namespace kernelites {

TuneOperator::TuneOperator(VariationInput input, Rng rng) : input_(std::move(input)), rng_(rng) {}

Action TuneOperator::next(const Observation& observation) {
  KERNELITES_ASSERT(std::holds_alternative<Started>(observation));
  const Candidate parent = with_full_tuning(input_.parent.candidate);
  TuneState state{.tunables = parse_tunables(parent.source),
                  .rules = parse_tuning_rules(parent.source),
                  .start = parent.tuning,
                  .tried = input_.tuned};
  if (state.tunables.empty()) return GiveUp{{"not_tunable", "the parent declares no tunables"}};
  for (const Workload& workload : input_.task.bench) state.weights[workload.name] = workload.weight;
  if (input_.is_known)
    state.is_known = [&](const Tuning& tuning) { return input_.is_known({parent.source, tuning}); };

  auto proposal = next_tuning(state, rng_);
  if (!proposal)
    return GiveUp{{"tune_exhausted", "every choice of one or two of the parent's tunables has been tried"}};
  std::string summary = "tune " + describe_change(proposal->from, proposal->tuning);
  if (!proposal->workload.empty()) summary += " for " + proposal->workload;
  return Submit{{Candidate{parent.source, std::move(proposal->tuning)}, std::move(summary)}};
}

}  // namespace kernelites
