// SPDX-License-Identifier: Apache-2.0
// Constants, enumerations, structs and functions of a file.
#include <fmt/format.h>

#include "tools/plan_code/plan_writer.h"

namespace kernelites {
namespace {

using Kind = PlanType::Kind;

constexpr int k_spaces_max = 16;
/// Of structs that functions hand on.
constexpr int k_record_bytes_max = 256;

}  // namespace

void PlanWriter::top_level() {
  while (is_good() && !at_end() && !is("}")) {
    if (takes(";")) continue;
    if (is("namespace") || (is("inline") && is("namespace", 1)))
      space();
    else
      declaration();
  }
}

/// Names of a namespace are those of the file: no two may be the same.
void PlanWriter::space() {
  takes("inline");
  expect("namespace");
  while (is_word()) {
    const std::string name = take_name();
    const PlanSymbol* known = scopes_.find(name);
    if (known == nullptr) scopes_.add(name, {.kind = PlanSymbol::Kind::space, .written = name});
    if (known != nullptr && known->kind != PlanSymbol::Kind::space)
      refuse("a namespace has the name of something else");
    if (!takes("::")) break;
  }
  expect("{");
  if (++depth_ > k_spaces_max) refuse("namespaces are nested too deeply");
  top_level();
  --depth_;
  expect("}");
}

void PlanWriter::declaration() {
  skip_attributes();
  if (is("static_assert")) return static_assertion();
  if (takes("using")) return alias();
  if (takes("typedef")) return type_definition();
  if (is("enum")) return enumeration();
  std::string parameters;
  const bool is_template = takes("template");
  if (is_template) {
    scopes_.open();
    parameters = template_parameters();
  }
  if (is("struct") || is("class")) {
    record(parameters);
  } else {
    const std::size_t begin = at_;
    const bool is_constexpr = skip_qualifiers("constexpr");
    const std::size_t first = at_;
    const PlanType type = this->type();
    if (is_word() && is("(", 1) && type.kind != Kind::none) {
      function(parameters, type, nullptr, false);
    } else if (is_template) {
      at_ = begin;
      constant_template(parameters);
    } else {
      at_ = first;
      if (!is_constexpr) refuse("a variable that is not constexpr");
      variables(true, true);
    }
  }
}

/// `template <int G> constexpr int THREADS = G * 32;`
void PlanWriter::constant_template(const std::string& parameters) {
  const bool is_constexpr = skip_qualifiers("constexpr");
  const PlanType type = this->type();
  if (!is_constexpr || type.kind != Kind::number || type.is_reference)
    refuse("a template of what is no struct, no function and no number");
  const std::string name = take_name(), written = fresh(name);
  is_constant_ = true;
  const std::string value = initial(type);
  is_constant_ = false;
  expect(";");
  line(fmt::format("{}inline constexpr {} {}{};", parameters, type.text, written, value));
  scopes_.close();
  declare(name, {.kind = PlanSymbol::Kind::constant, .written = written, .is_template = true, .type = type});
}

/// Whole numbers, in the scope of what follows.
std::string PlanWriter::template_parameters() {
  expect("<");
  std::string text;
  while (is_good() && !is(">")) {
    const PlanType type = this->type();
    if ((type.kind != Kind::number && type.kind != Kind::enumeration) || type.is_reference)
      refuse("a template over what is no number");
    const std::string name = is_word() ? take_name() : "unnamed";
    const std::string written = declare(name, {.kind = PlanSymbol::Kind::constant, .type = type});
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", type.text, written);
    if (takes("=")) {
      const bool was_constant = is_constant_;
      is_constant_ = true;
      text += " = (" + binary(9).text + ")";
      is_constant_ = was_constant;
    }
    if (!takes(",")) break;
  }
  expect(">");
  return "template <" + text + "> ";
}

void PlanWriter::enumeration() {
  expect("enum");
  auto record = std::make_shared<PlanRecord>();
  const bool is_scoped = takes("class") || takes("struct");
  const std::string name = is_word() ? take_name() : "";
  std::string written = name.empty() ? "" : fresh(name), text = is_scoped ? "enum class " : "enum ";
  text += written;
  if (takes(":")) text += " : " + type().text;
  expect("{");
  text += " {";
  bool is_first = true;
  while (is_good() && !is("}")) {
    const std::string one = take_name();
    PlanSymbol symbol{.kind = PlanSymbol::Kind::constant, .written = fresh(one)};
    text += (is_first ? "" : ", ") + symbol.written;
    if (takes("=")) text += " = safe::whole(" + constant_expression() + ")";
    if (is_scoped)
      record->statics[one] = symbol;
    else
      declare(one, symbol);
    is_first = false;
    if (!takes(",")) break;
  }
  expect("}");
  expect(";");
  line(text + "};");
  if (!name.empty())
    declare(name, {.kind = PlanSymbol::Kind::type,
                   .written = written,
                   .type = {.kind = Kind::enumeration, .text = written, .record = record}});
}

std::string PlanWriter::alignment() {
  std::string text;
  while (is("alignas") || is("__align__")) {
    ++at_;
    expect("(");
    text += "alignas(safe::whole(" + constant_expression() + ")) ";
    expect(")");
  }
  return text;
}

void PlanWriter::record(const std::string& parameters) {
  ++at_;
  skip_attributes();
  const std::string aligned = alignment(), name = take_name(), written = fresh(name);
  takes("final");
  if (is(":")) refuse("a struct that is made from another one");
  if (is(";")) refuse("a struct without its members");
  auto record = std::make_shared<PlanRecord>();
  expect("{");
  line(fmt::format("{}struct {}{} {{", parameters, aligned, written));
  ++indent_;
  scopes_.open();
  while (is_good() && !is("}") && !at_end()) member(*record, name);
  scopes_.close();
  --indent_;
  expect("}");
  expect(";");
  line("};");
  if (!parameters.empty()) scopes_.close();
  for (const auto& [method, symbol] : record->methods)
    if (!methods_.emplace(method, symbol).second)
      refuse(fmt::format("two structs have a function \"{:.40}\"", method));
  declare(name, {.kind = PlanSymbol::Kind::type,
                 .written = written,
                 .is_template = !parameters.empty(),
                 .type = {.kind = Kind::record, .text = written, .record = record}});
}

void PlanWriter::member(PlanRecord& record, const std::string& name) {
  skip_attributes();
  if (takes(";")) return;
  if ((is("public") || is("private") || is("protected")) && is(":", 1)) {
    at_ += 2;
    return;
  }
  if (is("static_assert")) return static_assertion();
  if (takes("using")) return alias();
  if (is("struct") || is("class") || is("enum") || is("template"))
    return refuse("a struct holds more than variables, constants and functions");
  const std::string aligned = alignment();
  const bool is_static = skip_qualifiers("static");
  if (is(name) && is("(", 1)) return refuse("a struct holds more than variables, constants and functions");
  const PlanType type = this->type();
  if (is_word() && is("(", 1)) return function("", type, &record, is_static);
  if (is_static) return static_constants(record, type);
  if (!aligned.empty()) line(aligned);
  member_variables(record, type);
}

void PlanWriter::static_constants(PlanRecord& record, const PlanType& type) {
  const bool is_kind =
      type.kind == Kind::number || type.kind == Kind::automatic || type.kind == Kind::enumeration;
  if (!is_kind || type.is_reference) refuse("a struct's constant that is no number");
  do {
    const std::string name = take_name();
    if (name.ends_with("_")) refuse(fmt::format("\"{:.40}\" looks like the contract's own", name));
    const bool was_constant = is_constant_;
    is_constant_ = true;
    const std::string of = extents();
    takes(of.empty() ? "" : "=");
    const std::string value = of.empty() ? initial(type) : " = " + list(type);
    is_constant_ = was_constant;
    const PlanSymbol symbol{.kind = PlanSymbol::Kind::constant, .written = member_name(name)};
    line(fmt::format("static constexpr {} {}{}{};", type.text, symbol.written, of, value));
    record.statics[name] = symbol;
    declare(name, symbol);
  } while (is_good() && takes(","));
  expect(";");
}

void PlanWriter::member_variables(PlanRecord& record, const PlanType& type) {
  const bool is_kind = type.kind == Kind::number || type.kind == Kind::enumeration ||
                       type.kind == Kind::device || type.kind == Kind::record || type.kind == Kind::text;
  if (!is_kind || type.is_reference) refuse("a struct's member of a type that a plan may not have there");
  do {
    const std::string name = take_name();
    if (name.ends_with("_")) refuse(fmt::format("\"{:.40}\" looks like the contract's own", name));
    const std::string of = extents();
    std::string value;
    if (is("=") || is("{")) {
      // Where a program makes such a struct, a constant stands: nothing is worked out there.
      const bool was_constant = is_constant_;
      is_constant_ = is_default_ = true;
      takes("=");
      if (is("{"))
        value = list(of.empty() && type.kind == Kind::record ? type : PlanType());
      else
        value = fmt::format(" = safe::now({})", assignment().text);
      is_constant_ = was_constant;
      is_default_ = false;
      if (value.starts_with("{") && value != "{}" && of.empty() && type.kind != Kind::record)
        refuse("a list in braces has no place here");
    }
    const std::string written = member_name(name);
    line(fmt::format("{} {}{}{};", type.text, written, of, value));
    members_.insert(name);
    declare(name, {.kind = PlanSymbol::Kind::variable, .written = written, .is_place = true, .type = type});
    record.members.push_back(of.empty() ? type : PlanType());
  } while (is_good() && takes(","));
  expect(";");
}

void PlanWriter::function(const std::string& parameters, const PlanType& result, PlanRecord* record,
                          bool is_static) {
  const bool is_kind = result.kind == Kind::nothing || result.kind == Kind::number ||
                       result.kind == Kind::enumeration || result.kind == Kind::text ||
                       result.kind == Kind::record || result.kind == Kind::tensor;
  if (!is_kind || result.is_reference) refuse("a function's result of a type that a plan may not have there");
  const std::string name = take_name();
  PlanSymbol symbol{.kind = PlanSymbol::Kind::function, .is_template = !parameters.empty(), .type = result};
  if (record != nullptr)
    symbol.written = member_name(name);
  else
    symbol.written = name == "plan" && parameters.empty() ? name : fresh(name);
  if (record != nullptr && name.ends_with("_"))
    refuse(fmt::format("\"{:.40}\" looks like the contract's own", name));
  scopes_.open();
  const std::string taken = parameter_list(symbol);
  const bool is_const = takes("const");
  takes("noexcept");
  if (is(";")) refuse("a function without its text");
  line(fmt::format("{}{}constexpr {} {}(safe::Run& run{}){} {{", parameters, is_static ? "static " : "",
                   result.text, symbol.written, taken.empty() ? "" : ", " + taken, is_const ? " const" : ""));
  for (const PlanParameter& parameter : symbol.parameters)
    if (parameter.type.kind == Kind::record && !parameter.type.is_reference)
      line(fmt::format("  static_assert(sizeof({}) <= {});", parameter.type.text, k_record_bytes_max));
  function_body(result);
  line("}");
  scopes_.close();
  if (record == nullptr && !parameters.empty()) scopes_.close();
  if (record == nullptr) {
    declare(name, symbol);
  } else if (is_static) {
    record->statics[name] = symbol;
    declare(name, symbol);
  } else if (!record->methods.emplace(name, symbol).second) {
    refuse(fmt::format("\"{:.40}\" is declared twice", name));
  }
}

std::string PlanWriter::parameter_list(PlanSymbol& symbol) {
  std::string text;
  expect("(");
  while (is_good() && !is(")")) {
    const PlanType type = this->type();
    const bool is_large = type.kind == Kind::problem || type.kind == Kind::builder;
    const bool is_kind = type.kind == Kind::number || type.kind == Kind::enumeration ||
                         type.kind == Kind::text || type.kind == Kind::record || type.kind == Kind::tensor ||
                         type.kind == Kind::facts || (is_large && type.is_reference);
    if (!is_kind || (type.kind == Kind::builder && type.is_const) ||
        (type.kind == Kind::problem && !type.is_const))
      refuse("a parameter of a type that a plan may not have there");
    const std::string name = is_word() ? take_name() : "unnamed_" + std::to_string(symbol.parameters.size());
    if (type.kind == Kind::record && !type.is_reference) count_temporary();
    if (is("[") || is("=")) refuse("a parameter with a value or an extent");
    const std::string written = declare(
        name, {.kind = PlanSymbol::Kind::variable, .is_place = !type.is_const && !is_large, .type = type});
    text += fmt::format("{}{}{}{} {}", text.empty() ? "" : ", ", type.is_const ? "const " : "", type.text,
                        type.is_reference ? "&" : "", written);
    symbol.parameters.push_back({.type = type});
    if (!takes(",")) break;
  }
  expect(")");
  return text;
}

void PlanWriter::function_body(const PlanType& result) {
  const PlanType outer = result_;
  result_ = result;
  ++indent_;
  line(fmt::format("if (!safe::go(run, true)) return{};", result.kind == Kind::nothing ? "" : " {}"));
  if (result.kind == Kind::record)
    line(fmt::format("static_assert(sizeof({}) <= {});", result.text, k_record_bytes_max));
  --indent_;
  block();
  ++indent_;
  if (result.kind != Kind::nothing) line("return {};");
  --indent_;
  result_ = outer;
}

}  // namespace kernelites
