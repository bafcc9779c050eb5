// SPDX-License-Identifier: Apache-2.0
// Columns of text, aligned.
#pragma once

#include <string>
#include <vector>

namespace kernelites {

/// The first row is the head, underlined. Columns that hold numbers only (below the head) are aligned right.
std::string text_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace kernelites
