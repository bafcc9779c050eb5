// SPDX-License-Identifier: Apache-2.0
// Statements of functions.
#include <fmt/format.h>

#include "tools/plan_code/plan_writer.h"

namespace kernelites {
namespace {

constexpr int k_statements_max = 64;

}  // namespace

void PlanWriter::statement() {
  if (++depth_ > k_statements_max) refuse("statements are nested too deeply");
  skip_attributes();
  if (takes(";")) {
  } else if (is("{")) {
    line("{");
    block();
    line("}");
  } else if (takes("if")) {
    if_statement();
  } else if (takes("for")) {
    for_statement();
  } else if (takes("while")) {
    while_statement();
  } else if (takes("do")) {
    do_statement();
  } else if (takes("switch")) {
    switch_statement();
  } else if (takes("return")) {
    return_statement();
  } else if (is("break") || is("continue")) {
    line(token().text + ";");
    ++at_;
    expect(";");
  } else if (is("static_assert")) {
    static_assertion();
  } else if (takes("using")) {
    alias();
  } else if (is("constexpr") || is("static") || is("struct") || is("enum") || starts_type()) {
    local_declaration();
  } else {
    const std::string text = expression().text;
    expect(";");
    line(text + ";");
  }
  --depth_;
}

void PlanWriter::block() {
  expect("{");
  scopes_.open();
  ++indent_;
  while (is_good() && !is("}") && !at_end()) statement();
  expect("}");
  --indent_;
  scopes_.close();
}

/// A statement as a block of its own.
void PlanWriter::body() {
  if (is("{")) return block();
  scopes_.open();
  ++indent_;
  statement();
  --indent_;
  scopes_.close();
}

void PlanWriter::if_statement() {
  const bool is_constant = takes("constexpr");
  expect("(");
  const std::string condition = is_constant ? constant_expression() : expression().text;
  expect(")");
  line(fmt::format("if {}(safe::truth({})) {{", is_constant ? "constexpr " : "", condition));
  body();
  if (takes("else")) {
    line("} else {");
    body();
  }
  line("}");
}

/// Whether what stands in the parentheses of a `for` is a range.
bool PlanWriter::is_range() const {
  int depth = 0, choices = 0;
  for (std::size_t step = 0; token(step).kind != PlanToken::Kind::end; ++step) {
    if (is("(", step) || is("{", step) || is("[", step)) ++depth;
    if ((is(")", step) || is("}", step) || is("]", step)) && depth-- == 0) return false;
    if (depth > 0) continue;
    if (is(";", step)) return false;
    if (is("?", step)) ++choices;
    if (is(":", step) && choices-- == 0) return true;
  }
  return false;
}

void PlanWriter::for_statement() {
  expect("(");
  if (is_range()) return range_statement();
  line("{");
  ++indent_;
  scopes_.open();
  if (starts_type())
    variables(false, false);
  else if (!takes(";")) {
    line(expression().text + ";");
    expect(";");
  }
  const std::string condition = is(";") ? "true" : fmt::format("safe::truth({})", expression().text);
  expect(";");
  const std::string step = is(")") ? "" : expression().text;
  expect(")");
  line(fmt::format("for (; safe::go(run, {}); {}) {{", condition, step));
  body();
  line("}");
  scopes_.close();
  --indent_;
  line("}");
}

/// Over a list of numbers, or over an array.
void PlanWriter::range_statement() {
  const PlanType type = this->type();
  const bool is_kind = type.kind == PlanType::Kind::number || type.kind == PlanType::Kind::automatic ||
                       type.kind == PlanType::Kind::text;
  if (!is_kind || (type.is_reference && !type.is_const)) refuse("only numbers are counted through");
  const std::string name = take_name();
  expect(":");
  const std::string of =
      is("{") ? list(type.kind == PlanType::Kind::number ? type : PlanType()) : assignment().text;
  expect(")");
  scopes_.open();
  const std::string written = declare(name, {.kind = PlanSymbol::Kind::variable, .is_place = !type.is_const});
  line(fmt::format("for ({}{} {} : {}) {{", type.is_const ? "const " : "", type.text, written, of));
  ++indent_;
  line("if (!safe::go(run, true)) break;");
  --indent_;
  body();
  line("}");
  scopes_.close();
}

void PlanWriter::while_statement() {
  expect("(");
  const std::string condition = expression().text;
  expect(")");
  line(fmt::format("while (safe::go(run, safe::truth({}))) {{", condition));
  body();
  line("}");
}

void PlanWriter::do_statement() {
  line("do {");
  body();
  expect("while");
  expect("(");
  const std::string condition = expression().text;
  expect(")");
  expect(";");
  line(fmt::format("}} while (safe::go(run, safe::truth({})));", condition));
}

/// Labels stand in its own block alone.
void PlanWriter::switch_statement() {
  expect("(");
  line(fmt::format("switch (safe::whole({})) {{", expression().text));
  expect(")");
  expect("{");
  scopes_.open();
  ++indent_;
  while (is_good() && !is("}") && !at_end()) {
    if (takes("case")) {
      line(fmt::format("case safe::now(safe::whole({})):", constant_expression()));
      expect(":");
    } else if (takes("default")) {
      line("default:");
      expect(":");
    } else {
      statement();
    }
  }
  expect("}");
  line(";");
  --indent_;
  scopes_.close();
  line("}");
}

void PlanWriter::return_statement() {
  using Kind = PlanType::Kind;
  if (takes(";")) {
    if (result_.kind != Kind::nothing && result_.kind != Kind::automatic) refuse("nothing is returned");
    return line("return;");
  }
  if (is("{")) {
    if (result_.kind != Kind::record) refuse("a list in braces has no place here");
    line(fmt::format("return {}{};", result_.text, list(result_)));
  } else {
    const std::string value = expression().text;
    if (result_.kind == Kind::nothing) {
      line(value + ";");
      line("return;");
    } else if (result_.kind == Kind::number) {
      line(fmt::format("return safe::to<{}>(run, {});", result_.text, value));
    } else {
      line(fmt::format("return {};", value));
    }
  }
  expect(";");
}

void PlanWriter::static_assertion() {
  while (is_good() && !at_end() && !is(";")) ++at_;
  expect(";");
}

/// `using C = Config<D>;`
void PlanWriter::alias() {
  const std::string name = take_name();
  expect("=");
  PlanType type = this->type();
  expect(";");
  if (type.is_reference || type.is_const || type.kind == PlanType::Kind::automatic ||
      type.kind == PlanType::Kind::nothing || type.kind == PlanType::Kind::builder)
    refuse("another name for a type that a plan may not rename");
  if (type.kind == PlanType::Kind::record) {
    const std::string written = fresh(name);
    line(fmt::format("using {} = {};", written, type.text));
    type.text = written;
  }
  declare(name, {.kind = PlanSymbol::Kind::type, .written = type.text, .type = type});
}

/// `typedef unsigned short Tile[64][64];`: of a table only its size can be asked for.
void PlanWriter::type_definition() {
  PlanType type = this->type();
  const std::string name = take_name(), of = extents();
  expect(";");
  const bool is_kind = type.kind == PlanType::Kind::number || type.kind == PlanType::Kind::record;
  if (!is_kind || type.is_reference || type.is_const)
    return refuse("another name for a type that a plan may not rename");
  if (!of.empty() || type.kind == PlanType::Kind::record) {
    const std::string written = fresh(name);
    line(fmt::format("typedef {} {}{};", type.text, written, of));
    if (!of.empty())
      type = {.kind = PlanType::Kind::record, .text = written, .record = std::make_shared<PlanRecord>()};
    type.text = written;
  }
  declare(name, {.kind = PlanSymbol::Kind::type, .written = type.text, .type = type});
}

}  // namespace kernelites
