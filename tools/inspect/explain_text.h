// SPDX-License-Identifier: Apache-2.0
// Why a candidate is as fast as it is, for people and as JSON: the way from its seed, and each step's reasons.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tools/inspect/gain_reasons.h"

namespace kernelites {

/// One step: gain, facts, conclusion; lines of at most `columns`.
std::string reasons_text(const GainStep& step, std::size_t columns);
/// The whole way as a table, and the reasons of the last step, or of all of them.
std::string explain_text(const RunReader& run, const CandidateEnd& end, const std::vector<GainStep>& chain,
                         bool has_all, std::size_t columns);
Json explain_json(const RunReader& run, const CandidateEnd& end, const std::vector<GainStep>& chain);

}  // namespace kernelites
