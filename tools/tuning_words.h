// SPDX-License-Identifier: Apache-2.0
// The option --tune of commands that take a kernel file: NAME=VALUE words over the values that the file declares.
#pragma once

#include <string>
#include <vector>

#include "engine/core/candidate.h"

namespace kernelites {

inline constexpr const char* k_tune_option_words = "NAME=VALUE of a tunable (several may follow)";

/// Throws ConfigError for a word that is none, names no declared tunable, or has no whole number.
void apply_tuning(const std::vector<std::string>& words, Candidate& candidate);

}  // namespace kernelites
