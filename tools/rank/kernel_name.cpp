// SPDX-License-Identifier: Apache-2.0
// Names of kernels as people call them.
#include "tools/rank/kernel_name.h"

#include <cxxabi.h>

#include <array>
#include <cctype>
#include <cstdlib>
#include <memory>
#include <string_view>

namespace kernelites {
namespace {

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

/// What a template for any operation does, by a word in its arguments; the longest known suffix counts.
std::string operation_word(std::string_view name) {
  constexpr std::array<std::string_view, 5> k_ends{"_kernel_cuda", "_kernel_impl", "_kernel", "Functor",
                                                   "Ops"};
  for (std::size_t at = name.find('<'); at < name.size(); ++at) {
    if (!is_word(name[at])) continue;
    std::size_t end = at;
    while (end < name.size() && is_word(name[end])) ++end;
    const std::string_view word = name.substr(at, end - at);
    at = end;
    if (word.find("Functor") != std::string_view::npos) return std::string(word);
    for (const std::string_view suffix : k_ends)
      if (word.size() > suffix.size() && word.ends_with(suffix)) return std::string(word);
  }
  return "";
}

/// Templates that are named for being kernels: what they are is their first argument.
bool is_any_kernel(const std::string& name) {
  return name == "Kernel" || name == "Kernel2" || name == "device_kernel";
}

std::string first_argument(const std::string& name) {
  const std::size_t begin = name.find('<');
  if (begin == std::string::npos) return "";
  std::size_t end = begin + 1;
  while (end < name.size() && (is_word(name[end]) || name[end] == ':')) ++end;
  const std::string argument = name.substr(begin + 1, end - begin - 1);
  return argument.substr(argument.rfind(':') + 1);
}

}  // namespace

std::string demangled(const std::string& name) {
  if (!name.starts_with("_Z")) return name;
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status), &std::free);
  return status == 0 && text ? std::string(text.get()) : name;
}

std::string short_kernel_name(const std::string& name) {
  const std::string whole = demangled(name);
  std::string plain;  // without what stands in angle brackets
  int depth = 0;
  for (const char c : whole) {
    if (c == '<') ++depth;
    if (depth == 0) plain += c;
    if (c == '>' && depth > 0) --depth;
  }
  if (const std::string_view anonymous = "(anonymous namespace)::"; true)
    for (std::size_t at; (at = plain.find(anonymous)) != std::string::npos;)
      plain.erase(at, anonymous.size());
  plain = plain.substr(0, plain.find('('));
  while (!plain.empty() && plain.back() == ' ') plain.pop_back();
  if (const std::size_t space = plain.rfind(' '); space != std::string::npos) plain = plain.substr(space + 1);
  if (const std::size_t scope = plain.rfind("::"); scope != std::string::npos)
    plain = plain.substr(scope + 2);
  if (plain.empty()) return whole;
  if (is_any_kernel(plain)) {
    const std::string argument = first_argument(whole);
    return argument.empty() ? plain : argument;
  }
  if (plain.find("elementwise") == std::string::npos && plain.find("reduce_kernel") == std::string::npos)
    return plain;
  const std::string word = operation_word(whole);
  return word.empty() ? plain : plain + ":" + word;
}

}  // namespace kernelites
