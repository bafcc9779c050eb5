// SPDX-License-Identifier: Apache-2.0
// The JSON library's own replacement of bad bytes, borrowed by writing and reading a string.
#include "engine/llm/utf8_text.h"

#include <algorithm>

#include "engine/core/json.h"

namespace kernelites {

std::string valid_utf8(std::string_view text) {
  return Json::parse(Json(std::string(text)).dump(-1, ' ', false, Json::error_handler_t::replace))
      .get<std::string>();
}

std::string one_line(std::string_view text, std::size_t bytes_max) {
  std::size_t end = std::min(text.size(), bytes_max);
  while (end > 0 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  std::string line = valid_utf8(text.substr(0, end));
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return end < text.size() ? line + "..." : line;
}

}  // namespace kernelites
