// SPDX-License-Identifier: Apache-2.0
// What a candidate's summary says that its code does not do. A text places nobody: it can only earn this flag.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/core/evaluation.h"

namespace kernelites {

/// The key of the flag in events and in `show --json`.
inline constexpr const char* k_claims_flag = "claims_not_executed";

/// Techniques ("tma", "wgmma", "persistent", ...) that `text` claims and that `descriptors`, as measured, rule out: a
/// row of the table names phrases and the labels with which a code can hold the technique. A phrase behind a negation
/// ("without TMA", "replaces cp.async") claims nothing, and an axis that was not measured rules nothing out.
std::vector<std::string> unexecuted_claims(std::string_view text, const Descriptors& descriptors);

}  // namespace kernelites
