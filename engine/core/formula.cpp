// SPDX-License-Identifier: Apache-2.0
// Formulas: a recursive-descent evaluator, one function per precedence level.
#include "engine/core/formula.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>

#include "engine/core/error.h"

namespace kernelites {
namespace {

constexpr int k_depth_max = 64;

struct Function {
  std::string_view name;
  int arguments;
  double (*value)(double, double);
};
constexpr Function k_functions[] = {
    {"min", 2, [](double a, double b) { return std::min(a, b); }},
    {"max", 2, [](double a, double b) { return std::max(a, b); }},
    {"cdiv", 2, [](double a, double b) { return std::ceil(a / b); }},
    {"floor", 1, [](double a, double) { return std::floor(a); }},
    {"sqrt", 1, [](double a, double) { return std::sqrt(a); }},
    {"exp", 1, [](double a, double) { return std::exp(a); }},
    {"log", 1, [](double a, double) { return std::log(a); }},
};

class Evaluation {
 public:
  Evaluation(std::string_view text, const std::map<std::string, double>& names)
      : text_(text), names_(names) {}

  double value() {
    const double result = sum();
    if (peek() != '\0') fail("expected the end or an operator");
    if (!std::isfinite(result)) fail("the value is not finite");
    return result;
  }

 private:
  double sum() {
    double left = product();
    for (;;) {
      if (accept('+')) {
        left += product();
      } else if (accept('-')) {
        left -= product();
      } else {
        return left;
      }
    }
  }

  double product() {
    double left = factor();
    for (;;) {
      if (accept('*')) {
        left *= factor();
      } else if (accept('/')) {
        left /= factor();
      } else {
        return left;
      }
    }
  }

  double factor() {
    if (++depth_ > k_depth_max) fail("nested too deeply");
    const double result = primary();
    --depth_;
    return result;
  }

  double primary() {
    if (accept('-')) return -factor();
    if (accept('(')) {
      const double inner = sum();
      expect(')');
      return inner;
    }
    const char next = peek();
    if ((next >= '0' && next <= '9') || next == '.') return number();
    if (is_letter(next)) return name_or_call();
    fail("expected a number, a name or a parenthesis");
  }

  double number() {
    double result = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), result);
    if (error != std::errc()) fail("expected a number");
    at_ = static_cast<std::size_t>(end - text_.data());
    return result;
  }

  double name_or_call() {
    const std::size_t start = at_;
    while (at_ < text_.size() && (is_letter(text_[at_]) || (text_[at_] >= '0' && text_[at_] <= '9'))) ++at_;
    const std::string name(text_.substr(start, at_ - start));
    for (const Function& function : k_functions) {
      if (name != function.name) continue;
      expect('(');
      const double first = sum();
      double second = 0;
      if (function.arguments == 2) {
        expect(',');
        second = sum();
      }
      expect(')');
      return function.value(first, second);
    }
    const auto found = names_.find(name);
    if (found == names_.end()) {
      std::string known;
      for (const auto& [other, value] : names_) known += (known.empty() ? "" : ", ") + other;
      fail(fmt::format("\"{}\" is not a known name; known here: {}", name, known));
    }
    return found->second;
  }

  static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

  char peek() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char wanted) {
    if (peek() != wanted) return false;
    ++at_;
    return true;
  }
  void expect(char wanted) {
    if (!accept(wanted)) fail(fmt::format("expected '{}'", wanted));
  }
  [[noreturn]] void fail(const std::string& problem) const {
    throw Error(fmt::format("formula \"{}\", character {}: {}", text_, at_ + 1, problem));
  }

  std::string_view text_;
  const std::map<std::string, double>& names_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

double evaluate_formula(std::string_view formula, const std::map<std::string, double>& names) {
  return Evaluation(formula, names).value();
}

}  // namespace kernelites
