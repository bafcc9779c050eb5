// SPDX-License-Identifier: Apache-2.0
// Text that others wrote as one line that can do nothing but be read.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kernelites {

/// The first `bytes_max` bytes of `text`, cut at a character, as one line. Instead of each control character (C0, DEL,
/// C1), line or paragraph separator, character that turns the direction of writing (U+061C, U+200E, U+200F, U+202A to
/// U+202E, U+2066 to U+2069: what follows may be shown in another order than it is) and broken byte stands `instead`.
std::string plain_line(std::string_view text, char instead, std::size_t bytes_max = std::string_view::npos);
/// The same in printable ASCII: every other byte becomes `instead`.
std::string ascii_line(std::string_view text, char instead, std::size_t bytes_max = std::string_view::npos);

}  // namespace kernelites
