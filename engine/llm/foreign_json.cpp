// SPDX-License-Identifier: Apache-2.0
// One pass over the text before it is parsed: what would be slow or deep is refused while it is still bytes.
#include "engine/llm/foreign_json.h"

#include <vector>

namespace kernelites {

bool is_modest_json(std::string_view text) {
  std::vector<std::size_t> members;  // of the objects and lists that are open
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
    if (c == ':' && !members.empty() && ++members.back() > k_foreign_keys_max) return false;
    if (members.size() > k_foreign_depth_max) return false;
  }
  return true;
}

Json parse_foreign_json(std::string_view text) {
  if (!is_modest_json(text)) return Json(Json::value_t::discarded);
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace kernelites
