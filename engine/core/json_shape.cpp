// SPDX-License-Identifier: Apache-2.0
// How deep JSON nests, read before the library does.
#include "engine/core/json_shape.h"

namespace kernelites {

bool is_too_deep(std::string_view text, int levels) {
  int depth = 0;
  bool is_text = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (is_text) {
      if (c == '\\') ++i;
      if (c == '"') is_text = false;
    } else if (c == '"') {
      is_text = true;
    } else if (c == '[' || c == '{') {
      if (++depth > levels) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

}  // namespace kernelites
