// SPDX-License-Identifier: Apache-2.0
// Names that become members of a struct or -D options of a compiler: letters, digits, underscores.
#pragma once

#include <algorithm>
#include <string_view>

namespace kernelites {

/// True for a C identifier of at most 64 ASCII characters.
inline bool is_identifier(std::string_view text) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  return !text.empty() && text.size() <= 64 && is_letter(text[0]) &&
         std::all_of(text.begin(), text.end(), [&](char c) { return is_letter(c) || is_digit(c); });
}

}  // namespace kernelites
