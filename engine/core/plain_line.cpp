// SPDX-License-Identifier: Apache-2.0
// One pass over characters of UTF-8.
#include "engine/core/plain_line.h"

#include <algorithm>

namespace kernelites {
namespace {

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

/// The character that begins at `at` and how many bytes it has; bytes 0: it is broken.
struct Character {
  char32_t code = 0;
  std::size_t bytes = 0;
};

Character character_at(std::string_view text, std::size_t at) {
  const auto first = static_cast<unsigned char>(text[at]);
  if (first < 0x80) return {first, 1};
  const std::size_t bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || at + bytes > text.size()) return {};
  char32_t code = first & (0x7Fu >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if (!is_continuation(text[at + i])) return {};
    code = code << 6 | (static_cast<unsigned char>(text[at + i]) & 0x3Fu);
  }
  constexpr char32_t k_least[] = {0, 0, 0x80, 0x800, 0x10000};  // by bytes: less is an overlong spelling
  if (code < k_least[bytes] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return {};
  return {code, bytes};
}

bool is_readable(char32_t code) {
  if (code < 0x20 || (code >= 0x7F && code < 0xA0)) return false;
  if (code == 0x061C || code == 0x200E || code == 0x200F) return false;
  return !(code >= 0x2028 && code <= 0x202E) && !(code >= 0x2066 && code <= 0x2069);
}

}  // namespace

std::string plain_line(std::string_view text, char instead, std::size_t bytes_max) {
  if (text.size() > bytes_max) {
    while (bytes_max > 0 && is_continuation(text[bytes_max])) --bytes_max;
    text = text.substr(0, bytes_max);
  }
  std::string line;
  line.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    if (character.bytes > 0 && is_readable(character.code))
      line += text.substr(at, character.bytes);
    else
      line += instead;
    at += std::max<std::size_t>(character.bytes, 1);
  }
  return line;
}

std::string ascii_line(std::string_view text, char instead, std::size_t bytes_max) {
  std::string line(text.substr(0, bytes_max));
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < 0x20 || c > 0x7E; }, instead);
  return line;
}

}  // namespace kernelites
