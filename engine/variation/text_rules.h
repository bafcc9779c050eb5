// SPDX-License-Identifier: Apache-2.0
// Small rules for text that comes from a model: line endings, UTF-8, one clean line for people.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kernelites {

/// The lines of `text` without their "\n" (a "\r" before it goes too). A final newline makes no empty last
/// line.
std::vector<std::string_view> split_lines(std::string_view text);

/// True if `text` is well-formed UTF-8 without NUL: what JSON, SQLite and NVRTC can all carry.
bool is_clean_utf8(std::string_view text);

/// `text` with CRLF and lone CR as LF.
std::string with_unix_ends(std::string_view text);

/// `text` with CRLF and lone CR as LF, and exactly one newline at its end.
std::string with_unix_newlines(std::string_view text);

/// One printable line: what `plain_line` does not let pass becomes a blank, runs of blanks one. What is longer than
/// `bytes_max` is cut, at a word where one ends not long before, and ends with "...".
std::string single_line(std::string_view text, std::size_t bytes_max);

/// At most `bytes_max` bytes, cut on a line where possible; a note says how much is missing.
std::string clipped(std::string_view text, std::size_t bytes_max);

}  // namespace kernelites
