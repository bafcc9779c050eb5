// SPDX-License-Identifier: Apache-2.0
// Portable distributions over mt19937_64, whose output the standard fixes.
#include "engine/core/rng.h"

#include "engine/core/digest.h"
#include "engine/core/error.h"

namespace kernelites {

Rng Rng::keyed(std::uint64_t run_seed, std::uint64_t ordinal, std::string_view purpose) {
  return Rng(Key::fixed(std::to_string(run_seed)).derive(purpose, ordinal).seed());
}

std::uint64_t Rng::below(std::uint64_t bound) {
  KERNELITES_ASSERT(bound > 0);
  // Rejection of the top remainder keeps the draw unbiased.
  const std::uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  std::uint64_t draw = bits();
  while (draw >= limit) draw = bits();
  return draw % bound;
}

double Rng::uniform() { return static_cast<double>(bits() >> 11) * 0x1.0p-53; }

std::size_t Rng::weighted(const std::vector<double>& weights) {
  double total = 0;
  for (double weight : weights) total += weight;
  KERNELITES_ASSERT(total > 0);
  double point = uniform() * total;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    point -= weights[i];
    if (point < 0 && weights[i] > 0) return i;
  }
  for (std::size_t i = weights.size(); i-- > 0;)
    if (weights[i] > 0) return i;
  return 0;
}

}  // namespace kernelites
