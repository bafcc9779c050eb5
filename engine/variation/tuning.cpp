// SPDX-License-Identifier: Apache-2.0
// Values of the tunables that a source declares: complete, default, and the neighbours of a choice.
#include "engine/variation/tuning.h"

#include "engine/core/error.h"

namespace kernelites {
namespace {

void add_one_change(const Tunable& tunable, const Tuning& from, std::size_t count_max,
                    std::vector<Tuning>& out) {
  for (std::int64_t value : tunable.values) {
    if (value == from.at(tunable.name) || out.size() >= count_max) continue;
    Tuning tuning = from;
    tuning[tunable.name] = value;
    out.push_back(std::move(tuning));
  }
}

}  // namespace

Candidate with_full_tuning(Candidate candidate) {
  Tuning full;
  for (const Tunable& tunable : parse_tunables(candidate.source)) {
    if (tunable.values.empty()) continue;
    const auto chosen = candidate.tuning.find(tunable.name);
    full[tunable.name] = chosen != candidate.tuning.end() ? chosen->second : tunable.values.front();
  }
  candidate.tuning = std::move(full);
  return candidate;
}

std::vector<Tuning> neighbours(const std::vector<Tunable>& tunables, const Tuning& from, int changes,
                               std::size_t count_max) {
  KERNELITES_ASSERT(changes == 1 || changes == 2);
  std::vector<Tuning> out;
  for (std::size_t i = 0; i < tunables.size(); ++i) {
    if (changes == 1) {
      add_one_change(tunables[i], from, count_max, out);
      continue;
    }
    std::vector<Tuning> first;
    add_one_change(tunables[i], from, count_max, first);
    for (const Tuning& tuning : first)
      for (std::size_t j = i + 1; j < tunables.size(); ++j)
        add_one_change(tunables[j], tuning, count_max, out);
  }
  return out;
}

}  // namespace kernelites
