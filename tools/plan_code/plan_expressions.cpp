// SPDX-License-Identifier: Apache-2.0
// Operators and operands.
#include <fmt/format.h>

#include <map>

#include "tools/plan_code/plan_writer.h"

namespace kernelites {
namespace {

constexpr int k_expressions_max = 100;

/// An operator between numbers: how strongly it binds, and the function that it becomes; none: it stays.
struct Operator {
  int precedence;
  const char* function;
};
const std::map<std::string_view, Operator> k_operators{
    {"||", {1, nullptr}},  {"&&", {2, nullptr}},       {"|", {3, "either"}},   {"^", {4, "differs"}},
    {"&", {5, "both"}},    {"==", {6, nullptr}},       {"!=", {6, nullptr}},   {"<", {7, nullptr}},
    {">", {7, nullptr}},   {"<=", {7, nullptr}},       {">=", {7, nullptr}},   {"<<", {8, "shift_left"}},
    {"+", {9, "add"}},     {">>", {8, "shift_right"}}, {"-", {9, "subtract"}}, {"*", {10, "multiply"}},
    {"/", {10, "divide"}}, {"%", {10, "remainder"}}};

const std::map<std::string_view, const char*> k_changes{
    {"=", "assign"},     {"+=", "add_to"},       {"-=", "subtract_to"},    {"*=", "multiply_to"},
    {"/=", "divide_to"}, {"%=", "remainder_to"}, {"<<=", "shift_left_to"}, {">>=", "shift_right_to"},
    {"&=", "both_to"},   {"|=", "either_to"},    {"^=", "differs_to"}};

}  // namespace

PlanExpression PlanWriter::expression() {
  PlanExpression first = assignment();
  while (is_good() && takes(","))
    first = {fmt::format("(static_cast<void>({}), {})", first.text, assignment().text)};
  return first;
}

PlanExpression PlanWriter::assignment() {
  if (++depth_ > k_expressions_max) refuse("expressions are nested too deeply");
  PlanExpression place = choice();
  const auto change = token().kind == PlanToken::Kind::mark ? k_changes.find(token().text) : k_changes.end();
  if (change != k_changes.end()) {
    if (!place.is_place) refuse("only a variable of the plan's own is assigned");
    ++at_;
    place = {fmt::format("safe::{}({}, {}, {})", change->second, run_name(), place.text, assignment().text)};
  }
  --depth_;
  return place;
}

PlanExpression PlanWriter::choice() {
  PlanExpression condition = binary(1);
  if (!takes("?")) return condition;
  const std::string yes = expression().text;
  expect(":");
  const std::string no = assignment().text;
  return {fmt::format("(safe::truth({}) ? {} : {})", condition.text, yes, no)};
}

PlanExpression PlanWriter::binary(int lowest) {
  PlanExpression left = unary();
  while (is_good() && token().kind == PlanToken::Kind::mark) {
    const std::string mark = token().text;
    const auto found = k_operators.find(mark);
    if (found == k_operators.end() || found->second.precedence < lowest) break;
    ++at_;
    const std::string right = binary(found->second.precedence + 1).text;
    if (found->second.function != nullptr)
      left = {fmt::format("safe::{}({}, {}, {})", found->second.function, run_name(), left.text, right)};
    else if (found->second.precedence <= 2)
      left = {fmt::format("(safe::truth({}) {} safe::truth({}))", left.text, mark, right)};
    else
      left = {fmt::format("(safe::value({}) {} safe::value({}))", left.text, mark, right)};
  }
  return left;
}

PlanExpression PlanWriter::unary() {
  if (++depth_ > k_expressions_max) refuse("expressions are nested too deeply");
  PlanExpression found;
  if (takes("-")) {
    found = {fmt::format("safe::negative({}, {})", run_name(), unary().text)};
  } else if (takes("+")) {
    found = {fmt::format("(+safe::value({}))", unary().text)};
  } else if (takes("!")) {
    found = {fmt::format("(!safe::truth({}))", unary().text)};
  } else if (takes("~")) {
    found = {fmt::format("(~safe::whole({}))", unary().text)};
  } else if (is("++") || is("--")) {
    const std::string mark = token().text;
    ++at_;
    const PlanExpression place = unary();
    if (!place.is_place) refuse("only a variable of the plan's own is changed");
    found = {
        fmt::format("safe::{}_to({}, {}, 1)", mark == "++" ? "add" : "subtract", run_name(), place.text)};
  } else if (is("*") || is("&") || is("&&")) {
    refuse("an address has no place in a plan");
  } else if (is("sizeof") || is("alignof")) {
    found = size();
  } else {
    found = postfix(primary());
  }
  --depth_;
  return found;
}

PlanExpression PlanWriter::postfix(PlanExpression of) {
  while (is_good()) {
    if (takes(".")) {
      of = method(of);
    } else if (takes("[")) {
      const std::string index = expression().text;
      expect("]");
      of.text = fmt::format("safe::at({}, {}, {})", run_name(), of.text, index);
    } else if (is("++") || is("--")) {
      if (!of.is_place) refuse("only a variable of the plan's own is changed");
      of = {fmt::format("safe::{}_after({}, {}, 1)", is("++") ? "add" : "subtract", run_name(), of.text)};
      ++at_;
    } else {
      if (is("->") || is("(")) refuse(fmt::format("\"{}\" stands behind a value", token().text));
      return of;
    }
  }
  return of;
}

PlanExpression PlanWriter::primary() {
  const PlanToken& first = token();
  if (first.kind == PlanToken::Kind::number) return ++at_, PlanExpression{tokens_[at_ - 1].text};
  if (first.kind == PlanToken::Kind::text) {
    std::string text;
    for (; token().kind == PlanToken::Kind::text; ++at_) text += token().text;
    return {"safe::Text(\"" + text + "\")"};
  }
  if (is("true") || is("false")) return ++at_, PlanExpression{tokens_[at_ - 1].text};
  if (is("(")) return bracketed();
  if (takes("static_cast")) {
    expect("<");
    const PlanType to = type();
    expect(">");
    expect("(");
    const std::string of = expression().text;
    expect(")");
    return cast(to, of);
  }
  if (is("["))
    return refuse("a lambda is the value of an auto variable, or has no place in a plan"), PlanExpression();
  if (is("{")) return refuse("a list in braces has no place here"), PlanExpression();
  const PlanSymbol* symbol = known();
  if (starts_type() && (symbol == nullptr || symbol->kind != PlanSymbol::Kind::type)) return constructed();
  if (is_word()) return named();
  refuse(at_end() ? "it ends too early"
                  : fmt::format("\"{:.40}\" stands where a value is expected", first.text));
  return {};
}

/// `double(x)`, `int{x}`.
PlanExpression PlanWriter::constructed() {
  const PlanType type = base_type();
  const bool has_braces = is("{");
  if (!has_braces && !is("(")) refuse("a type stands where a value is expected");
  ++at_;
  const std::string of = is(has_braces ? "}" : ")") ? "0" : expression().text;
  expect(has_braces ? "}" : ")");
  return cast(type, of);
}

/// A cast, or an expression in parentheses.
PlanExpression PlanWriter::bracketed() {
  expect("(");
  if (starts_type()) {
    const std::size_t begin = at_;
    const PlanType to = type();
    if (takes(")")) return cast(to, unary().text);
    if (!is_good()) return {};
    at_ = begin;  // `(int(x) + 1)`, `(Config<D>{...}.x)`
  }
  PlanExpression inside = expression();
  expect(")");
  inside.text = "(" + inside.text + ")";
  return inside;
}

PlanExpression PlanWriter::cast(const PlanType& type, const std::string& of) {
  if (type.is_reference) refuse("a cast to a reference");
  if (type.kind == PlanType::Kind::number)
    return {fmt::format("safe::to<{}>({}, {})", type.text, run_name(), of)};
  if (type.kind == PlanType::Kind::nothing) return {fmt::format("static_cast<void>({})", of)};
  refuse("a cast to what is no number");
  return {};
}

PlanExpression PlanWriter::size() {
  const std::string word = token().text;
  ++at_;
  const bool has_bracket = takes("(");
  std::string of;
  const PlanSymbol* symbol = known();
  if (has_bracket && starts_type()) {
    const PlanType measured = type();
    if (measured.kind == PlanType::Kind::automatic || measured.kind == PlanType::Kind::nothing ||
        measured.is_reference)
      refuse("the size of what has none");
    of = measured.text;
  } else if (symbol != nullptr &&
             (symbol->kind == PlanSymbol::Kind::variable || symbol->kind == PlanSymbol::Kind::constant)) {
    of = symbol->written;
    ++at_;
  } else {
    refuse("only the size of a type or of a variable is known");
  }
  if (has_bracket) expect(")");
  return {fmt::format("{}({})", word, of)};
}

std::string PlanWriter::constant_expression() {
  const bool was_constant = is_constant_;
  is_constant_ = true;
  const std::string text = choice().text;
  is_constant_ = was_constant;
  return text;
}

std::vector<std::string> PlanWriter::arguments(const std::vector<PlanParameter>& parameters) {
  std::vector<std::string> given;
  expect("(");
  while (is_good() && !is(")")) {
    const PlanType type = given.size() < parameters.size() ? parameters[given.size()].type : PlanType();
    if (given.size() >= parameters.size()) refuse("a function is given more than it takes");
    if (is("{")) {
      if (type.kind != PlanType::Kind::record) refuse("a list in braces has no place here");
      count_temporary();
      given.push_back(fmt::format("safe::Small<{}>{}", type.text, list(type)));
    } else {
      const PlanExpression one = assignment();
      const bool is_changed = type.is_reference && !type.is_const && type.kind != PlanType::Kind::builder;
      if (is_changed && !one.is_place) refuse("only a variable of the plan's own is given to a reference");
      if (type.kind == PlanType::Kind::record && !type.is_reference) count_temporary();
      given.push_back(type.kind == PlanType::Kind::number && !is_changed
                          ? fmt::format("safe::to<{}>({}, {})", type.text, run_name(), one.text)
                          : one.text);
    }
    if (!takes(",")) break;
  }
  expect(")");
  return given;
}

std::string PlanWriter::list(const PlanType& type) {
  if (++depth_ > k_expressions_max) refuse("expressions are nested too deeply");
  expect("{");
  std::string text;
  std::size_t count = 0;
  while (is_good() && !is("}")) {
    PlanType member;
    if (type.kind == PlanType::Kind::record && count < type.record->members.size())
      member = type.record->members[count];
    else if (type.kind == PlanType::Kind::number)
      member = type;
    std::string element;
    if (is("{"))
      element = list(type.kind == PlanType::Kind::record ? member : type);
    else if (const std::string of = assignment().text; member.kind == PlanType::Kind::number)
      element = fmt::format("safe::to<{}>({}, {})", member.text, run_name(), of);
    else
      element = of;
    const bool is_list = element.starts_with("{");
    text += (text.empty() ? "" : ", ") + (is_default_ && !is_list ? "safe::now(" + element + ")" : element);
    ++count;
    if (!takes(",")) break;
  }
  expect("}");
  --depth_;
  return "{" + text + "}";
}

}  // namespace kernelites
