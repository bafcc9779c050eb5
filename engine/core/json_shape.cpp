// SPDX-License-Identifier: Apache-2.0
// One pass over the text before it is parsed: what would be slow or deep is refused while it is still bytes.
#include "engine/core/json_shape.h"

#include <algorithm>
#include <vector>

namespace kernelites {
namespace {

/// Where the comment ends that begins at `at`, at its last character; `at` itself if none does.
std::size_t comment_end(std::string_view text, std::size_t at) {
  const std::string_view start = text.substr(at, 2);
  if (start == "//") return std::min(text.find('\n', at), text.size());
  if (start == "/*") return std::min(text.find("*/", at + 2), text.size() - 1) + 1;
  return at;
}

}  // namespace

bool is_modest_json(std::string_view text, std::size_t levels_max, std::size_t members_max) {
  std::vector<std::size_t> members;  // of the objects and arrays that are open
  bool is_in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (is_in_string) {
      if (c == '\\') ++i;
      is_in_string = c != '"';
      continue;
    }
    if (c == '/') i = comment_end(text, i);
    if (c == '"') is_in_string = true;
    if (c == '{' || c == '[') members.push_back(0);
    if ((c == '}' || c == ']') && !members.empty()) members.pop_back();
    if (c == ':' && !members.empty() && ++members.back() > members_max) return false;
    if (members.size() > levels_max) return false;
  }
  return true;
}

}  // namespace kernelites
