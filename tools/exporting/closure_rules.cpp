// SPDX-License-Identifier: Apache-2.0
// Reads the words and the preprocessor lines of a closure.
#include "tools/exporting/closure_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <vector>

#include "engine/core/candidate.h"
#include "evaluators/worker/contract/source_text.h"
#include "tools/exporting/address_rules.h"

namespace kernelites {
namespace {

using Words = std::set<std::string, std::less<>>;

/// No arithmetic needs one of them. The last lines are macros of compilers without underscores.
const std::set<std::string_view> k_refused{
    "asm",       "extern",     "goto",      "volatile", "mutable",          "thread_local", "new",
    "delete",    "throw",      "try",       "catch",    "typeid",           "dynamic_cast", "virtual",
    "co_await",  "co_yield",   "co_return", "import",   "module",           "export",       "register",
    "constinit", "const_cast", "memcpy",    "memset",   "reinterpret_cast", "gnu",          "clang",
    "NDEBUG",    "linux",      "unix",      "i386"};

/// Names that belong to compilers and are known here: words of CUDA that the shim defines, and harmless built-ins.
const std::set<std::string_view> k_reserved{
    "__device__",      "__host__",        "__global__",         "__constant__",        "__shared__",
    "__forceinline__", "__align__",       "__grid_constant__",  "__launch_bounds__",   "__restrict__",
    "__half",          "__half2",         "__nv_bfloat16",      "__nv_bfloat162",      "__nv_fp8_e4m3",
    "__nv_fp8_e5m2",   "__VA_ARGS__",     "__VA_OPT__",         "__builtin_clz",       "__builtin_clzll",
    "__builtin_ctz",   "__builtin_ctzll", "__builtin_popcount", "__builtin_popcountll"};

/// Names that must stay what they are, since what follows the closure is read with its macros.
const std::set<std::string_view> k_not_macros{"const",   "constexpr", "consteval",    "static", "inline",
                                              "plan",    "Problem",   "kl",           "std",    "kernelites",
                                              "defined", "namespace", "static_assert"};

bool is_letter(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

/// Identifiers in their order; numbers with their suffixes are none.
std::vector<std::string_view> words_of(std::string_view code) {
  std::vector<std::string_view> words;
  for (std::size_t i = 0; i < code.size();) {
    std::size_t end = i + 1;
    if (is_letter(code[i])) {
      while (end < code.size() && is_letter(code[end])) ++end;
      if (!std::isdigit(static_cast<unsigned char>(code[i]))) words.push_back(code.substr(i, end - i));
    }
    i = end;
  }
  return words;
}

bool is_reserved(std::string_view word) {
  return word.starts_with("__") ||
         (word.size() > 1 && word[0] == '_' && std::isupper(static_cast<unsigned char>(word[1])));
}

/// The preprocessor lines of blanked code, from behind their mark.
std::vector<std::string_view> directives_of(std::string_view code) {
  std::vector<std::string_view> lines;
  for (std::size_t begin = 0; begin < code.size();) {
    const std::size_t end = std::min(code.find('\n', begin), code.size());
    const std::string_view line = code.substr(begin, end - begin);
    const std::size_t mark = line.find_first_not_of(" \t\r\f\v");
    if (mark != std::string_view::npos && line[mark] == '#') lines.push_back(line.substr(mark + 1));
    begin = end + 1;
  }
  return lines;
}

std::string condition_trouble(const std::vector<std::string_view>& words, const Words& defined) {
  for (std::size_t i = 1; i < words.size(); ++i)
    if (words[i] != "defined" && words[i] != "true" && words[i] != "false" && !defined.contains(words[i]))
      return fmt::format("a condition asks for \"{:.40}\", which neither the file nor its tunables define",
                         words[i]);
  return "";
}

std::string directives_trouble(std::string_view code, Words defined) {
  static const std::set<std::string_view> k_conditions{"if",   "ifdef",   "ifndef",
                                                       "elif", "elifdef", "elifndef"};
  const std::vector<std::string_view> lines = directives_of(code);
  for (const std::string_view line : lines) {
    const auto words = words_of(line);
    if (words.size() > 1 && words[0] == "define") defined.emplace(words[1]);
  }
  for (const std::string_view line : lines) {
    const auto words = words_of(line);
    if (words.empty()) return "a preprocessor line has no name";
    if (k_conditions.contains(words[0])) {
      if (std::string trouble = condition_trouble(words, defined); !trouble.empty()) return trouble;
    } else if (words[0] == "define" || words[0] == "undef") {
      if (words.size() < 2 || k_not_macros.contains(words[1])) return "a macro takes a name that is not its";
    } else if (words[0] == "pragma") {
      if (words.size() < 2 || words[1] != "unroll") return "a pragma other than unroll";
    } else if (words[0] != "else" && words[0] != "endif") {
      return fmt::format("a preprocessor line \"{:.40}\"", words[0]);
    }
  }
  return "";
}

}  // namespace

std::string closure_trouble(std::string_view closure, std::string_view source) {
  const worker::SourceText text = worker::read_source(closure);
  if (!text.problem.empty()) return std::string(text.problem);
  for (const std::string_view mark : {"##", "%:", "<%", "%>", "<:", ":>", "??", "\\"})
    if (text.code.find(mark) != std::string::npos)
      return fmt::format("\"{}\" stands in what the plan needs", mark);
  for (const std::string_view word : words_of(text.code))
    if (k_refused.contains(word) || (is_reserved(word) && !k_reserved.contains(word)))
      return fmt::format("\"{:.40}\" stands in what the plan needs, which is arithmetic alone", word);
  if (const std::string mark = address_trouble(text.code); !mark.empty())
    return fmt::format(
        "\"{}\" stands in what the plan needs: a plan that a program runs has no addresses and indices",
        mark);
  Words tunables;
  for (const Tunable& tunable : parse_tunables(source)) tunables.insert(tunable.name);
  return directives_trouble(text.code, std::move(tunables));
}

}  // namespace kernelites
