// SPDX-License-Identifier: Apache-2.0
// Text for a terminal: whatever a model wrote, no control character reaches the screen and no line is too long.
#include "tools/inspect/screen_text.h"

#include <algorithm>

#include "engine/core/plain_line.h"

namespace kernelites {
namespace {

constexpr std::size_t k_tab = 8;

bool is_continuation(unsigned char c) { return (c & 0xC0) == 0x80; }

/// The bytes of the first `count` characters.
std::size_t bytes_of(std::string_view clean, std::size_t count) {
  std::size_t at = 0;
  for (; at < clean.size() && count > 0; --count) {
    ++at;
    while (at < clean.size() && is_continuation(static_cast<unsigned char>(clean[at]))) ++at;
  }
  return at;
}

}  // namespace

std::string clean_line(std::string_view text) {
  if (text.ends_with('\r')) text.remove_suffix(1);  // the end of a line from elsewhere
  std::string clean;
  for (;;) {
    const std::size_t tab = text.find('\t');
    clean += plain_line(text.substr(0, tab), '?');
    if (tab == std::string_view::npos) return clean;
    clean.append(k_tab - columns_of(clean) % k_tab, ' ');
    text.remove_prefix(tab + 1);
  }
}

std::string clean_text(std::string_view text) {
  std::string clean;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    clean += clean_line(text.substr(0, end));
    if (end == std::string_view::npos) break;
    clean += '\n';
    text.remove_prefix(end + 1);
  }
  return clean;
}

std::string shell_word(std::string_view text) {
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_-./=+,:@%").find(c) != std::string_view::npos;
  };
  if (!text.empty() && std::all_of(text.begin(), text.end(), is_plain)) return std::string(text);
  std::string word = "'";
  for (const char c : clean_line(text)) word += c == '\'' ? "'\\''" : std::string(1, c);
  return word + "'";
}

std::size_t columns_of(std::string_view clean) {
  return static_cast<std::size_t>(std::count_if(
      clean.begin(), clean.end(), [](char c) { return !is_continuation(static_cast<unsigned char>(c)); }));
}

std::string cut_to(std::string_view clean, std::size_t width) {
  if (columns_of(clean) <= width) return std::string(clean);
  if (width == 0) return "";
  return std::string(clean.substr(0, bytes_of(clean, width - 1))) + ">";
}

std::string padded_to(std::string_view clean, std::size_t width) {
  std::string text = cut_to(clean, width);
  text.append(width - columns_of(text), ' ');
  return text;
}

std::string wrapped(std::string_view text, std::size_t width, std::size_t indent, std::size_t hang) {
  std::string lines, line(indent, ' ');
  std::size_t used = indent;
  bool is_begun = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find_first_of(" \n", at), text.size());
    const std::string word = clean_line(text.substr(at, end - at));
    at = end + 1;
    if (word.empty()) continue;
    if (is_begun && used + 1 + columns_of(word) > width) {
      lines += line + "\n";
      line.assign(indent + hang, ' ');
      used = indent + hang;
      is_begun = false;
    }
    if (is_begun) line += ' ', ++used;
    is_begun = true;
    line += word;
    used += columns_of(word);
  }
  return is_begun ? lines + line + "\n" : lines;
}

}  // namespace kernelites
