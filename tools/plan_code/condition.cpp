// SPDX-License-Identifier: Apache-2.0
// Climbs the precedence of operators.
#include "tools/plan_code/condition.h"

#include <charconv>
#include <limits>
#include <map>
#include <string_view>

namespace kernelites {
namespace {

constexpr int k_nesting_max = 64;

int precedence_of(std::string_view mark) {
  static const std::map<std::string_view, int> k_precedences{
      {"||", 1}, {"&&", 2}, {"|", 3},  {"^", 4},  {"&", 5}, {"==", 6}, {"!=", 6}, {"<", 7},  {">", 7},
      {"<=", 7}, {">=", 7}, {"<<", 8}, {">>", 8}, {"+", 9}, {"-", 9},  {"*", 10}, {"/", 10}, {"%", 10}};
  const auto found = k_precedences.find(mark);
  return found == k_precedences.end() ? 0 : found->second;
}

class Condition {
 public:
  explicit Condition(const std::vector<PlanToken>& tokens) : tokens_(tokens) {}

  std::optional<std::int64_t> run() {
    const std::int64_t value = choice();
    return is_good_ && at_ == tokens_.size() ? std::optional(value) : std::nullopt;
  }

 private:
  bool takes(std::string_view text) {
    const bool is_it = at_ < tokens_.size() && tokens_[at_].text == text;
    if (is_it) ++at_;
    return is_it;
  }
  std::int64_t trouble() {
    is_good_ = false;
    return 0;
  }

  std::int64_t choice() {
    const std::int64_t condition = binary(1);
    if (!takes("?")) return condition;
    const std::int64_t yes = choice();
    if (!takes(":")) return trouble();
    const std::int64_t no = choice();
    return condition != 0 ? yes : no;
  }

  std::int64_t binary(int lowest) {
    std::int64_t left = unary();
    while (is_good_ && at_ < tokens_.size()) {
      const std::string_view mark = tokens_[at_].text;
      const int precedence = precedence_of(mark);
      if (precedence == 0 || precedence < lowest) break;
      ++at_;
      left = applied(mark, left, binary(precedence + 1));
    }
    return left;
  }

  std::int64_t applied(std::string_view mark, std::int64_t a, std::int64_t b) {
    std::int64_t value = 0;
    const bool divides = mark == "/" || mark == "%";
    if (divides && (b == 0 || (b == -1 && a == std::numeric_limits<std::int64_t>::min()))) return trouble();
    if ((mark == "<<" || mark == ">>") && (b < 0 || b > 62 || a < 0)) return trouble();
    if (mark == "||") return (a != 0) || (b != 0);
    if (mark == "&&") return (a != 0) && (b != 0);
    if (mark == "|") return a | b;
    if (mark == "^") return a ^ b;
    if (mark == "&") return a & b;
    if (mark == "==") return a == b;
    if (mark == "!=") return a != b;
    if (mark == "<") return a < b;
    if (mark == ">") return a > b;
    if (mark == "<=") return a <= b;
    if (mark == ">=") return a >= b;
    if (mark == "<<") return __builtin_mul_overflow(a, std::int64_t{1} << b, &value) ? trouble() : value;
    if (mark == ">>") return a >> b;
    if (mark == "+") return __builtin_add_overflow(a, b, &value) ? trouble() : value;
    if (mark == "-") return __builtin_sub_overflow(a, b, &value) ? trouble() : value;
    if (mark == "*") return __builtin_mul_overflow(a, b, &value) ? trouble() : value;
    return mark == "/" ? a / b : a % b;
  }

  std::int64_t unary() {
    if (!is_good_ || at_ >= tokens_.size() || ++depth_ > k_nesting_max) return trouble();
    std::int64_t value = 0;
    if (takes("!")) {
      value = unary() == 0;
    } else if (takes("-")) {
      const std::int64_t of = unary();
      value = of == std::numeric_limits<std::int64_t>::min() ? trouble() : -of;
    } else if (takes("+")) {
      value = unary();
    } else if (takes("~")) {
      value = ~unary();
    } else if (takes("(")) {
      value = choice();
      if (!takes(")")) value = trouble();
    } else if (takes("true")) {
      value = 1;
    } else if (!takes("false")) {
      value = number();
    }
    --depth_;
    return value;
  }

  std::int64_t number() {
    const PlanToken& token = tokens_[at_++];
    if (token.kind != PlanToken::Kind::number) return trouble();
    std::string_view text = token.text;
    while (!text.empty() && std::string_view("uUlL").find(text.back()) != std::string_view::npos)
      text.remove_suffix(1);
    const bool is_hex = text.starts_with("0x") || text.starts_with("0X");
    if (is_hex) text.remove_prefix(2);
    std::int64_t value = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), value, is_hex ? 16 : 10);
    return error == std::errc() && end == text.data() + text.size() ? value : trouble();
  }

  const std::vector<PlanToken>& tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
  bool is_good_ = true;
};

}  // namespace

std::optional<std::int64_t> condition_value(const std::vector<PlanToken>& tokens) {
  return Condition(tokens).run();
}

}  // namespace kernelites
