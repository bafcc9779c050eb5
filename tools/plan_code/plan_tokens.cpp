// SPDX-License-Identifier: Apache-2.0
// Scans lines, decides conditions, replaces macros.
#include "tools/plan_code/plan_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <set>

#include "tools/plan_code/condition.h"

namespace kernelites {
namespace {

constexpr std::size_t k_tokens_max = 20'000, k_macros_max = 512, k_depth_max = 32;

using Tokens = std::vector<PlanToken>;

struct Macro {
  bool is_function = false;
  std::vector<std::string> parameters;
  Tokens body;
};

constexpr std::array<std::string_view, 23> k_long_marks{"<<=", ">>=", "<=>", "...", "->", "++", "--", "<<",
                                                        ">>",  "<=",  ">=",  "==",  "!=", "&&", "||", "+=",
                                                        "-=",  "*=",  "/=",  "%=",  "&=", "|=", "^="};

bool is_letter(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

class Reader {
 public:
  Reader(std::string_view text, const std::map<std::string, std::int64_t>& macros) : text_(text) {
    for (const auto& [name, value] : macros)
      macros_[name].body = {{PlanToken::Kind::number, std::to_string(value)}};
  }

  std::variant<Tokens, TokenProblem> run() {
    while (at_ < text_.size() && problem_.empty()) line();
    if (problem_.empty() && !conditions_.empty()) refuse("a condition is not closed");
    if (!problem_.empty()) return TokenProblem{problem_};
    Tokens out;
    expand(tokens_, {}, out);
    if (!problem_.empty()) return TokenProblem{problem_};
    out.emplace_back();
    return out;
  }

 private:
  struct Condition {
    bool is_on = false, was_on = false, is_outer_on = true;
  };

  void refuse(std::string words) {
    if (problem_.empty()) problem_ = std::move(words);
  }
  bool is_on() const { return conditions_.empty() || conditions_.back().is_on; }

  /// One logical line: code, or a preprocessor line.
  void line() {
    Tokens found;
    const bool is_directive = scan_line(found);
    if (!problem_.empty()) return;
    if (is_directive)
      directive(found);
    else if (is_on())
      tokens_.insert(tokens_.end(), found.begin(), found.end());
    if (tokens_.size() > k_tokens_max) refuse("it is too long");
  }

  /// Reads to the end of the line, behind comments and continued lines. True if it begins with the mark of a
  /// preprocessor line, which is left out.
  bool scan_line(Tokens& found) {
    bool is_directive = false;
    while (at_ < text_.size() && problem_.empty()) {
      const char c = text_[at_];
      if (c == '\n') return ++at_, is_directive;
      if (c == '\\' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n') {
        at_ += 2;
      } else if (std::isspace(static_cast<unsigned char>(c))) {
        ++at_;
      } else if (text_.substr(at_, 2) == "//") {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (text_.substr(at_, 2) == "/*") {
        const std::size_t end = text_.find("*/", at_ + 2);
        if (end == std::string_view::npos) refuse("a comment does not end");
        at_ = end + 2;
      } else if (c == '#' && found.empty() && !is_directive) {
        is_directive = true;
        ++at_;
      } else {
        found.push_back(token());
      }
    }
    return is_directive;
  }

  PlanToken token() {
    const char c = text_[at_];
    if (c == '"') return quoted();
    if (is_digit(c) || (c == '.' && at_ + 1 < text_.size() && is_digit(text_[at_ + 1]))) return number();
    std::size_t end = at_;
    while (end < text_.size() && is_letter(text_[end])) ++end;
    if (end > at_) {
      if (end < text_.size() && (text_[end] == '"' || text_[end] == '\'')) refuse("a text has a prefix");
      const std::string_view word = text_.substr(at_, end - at_);
      at_ = end;
      return {PlanToken::Kind::word, std::string(word)};
    }
    for (const std::string_view mark : k_long_marks)
      if (text_.substr(at_, mark.size()) == mark) {
        at_ += mark.size();
        return {PlanToken::Kind::mark, std::string(mark)};
      }
    if (text_.substr(at_, 2) == "::") return at_ += 2, PlanToken{PlanToken::Kind::mark, "::"};
    constexpr std::string_view k_marks = "+-*/%<>=!&|^~?:;,.(){}[]";
    if (k_marks.find(c) == std::string_view::npos)
      refuse(fmt::format("it has the character \"{}\"", printable(c)));
    ++at_;
    return {PlanToken::Kind::mark, std::string(1, c)};
  }

  static std::string printable(char c) {
    return std::isprint(static_cast<unsigned char>(c))
               ? std::string(1, c)
               : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }

  /// Letters, digits and marks that stand for themselves.
  PlanToken quoted() {
    const std::size_t end = text_.find('"', at_ + 1);
    const std::string_view inside =
        end == std::string_view::npos ? std::string_view() : text_.substr(at_ + 1, end - at_ - 1);
    const bool is_plain = std::all_of(inside.begin(), inside.end(), [](unsigned char c) {
      return std::isprint(c) && c != '\\' && c != '?';
    });
    if (end == std::string_view::npos || !is_plain)
      refuse("a text holds more than plain characters, or does not end");
    at_ = end == std::string_view::npos ? text_.size() : end + 1;
    return {PlanToken::Kind::text, std::string(inside)};
  }

  PlanToken number() {
    std::size_t end = at_;
    while (end < text_.size() &&
           (is_letter(text_[end]) || text_[end] == '.' ||
            ((text_[end] == '+' || text_[end] == '-') && is_exponent(end)) ||
            (text_[end] == '\'' && end + 1 < text_.size() && is_letter(text_[end + 1]))))
      ++end;
    std::string text(text_.substr(at_, end - at_));
    std::erase(text, '\'');
    at_ = end;
    if (!is_plain_number(text)) refuse(fmt::format("\"{:.40}\" is no plain number", text));
    return {PlanToken::Kind::number, std::move(text)};
  }
  bool is_exponent(std::size_t sign) const {
    const bool is_hex = text_.substr(at_, 2) == "0x" || text_.substr(at_, 2) == "0X";
    return !is_hex && sign > at_ && (text_[sign - 1] == 'e' || text_[sign - 1] == 'E');
  }

  static bool is_plain_number(std::string_view text) {
    const bool is_hex = text.starts_with("0x") || text.starts_with("0X");
    const bool is_binary = text.starts_with("0b") || text.starts_with("0B");
    std::size_t at = is_hex || is_binary ? 2 : 0, digits = 0, points = 0, exponents = 0;
    for (; at < text.size(); ++at) {
      const auto c = static_cast<unsigned char>(text[at]);
      if (is_hex ? std::isxdigit(c) : is_binary ? c == '0' || c == '1' : std::isdigit(c)) {
        ++digits;
      } else if (!is_hex && !is_binary && c == '.') {
        ++points;
      } else if (!is_hex && !is_binary && (c == 'e' || c == 'E')) {
        ++exponents;
        if (at + 1 < text.size() && (text[at + 1] == '+' || text[at + 1] == '-')) ++at;
      } else {
        break;
      }
    }
    std::string suffix(text.substr(at));
    for (char& c : suffix) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    static const std::set<std::string, std::less<>> k_whole{"", "u", "l", "ul", "lu", "ll", "ull", "llu"};
    const bool is_real = points + exponents > 0;
    if (digits == 0 || points > 1 || exponents > 1) return false;
    // Octal numbers would be read otherwise than they look.
    if (!is_real && !is_hex && !is_binary && text[0] == '0' && digits > 1) return false;
    return is_real ? suffix.empty() || suffix == "f" : k_whole.contains(suffix);
  }

  void directive(const Tokens& words) {
    if (words.empty()) return;
    const std::string& name = words.front().text;
    const Tokens rest(words.begin() + 1, words.end());
    if (name == "if" || name == "ifdef" || name == "ifndef") {
      Condition condition{.is_outer_on = is_on()};
      condition.is_on = condition.was_on = condition.is_outer_on && holds(name, rest);
      conditions_.push_back(condition);
      if (conditions_.size() > k_depth_max) refuse("conditions are nested too deeply");
    } else if (name == "elif" || name == "else" || name == "endif") {
      if (conditions_.empty()) return refuse("a condition ends that did not begin");
      Condition& condition = conditions_.back();
      if (name == "endif") return conditions_.pop_back();
      condition.is_on = condition.is_outer_on && !condition.was_on && (name == "else" || holds("if", rest));
      condition.was_on = condition.was_on || condition.is_on;
    } else if (!is_on()) {
      return;
    } else if (name == "define") {
      define(rest);
    } else if (name == "undef") {
      if (rest.size() != 1 || macros_.erase(rest[0].text) == 0) refuse("a macro is undone that is none");
    } else if (name != "pragma" || rest.empty() || rest[0].text != "unroll") {
      refuse(fmt::format("a preprocessor line \"{:.40}\"", name));
    }
  }

  bool holds(const std::string& name, const Tokens& rest) {
    if (name != "if") {
      if (rest.size() != 1) refuse("a condition does not name a macro");
      if (problem_.empty() && !is_known(rest[0].text)) refuse(asks(rest[0].text));
      return problem_.empty() && macros_.contains(rest[0].text) == (name == "ifdef");
    }
    Tokens asked, plain;
    for (std::size_t i = 0; i < rest.size(); ++i) {
      if (rest[i].text != "defined") {
        asked.push_back(rest[i]);
        continue;
      }
      const bool has_bracket = i + 1 < rest.size() && rest[i + 1].text == "(";
      const std::size_t at = i + (has_bracket ? 2 : 1);
      if (at >= rest.size()) return refuse("a condition does not name a macro"), false;
      if (!is_known(rest[at].text)) return refuse(asks(rest[at].text)), false;
      asked.push_back({PlanToken::Kind::number, macros_.contains(rest[at].text) ? "1" : "0"});
      i = at + (has_bracket ? 1 : 0);
    }
    expand(asked, {}, plain);
    for (const PlanToken& token : plain)
      if (token.kind == PlanToken::Kind::word && token.text != "true" && token.text != "false")
        return refuse(asks(token.text)), false;
    const std::optional<std::int64_t> value = condition_value(plain);
    if (!value) refuse("a condition is more than arithmetic on whole numbers");
    return value.value_or(0) != 0;
  }
  static std::string asks(const std::string& word) {
    return fmt::format("a condition asks for \"{:.40}\", which neither the file nor its tunables define",
                       word);
  }
  /// Defined, or defined somewhere in this text.
  bool is_known(const std::string& name) const {
    if (macros_.contains(name)) return true;
    for (std::size_t at = text_.find("define"); at != std::string_view::npos;
         at = text_.find("define", at + 6)) {
      std::size_t begin = text_.find_first_not_of(" \t", at + 6);
      if (begin == std::string_view::npos) break;
      if (text_.substr(begin, name.size()) == name &&
          (begin + name.size() >= text_.size() || !is_letter(text_[begin + name.size()])))
        return true;
    }
    return false;
  }

  void define(const Tokens& words) {
    if (words.empty() || words[0].kind != PlanToken::Kind::word) return refuse("a macro has no name");
    Macro macro;
    std::size_t body = 1;
    // A space before the bracket cannot be told here, so that what looks like parameters and has a body is some.
    if (words.size() > 1 && words[1].text == "(" && has_parameters(words, body, macro.parameters))
      macro.is_function = true;
    macro.body.assign(words.begin() + static_cast<std::ptrdiff_t>(body), words.end());
    macros_[words[0].text] = std::move(macro);
    if (macros_.size() > k_macros_max) refuse("it has too many macros");
  }

  static bool has_parameters(const Tokens& words, std::size_t& body, std::vector<std::string>& parameters) {
    std::size_t at = 2;
    for (; at < words.size() && words[at].kind == PlanToken::Kind::word; ++at) {
      parameters.push_back(words[at].text);
      if (at + 1 < words.size() && words[at + 1].text == ",") ++at;
    }
    const bool is_closed = at < words.size() && words[at].text == ")" && at + 1 < words.size();
    if (is_closed) body = at + 1;
    if (!is_closed) parameters.clear();
    return is_closed;
  }

  /// `hidden`: macros that are being replaced, which do not contain themselves.
  void expand(const Tokens& from, std::set<std::string> hidden, Tokens& out) {
    if (hidden.size() > k_depth_max) return refuse("macros are nested too deeply");
    for (std::size_t i = 0; i < from.size() && problem_.empty(); ++i) {
      const auto found = macros_.find(from[i].text);
      const bool is_macro =
          from[i].kind == PlanToken::Kind::word && found != macros_.end() && !hidden.contains(from[i].text);
      if (!is_macro || (found->second.is_function && (i + 1 >= from.size() || from[i + 1].text != "("))) {
        out.push_back(from[i]);
      } else {
        Tokens body = found->second.body;
        if (found->second.is_function && !fill_in(found->second, from, i, hidden, body)) return;
        std::set<std::string> inner = hidden;
        inner.insert(found->first);
        expand(body, std::move(inner), out);
      }
      if (out.size() > k_tokens_max) refuse("it is too long");
    }
  }

  /// The body with arguments for parameters; `at` moves to the closing bracket.
  bool fill_in(const Macro& macro, const Tokens& from, std::size_t& at, const std::set<std::string>& hidden,
               Tokens& body) {
    std::vector<Tokens> arguments(1);
    int depth = 0;
    for (at += 1; at < from.size(); ++at) {
      const std::string& text = from[at].text;
      if (text == "(" && depth++ == 0) continue;
      if (text == ")" && --depth == 0) break;
      if (text == "," && depth == 1)
        arguments.emplace_back();
      else
        arguments.back().push_back(from[at]);
    }
    if (macro.parameters.empty() && arguments.size() == 1 && arguments[0].empty()) arguments.clear();
    if (at >= from.size() || arguments.size() != macro.parameters.size())
      return refuse("a macro is given other arguments than it has parameters"), false;
    body.clear();
    for (const PlanToken& token : macro.body) {
      const auto name = std::find(macro.parameters.begin(), macro.parameters.end(), token.text);
      if (token.kind != PlanToken::Kind::word || name == macro.parameters.end()) {
        body.push_back(token);
        continue;
      }
      expand(arguments[static_cast<std::size_t>(name - macro.parameters.begin())], hidden, body);
    }
    return problem_.empty();
  }

  const std::string_view text_;
  std::size_t at_ = 0;
  std::map<std::string, Macro> macros_;
  std::vector<Condition> conditions_;
  Tokens tokens_;
  std::string problem_;
};

}  // namespace

std::variant<std::vector<PlanToken>, TokenProblem> plan_tokens(
    std::string_view text, const std::map<std::string, std::int64_t>& macros) {
  return Reader(text, macros).run();
}

}  // namespace kernelites
