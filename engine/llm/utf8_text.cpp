// SPDX-License-Identifier: Apache-2.0
// The JSON library's own replacement of bad bytes, borrowed by writing and reading a string.
#include "engine/llm/utf8_text.h"

#include "engine/core/json.h"
#include "engine/core/plain_line.h"

namespace kernelites {

std::string valid_utf8(std::string_view text) {
  return Json::parse(Json(std::string(text)).dump(-1, ' ', false, Json::error_handler_t::replace))
      .get<std::string>();
}

std::string one_line(std::string_view text, std::size_t bytes_max) {
  // A replacement character may be longer than the byte that it stands for: the limit is one of what came.
  const std::string line = plain_line(valid_utf8(text.substr(0, bytes_max)), ' ');
  return bytes_max < text.size() ? line + "..." : line;
}

}  // namespace kernelites
