// SPDX-License-Identifier: Apache-2.0
// Checks of option values that CLI11 lacks, or whose words nobody can read.
#pragma once

#include <string>

namespace kernelites {

/// For numbers: what is wrong with `text`, empty if nothing. CLI11 reads -1 as the largest value of an unsigned option.
inline std::string check_not_negative(const std::string& text) {
  return text.starts_with('-') ? text + ": expected 0 or more" : std::string();
}

}  // namespace kernelites
