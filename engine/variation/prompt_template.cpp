// SPDX-License-Identifier: Apache-2.0
// Text with {{placeholders}}: which it has, and the text with all of them filled.
#include "engine/variation/prompt_template.h"

#include <functional>

#include "engine/core/error.h"

namespace kernelites {
namespace {

/// Calls `on_text` and `on_name` for the pieces of `text`, in order.
void scan(std::string_view text, const std::function<void(std::string_view)>& on_text,
          const std::function<void(std::string_view)>& on_name) {
  while (!text.empty()) {
    std::size_t open = text.find("{{");
    std::size_t close = std::string_view::npos;
    for (; open != std::string_view::npos; open = text.find("{{", open + 1)) {
      close = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_", open + 2);
      if (close != std::string_view::npos && close > open + 2 && text.substr(close, 2) == "}}") break;
    }
    on_text(text.substr(0, open));
    if (open == std::string_view::npos) return;
    on_name(text.substr(open + 2, close - open - 2));
    text.remove_prefix(close + 2);
  }
}

}  // namespace

std::set<std::string> placeholders_in(std::string_view text) {
  std::set<std::string> names;
  scan(
      text, [](std::string_view) {}, [&](std::string_view name) { names.emplace(name); });
  return names;
}

std::string fill_placeholders(std::string_view text, const PromptValues& values) {
  std::string result;
  scan(
      text, [&](std::string_view piece) { result += piece; },
      [&](std::string_view name) {
        const auto value = values.find(std::string(name));
        KERNELITES_ASSERT(value != values.end());
        result += value->second;
      });
  return result;
}

}  // namespace kernelites
