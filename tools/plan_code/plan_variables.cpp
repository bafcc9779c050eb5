// SPDX-License-Identifier: Apache-2.0
// Variables, arrays, references and lambdas.
#include <fmt/format.h>

#include "tools/plan_code/plan_writer.h"

namespace kernelites {
namespace {

using Kind = PlanType::Kind;

/// Of variables that are no number, so that a plan's frame stays small.
constexpr int k_bytes_max = 2048, k_table_bytes_max = 65536, k_large_max = 128, k_extents_max = 8;

std::string const_of(const PlanType& type) { return type.is_const ? "const " : ""; }

}  // namespace

void PlanWriter::local_declaration() {
  if (is("struct") || is("enum") || is("static"))
    return refuse(fmt::format("\"{}\" in a function", token().text));
  const bool is_constant = takes("constexpr");
  variables(is_constant, false);
}

/// Up to the semicolon.
void PlanWriter::variables(bool is_constant, bool is_global) {
  PlanType type = this->type();
  if (is_constant) type.is_const = true;
  do {
    if (type.is_reference && takes("&")) refuse("a reference to a reference");
    variable(type, is_constant, is_global);
  } while (is_good() && takes(","));
  expect(";");
}

void PlanWriter::variable(const PlanType& type, bool is_constant, bool is_global) {
  const std::string name = take_name();
  if (type.kind == Kind::automatic && is("=") && is("[", 1)) {
    if (is_global) refuse("a lambda that is no variable of a function");
    ++at_;
    return lambda(name);
  }
  if (is("[")) return array(type, name, is_constant, is_global);
  if (type.is_reference) return reference(type, name);
  const bool is_value = type.kind == Kind::number || type.kind == Kind::automatic ||
                        type.kind == Kind::enumeration || type.kind == Kind::text ||
                        type.kind == Kind::record || type.kind == Kind::tensor || type.kind == Kind::facts;
  if (!is_value) refuse("a variable of a type that a plan may not have");
  const bool may_be_constant = type.is_const && (type.kind == Kind::number || type.kind == Kind::automatic);
  if (!is_constant && may_be_constant && constant_variable(type, name)) return;
  const bool was_constant = is_constant_;
  is_constant_ = is_constant;
  bool is_contract = false;
  const std::string value = initial(type, &is_contract);
  is_constant_ = was_constant;
  const bool is_large =
      type.kind != Kind::number && type.kind != Kind::enumeration && type.kind != Kind::text;
  if (is_large && !is_global && ++records_ > k_large_max) refuse("it has too many variables");
  const PlanSymbol::Kind kind = is_constant ? PlanSymbol::Kind::constant : PlanSymbol::Kind::variable;
  const std::string written =
      declare(name, {.kind = kind, .is_place = !type.is_const, .is_contract = is_contract, .type = type});
  line(fmt::format("{}{} {}{};",
                   is_constant ? (is_global ? "inline constexpr " : "constexpr ") : const_of(type), type.text,
                   written, value));
  if (is_large)
    line(fmt::format("static_assert(sizeof({}) <= {});", written,
                     is_global ? k_table_bytes_max : k_bytes_max));
}

bool PlanWriter::constant_variable(const PlanType& type, const std::string& name) {
  const std::size_t begin = at_;
  const int names = names_;
  const bool was_constant = is_constant_;
  is_constant_ = true;
  const int depth = depth_;
  const std::string value = initial(type);
  is_constant_ = was_constant;
  depth_ = depth;
  if (is_good()) {
    const std::string written = declare(name, {.kind = PlanSymbol::Kind::constant, .type = type});
    line(fmt::format("constexpr {} {}{};", type.text, written, value));
    return true;
  }
  problem_.clear();
  at_ = begin;
  names_ = names;
  return false;
}

std::string PlanWriter::initial(const PlanType& type, bool* is_contract) {
  if (is("{") || (is("=") && is("{", 1))) {
    takes("=");
    if (type.kind == Kind::record) return " = " + type.text + list(type);
    if (type.kind != Kind::number) return refuse("a list in braces has no place here"), "";
    expect("{");
    const std::string value = is("}") ? "0" : assignment().text;
    expect("}");
    return fmt::format(" = safe::to<{}>({}, {})", type.text, run_name(), value);
  }
  const bool has_bracket = is("(");
  if (!has_bracket && !is("=")) {
    if (type.kind == Kind::automatic || type.kind == Kind::tensor || type.kind == Kind::facts)
      refuse("a variable has no value");
    return type.kind == Kind::text ? "" : "{}";
  }
  ++at_;
  const PlanExpression given = assignment();
  const std::string& value = given.text;
  if (is_contract != nullptr) *is_contract = given.is_contract;
  if (has_bracket) expect(")");
  return type.kind == Kind::number ? fmt::format(" = safe::to<{}>({}, {})", type.text, run_name(), value)
                                   : " = " + value;
}

std::string PlanWriter::extents() {
  std::string text;
  int count = 0;
  while (is_good() && takes("[")) {
    if (++count > k_extents_max) refuse("a table has too many extents");
    text += is("]") ? "[]" : "[safe::whole(" + constant_expression() + ")]";
    expect("]");
  }
  return text;
}

void PlanWriter::array(const PlanType& type, const std::string& name, bool is_constant, bool is_global) {
  const bool is_kind = type.kind == Kind::number || type.kind == Kind::text || type.kind == Kind::record;
  if (!is_kind || type.is_reference) refuse("a table of what a plan may not have there");
  if (!is_global && ++records_ > k_large_max) refuse("it has too many variables");
  const std::string of = extents();
  takes("=");
  const bool was_constant = is_constant_;
  is_constant_ = is_constant;
  std::string value = "{}";
  if (is("{")) {
    PlanType element = type;  // a table of structs has lists in its list
    if (type.kind != Kind::number) element = {};
    value = list(element);
  }
  is_constant_ = was_constant;
  const PlanSymbol::Kind kind = is_constant ? PlanSymbol::Kind::constant : PlanSymbol::Kind::variable;
  const std::string written = declare(name, {.kind = kind, .is_place = !type.is_const, .type = {}});
  line(fmt::format("{}{} {}{} = {};",
                   is_constant ? (is_global ? "inline constexpr " : "constexpr ") : const_of(type), type.text,
                   written, of, value));
  line(fmt::format("static_assert(sizeof({}) <= {});", written, is_global ? k_table_bytes_max : k_bytes_max));
}

/// A name for what lasts; what does not is a value.
void PlanWriter::reference(const PlanType& type, const std::string& name) {
  if (type.kind != Kind::automatic && type.kind != Kind::tensor && type.kind != Kind::facts)
    refuse("a reference to what a plan may not have there");
  expect("=");
  if (is("[")) refuse("a lambda is no reference");
  const PlanExpression of = assignment();
  const std::string written = declare(name, {.kind = PlanSymbol::Kind::variable,
                                             .is_place = of.is_place && !type.is_const,
                                             .is_contract = of.is_contract,
                                             .type = type});
  line(fmt::format("{}{}{} {} = {};", const_of(type), type.text, of.is_lasting ? "&" : "", written, of.text));
  if (!of.is_lasting) line(fmt::format("static_assert(sizeof({}) <= {});", written, k_bytes_max));
}

/// Behind `auto name =`.
void PlanWriter::lambda(const std::string& name) {
  expect("[");
  takes("&");
  expect("]");
  PlanSymbol symbol{.kind = PlanSymbol::Kind::lambda, .written = fresh(name)};
  const PlanType outer = result_;
  scopes_.open();
  std::string parameters = is("(") ? parameter_list(symbol) : "";
  for (const PlanParameter& parameter : symbol.parameters)
    if (parameter.type.is_reference && !parameter.type.is_const && parameter.type.kind != Kind::builder)
      refuse("a lambda that changes what it is given");
  while (takes("constexpr") || takes("noexcept")) continue;
  result_ = {.kind = Kind::automatic};
  if (is("-") || is("->")) {
    expect("->");
    result_ = type();
    if (result_.kind != Kind::number) refuse("a lambda whose result is named is a number's");
  }
  if (result_.kind == Kind::automatic && !ends_with_return()) refuse("a lambda must end with a return");
  line(fmt::format("const auto {} = [&]({}) constexpr{} {{", symbol.written, parameters,
                   result_.kind == Kind::number ? " -> " + result_.text : ""));
  block();
  if (result_.kind == Kind::number) line("  return {};");
  line("};");
  result_ = outer;
  scopes_.close();
  declare(name, std::move(symbol));
}

/// Whether the block's last statement is a return, or it has none with a value.
bool PlanWriter::ends_with_return() const {
  int depth = 0;
  bool returns = false, is_last = false, begins = true;
  for (std::size_t step = 0; token(step).kind != PlanToken::Kind::end; ++step) {
    if (is("}", step) && --depth == 0) return is_last || !returns;
    if (is("return", step)) returns = returns || !is(";", step + 1);
    if (depth == 1 && begins) is_last = is("return", step);
    if (is("{", step)) ++depth;
    begins = depth == 1 && (is(";", step) || is("{", step) || is("}", step));
  }
  return false;
}

}  // namespace kernelites
