// SPDX-License-Identifier: Apache-2.0
// Candidates of the archive as operators and prompts see them.
#include "engine/search/specimens.h"

#include <fmt/format.h>

#include "engine/core/error.h"
#include "engine/search/placement.h"

namespace kernelites {

Specimen specimen_of(const Archive& archive, const std::string& candidate_id, const std::string& baseline_id,
                     const std::map<std::string, double>& weights) {
  const auto record = archive.find_candidate(candidate_id);
  const auto evaluated = record ? archive.evaluated(record->ordinal) : std::nullopt;
  if (!evaluated) throw Error(fmt::format("the archive has no candidate {}", candidate_id));
  return specimen_of(*evaluated, baseline_id, weights);
}

Specimen specimen_of(const EvaluatedCandidate& evaluated, const std::string& baseline_id,
                     const std::map<std::string, double>& weights) {
  Specimen specimen;
  specimen.id = evaluated.record.id;
  specimen.candidate = evaluated.record.candidate;
  specimen.operator_name = evaluated.record.operator_name;
  if (evaluated.examination && evaluated.examination->examination) {
    specimen.examination = *evaluated.examination->examination;
    specimen.verdict = specimen.examination.verdict;
  }
  if (evaluated.duel && evaluated.duel->duel) {
    specimen.duel = evaluated.duel->duel;
    if (!specimen.duel->verdict.is_passed) specimen.verdict = specimen.duel->verdict;
    specimen.speedup = speedup_over(*specimen.duel, baseline_id, weights);
  }
  return specimen;
}

}  // namespace kernelites
