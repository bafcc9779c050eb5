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
  Pairing(std::size_t shapes, std::size_t families, std::size_t first)
      : chosen_(shapes, {0}), met_(families, 0), first_(first) {
    met_[0] = shapes;
  }

  bool has_met_all() const {
    return std::all_of(met_.begin(), met_.end(), [](std::size_t shapes) { return shapes > 0; });
  }

  /// Gives `shape` the family that has met the fewest; false if it has them all.
  bool add(std::size_t shape) {
    std::vector<std::size_t>& own = chosen_[shape];
    std::optional<std::size_t> best;
    for (std::size_t i = 0; i < met_.size(); ++i) {
      const std::size_t family = (first_ + i) % met_.size();
      if (std::find(own.begin(), own.end(), family) != own.end()) continue;
      if (!best || met_[family] < met_[*best]) best = family;
    }
    if (!best) return false;
    own.push_back(*best);
    ++met_[*best];
    return true;
  }

  std::vector<std::vector<std::size_t>> take() { return std::move(chosen_); }

 private:
  std::vector<std::vector<std::size_t>> chosen_;  ///< by shape
  std::vector<std::size_t> met_;                  ///< shapes of each family
  const std::size_t first_;
};

}  // namespace

std::vector<std::vector<std::size_t>> choose_pairs(const std::vector<double>& flops, std::size_t families,
                                                   std::size_t first) {
  Pairing pairing(flops.size(), families, first);
  std::vector<std::size_t> order(flops.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return flops[a] < flops[b]; });
  std::size_t pairs = flops.size();
  double left = k_virtual_check_flops;
  for (const std::size_t shape : order) pairs += pairing.add(shape) ? 1 : 0;
  for (bool is_going_on = true; is_going_on;) {
    is_going_on = false;
    for (const std::size_t shape : order) {
      const bool is_due = !pairing.has_met_all();
      if (!is_due && (pairs >= k_virtual_check_pairs || flops[shape] > left)) break;
      if (!pairing.add(shape)) continue;
      left -= flops[shape];
      ++pairs;
      is_going_on = true;
    }
  }
  return pairing.take();
}

}  // namespace kernelites::worker
