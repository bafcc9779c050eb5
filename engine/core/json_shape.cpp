// SPDX-License-Identifier: Apache-2.0
// One pass over the text before it is parsed: what would be slow or deep is refused while it is still bytes.
#include "engine/core/json_shape.h"

#include <vector>

namespace kernelites {

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
    if (c == '"') is_in_string = true;
    if (c == '{' || c == '[') members.push_back(0);
    if ((c == '}' || c == ']') && !members.empty()) members.pop_back();
    if (c == ':' && !members.empty() && ++members.back() > members_max) return false;
    if (members.size() > levels_max) return false;
  }
  return true;
}

}  // namespace kernelites
