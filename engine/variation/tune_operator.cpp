// SPDX-License-Identifier: Apache-2.0
// The model-free operator: an untried choice of the parent's tunables.
#include "engine/variation/tune_operator.h"

#include <fmt/format.h>

#include "engine/core/error.h"
#include "engine/variation/tuning.h"

namespace kernelites {
namespace {

constexpr std::size_t k_neighbours_max = 4096;
/// Share of draws that change two tunables at once while single changes are left: they find what only goes
/// together.
constexpr double k_pair_share = 0.25;

std::string describe_change(const Tuning& from, const Tuning& to) {
  std::string text;
  for (const auto& [name, value] : to)
    if (from.at(name) != value)
      text += fmt::format("{}{} {} -> {}", text.empty() ? "" : ", ", name, from.at(name), value);
  return text;
}

}  // namespace

TuneOperator::TuneOperator(VariationInput input, Rng rng) : input_(std::move(input)), rng_(rng) {}

Action TuneOperator::next(const Observation& observation) {
  KERNELITES_ASSERT(std::holds_alternative<Started>(observation));
  const Candidate parent = with_full_tuning(input_.parent.candidate);
  const std::vector<Tunable> tunables = parse_tunables(parent.source);
  if (tunables.empty()) return GiveUp{{"not_tunable", "the parent declares no tunables"}};

  const bool is_pair_first = rng_.uniform() < k_pair_share;
  for (int changes : {is_pair_first ? 2 : 1, is_pair_first ? 1 : 2}) {
    std::vector<Tuning> choices = neighbours(tunables, parent.tuning, changes, k_neighbours_max);
    rng_.shuffle(choices);
    for (Tuning& choice : choices) {
      Candidate candidate{parent.source, choice};
      if (input_.is_known && input_.is_known(candidate)) continue;
      return Submit{{std::move(candidate), "tune " + describe_change(parent.tuning, choice)}};
    }
  }
  return GiveUp{{"tune_exhausted", "every choice of one or two of the parent's tunables has been tried"}};
}

}  // namespace kernelites
