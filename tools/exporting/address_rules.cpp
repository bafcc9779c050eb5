// SPDX-License-Identifier: Apache-2.0
// Walks the tokens of a closure with its open brackets.
#include "tools/exporting/address_rules.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <vector>

namespace kernelites {
namespace {

using Names = std::set<std::string_view>;

const Names k_types{"int",  "long", "short", "float", "double",  "unsigned", "signed",   "bool",
                    "auto", "void", "char",  "const", "wchar_t", "char8_t",  "char16_t", "char32_t"};

/// What an expression cannot end with, and what makes the parenthesis behind it no call.
const Names k_keywords{"return",   "case",      "else",      "do",       "if",       "for",   "while",
                       "switch",   "constexpr", "consteval", "static",   "inline",   "using", "namespace",
                       "template", "default",   "break",     "continue", "struct",   "enum",  "alignas",
                       "public",   "private",   "protected", "explicit", "noexcept", "final", "override"};

/// Words by which types of addresses are spelled or deduced, other spellings of marks, and the parts of the contract
/// whose arrays are indexed by what a plan could write.
const Names k_address_words{
    "bitand",    "bitor",   "and",      "or",      "not",      "xor",      "compl",       "and_eq",
    "or_eq",     "xor_eq",  "not_eq",   "union",   "operator", "decltype", "typename",    "concept",
    "requires",  "nullptr", "typedef",  "friend",  "std",      "detail",   "Dtype",       "Launch",
    "TensorMap", "Encoder", "shape",    "stride",  "rank",     "dtype",    "dtype_bytes", "initializer_list",
    "wchar_t",   "char8_t", "char16_t", "char32_t"};

bool is_of_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }
bool is_number(std::string_view token) {
  return !token.empty() && std::isdigit(static_cast<unsigned char>(token[0]));
}
bool is_name(std::string_view token) {
  return !token.empty() && is_of_word(token[0]) && !is_number(token) && !token.starts_with("__") &&
         !k_types.contains(token) && !k_keywords.contains(token) && token != "sizeof" && token != "alignof";
}

/// Words and single characters in their order; the end of a preprocessor line is a token too.
std::vector<std::string_view> tokens_of(std::string_view code) {
  std::vector<std::string_view> tokens;
  bool is_directive = false;
  for (std::size_t i = 0; i < code.size();) {
    std::size_t end = i + 1;
    while (is_of_word(code[i]) && end < code.size() && is_of_word(code[end])) ++end;
    const std::string_view token = code.substr(i, end - i);
    if (token == "#") is_directive = true;
    if (!std::isspace(static_cast<unsigned char>(code[i])) || (is_directive && token == "\n"))
      tokens.push_back(token);
    if (token == "\n") is_directive = false;
    i = end;
  }
  return tokens;
}

class Walk {
 public:
  explicit Walk(std::string_view code) : tokens_(tokens_of(code)) {}

  std::string run() {
    collect_texts();
    for (at_ = 0; at_ < tokens_.size(); ++at_) {
      if (is("#")) {
        if (std::string word = directive_trouble(); !word.empty()) return word;
        continue;
      }
      for (auto rule : {&Walk::word_trouble, &Walk::declared_trouble, &Walk::text_trouble,
                        &Walk::mark_trouble, &Walk::bracket_trouble})
        if (std::string word = (this->*rule)(); !word.empty()) return word;
      follow();
    }
    return "";
  }

 private:
  struct Open {
    std::string_view mark, before;  ///< the bracket, and the token before it
    std::size_t begin = 0;
    bool is_body = false, is_lambda = false, has_end = false;
  };
  struct Closed {
    bool is_operand = false, has_text = false;
  };

  std::string_view token(std::ptrdiff_t step) const {
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(at_) + step;
    return at < 0 || at >= static_cast<std::ptrdiff_t>(tokens_.size()) ? std::string_view() : tokens_[at];
  }
  bool is(std::string_view text, std::ptrdiff_t step = 0) const { return token(step) == text; }
  bool in_body() const {
    return std::any_of(open_.begin(), open_.end(), [](const Open& open) { return open.is_body; });
  }
  bool in(std::string_view mark) const { return !open_.empty() && open_.back().mark == mark; }

  /// Names of what may hold a text's address.
  void collect_texts() {
    for (std::size_t i = 0; i + 2 < tokens_.size(); ++i)
      if (tokens_[i] == "char" && tokens_[i + 1] == "*")
        texts_.insert(tokens_[i + 2] == "const" && i + 3 < tokens_.size() ? tokens_[i + 3] : tokens_[i + 2]);
  }
  bool is_text(std::string_view token) const { return token == "\"" || texts_.contains(token); }

  /// A macro is one operand whatever surrounds it; with parameters it is a sum or the like in parentheses.
  std::string directive_trouble() {
    const std::size_t begin = at_;
    while (at_ < tokens_.size() && tokens_[at_] != "\n") ++at_;
    const std::size_t end = at_;
    if (begin + 2 >= end || tokens_[begin + 1] != "define") return "";
    std::size_t body = begin + 3;
    if (body >= end) return "";
    // A name alone in parentheses cannot be told from parameters here, so both must be sums.
    for (std::size_t i = begin + 2; i < end; ++i) {
      const std::string_view word = tokens_[i];
      if (k_types.contains(word) || k_keywords.contains(word) || k_address_words.contains(word) ||
          is_text(word) || word.starts_with("__") || word == "&" || word == "[" || word == "{" ||
          word == "}" || word == ";" || word == "Plan" || word == "Tensor" || word == "Problem" ||
          word == "#" || (is_name(word) && word.ends_with("_")) || word == "with_stride" || word == "sizeof")
        return "#define";
      if (word == "*" && !is_name(tokens_[i - 1]) && !is_number(tokens_[i - 1])) return "#define";
    }
    if (tokens_[body] != "(") {
      const bool ends = is_name(tokens_[end - 1]) || is_number(tokens_[end - 1]) || ends_call(body, end - 1);
      return ends && (is_name(tokens_[body]) || is_number(tokens_[body])) ? "" : "#define";
    }
    std::size_t first = closing(body);
    if (first + 1 < end && tokens_[first + 1] == "(") body = first + 1, first = closing(body);
    return first + 1 == end && is_sum(body, first) ? "" : "#define";
  }

  /// Whether a call ends here: a name in parentheses behind an operator would be a cast of what follows the macro.
  bool ends_call(std::size_t begin, std::size_t end) const {
    for (std::size_t i = begin + 1; i < end; ++i)
      if (tokens_[i] == "(" && closing(i) == end) return is_name(tokens_[i - 1]) || is_sum(i, end);
    return false;
  }

  std::size_t closing(std::size_t at) const {
    int depth = 0;
    for (; at < tokens_.size(); ++at) {
      if (tokens_[at] == "(" || tokens_[at] == "[" || tokens_[at] == "{") ++depth;
      if ((tokens_[at] == ")" || tokens_[at] == "]" || tokens_[at] == "}") && --depth == 0) return at;
    }
    return tokens_.size();
  }

  /// Whether what the parenthesis holds is a value and can be no type.
  bool is_sum(std::size_t begin, std::size_t end) const {
    int depth = 0;
    bool has_operator = false, has_type = false;
    for (std::size_t i = begin + 1; i < end; ++i) {
      const std::string_view word = tokens_[i];
      if (word == "(" || word == "[" || word == "{") ++depth;
      if (word == ")" || word == "]" || word == "}") --depth;
      if (depth > 0) continue;
      if (k_types.contains(word) || word == "<" || word == ">" || word == ";" || word == ",") has_type = true;
      const bool marks = word == "+" || word == "-" || word == "/" || word == "%" || word == "?";
      // A star counts only with a number beside it: a name and a star are a type as well.
      const bool times = word == "*" && i + 1 < end && (is_number(tokens_[i + 1]) || is_name(tokens_[i + 1]));
      const bool member = word == "." && i + 1 < end && is_name(tokens_[i + 1]);
      if (marks || times || member) has_operator = true;
    }
    return has_operator && !has_type;
  }

  bool ends_operand() const {
    if (at_ == 0) return false;
    return is(")", -1) ? closed_.is_operand : is_name(token(-1)) || is_number(token(-1));
  }
  bool starts_operand(std::ptrdiff_t step) const {
    return is_name(token(step)) || is_number(token(step)) || is("(", step) || is("-", step) ||
           is("!", step) || is("sizeof", step);
  }

  std::string word_trouble() {
    const std::string word(token(0));
    if (!is_of_word(word[0])) return "";
    if (k_address_words.contains(word) || word.starts_with("KERNELITES") ||
        (is_name(word) && word.ends_with("_")))
      return word;
    if (word == "class" && !is("enum", -1)) return word;
    if ((word == "struct" || word == "class") && in_body()) return word;
    if ((word == "Tensor" || word == "Plan") && !(is("&", 1) && is_name(token(2)))) return word;
    if (word == "Plan" && is("const", is(":", -1) ? -4 : -1)) return word;
    if (word == "Problem" && !(is("&", 1) && is_name(token(2))) && !(is(":", 1) && is(":", 2))) return word;
    const bool is_axis =
        is("(", 1) && token(2).size() == 1 && token(2)[0] >= '0' && token(2)[0] < '8' && is(",", 3);
    return word == "with_stride" && !is_axis ? word : "";
  }

  /// `auto` declares a variable and nothing else: no parameter, no function, no list.
  std::string declared_trouble() {
    if (is("auto")) {
      const std::ptrdiff_t name = is("&", 1) || is("const", 1) ? 2 : 1, before = is("const", -1) ? -2 : -1;
      const bool is_variable =
          is_name(token(name)) && is("=", name + 1) && !is("(", before) && !is(",", before);
      return is_variable ? "" : "auto";
    }
    if (is("{")) {
      if (is("=", -1) && in_body()) return "{";
      if (is("(", -1) || (is(",", -1) && in("(") && open_.back().before != "tensor_map")) return "{";
      if (is("&", -1)) return "&";
    }
    if (is(";") && in("(")) {
      if (open_.back().before != "for") return ";";
      open_.back().has_end = true;
    }
    return "";
  }

  /// Texts are named and handed on; nothing is added to where they stand.
  std::string text_trouble() {
    if (is("char") && !is("unsigned", -1) && !is("signed", -1) && !(is("const", -1) && is("*", 1)))
      return "char";
    if (is_text(token(0)) && has_auto_ && !in("(")) return "auto";
    if (!is("+") && !is("-")) return "";
    const bool group = is("(", 1) && has_text(at_ + 1, closing(at_ + 1));
    const bool behind = is(")", -1) && closed_.has_text;
    return is_text(token(-1)) || is_text(token(1)) || group || behind ? std::string(token(0)) : "";
  }
  bool has_text(std::size_t begin, std::size_t end) const {
    return std::any_of(tokens_.begin() + static_cast<std::ptrdiff_t>(begin),
                       tokens_.begin() + static_cast<std::ptrdiff_t>(std::min(end, tokens_.size())),
                       [this](std::string_view token) { return is_text(token); });
  }

  std::string mark_trouble() {
    if (is(">") && is("-", -1)) return "->";
    if (is("*")) return star_trouble();
    if (!is("&") || is("&", -1)) return "";
    if (is("&", 1)) return double_trouble();
    if (is("[", -1) && is("]", 1)) return "";
    if (is("auto", -1)) return "";  // declared_trouble
    if (!ends_operand()) return k_types.contains(token(-1)) && is_parameter() ? "" : "&";
    if (is("=", 1)) return "";
    if (!is_name(token(1)) && !is_number(token(1))) return "&";
    // A reference that is no parameter: of a function's result, of a member, or of itself.
    const bool declares = is("(", 2) || is("{", 2) || (is("=", 2) && !is("=", 3));
    if (declares || (open_.empty() ? !has_value_ : in("{") && !has_value_)) return "&";
    return "";
  }
  bool is_parameter() const { return in("(") && is_name(token(1)) && (is(",", 2) || is(")", 2)); }

  std::string star_trouble() const {
    if (is("char", -1)) {
      const std::ptrdiff_t name = is("const", 1) ? 2 : 1;
      return is_name(token(name)) ? "" : "*";
    }
    if (!ends_operand()) return "*";
    if (is("=", 1)) return in_body() ? "" : "*";
    if (!starts_operand(1) && !is("static_cast", 1)) return "*";
    return (open_.empty() || in("{")) && !has_value_ ? "*" : "";
  }

  std::string double_trouble() const {
    const bool may_end = ends_operand() || is(">", -1);
    if (!may_end || !starts_operand(2) || is("{", 3) || (is("=", 3) && !is("=", 4))) return "&&";
    const std::size_t end = is("(", 2) ? closing(at_ + 2) : tokens_.size();
    if (end + 2 < tokens_.size() && tokens_[end + 1] == "=" && tokens_[end + 2] != "=") return "&&";
    if (in("(") && open_.back().before == "for" && !open_.back().has_end) return "&&";
    return (open_.empty() || in("{")) && !has_value_ ? "&&" : "";
  }

  std::string bracket_trouble() {
    if (!is("[")) return "";
    if (is("[", -1)) return "[";
    if (is_name(token(-1)) || is("]", -1) || is(")", -1) || is("}", -1) || is("\"", -1) || is(">", -1))
      return in_body() || has_value_ ? "[" : "";
    if (is("]", 1)) return "";
    const bool names_it = is("&", 1) && is("]", 2) && is("=", -1) && is("auto", -3);
    const bool is_inner =
        std::any_of(open_.begin(), open_.end(), [](const Open& open) { return open.is_lambda; });
    if (!names_it || is_inner) return "[";
    lambda_next_ = true;
    return "";
  }

  /// Keeps what the rules ask for: open brackets, and what the statement has shown.
  void follow() {
    if (is("(") || is("[") || is("{")) {
      Open open{.mark = token(0), .before = token(-1), .begin = at_};
      if (is("{")) {
        open.is_body = is(")", -1) || is("]", -1) || is("const", -1) || is("noexcept", -1) || is("}", -1);
        open.is_lambda = open.is_body && lambda_next_;
        if (open.is_body) lambda_next_ = false;
      }
      open_.push_back(open);
    } else if ((is(")") || is("]") || is("}")) && !open_.empty()) {
      const Open open = open_.back();
      open_.pop_back();
      const bool is_call = is_name(open.before) || open.before == "sizeof" || open.before == "alignof";
      closed_ = {is_call || is_sum(open.begin, at_),
                 texts_.contains(open.before) || has_text(open.begin, at_)};
    }
    if (is(";") || is("{") || is("}")) has_value_ = has_auto_ = false;
    if (is("constexpr") || is("consteval")) has_value_ = false;
    if (is("=") || is("return")) has_value_ = true;
    if (is("auto")) has_auto_ = true;
  }

  const std::vector<std::string_view> tokens_;
  Names texts_;
  std::size_t at_ = 0;
  std::vector<Open> open_;
  Closed closed_;
  bool has_value_ = false, has_auto_ = false, lambda_next_ = false;
};

}  // namespace

std::string address_trouble(std::string_view code) { return Walk(code).run(); }

}  // namespace kernelites
