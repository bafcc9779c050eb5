// SPDX-License-Identifier: Apache-2.0
// Rounds over the shapes, until what must be met is met and what may be spent is spent.
#include "evaluators/worker/pipeline/check_pairs.h"

#include <algorithm>
#include <numeric>
#include <optional>

namespace kernelites::worker {
namespace {

class Pairing {
 public:
  Pairing(std::vector<bool> is_telling, std::size_t families, std::size_t first)
      : is_telling_(std::move(is_telling)),
        chosen_(is_telling_.size(), {0}),
        met_(families, {0, 0}),
        first_(first) {
    met_[0] = {is_telling_.size(), is_telling_.size()};
  }

  bool has_told_all() const {
    return std::all_of(met_.begin(), met_.end(), [](const Met& met) { return met.telling > 0; });
  }

  /// Gives `shape` the family that has met the fewest of its kind; false if it has them all.
  bool add(std::size_t shape) {
    const auto before = [&](const Met& a, const Met& b) {
      if (is_telling_[shape] && a.telling != b.telling) return a.telling < b.telling;
      return a.shapes < b.shapes;
    };
    std::vector<std::size_t>& own = chosen_[shape];
    std::optional<std::size_t> best;
    for (std::size_t i = 0; i < met_.size(); ++i) {
      const std::size_t family = (first_ + i) % met_.size();
      if (std::find(own.begin(), own.end(), family) != own.end()) continue;
      if (!best || before(met_[family], met_[*best])) best = family;
    }
    if (!best) return false;
    own.push_back(*best);
    met_[*best].shapes += 1;
    met_[*best].telling += is_telling_[shape] ? 1 : 0;
    return true;
  }

  std::vector<std::vector<std::size_t>> take() { return std::move(chosen_); }

 private:
  /// How many shapes a family has met, and telling ones among them.
  struct Met {
    std::size_t shapes = 0, telling = 0;
  };
  const std::vector<bool> is_telling_;
  std::vector<std::vector<std::size_t>> chosen_;  ///< by shape
  std::vector<Met> met_;
  const std::size_t first_;
};

/// A shape that costs more than this share of what is left is not met by one family after another.
constexpr double k_dear_share = 0.125;

}  // namespace

std::vector<std::vector<std::size_t>> choose_pairs(const std::vector<double>& flops, std::size_t families,
                                                   std::size_t first) {
  std::vector<std::size_t> order(flops.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return flops[a] < flops[b]; });
  const std::size_t small = flops.size() * 2 / 5;
  std::vector<bool> is_telling(flops.size(), true);
  for (std::size_t i = 0; i < small; ++i) is_telling[order[i]] = false;
  Pairing pairing(std::move(is_telling), families, first);
  std::size_t pairs = flops.size();
  double left = k_virtual_check_flops;
  for (std::size_t i = 0; i < order.size(); ++i)  // the telling ones first
    pairs += pairing.add(order[(small + i) % order.size()]) ? 1 : 0;
  // Rounds over `order` from `begin` on, until `is_over` says so at a shape or no family is left.
  const auto go_round = [&](std::size_t begin, const auto& is_over) {
    for (bool is_going_on = true; is_going_on;) {
      is_going_on = false;
      for (std::size_t i = begin; i < order.size() && !is_over(i); ++i) {
        if (!pairing.add(order[i])) continue;
        left -= flops[order[i]];
        ++pairs;
        is_going_on = true;
      }
    }
  };
  go_round(small, [&](std::size_t i) {
    return pairing.has_told_all() || (i > small && flops[order[i]] > left * k_dear_share);
  });
  go_round(0, [&](std::size_t i) { return pairs >= k_virtual_check_pairs || flops[order[i]] > left; });
  return pairing.take();
}

}  // namespace kernelites::worker
