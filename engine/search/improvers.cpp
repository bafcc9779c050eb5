// SPDX-License-Identifier: Apache-2.0
// The elites whose change is worth minimising.
#include "engine/search/improvers.h"

#include "engine/search/specimens.h"

namespace kernelites {

std::vector<std::string> improvers_of(const Archive& archive, const Grid& grid,
                                      const std::string& baseline_id,
                                      const std::map<std::string, double>& weights) {
  std::vector<std::string> ids;
  for (const Elite& elite : grid.elites()) {
    const auto record = archive.candidate(elite.ordinal);
    if (!record || record->parents.empty() || record->operator_name == "minimise") continue;
    if (archive.was_asked("minimise", record->id)) continue;
    const Specimen parent = specimen_of(archive, record->parents.front(), baseline_id, weights);
    if (parent.speedup > 0 && parent.verdict.is_passed && elite.speedup > parent.speedup)
      ids.push_back(record->id);
  }
  return ids;
}

}  // namespace kernelites
