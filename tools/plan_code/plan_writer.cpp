// SPDX-License-Identifier: Apache-2.0
// Tokens, names and refusals.
#include "tools/plan_code/plan_writer.h"

#include <fmt/format.h>

#include <cctype>
#include <set>

#include "tools/plan_code/plan_code.h"

namespace kernelites {
namespace {

constexpr int k_names_max = 4096, k_temporaries_max = 256;

/// Words of C++ that are no name, whether a plan has a use for them or not.
const std::set<std::string_view> k_keywords{
    "alignas",     "alignof",   "and",        "and_eq",    "asm",      "auto",         "bitand",
    "bitor",       "bool",      "break",      "case",      "catch",    "char",         "char8_t",
    "char16_t",    "char32_t",  "class",      "compl",     "concept",  "const",        "consteval",
    "constexpr",   "constinit", "const_cast", "continue",  "co_await", "co_return",    "co_yield",
    "decltype",    "default",   "delete",     "do",        "double",   "dynamic_cast", "else",
    "enum",        "explicit",  "export",     "extern",    "false",    "float",        "for",
    "friend",      "goto",      "if",         "inline",    "int",      "long",         "mutable",
    "namespace",   "new",       "noexcept",   "not",       "not_eq",   "nullptr",      "operator",
    "or",          "or_eq",     "private",    "protected", "public",   "register",     "reinterpret_cast",
    "requires",    "return",    "short",      "signed",    "sizeof",   "static",       "static_assert",
    "static_cast", "struct",    "switch",     "template",  "this",     "thread_local", "throw",
    "true",        "try",       "typedef",    "typeid",    "typename", "union",        "unsigned",
    "using",       "virtual",   "void",       "volatile",  "wchar_t",  "while",        "xor",
    "xor_eq",      "kl",        "kernelites", "std",       "safe",     "formula",      "Problem",
    "linux",       "unix",      "i386"};

}  // namespace

std::optional<std::string> PlanWriter::run() {
  top_level();
  if (is_good() && !at_end()) refuse("a bracket is closed that was not open");
  const PlanSymbol* plan = scopes_.find("plan");
  if (is_good() && (plan == nullptr || plan->kind != PlanSymbol::Kind::function))
    refuse("it has no function plan");
  if (!is_good()) return std::nullopt;
  return std::move(out_);
}

const PlanToken& PlanWriter::token(std::size_t step) const {
  static const PlanToken k_end;
  return is_good() && at_ + step < tokens_.size() ? tokens_[at_ + step] : k_end;
}

bool PlanWriter::is(std::string_view text, std::size_t step) const {
  const PlanToken& found = token(step);
  return found.text == text && found.kind != PlanToken::Kind::text && found.kind != PlanToken::Kind::end;
}

bool PlanWriter::takes(std::string_view text) {
  if (!is(text)) return false;
  ++at_;
  return true;
}

void PlanWriter::expect(std::string_view text) {
  if (!takes(text)) refuse(fmt::format("\"{}\" is missing", text));
}

void PlanWriter::refuse(const std::string& words) {
  if (!problem_.empty()) return;
  std::string near;
  for (std::size_t at = at_ < 3 ? 0 : at_ - 3; at < tokens_.size() && at < at_ + 4; ++at)
    near += (near.empty() ? "" : " ") +
            (tokens_[at].kind == PlanToken::Kind::text ? "\"" + tokens_[at].text + "\"" : tokens_[at].text);
  problem_ = near.size() < 3 ? words : fmt::format("{}, near `{:.80}`", words, near);
}

std::string PlanWriter::take_name() {
  const std::string name = token().text;
  const bool is_reserved = name.starts_with("__") || (name.size() > 1 && name[0] == '_' &&
                                                      std::isupper(static_cast<unsigned char>(name[1])));
  if (!is_word() || is_reserved || k_keywords.contains(name)) {
    refuse(at_end() ? "it ends too early" : fmt::format("\"{:.40}\" stands where a name is expected", name));
    return "";
  }
  ++at_;
  return name;
}

std::string PlanWriter::fresh(const std::string& name) {
  if (++names_ > k_names_max) refuse("it has too many names");
  return fmt::format("{}_{}", name, names_);
}

void PlanWriter::count_temporary() {
  if (!is_constant_ && ++temporaries_ > k_temporaries_max)
    refuse("it makes too many things that have no name");
}

std::string PlanWriter::declare(const std::string& name, PlanSymbol symbol) {
  if (symbol.written.empty()) symbol.written = fresh(name);
  const std::string written = symbol.written;
  if (!scopes_.add(name, std::move(symbol))) refuse(fmt::format("\"{:.40}\" is declared twice", name));
  return written;
}

void PlanWriter::skip_attributes() {
  static const std::set<std::string_view> k_harmless{"nodiscard", "maybe_unused", "likely", "unlikely"};
  while (is("[") && is("[", 1)) {
    if (!k_harmless.contains(token(2).text) || !is("]", 3) || !is("]", 4))
      return refuse(fmt::format("an attribute \"{:.40}\"", token(2).text));
    at_ += 5;
  }
}

bool PlanWriter::skip_qualifiers(std::string_view wanted) {
  static const std::set<std::string_view> k_qualifiers{"static",       "inline",         "constexpr",
                                                       "consteval",    "__host__",       "__device__",
                                                       "__constant__", "__forceinline__"};
  bool has_it = false;
  for (skip_attributes(); is_word() && k_qualifiers.contains(token().text); skip_attributes()) {
    has_it = has_it || is(wanted);
    ++at_;
  }
  return has_it;
}

void PlanWriter::line(const std::string& text) {
  if (!is_good()) return;
  out_ += std::string(static_cast<std::size_t>(2 * indent_), ' ') + text + "\n";
}

std::variant<std::string, PlanCodeProblem> plan_code(std::string_view closure,
                                                     const std::map<std::string, std::int64_t>& tunables) {
  auto tokens = plan_tokens(closure, tunables);
  if (const auto* problem = std::get_if<TokenProblem>(&tokens)) return PlanCodeProblem{problem->words};
  PlanWriter writer(std::get<std::vector<PlanToken>>(std::move(tokens)));
  std::optional<std::string> text = writer.run();
  if (!text) return PlanCodeProblem{writer.problem()};
  return *std::move(text);
}

}  // namespace kernelites
