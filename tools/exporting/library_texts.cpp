// SPDX-License-Identifier: Apache-2.0
// Looks texts up, and fills templates in.
#include "tools/exporting/library_texts.h"

#include <fmt/format.h>

#include <vector>

#include "engine/core/embedded_file.h"
#include "engine/core/error.h"

namespace kernelites {

extern const std::vector<EmbeddedFile> k_export_texts;
extern const std::vector<EmbeddedFile> k_export_templates;

std::string export_text(std::string_view name) {
  for (const auto* files : {&k_export_texts, &k_export_templates}) {
    for (const EmbeddedFile& file : *files) {
      if (file.name != name) continue;
      std::string text(file.text);
      constexpr std::string_view k_folder = "tools/exporting/runtime/";
      for (std::size_t at = text.find(k_folder); at != std::string::npos; at = text.find(k_folder, at))
        text.erase(at, k_folder.size());
      return text;
    }
  }
  throw Error(fmt::format("this program holds no text {}", name));
}

std::string filled(std::string text, const std::map<std::string, std::string>& values) {
  std::string result;
  std::size_t at = 0;
  while (true) {
    const std::size_t begin = text.find("{{", at), end = text.find("}}", begin);
    if (begin == std::string::npos || end == std::string::npos) return result + text.substr(at);
    const std::string name = text.substr(begin + 2, end - begin - 2);
    const auto found = values.find(name);
    if (found == values.end()) throw Error(fmt::format("an export's template asks for {{{{{}}}}}", name));
    result += text.substr(at, begin - at) + found->second;
    at = end + 2;
  }
}

}  // namespace kernelites
