// SPDX-License-Identifier: Apache-2.0
// Bytes, preprocessor marks and strings that PTX from NVRTC does not have.
#include "evaluators/worker/contract/ptx_plain.h"

#include <fmt/format.h>

#include <algorithm>

namespace kernelites::worker {
namespace {

/// Pragmas that NVRTC writes or that tune loops; others could mean anything to an assembler.
constexpr std::string_view k_pragmas[] = {"nounroll", "enable_smem_spilling"};
constexpr std::string_view k_pragma_prefixes[] = {"used_bytes_mask ", "frequency "};

bool is_plain_value(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  });
}

bool is_known_pragma(std::string_view text) {
  if (std::find(std::begin(k_pragmas), std::end(k_pragmas), text) != std::end(k_pragmas)) return true;
  return std::any_of(std::begin(k_pragma_prefixes), std::end(k_pragma_prefixes),
                     [&](std::string_view prefix) {
                       return text.starts_with(prefix) && is_plain_value(text.substr(prefix.size()));
                     });
}

/// Whether string token `i` is a known pragma's value or a `.file` line's name.
bool is_known_string(std::span<const PtxToken> tokens, std::size_t i) {
  if (tokens[i].text.find('\n') != std::string_view::npos) return false;
  if (i >= 1 && !tokens[i - 1].is_string && tokens[i - 1].text == ".pragma")
    return is_known_pragma(tokens[i].text);
  return i >= 2 && !tokens[i - 2].is_string && tokens[i - 2].text == ".file" && tokens[i - 2].begins_line;
}

}  // namespace

std::optional<std::string> find_unplain_ptx(std::string_view ptx, std::span<const PtxToken> tokens) {
  for (const char c : ptx) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\\') return "a backslash";
    if (c != '\n' && c != '\t' && (byte < 0x20 || byte > 0x7e)) return fmt::format("the byte 0x{:02x}", byte);
  }
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (!tokens[i].is_string && tokens[i].text == "#") return "a line that begins with #";
    if (tokens[i].is_string && !is_known_string(tokens, i)) return "a quoted text that is no known .pragma";
  }
  return std::nullopt;
}

}  // namespace kernelites::worker
