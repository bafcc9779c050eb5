// SPDX-License-Identifier: Apache-2.0
// Text rules for candidates.
#include "evaluators/worker/contract/source_rules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "engine/core/candidate.h"
#include "evaluators/worker/contract/problem_source.h"

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
    {"kernelites_plans", "source_names_harness", "the name kernelites_plans belongs to the harness"},
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
        // The name is read from the original text, since quotes are blanked in `code`.
        const std::string_view original = source.substr(begin, end - begin);
        const auto open = original.find_first_of("<\"");
        const auto close = open == std::string_view::npos ? open : original.find_first_of(">\"", open + 1);
        const std::string_view name = close == std::string_view::npos
                                          ? std::string_view()
                                          : original.substr(open + 1, close - open - 1);
        if (name.empty() || !is_allowed_header(name)) {
          return refused(
              "source_includes",
              fmt::format("#include of \"{}\" is not allowed; allowed are kernelites/plan.cuh, "
                          "kernelites/ptx.cuh, the standard headers that kernels use, and of the toolkit: {}",
                          name.substr(0, 80), fmt::join(k_toolkit_headers, ", ")),
              source, begin);
        }
      }
      if (is("line")) return refused("source_line_directive", "#line is not allowed", source, begin);
    }
    begin = end + 1;
  }
  return std::nullopt;
}

std::optional<Verdict> check_words(std::string_view source, std::string_view code) {
  for (std::size_t at = 0; at < code.size();) {
    if (!is_identifier(code[at])) {
      ++at;
      continue;
    }
    std::size_t end = at;
    while (end < code.size() && is_identifier(code[end])) ++end;
    const std::string_view word = code.substr(at, end - at);
    for (const ForbiddenWord& forbidden : k_forbidden) {
      if (word == forbidden.word) return refused(forbidden.code, forbidden.words, source, at);
    }
    // `if consteval` and `if !consteval`; consteval functions are fine.
    if (word == "if") {
      std::size_t next = code.find_first_not_of(" \t\r\n!", end);
      if (next != std::string_view::npos && code.substr(next).starts_with("consteval") &&
          (next + 9 == code.size() || !is_identifier(code[next + 9]))) {
        return refused("source_asks_evaluation", k_consteval_words, source, at);
      }
    }
    at = end;
  }
  return std::nullopt;
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

std::string code_without_literals(std::string_view source) {
  std::string code(source);
  const auto blank = [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < std::min(end, code.size()); ++i) {
      if (code[i] != '\n') code[i] = ' ';
    }
  };
  for (std::size_t at = 0; at < source.size();) {
    std::size_t end = at + 1;
    if (source.substr(at, 2) == "//") {
      // A backslash before the line's end continues a comment, as the compiler has it.
      end = at;
      do {
        end = std::min(source.find('\n', end + 1), source.size());
      } while (end < source.size() && source[end - 1] == '\\');
      blank(at, end);
    } else if (source.substr(at, 2) == "/*") {
      const auto close = source.find("*/", at + 2);
      end = close == std::string_view::npos ? source.size() : close + 2;
      blank(at, end);
    } else if (source.substr(at, 2) == "R\"" && (at == 0 || !is_identifier(source[at - 1]))) {
      const auto open = source.find('(', at);
      std::string closing;
      if (open != std::string_view::npos) {
        closing.append(")").append(source.substr(at + 2, open - at - 2)).append("\"");
      }
      const auto close = closing.empty() ? std::string_view::npos : source.find(closing, open);
      end = close == std::string_view::npos ? source.size() : close + closing.size();
      blank(at + 2, end - 1);
    } else if (source[at] == '"' || (source[at] == '\'' && (at == 0 || !is_identifier(source[at - 1])))) {
      while (end < source.size() && source[end] != source[at] && source[end] != '\n')
        end += source[end] == '\\' ? 2 : 1;
      blank(at + 1, end);
      end = std::min(end + 1, source.size());
    }
    at = end;
  }
  return code;
}

std::optional<Verdict> check_source(std::string_view source) {
  if (source.size() > k_source_bytes_max) {
    return Verdict::failed(
        "compile", "source_too_long",
        fmt::format("the source has {} bytes; {} are allowed", source.size(), k_source_bytes_max));
  }
  if (!is_utf8(source)) return Verdict::failed("compile", "source_not_text", "the source is not UTF-8 text");
  // Line splices are undone first: they could hide any word. Positions then shift, so lines are those of the
  // joined text; honest sources splice in macros only.
  std::string joined(source);
  for (std::size_t at = joined.find("\\\n"); at != std::string::npos; at = joined.find("\\\n", at))
    joined.erase(at, 2);
  for (const std::string_view text : {source, std::string_view(joined)}) {
    const std::string code = code_without_literals(text);
    if (auto verdict = check_directives(text, code)) return verdict;
    if (auto verdict = check_words(text, code)) return verdict;
  }
  return std::nullopt;
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
