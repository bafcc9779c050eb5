// SPDX-License-Identifier: Apache-2.0
// The requests of candidates: as the archive records them, and as they go out to a worker.
#pragma once

#include "engine/search/placement.h"
#include "engine/search/run_parts.h"

namespace kernelites {

/// The record of an examination to be sent now. `wants_modelled`: the time model is to be asked too.
EvaluationRecord examination_record(const CandidateRecord& candidate, const NeedsExamination& need,
                                    bool wants_modelled, double now_unix_s);

/// The record of the candidate's `number`-th duel, from 0, to be sent now.
EvaluationRecord duel_record(const RunParts& parts, const CandidateRecord& candidate, int number,
                             const NeedsDuel& need, bool is_confirmation, double now_unix_s);

/// The request as it goes out, also again in a later session. Its key depends on its id alone, so that every duel has
/// inputs of its own; modelled times have theirs in common. Throws Error if the archive lacks an arm.
Request request_of(const RunParts& parts, const EvaluationRecord& record);

}  // namespace kernelites
