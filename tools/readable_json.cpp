// SPDX-License-Identifier: Apache-2.0
// JSON for files that people read and compare.
#include "tools/readable_json.h"

namespace kernelites {

std::string readable_json(const Json& document) {
  std::string text = "{";
  const char* before = "\n  ";
  for (const auto& [key, value] : document.items()) {
    text += before + Json(key).dump() + ": ";
    before = ",\n  ";
    const bool is_list = value.is_array() && !value.empty() && value.front().is_object();
    if (!is_list && !(value.is_object() && !value.empty())) {
      text += value.dump();
      continue;
    }
    text += is_list ? "[" : "{";
    const char* inner = "\n    ";
    for (const auto& [name, part] : value.items()) {
      text += inner + (is_list ? std::string() : Json(name).dump() + ": ") + part.dump();
      inner = ",\n    ";
    }
    text += is_list ? "\n  ]" : "\n  }";
  }
  return text + "\n}\n";
}

}  // namespace kernelites
