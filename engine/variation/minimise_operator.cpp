// SPDX-License-Identifier: Apache-2.0
// ddmin over parts of a change: leave out a chunk, keep what still does, and cut finer where nothing does.
#include "engine/variation/minimise_operator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"

namespace kernelites {
namespace {

/// log(time of its parent / time), by the duel of the two or by the baseline that both met.
double log_gain_of(const Specimen& specimen, const Specimen& before) {
  if (specimen.over_parent) return -specimen.over_parent->log_ratio_median;
  if (specimen.speedup <= 0 || before.speedup <= 0) return 0;
  return std::log(specimen.speedup / before.speedup);
}

}  // namespace

PartSearch::PartSearch(std::size_t parts, int tests_max) : tests_max_(tests_max) {
  KERNELITES_ASSERT(parts > 0 && tests_max > 0);
  for (std::size_t i = 0; i < parts; ++i) kept_.push_back(i);
  is_proven_ = parts == 1;
}

std::vector<std::vector<std::size_t>> PartSearch::next() {
  asked_.clear();
  if (is_proven_ || tests_ >= tests_max_) return asked_;
  const std::size_t chunks = std::min(chunks_, kept_.size());
  for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
    const std::size_t begin = chunk * kept_.size() / chunks, end = (chunk + 1) * kept_.size() / chunks;
    std::vector<std::size_t> rest;
    for (std::size_t i = 0; i < kept_.size(); ++i)
      if (i < begin || i >= end) rest.push_back(kept_[i]);
    asked_.push_back(std::move(rest));
  }
  is_cut_ = asked_.size() > static_cast<std::size_t>(tests_max_ - tests_);
  if (is_cut_) asked_.resize(static_cast<std::size_t>(tests_max_ - tests_));
  return asked_;
}

void PartSearch::told(const std::vector<bool>& does) {
  KERNELITES_ASSERT(does.size() == asked_.size());
  tests_ += static_cast<int>(does.size());
  const std::vector<std::size_t>* least = nullptr;
  for (std::size_t i = 0; i < does.size(); ++i)
    if (does[i] && (least == nullptr || asked_[i].size() < least->size())) least = &asked_[i];
  if (least != nullptr) {
    kept_ = *least;
    chunks_ = std::max<std::size_t>(2, std::min(chunks_, kept_.size()) - 1);
    is_proven_ = kept_.size() == 1;
  } else if (chunks_ < kept_.size()) {
    chunks_ = std::min(2 * chunks_, kept_.size());
  } else {
    is_proven_ = !is_cut_;
  }
}

void PartSearch::cut_short() {
  tests_max_ = tests_;
  is_proven_ = kept_.size() == 1;
}

MinimiseOperator::MinimiseOperator(VariationInput input) : input_(std::move(input)) {}

Action MinimiseOperator::next(const Observation& observation) {
  if (std::holds_alternative<Started>(observation)) {
    if (input_.lineage.empty()) return GiveUp{{"no_change", "a seed is no change of anything"}};
    const Specimen& before = input_.lineage.front().specimen;
    parts_ = change_parts(before.candidate, input_.parent.candidate);
    gain_ = log_gain_of(input_.parent, before);
    if (gain_ <= 0) return GiveUp{{"no_change", "the parent is not known to be faster than its own parent"}};
    if (parts_.empty()) return GiveUp{{"no_change", "the parent's code is that of its own parent"}};
    search_.emplace(parts_.size(), k_minimise_tests_max);
    return ask();
  }
  std::vector<bool> does;
  bool is_refused = false;
  for (const InsideResult& result : std::get<Evaluated>(observation).results) {
    does.push_back(keeps_gain(result));
    is_refused = is_refused || !result.refusal.empty();
    has_compiled_ = has_compiled_ || result.specimen.verdict.stage != "compile";
  }
  search_->told(does);
  // A budget is used up, the worker is in trouble, or there is nothing to be found.
  if (is_refused || is_inseparable()) search_->cut_short();
  return ask();
}

Action MinimiseOperator::ask() {
  EvaluateInside wanted;
  for (const std::vector<std::size_t>& set : search_->next())
    wanted.wishes.push_back(
        {.candidate = candidate_of(set),
         .step = InsideStep::time,
         .summary = fmt::format("{} of {} parts of a change", set.size(), parts_.size())});
  if (wanted.wishes.empty()) return end();
  return wanted;
}

Action MinimiseOperator::end() const {
  const std::size_t left = search_->least().size();
  if (left < parts_.size())
    return Submit{{candidate_of(search_->least()), fmt::format("{} of {} parts do", left, parts_.size())}};
  if (search_->is_proven())
    return GiveUp{{"already_minimal", fmt::format("each of its {} parts is needed", parts_.size())}};
  if (is_inseparable())
    return GiveUp{{"inseparable",
                   fmt::format("none of {} sets of its {} parts compiles", search_->tests(), parts_.size())}};
  return GiveUp{{"minimise_unfinished", fmt::format("{} tests left nothing out", search_->tests())}};
}

bool MinimiseOperator::is_inseparable() const {
  return !has_compiled_ && search_->tests() >= k_minimise_blind_max;
}

Candidate MinimiseOperator::candidate_of(const std::vector<std::size_t>& set) const {
  std::vector<ChangePart> parts;
  for (const std::size_t index : set) parts.push_back(parts_[index]);
  return with_parts(input_.lineage.front().specimen.candidate, parts);
}

/// It passes, and is as fast as the parent but for a small share of the gain. The same code as the parent's is not
/// timed again.
bool MinimiseOperator::keeps_gain(const InsideResult& result) const {
  const Specimen& specimen = result.specimen;
  if (!result.refusal.empty() || !specimen.verdict.is_passed) return false;
  const Examination &mine = specimen.examination, &parents = input_.parent.examination;
  if (!mine.code_digest.empty() && mine.code_digest == parents.code_digest && mine.plans == parents.plans)
    return true;
  const double loss_max = k_minimise_loss_max * gain_;
  if (!result.is_reused) return specimen.over_parent && specimen.over_parent->log_ratio_median <= loss_max;
  // Another variation's: its duel was with another parent.
  return specimen.speedup > 0 && std::log(input_.parent.speedup / specimen.speedup) <= loss_max;
}

}  // namespace kernelites
