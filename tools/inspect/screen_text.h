// SPDX-License-Identifier: Apache-2.0
// Text for a terminal: whatever a model wrote, no control character reaches the screen and no line is too long.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kernelites {

/// Tabs as spaces up to the next multiple of 8; what `plain_line` does not let pass as '?': control characters, those
/// that turn the direction of writing, broken UTF-8.
std::string clean_line(std::string_view text);
/// The same for each line of a text.
std::string clean_text(std::string_view text);
/// `text` as one word of a shell, clean: as it is if it cannot mean anything else, else quoted. A run may be another's.
std::string shell_word(std::string_view text);
/// Columns that a clean line takes: its characters. Wide ones count as one.
std::size_t columns_of(std::string_view clean);
/// `clean` cut to `width` characters, the last of them ">" where something was cut.
std::string cut_to(std::string_view clean, std::size_t width);
/// Cut, and filled up with spaces.
std::string padded_to(std::string_view clean, std::size_t width);
/// `text` as lines of at most `width` characters, broken at spaces; each begins with `indent` spaces, all but the first
/// with `hang` more.
std::string wrapped(std::string_view text, std::size_t width, std::size_t indent = 0, std::size_t hang = 0);

}  // namespace kernelites
