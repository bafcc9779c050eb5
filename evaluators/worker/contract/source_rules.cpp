// SPDX-License-Identifier: Apache-2.0
// Text rules for candidates.
#include "evaluators/worker/contract/source_rules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

#include "engine/core/candidate.h"
#include "evaluators/worker/contract/problem_source.h"
#include "evaluators/worker/contract/source_text.h"

namespace kernelites::worker {
namespace {

/// Headers of the toolkit that kernels use; whole folders end in '/'.
constexpr std::string_view k_toolkit_headers[] = {"cuda_bf16.h",
                                                  "cuda_fp16.h",
                                                  "cuda_fp8.h",
                                                  "cuda_fp6.h",
                                                  "cuda_fp4.h",
                                                  "mma.h",
                                                  "cooperative_groups.h",
                                                  "cooperative_groups/",
                                                  "cuda_pipeline.h",
                                                  "cuda_awbarrier.h",
                                                  "cuda_runtime.h",
                                                  "device_launch_parameters.h",
                                                  "math_constants.h",
                                                  "vector_types.h",
                                                  "vector_functions.h",
                                                  "cuda/",
                                                  "cub/block/",
                                                  "cub/warp/",
                                                  "curand_kernel.h",
                                                  "cutlass/",
                                                  "cute/"};

/// Identifiers that let code tell one compile from another, or evaluation from execution.
struct ForbiddenWord {
  std::string_view word, code, words;
};
constexpr std::string_view k_consteval_words =
    "a candidate may not ask whether it is being constant-evaluated; write one code for plan and kernels";
constexpr ForbiddenWord k_forbidden[] = {
    {"is_constant_evaluated", "source_asks_evaluation", k_consteval_words},
    {"__builtin_is_constant_evaluated", "source_asks_evaluation", k_consteval_words},
    {"__builtin_constant_p", "source_asks_evaluation", k_consteval_words},
    {"__has_include", "source_asks_files", "__has_include is not allowed; include what you need"},
    {"__has_include_next", "source_asks_files", "__has_include_next is not allowed; include what you need"},
    {"__has_embed", "source_asks_files", "__has_embed is not allowed"},
    {"__DATE__", "source_asks_time", "__DATE__ is not allowed: code may not depend on when it is compiled"},
    {"__TIME__", "source_asks_time", "__TIME__ is not allowed: code may not depend on when it is compiled"},
    {"__TIMESTAMP__", "source_asks_time",
     "__TIMESTAMP__ is not allowed: code may not depend on when it is compiled"},
    {"__COUNTER__", "source_asks_time", "__COUNTER__ is not allowed; number things by hand"},
    {"kernelites_plans", "source_names_harness", "names that begin with kernelites belong to the harness"},
    {"kernelites_evaluate", "source_names_harness", "names that begin with kernelites belong to the harness"},
    {"kernelites_evaluate_all", "source_names_harness",
     "names that begin with kernelites belong to the harness"},
};

bool is_identifier(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80       ? 1
                               : lead >> 5 == 6  ? 2
                               : lead >> 4 == 14 ? 3
                               : lead >> 3 == 30 ? 4
                                                 : 0;
    if (length == 0 || length > text.size() - i || lead == 0) return false;
    for (std::size_t k = 1; k < length; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xc0) != 0x80) return false;
    }
    i += length;
  }
  return true;
}

int line_of(std::string_view source, std::size_t at) {
  return 1 +
         static_cast<int>(std::count(source.begin(), source.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
}

Verdict refused(std::string_view code, std::string_view words, std::string_view source, std::size_t at) {
  Verdict verdict = Verdict::failed("compile", std::string(code), std::string(words));
  verdict.diagnostics.push_back({std::string(code), std::string(words), line_of(source, at)});
  return verdict;
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

/// `text` without blanks and newlines at its end.
std::string_view trimmed_end(std::string_view text) {
  return text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
}

/// Whether place `at` of the blanked `code` lies in an #include line.
bool is_include_line(std::string_view code, std::size_t at) {
  const auto newline = code.rfind('\n', at);
  std::string_view line = trimmed(code.substr(newline == std::string_view::npos ? 0 : newline + 1));
  const std::size_t mark = line.starts_with("#") ? 1 : line.starts_with("%:") ? 2 : 0;
  return mark != 0 && trimmed(line.substr(mark)).starts_with("include");
}

/// The first control character that is neither tab nor newline nor the carriage return of one.
std::size_t find_control(std::string_view source) {
  for (std::size_t i = 0; i < source.size(); ++i) {
    const auto byte = static_cast<unsigned char>(source[i]);
    const bool is_line_end = source.substr(i, 2) == "\r\n";
    if ((byte < 0x20 || byte == 0x7f) && source[i] != '\t' && source[i] != '\n' && !is_line_end) return i;
  }
  return std::string_view::npos;
}

/// The first character that makes an editor show text in another order than a compiler reads it (Boucher and Anderson
/// 2021, arXiv 2111.00169): U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069.
std::size_t find_reordering(std::string_view source) {
  for (std::size_t i = 0; i + 1 < source.size(); ++i) {
    const std::string_view two = source.substr(i, 2), three = source.substr(i, 3);
    const bool is_mark = two == "\xd8\x9c" || three == "\xe2\x80\x8e" || three == "\xe2\x80\x8f";
    const bool is_override = three >= "\xe2\x80\xaa" && three <= "\xe2\x80\xae";
    const bool is_isolate = three >= "\xe2\x81\xa6" && three <= "\xe2\x81\xa9";
    if (is_mark || is_override || is_isolate) return i;
  }
  return std::string_view::npos;
}

bool is_allowed_header(std::string_view name) {
  if (name.find("..") != std::string_view::npos || name.starts_with("/")) return false;
  static const std::vector<HeaderText> own = contract_headers();
  for (const HeaderText& header : own) {
    if (header.name == name) return true;
  }
  return std::any_of(std::begin(k_toolkit_headers), std::end(k_toolkit_headers),
                     [&](std::string_view allowed) {
                       return allowed.ends_with('/') ? name.starts_with(allowed) : name == allowed;
                     });
}

/// The name in `<name>` or `"name"`; empty if `text` is anything else, a macro say.
std::string_view header_name(std::string_view text) {
  if (text.size() < 3 || (text.front() != '<' && text.front() != '"')) return {};
  const std::string_view name = text.substr(1, text.size() - 2);
  const bool is_closed = text.back() == (text.front() == '<' ? '>' : '"');
  return is_closed && name.find_first_of("<>\"") == std::string_view::npos ? name : std::string_view();
}

/// Judges every line whose first token is `#` (or its digraph `%:`).
std::optional<Verdict> check_directives(std::string_view source, std::string_view code) {
  for (std::size_t begin = 0; begin < code.size();) {
    const std::size_t end = std::min(code.find('\n', begin), code.size());
    std::string_view line = trimmed(code.substr(begin, end - begin));
    const std::size_t mark = line.starts_with("#") ? 1 : line.starts_with("%:") ? 2 : 0;
    if (mark != 0) {
      const std::string_view directive = trimmed(line.substr(mark));
      const auto is = [&](std::string_view name) {
        return directive.starts_with(name) &&
               (directive.size() == name.size() || !is_identifier(directive[name.size()]));
      };
      if (is("include_next") || is("embed") || is("import")) {
        return refused("source_includes", "only plain #include lines are allowed", source, begin);
      }
      if (is("include")) {
        const std::string_view name = header_name(trimmed(directive.substr(7)));
        if (name.empty() || !is_allowed_header(name)) {
          return refused(
              "source_includes",
              fmt::format("#include of \"{}\" is not allowed; allowed are kernelites/plan.cuh, "
                          "kernelites/ptx.cuh, the standard headers that kernels use, and of the toolkit: {}",
                          name.substr(0, 80), fmt::join(k_toolkit_headers, ", ")),
              source, begin);
        }
      }
      // "# 1 "file"" is #line by another name.
      const bool is_number = !directive.empty() && directive[0] >= '0' && directive[0] <= '9';
      if (is("line") || is_number)
        return refused("source_line_directive", "#line is not allowed", source, begin);
    }
    begin = end + 1;
  }
  return std::nullopt;
}

constexpr std::string_view k_harness_words = "names that begin with kernelites belong to the harness";

/// Whether a name of the harness could be pasted together from two or more of `parts`; the last of them may reach
/// beyond what all those names begin with. "kernelites" alone stands only where nothing can be pasted to it.
bool can_paste_harness_name(const std::set<std::string_view>& parts) {
  constexpr std::string_view prefix = "kernelites_";
  std::vector<bool> is_reached(prefix.size() + 1, false);
  is_reached[0] = true;
  for (std::size_t begin = 0; begin < prefix.size(); ++begin) {
    if (!is_reached[begin]) continue;
    const std::string_view rest = prefix.substr(begin);
    for (const std::string_view part : parts) {
      if (begin > 0 && part.starts_with(rest)) return true;
      if (rest.starts_with(part) && part != "kernelites") is_reached[begin + part.size()] = true;
    }
  }
  return false;
}

/// Whether `word` could be pasted together from two or more of `parts`.
bool can_paste(std::string_view word, const std::set<std::string_view>& parts) {
  std::vector<bool> is_reached(word.size() + 1, false);
  is_reached[0] = true;
  for (std::size_t begin = 0; begin < word.size(); ++begin) {
    if (!is_reached[begin]) continue;
    for (std::size_t length = 1; begin + length <= word.size(); ++length) {
      if (length < word.size() && parts.contains(word.substr(begin, length)))
        is_reached[begin + length] = true;
    }
  }
  return is_reached[word.size()];
}

/// Whether a name could be a macro of a library that pastes: _CCCL_PP_CAT(__DA, TE__) needs no ## of one's own.
bool may_paste(std::string_view name) {
  static constexpr std::string_view k_prefixes[] = {"_CCCL_", "_LIBCUDACXX_", "_NV_",   "_CG_",
                                                    "NVTX",   "CUB_",         "THRUST_"};
  static constexpr std::string_view k_parts[] = {"CAT", "PASTE", "SPLICE", "JOIN", "GLUE", "PRODUCT"};
  const auto starts = [&](std::string_view prefix) { return name.starts_with(prefix); };
  const auto contains = [&](std::string_view part) { return name.find(part) != std::string_view::npos; };
  return std::any_of(std::begin(k_prefixes), std::end(k_prefixes), starts) ||
         std::any_of(std::begin(k_parts), std::end(k_parts), contains);
}

/// Words that `##`, or a library's macro, must not build; none of them could be seen in the text.
std::optional<Verdict> check_pastes(std::string_view source, std::string_view code,
                                    const std::set<std::string_view>& parts) {
  auto paste = std::min(code.find("##"), code.find("%:%:"));
  for (auto part = parts.begin(); paste == std::string_view::npos && part != parts.end(); ++part) {
    if (may_paste(*part)) paste = static_cast<std::size_t>(part->data() - code.data());
  }
  if (paste == std::string_view::npos) return std::nullopt;
  for (const ForbiddenWord& forbidden : k_forbidden) {
    if (can_paste(forbidden.word, parts)) return refused(forbidden.code, forbidden.words, source, paste);
  }
  if (can_paste("consteval", parts))
    return refused("source_asks_evaluation", k_consteval_words, source, paste);
  if (can_paste_harness_name(parts)) return refused("source_names_harness", k_harness_words, source, paste);
  return std::nullopt;
}

/// `consteval` makes functions; behind an `if`, or behind a macro that could be one, it asks how code is run.
bool asks_evaluation(std::string_view code, std::size_t at) {
  const std::string_view before = trimmed_end(code.substr(0, at));
  if (before.empty()) return false;
  std::size_t begin = before.size();
  while (begin > 0 && is_identifier(before[begin - 1])) --begin;
  const std::string_view word = before.substr(begin);
  if (word.empty()) return std::string_view(";{}>]").find(before.back()) == std::string_view::npos;
  static constexpr std::string_view k_specifiers[] = {"static",          "inline", "__device__", "__host__",
                                                      "__forceinline__", "friend", "public",     "private"};
  return std::find(std::begin(k_specifiers), std::end(k_specifiers), word) == std::end(k_specifiers);
}

/// Names of the harness: only its namespace may be spoken of.
bool names_harness(std::string_view code, std::size_t at, std::size_t end) {
  if (code.substr(at, end - at) != "kernelites") return true;
  // On the same line, so that no macro ends with the name: "x = kernelites" could have "_stream" pasted to it.
  const std::string_view rest = trimmed(code.substr(end, code.find('\n', end) - end));
  if (rest.starts_with("::")) return false;
  return !(rest.starts_with(";") && trimmed_end(code.substr(0, at)).ends_with('='));
}

std::optional<Verdict> check_words(std::string_view source, std::string_view code) {
  std::set<std::string_view> parts;
  for (std::size_t at = 0; at < code.size();) {
    if (!is_identifier(code[at])) {
      ++at;
      continue;
    }
    std::size_t end = at;
    while (end < code.size() && is_identifier(code[end])) ++end;
    const std::string_view word = code.substr(at, end - at);
    parts.insert(word);
    for (const ForbiddenWord& forbidden : k_forbidden) {
      if (word == forbidden.word) return refused(forbidden.code, forbidden.words, source, at);
    }
    if (word == "consteval" && asks_evaluation(code, at))
      return refused("source_asks_evaluation", k_consteval_words, source, at);
    if (word.starts_with("kernelites") && !is_include_line(code, at) && names_harness(code, at, end)) {
      return refused("source_names_harness", "names that begin with kernelites belong to the harness", source,
                     at);
    }
    at = end;
  }
  return check_pastes(source, code, parts);
}

bool is_number_within(std::string_view text, int low, int high) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= low && value <= high;
}

bool is_allowed_option(std::string_view option) {
  static constexpr std::string_view k_plain[] = {"--use_fast_math",
                                                 "-use_fast_math",
                                                 "--ftz=true",
                                                 "--ftz=false",
                                                 "--prec-div=true",
                                                 "--prec-div=false",
                                                 "--prec-sqrt=true",
                                                 "--prec-sqrt=false",
                                                 "--fmad=true",
                                                 "--fmad=false",
                                                 "--extra-device-vectorization",
                                                 "--ptxas-options=-O3",
                                                 "--ptxas-options=-O2",
                                                 "--ptxas-options=-O1",
                                                 "--ptxas-options=--def-load-cache=ca",
                                                 "--ptxas-options=--def-load-cache=cg"};
  if (std::find(std::begin(k_plain), std::end(k_plain), option) != std::end(k_plain)) return true;
  constexpr std::string_view registers = "--maxrregcount=", level = "--ptxas-options=--register-usage-level=";
  if (option.starts_with(registers)) return is_number_within(option.substr(registers.size()), 16, 255);
  return option.starts_with(level) && is_number_within(option.substr(level.size()), 0, 10);
}

}  // namespace

std::string code_without_literals(std::string_view source) { return read_source(source).code; }

std::optional<Verdict> check_source(std::string_view source) {
  if (source.size() > k_source_bytes_max) {
    return Verdict::failed(
        "compile", "source_too_long",
        fmt::format("the source has {} bytes; {} are allowed", source.size(), k_source_bytes_max));
  }
  if (!is_utf8(source)) return Verdict::failed("compile", "source_not_text", "the source is not UTF-8 text");
  if (const auto at = find_control(source); at != std::string_view::npos) {
    return refused("source_not_text",
                   "the source holds a control character; only tabs and newlines are allowed", source, at);
  }
  if (const auto at = find_reordering(source); at != std::string_view::npos) {
    return refused("source_not_text",
                   "the source holds a character that changes the direction of writing: drop it", source, at);
  }
  const SourceText text = read_source(source);
  if (!text.problem.empty()) return refused("source_unclear", text.problem, source, text.problem_at);
  if (const auto at = text.code.find('\\'); at != std::string::npos) {
    return refused("source_unclear", "a backslash stands outside of literals, and not at the end of its line",
                   source, at);
  }
  if (auto verdict = check_directives(source, text.code)) return verdict;
  return check_words(source, text.code);
}

std::variant<std::vector<std::string>, Verdict> candidate_options(std::string_view source) {
  std::vector<std::string> options;
  for (std::size_t begin = 0; begin < source.size();) {
    const std::size_t end = std::min(source.find('\n', begin), source.size());
    std::string_view line = trimmed(source.substr(begin, end - begin));
    if (line.starts_with("//")) {
      line = trimmed(line.substr(2));
      constexpr std::string_view mark = "options:";
      if (line.starts_with(mark)) {
        for (std::string_view rest = trimmed(line.substr(mark.size())); !rest.empty();) {
          const auto space = std::min(rest.find_first_of(" \t"), rest.size());
          const std::string_view option = rest.substr(0, space);
          if (!is_allowed_option(option)) {
            return refused(
                "option_not_allowed",
                fmt::format("the option \"{}\" is not allowed; allowed are --use_fast_math, --ftz=, "
                            "--prec-div=, --prec-sqrt=, --fmad=, --maxrregcount=16..255, "
                            "--extra-device-vectorization, --ptxas-options=-O1|-O2|-O3, "
                            "--ptxas-options=--register-usage-level=0..10 and "
                            "--ptxas-options=--def-load-cache=ca|cg, separated by blanks",
                            option.substr(0, 80)),
                source, begin);
          }
          options.emplace_back(option);
          rest = trimmed(rest.substr(space));
        }
      }
    }
    begin = end + 1;
  }
  return options;
}

}  // namespace kernelites::worker
