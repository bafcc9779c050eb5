// SPDX-License-Identifier: Apache-2.0
// Small rules for text that comes from a model: line endings, UTF-8, one clean line for people.
#include "engine/variation/text_rules.h"

#include <fmt/format.h>

#include "engine/core/plain_line.h"

namespace kernelites {

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    lines.push_back(line);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  }
  return lines;
}

namespace {

/// Bytes of the well-formed sequence at `text[at]`; 0 if it is malformed (overlong, surrogate, beyond
/// U+10FFFF).
std::size_t sequence_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(i < text.size() ? text[i] : 0); };
  const auto is_tail = [&](std::size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const unsigned char lead = byte(at);
  if (lead < 0x80) return lead == 0 ? 0 : 1;
  if (lead >= 0xC2 && lead <= 0xDF) return is_tail(at + 1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    if (!is_tail(at + 1) || !is_tail(at + 2)) return 0;
    if (lead == 0xE0 && byte(at + 1) < 0xA0) return 0;
    if (lead == 0xED && byte(at + 1) > 0x9F) return 0;
    return 3;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    if (!is_tail(at + 1) || !is_tail(at + 2) || !is_tail(at + 3)) return 0;
    if (lead == 0xF0 && byte(at + 1) < 0x90) return 0;
    if (lead == 0xF4 && byte(at + 1) > 0x8F) return 0;
    return 4;
  }
  return 0;
}

}  // namespace

bool is_clean_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = sequence_length(text, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

std::string with_unix_ends(std::string_view text) {
  std::string result;
  result.reserve(text.size() + 1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\r') {
      result += text[i];
    } else if (i + 1 == text.size() || text[i + 1] != '\n') {
      result += '\n';
    }
  }
  return result;
}

std::string with_unix_newlines(std::string_view text) {
  std::string result = with_unix_ends(text);
  while (!result.empty() && result.back() == '\n') result.pop_back();
  result += '\n';
  return result;
}

std::string single_line(std::string_view text, std::size_t bytes_max) {
  constexpr std::string_view k_cut = "...";
  std::string line;
  for (const char c : plain_line(text, ' '))
    if (c != ' ' || (!line.empty() && line.back() != ' ')) line += c;
  while (!line.empty() && line.back() == ' ') line.pop_back();
  if (line.size() <= bytes_max) return line;
  if (bytes_max <= 2 * k_cut.size()) return plain_line(line, ' ', bytes_max);
  // At a word where one ends not long before, and marked.
  const std::size_t room = bytes_max - k_cut.size();
  const std::size_t word = line.rfind(' ', room);
  return plain_line(line, ' ', word == std::string::npos || word < room / 2 ? room : word) +
         std::string(k_cut);
}

std::string clipped(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return std::string(text);
  std::size_t cut = text.rfind('\n', bytes_max);
  if (cut == std::string_view::npos) {
    cut = bytes_max;
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
  }
  return fmt::format("{}\n[{} more bytes]", text.substr(0, cut), text.size() - cut);
}

}  // namespace kernelites
