// SPDX-License-Identifier: Apache-2.0
// The only random source: every draw is keyed by (run seed, candidate ordinal, purpose), so that a run repeats.
#pragma once

#include <cstdint>
#include <random>
#include <string_view>
#include <vector>

namespace kernelites {

/// A stream of random numbers. The distributions are ours, since the standard's differ between libraries.
class Rng {
 public:
  explicit Rng(std::uint64_t seed) : engine_(seed) {}
  /// The stream for one decision: independent of every other (ordinal, purpose) of the run.
  static Rng keyed(std::uint64_t run_seed, std::uint64_t ordinal, std::string_view purpose);

  std::uint64_t bits() { return engine_(); }
  /// Uniform in [0, bound). REQUIRES: bound > 0.
  std::uint64_t below(std::uint64_t bound);
  /// Uniform in [0, 1).
  double uniform();
  /// Index drawn with probability proportional to `weights`. REQUIRES: a positive sum.
  std::size_t weighted(const std::vector<double>& weights);

  template <typename T>
  void shuffle(std::vector<T>& items) {
    for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace kernelites
