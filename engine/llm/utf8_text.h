// SPDX-License-Identifier: Apache-2.0
// Text from outside made fit for JSON and the database.
#pragma once

#include <string>
#include <string_view>

namespace kernelites {

/// `text` with every byte that is not part of a UTF-8 character replaced by U+FFFD.
std::string valid_utf8(std::string_view text);

/// At most `bytes_max` bytes of `text` on one line, cut at a character and marked "..." where cut.
std::string one_line(std::string_view text, std::size_t bytes_max = 300);

}  // namespace kernelites
