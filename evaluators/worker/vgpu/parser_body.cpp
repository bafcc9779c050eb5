// SPDX-License-Identifier: Apache-2.0
// Function bodies: nested scopes of registers and labels, statements, operands, source lines.
#include <charconv>

#include <fmt/core.h>

#include "evaluators/worker/vgpu/parser.h"

namespace kernelites::worker::vgpu {
namespace {

constexpr std::size_t k_max_registers = 1u << 20;
constexpr std::size_t k_max_scopes = 1u << 16;
constexpr int k_max_operand_depth = 4, k_max_scope_depth = 64;

std::vector<std::string_view> split_at_dots(std::string_view text) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t dot = text.find('.');
    parts.push_back(text.substr(0, dot));
    if (dot == std::string_view::npos) return parts;
    text.remove_prefix(dot + 1);
  }
}

/// The numbers "file line" at the start of `text`; {-1, 0} if there are none.
std::pair<int, int> file_and_line(std::string_view text) {
  int values[2] = {-1, 0};
  for (int& value : values) {
    while (!text.empty() && (text[0] == ' ' || text[0] == '\t')) text.remove_prefix(1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc()) return {-1, 0};
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  }
  return {values[0], values[1]};
}

}  // namespace

bool Statement::has(std::string_view part) const {
  for (std::string_view candidate : parts) {
    if (candidate == part) return true;
  }
  return false;
}

void BodyParser::open_scope() {
  if (scopes_.size() == k_max_scopes) lexer_.fail("more than 65536 scopes in a function");
  scopes_.emplace_back();
  Scope& scope = scopes_.back();
  scope.parent = scope_;
  if (scope_ >= 0) scope.depth = scopes_[static_cast<std::size_t>(scope_)].depth + 1;
  if (scope.depth > k_max_scope_depth) lexer_.fail("scopes nested too deeply");
  scope_ = static_cast<int>(scopes_.size()) - 1;
}

void BodyParser::parse() {
  lexer_.expect("{");
  open_scope();
  while (scope_ >= 0) {
    const Token token = lexer_.peek();
    if (token.kind == Token::Kind::end) lexer_.fail("unfinished function body");
    if (lexer_.accept("{")) {
      open_scope();
    } else if (lexer_.accept("}")) {
      scope_ = scopes_[static_cast<std::size_t>(scope_)].parent;
    } else if (lexer_.accept(";")) {
      continue;
    } else if (token.is("@")) {
      parse_statement();
    } else if (token.kind != Token::Kind::word) {
      lexer_.fail(fmt::format("unexpected '{}'", token.text));
    } else if (token.text[0] == '.') {
      parse_directive(lexer_.next().text);
    } else {
      parse_statement();
    }
  }
  resolve_branches();
}

void BodyParser::parse_directive(std::string_view name) {
  if (name == ".loc") return parse_loc();
  if (name.starts_with(".reg")) return parse_registers(name.size() > 4 ? name.substr(4) : std::string_view());
  if (name == ".shared") return parse_variable(Space::shared);
  if (name == ".local") return parse_variable(Space::local);
  if (name == ".param") return parse_variable(Space::parameter);
  while (lexer_.peek().kind != Token::Kind::end && !lexer_.accept(";"))
    lexer_.next();  // .pragma and the like
}

// Lines of inlined library code are of no use to the author of the kernel: only lines of the file that the
// function itself is in count; an inlined call is reported at its call site.
void BodyParser::parse_loc() {
  const std::string_view text = lexer_.rest_of_line();
  const auto [file, line] = file_and_line(text);
  if (home_file_ < 0) home_file_ = file;
  if (file == home_file_) {
    line_ = line > 0 ? line : line_;
    return;
  }
  const std::size_t inlined = text.find("inlined_at");
  if (inlined == std::string_view::npos) return;
  const auto [outer_file, outer_line] = file_and_line(text.substr(inlined + 10));
  if (outer_file == home_file_) line_ = outer_line;
}

void BodyParser::parse_registers(std::string_view type) {
  if (type.empty()) type = lexer_.next().text;
  VirtualRegister reg{.is_predicate = type == ".pred",
                      .width = static_cast<u8>(std::max<u32>(2, type_bytes(type)))};
  Scope& scope = scopes_[static_cast<std::size_t>(scope_)];
  do {
    const std::string_view name = lexer_.next().text;
    if (!lexer_.accept("<")) {
      scope.registers[name] = static_cast<int>(function_.registers.size());
      if (function_.registers.size() == k_max_registers) lexer_.fail("more than a million registers");
      function_.registers.push_back(reg);
      continue;
    }
    const u64 count = lexer_.next().value;
    lexer_.expect(">");
    if (count > k_max_registers || function_.registers.size() + count > k_max_registers) {
      lexer_.fail("more than a million registers");
    }
    scope.ranges[name] = {static_cast<int>(function_.registers.size()), static_cast<u32>(count)};
    function_.registers.insert(function_.registers.end(), count, reg);
  } while (lexer_.accept(","));
  lexer_.expect(";");
}

void BodyParser::parse_variable(Space space) {
  const Declaration declaration = parse_declaration(lexer_);
  u32& end = space == Space::shared ? function_.shared_bytes : function_.local_bytes;
  const u32 offset = (end + declaration.align - 1) / declaration.align * declaration.align;
  if (offset + declaration.bytes > (u64{1} << 26)) lexer_.fail("a local variable of more than 64 MiB");
  end = offset + static_cast<u32>(declaration.bytes);
  scopes_[static_cast<std::size_t>(scope_)].variables[declaration.name] =
      static_cast<int>(function_.locals.size());
  function_.locals.push_back({space, offset, static_cast<u32>(declaration.bytes)});
  lexer_.expect(";");
}

void BodyParser::parse_label(std::string_view name) {
  Scope& scope = scopes_[static_cast<std::size_t>(scope_)];
  if (lexer_.accept(".branchtargets")) {
    auto& list = scope.target_lists[name];
    do list.push_back(lexer_.next().text);
    while (lexer_.accept(","));
    lexer_.expect(";");
    return;
  }
  if (lexer_.peek().is(".callprototype")) return;
  scope.labels[name] = static_cast<u32>(function_.statements.size());
}

void BodyParser::parse_statement() {
  const std::size_t begin = lexer_.position();
  Statement statement;
  if (lexer_.accept("@")) {
    statement.is_guard_negated = lexer_.accept("!");
    statement.guard = find_register(lexer_.next().text);
    if (statement.guard < 0) lexer_.fail("a guard that is no register");
  }
  const Token word = lexer_.next();
  if (statement.guard < 0 && lexer_.accept(":")) return parse_label(word.text);
  if (word.kind != Token::Kind::word) lexer_.fail("expected an instruction");
  statement.opcode = word.text;
  statement.parts = split_at_dots(word.text);
  statement.line = line_;
  if (statement.is("call")) {
    parse_call(statement);
  } else if (statement.is("bra") || statement.is("brx")) {
    parse_branch(statement);
  } else if (!lexer_.peek().is(";")) {
    do statement.operands.push_back(parse_operand());
    while (lexer_.accept(","));
  }
  if (!lexer_.peek().is(";")) lexer_.fail(fmt::format("expected ';' after {}", word.text));
  statement.text = lexer_.source().substr(begin, lexer_.position() - begin);
  lexer_.expect(";");
  function_.statements.push_back(std::move(statement));
}

void BodyParser::parse_branch(Statement& statement) {
  if (statement.is("brx")) {
    statement.operands.push_back(parse_operand());
    lexer_.expect(",");
  }
  fixups_.push_back({function_.statements.size(), lexer_.next().text, scope_});
}

void BodyParser::parse_call(Statement& statement) {
  if (lexer_.accept("(")) {
    statement.results = parse_list(")");
    lexer_.expect(",");
  }
  statement.operands.push_back(parse_operand());
  if (statement.operands[0].kind == Operand::Kind::symbol)
    function_.callees.push_back(statement.operands[0].name);
  if (!lexer_.accept(",")) return;
  if (lexer_.accept("(")) {
    statement.arguments = parse_list(")");
    if (!lexer_.accept(",")) return;
  }
  lexer_.next();  // the prototype of an indirect call
}

std::vector<Operand> BodyParser::parse_list(std::string_view close) {
  std::vector<Operand> operands;
  while (!lexer_.accept(close)) {
    operands.push_back(parse_operand());
    if (!lexer_.accept(",") && !lexer_.peek().is(close)) lexer_.fail(fmt::format("expected '{}'", close));
  }
  return operands;
}

Operand BodyParser::parse_operand() {
  Operand operand;
  if (depth_ > k_max_operand_depth) lexer_.fail("operands nested too deeply");
  if (lexer_.accept("!")) {
    ++depth_;
    operand = parse_operand();
    --depth_;
    operand.is_negated = true;
    return operand;
  }
  if (lexer_.accept("{")) {
    ++depth_;
    operand.kind = Operand::Kind::vector;
    operand.elements = parse_list("}");
    --depth_;
    return operand;
  }
  if (lexer_.accept("[")) return parse_memory();
  const bool is_negative = lexer_.accept("-");
  const Token token = lexer_.next();
  if (token.kind == Token::Kind::number) {
    operand.kind = Operand::Kind::immediate;
    operand.immediate = is_negative ? u64{0} - token.value : token.value;
    operand.is_double = token.is_double;
    if (is_negative && token.is_float)
      operand.immediate = token.value ^ (token.is_double ? 1ull << 63 : 1ull << 31);
    return operand;
  }
  if (token.kind != Token::Kind::word) lexer_.fail(fmt::format("unexpected operand '{}'", token.text));
  operand = parse_name(token.text);
  if (lexer_.accept("|")) {
    const std::string_view second = lexer_.next().text;
    operand.second = second == "_" ? -1 : find_register(second);
  } else if (operand.kind == Operand::Kind::symbol && lexer_.accept("+")) {
    operand.immediate = lexer_.next().value;
  }
  return operand;
}

Operand BodyParser::parse_memory() {
  Operand operand;
  const Token base = lexer_.next();
  if (base.kind == Token::Kind::number) {
    operand.immediate = base.value;
  } else if (base.kind == Token::Kind::word) {
    operand = parse_name(base.text);
  } else {
    lexer_.fail("unexpected address");
  }
  operand.kind = Operand::Kind::memory;
  while (lexer_.peek().is("+") || lexer_.peek().is("-")) {
    const bool is_subtracted = lexer_.next().is("-");
    const bool is_negative = lexer_.accept("-") != is_subtracted;
    const u64 value = lexer_.next().value;
    operand.immediate += is_negative ? u64{0} - value : value;
  }
  if (lexer_.accept(","))
    operand.elements = parse_list("]");  // coordinates of a tensor copy
  else
    lexer_.expect("]");
  return operand;
}

Operand BodyParser::parse_name(std::string_view name) {
  Operand operand;
  operand.name = name;
  if (name == "_") {
    operand.kind = Operand::Kind::sink;
  } else if (name == "WARP_SZ") {
    operand.kind = Operand::Kind::immediate;
    operand.immediate = k_lanes;
  } else if ((operand.reg = find_register(name)) >= 0) {
    operand.kind = Operand::Kind::reg;
  } else if (name[0] == '%') {
    operand.kind = Operand::Kind::special;
  } else {
    operand.kind = Operand::Kind::symbol;
    operand.local = find_variable(name);
  }
  return operand;
}

int BodyParser::find_variable(std::string_view name) const {
  for (int scope = scope_; scope >= 0; scope = scopes_[static_cast<std::size_t>(scope)].parent) {
    const auto& names = scopes_[static_cast<std::size_t>(scope)].variables;
    if (const auto found = names.find(name); found != names.end()) return found->second;
  }
  return -1;
}

int BodyParser::find_register(std::string_view name) const {
  std::string_view prefix = name;
  while (!prefix.empty() && prefix.back() >= '0' && prefix.back() <= '9') prefix.remove_suffix(1);
  u32 number = 0;
  const auto digits = std::from_chars(name.data() + prefix.size(), name.data() + name.size(), number);
  const bool has_number = digits.ec == std::errc();
  for (int scope = scope_; scope >= 0; scope = scopes_[static_cast<std::size_t>(scope)].parent) {
    const Scope& here = scopes_[static_cast<std::size_t>(scope)];
    if (const auto found = here.registers.find(name); found != here.registers.end()) return found->second;
    if (!has_number) continue;
    const auto range = here.ranges.find(prefix);
    if (range != here.ranges.end() && number < range->second.count)
      return range->second.first + static_cast<int>(number);
  }
  return -1;
}

const u32* BodyParser::find_label(std::string_view label, int scope) const {
  for (; scope >= 0; scope = scopes_[static_cast<std::size_t>(scope)].parent) {
    const auto& labels = scopes_[static_cast<std::size_t>(scope)].labels;
    if (const auto found = labels.find(label); found != labels.end()) return &found->second;
  }
  return nullptr;
}

void BodyParser::resolve_branches() {
  for (const Fixup& fixup : fixups_) {
    std::vector<std::string_view> labels = {fixup.label};
    for (int scope = fixup.scope; scope >= 0; scope = scopes_[static_cast<std::size_t>(scope)].parent) {
      const auto& lists = scopes_[static_cast<std::size_t>(scope)].target_lists;
      if (const auto found = lists.find(fixup.label); found != lists.end()) labels = found->second;
    }
    for (std::string_view label : labels) {
      const u32* target = find_label(label, fixup.scope);
      if (target == nullptr) lexer_.fail(fmt::format("a branch to the unknown label {}", label));
      function_.statements[fixup.statement].targets.push_back(*target);
    }
  }
}

}  // namespace kernelites::worker::vgpu
