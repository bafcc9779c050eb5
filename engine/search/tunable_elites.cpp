// SPDX-License-Identifier: Apache-2.0
// Which elites the tuner can still work on.
#include "engine/search/tunable_elites.h"

#include "engine/variation/tuning.h"

namespace kernelites {

void TunableElites::resume(const Archive& archive) {
  for (std::string& id : archive.parents_rejected_for("tune_exhausted")) exhausted_.insert(std::move(id));
}

std::vector<std::string> TunableElites::of(const Grid& grid, const Archive& archive) {
  std::vector<std::string> ids;
  grid.for_each([&](const Elite& elite) {
    auto known = has_tunables_.find(elite.candidate_id);
    if (known == has_tunables_.end()) {
      const auto record = archive.candidate(elite.ordinal);
      const bool has_any = record && !parse_tunables(record->candidate.source).empty();
      known = has_tunables_.emplace(elite.candidate_id, has_any).first;
    }
    if (known->second && exhausted_.count(elite.candidate_id) == 0) ids.push_back(elite.candidate_id);
  });
  return ids;
}

}  // namespace kernelites
