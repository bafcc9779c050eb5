// SPDX-License-Identifier: Apache-2.0
// Tries simple relations and keeps those that exclude most of what is refused.
#include "tools/exporting/domain_coverage.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>
#include <set>

namespace kernelites {
namespace {

constexpr std::size_t k_relations_max = 6, k_extents_max = 6, k_reasons_told_max = 4;
constexpr std::size_t k_refused_kept_max = 8;
constexpr std::ptrdiff_t k_of_reason_max = 2;
/// A relation that excludes less than this share of the refused shapes is an accident of the draws.
constexpr double k_share_min = 0.02;

struct TriedRelation {
  std::string words;
  std::function<bool(const Shape&)> holds;
  std::int64_t first_refused = 0;
  int weight = 0;  ///< of two that exclude as much the lighter one is told
};

using Number = std::function<std::int64_t(const Shape&)>;

/// `number` as it is among the taken shapes: bounds, multiples, a few values.
void add_of(const std::string& name, const Number& number, int weight, bool has_values,
            const std::vector<TriedShape>& tried, std::vector<TriedRelation>& candidates) {
  std::int64_t low = std::numeric_limits<std::int64_t>::max(), high = 0, common = 0;
  std::set<std::int64_t> values, others;
  for (const TriedShape& one : tried) {
    const std::int64_t value = number(one.shape);
    (one.is_taken ? values : others).insert(value);
    if (!one.is_taken) continue;
    low = std::min(low, value), high = std::max(high, value), common = std::gcd(common, value);
  }
  const auto above = others.upper_bound(high);
  if (above != others.end())
    candidates.push_back({fmt::format("{} <= {}", name, high),
                          [number, high](const Shape& shape) { return number(shape) <= high; }, *above,
                          weight});
  const auto below = others.lower_bound(low);
  if (below != others.begin())
    candidates.push_back({fmt::format("{} >= {}", name, low),
                          [number, low](const Shape& shape) { return number(shape) >= low; },
                          *std::prev(below), weight});
  if (!has_values) return;
  if (common > 1)
    candidates.push_back({fmt::format("{} a multiple of {}", name, common),
                          [number, common](const Shape& shape) { return number(shape) % common == 0; }, 0,
                          weight});
  if (values.size() <= k_extents_max)
    candidates.push_back({fmt::format("{} one of {}", name, fmt::join(values, ", ")),
                          [number, values](const Shape& shape) { return values.contains(number(shape)); }, 0,
                          weight + 1});
}

std::vector<TriedRelation> candidates_of(const std::vector<std::string>& dims,
                                         const std::vector<TriedShape>& tried) {
  std::vector<TriedRelation> candidates;
  for (std::size_t a = 0; a < dims.size(); ++a) {
    add_of(
        dims[a], [a](const Shape& shape) { return shape[a]; }, 0, true, tried, candidates);
    for (std::size_t b = 0; b < dims.size(); ++b) {
      if (a == b) continue;
      const bool divides = std::all_of(tried.begin(), tried.end(), [&](const TriedShape& one) {
        return one.shape[a] % one.shape[b] == 0;
      });
      if (divides)
        add_of(
            fmt::format("{} / {}", dims[a], dims[b]),
            [a, b](const Shape& shape) { return shape[a] / shape[b]; }, 2, true, tried, candidates);
      if (a < b)
        add_of(
            fmt::format("{} * {}", dims[a], dims[b]),
            [a, b](const Shape& shape) { return shape[a] * shape[b]; }, 4, false, tried, candidates);
    }
  }
  return candidates;
}

/// The one that excludes most of what is left, the lightest of equals.
const TriedRelation* best_of(const std::vector<TriedRelation>& candidates,
                             const std::vector<const TriedShape*>& left, std::int64_t& excluded) {
  const TriedRelation* best = nullptr;
  excluded = 0;
  for (const TriedRelation& candidate : candidates) {
    const auto count = static_cast<std::int64_t>(std::count_if(
        left.begin(), left.end(), [&](const TriedShape* one) { return !candidate.holds(one->shape); }));
    const bool is_better =
        count > excluded || (count == excluded && best != nullptr && candidate.weight < best->weight);
    if (count == 0 || !is_better) continue;
    best = &candidate;
    excluded = count;
  }
  return best;
}

void keep_refused(DomainCoverage& coverage, const TriedShape& one) {
  std::vector<TriedShape>& kept = coverage.refused_shapes;
  const auto known = std::count_if(kept.begin(), kept.end(),
                                   [&](const TriedShape& other) { return other.words == one.words; });
  if (!one.is_taken && kept.size() < k_refused_kept_max && known < k_of_reason_max) kept.push_back(one);
}

}  // namespace

DomainCoverage coverage_of(const std::vector<std::string>& dims, const std::vector<TriedShape>& tried) {
  DomainCoverage coverage{.shapes = static_cast<std::int64_t>(tried.size())};
  std::vector<const TriedShape*> left;
  for (const TriedShape& one : tried) {
    if (one.is_taken) continue;
    left.push_back(&one);
    ++coverage.reasons[one.words];
  }
  coverage.refused = static_cast<std::int64_t>(left.size());
  const bool has_both = !left.empty() && left.size() < tried.size();
  const std::vector<TriedRelation> candidates =
      has_both ? candidates_of(dims, tried) : std::vector<TriedRelation>();
  const double least = k_share_min * static_cast<double>(left.size());
  while (!left.empty() && coverage.relations.size() < k_relations_max) {
    std::int64_t excluded = 0;
    const TriedRelation* const best = best_of(candidates, left, excluded);
    if (best == nullptr || static_cast<double>(excluded) < least) break;
    coverage.relations.push_back({best->words, excluded, best->first_refused});
    std::erase_if(left, [&](const TriedShape* one) { return !best->holds(one->shape); });
  }
  coverage.unexplained = static_cast<std::int64_t>(left.size());
  return coverage;
}

DomainCoverage library_coverage(const Task& task, const Portfolio& portfolio, const LibraryCode& code,
                                const std::vector<ProofBatch>& batches, const std::vector<Shape>& tables) {
  const std::vector<std::string> dims = variable_dims(task);
  // By arm: the words of what it refuses.
  std::vector<std::map<std::pair<int, std::size_t>, std::string>> refused(code.arms.size());
  for (std::size_t arm = 0; arm < code.arms.size(); ++arm)
    for (const PlanRefusal& refusal : code.arms[arm].refusals)
      refused[arm][{refusal.batch, refusal.shape}] = refusal.words;
  std::vector<TriedShape> tried;
  std::vector<std::int64_t> calls(code.arms.size() + 1);
  const auto look = [&](int batch, std::size_t index, const Shape& shape) {
    std::map<std::string, std::int64_t> extents;
    for (std::size_t i = 0; i < dims.size(); ++i) extents[dims[i]] = shape[i];
    // As the library does: the rule's arm, the default, then whoever takes it.
    std::vector<int> order{arm_at(portfolio.dispatch, extents), portfolio.dispatch.default_arm};
    for (std::size_t arm = 0; arm < code.arms.size(); ++arm) order.push_back(static_cast<int>(arm));
    TriedShape one{.shape = shape, .is_taken = false, .words = ""};
    for (const int arm : order) {
      if (arm < 0 || one.is_taken) continue;
      const auto& of_arm = refused[static_cast<std::size_t>(arm)];
      const auto found = of_arm.find({batch, index});
      one.is_taken = found == of_arm.end();
      if (one.is_taken)
        ++calls[static_cast<std::size_t>(arm)];
      else if (one.words.empty())
        one.words = found->second;
    }
    tried.push_back(std::move(one));
  };
  for (std::size_t batch = 0; batch < batches.size(); ++batch)
    for (std::size_t i = 0; i < batches[batch].shapes.size(); ++i)
      look(static_cast<int>(batch), i, batches[batch].shapes[i]);
  for (std::size_t i = 0; i < tables.size(); ++i) look(-1, i, tables[i]);
  DomainCoverage coverage = coverage_of(dims, tried);
  // Further batches are of other scalars and devices, which may take what these refuse.
  const std::size_t as_it_is = batches.empty() ? tables.size() : batches.front().shapes.size();
  for (std::size_t i = 0; i < as_it_is; ++i) keep_refused(coverage, tried[i]);
  for (std::size_t arm = 0; arm < code.arms.size(); ++arm)
    coverage.arms.emplace_back(code.arms[arm].label, calls[arm]);
  return coverage;
}

std::vector<std::string> coverage_words(const DomainCoverage& coverage) {
  if (coverage.refused == 0)
    return {fmt::format("All {} shapes that were tried are taken.", coverage.shapes)};
  std::vector<std::string> lines;
  for (const DomainRelation& relation : coverage.relations) {
    const std::string next =
        relation.first_refused > 0 ? fmt::format(" (nearest refused: {})", relation.first_refused) : "";
    lines.push_back(relation.words + next);
  }
  std::string counts =
      fmt::format("{} of {} shapes that were tried are refused", coverage.refused, coverage.shapes);
  if (coverage.unexplained > 0)
    counts += fmt::format(", {} of them by no relation as simple as these", coverage.unexplained);
  std::vector<std::pair<std::int64_t, std::string>> reasons;
  for (const auto& [words, count] : coverage.reasons) reasons.emplace_back(count, words);
  std::sort(reasons.rbegin(), reasons.rend());
  for (std::size_t i = 0; i < reasons.size() && i < k_reasons_told_max; ++i)
    counts += fmt::format("{} \"{}\" ({})", i == 0 ? ":" : ",", reasons[i].second, reasons[i].first);
  lines.push_back(counts);
  return lines;
}

void to_json(Json& json, const DomainCoverage& coverage) {
  json = Json{{"shapes_tried", coverage.shapes},
              {"refused", coverage.refused},
              {"refused_by_no_relation", coverage.unexplained},
              {"relations", Json::array()},
              {"words_of_plans", coverage.reasons},
              {"taken_by", Json::object()}};
  for (const DomainRelation& relation : coverage.relations) {
    json["relations"].push_back({{"words", relation.words}, {"refuses", relation.refused}});
    if (relation.first_refused > 0) json["relations"].back()["nearest_refused"] = relation.first_refused;
  }
  for (const auto& [label, count] : coverage.arms) json["taken_by"][label] = count;
}

}  // namespace kernelites
