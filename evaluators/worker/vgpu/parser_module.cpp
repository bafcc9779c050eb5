// SPDX-License-Identifier: Apache-2.0
// Module level of the parser: directives, variables with initial values, function headers.
#include <algorithm>

#include "engine/core/error.h"
#include "evaluators/worker/vgpu/memory.h"
#include "evaluators/worker/vgpu/parser.h"

namespace kernelites::worker::vgpu {
namespace {

constexpr u64 k_max_variable_bytes = 64u << 20, k_max_module_bytes = 256u << 20;
constexpr u64 k_max_elements = u64{1} << 31;
constexpr u32 k_max_align = 1u << 16;
constexpr u64 k_max_formal_bytes = 1u << 20;  ///< of one function; CUDA allows a kernel 32,764

void skip_statement(Lexer& lexer) {
  while (lexer.peek().kind != Token::Kind::end && !lexer.accept(";")) lexer.next();
}

void skip_braces(Lexer& lexer) {
  while (lexer.peek().kind != Token::Kind::end && !lexer.accept("{")) lexer.next();
  for (int depth = 1; depth > 0 && lexer.peek().kind != Token::Kind::end;) {
    const Token token = lexer.next();
    if (token.is("{")) ++depth;
    if (token.is("}")) --depth;
  }
}

/// One value of an initialiser: a number, a symbol, or generic(symbol), each with an optional "+ offset".
void parse_initial_value(Lexer& lexer, u32 width, ModuleVariable& variable) {
  const u32 offset = static_cast<u32>(variable.bytes.size());
  const bool is_negative = lexer.accept("-");
  const Token token = lexer.next();
  u64 value = is_negative ? u64{0} - token.value : token.value;
  if (token.kind == Token::Kind::word) {
    Relocation relocation{.offset = offset, .symbol = std::string(token.text), .addend = 0};
    if (token.is("generic")) {
      lexer.expect("(");
      relocation.symbol = std::string(lexer.next().text);
      lexer.expect(")");
    }
    if (lexer.accept("+")) relocation.addend = lexer.next().value;
    if (width != 8) lexer.fail("an address as initial value of a variable that is not 64-bit");
    variable.relocations.push_back(std::move(relocation));
    value = 0;
  } else if (token.kind != Token::Kind::number) {
    lexer.fail("an initial value that is neither a number nor an address");
  }
  if (token.is_double && width == 4) value = bits_as<u32>(static_cast<float>(bits_as<double>(value)));
  for (u32 byte = 0; byte < width; ++byte) {
    variable.bytes.push_back(byte < 8 ? static_cast<u8>(value >> (8 * byte)) : 0);
  }
}

void parse_initialiser(Lexer& lexer, u32 width, ModuleVariable& variable, int depth = 0) {
  if (depth > 4) lexer.fail("initialisers nested too deeply");
  if (!lexer.accept("{")) return parse_initial_value(lexer, width, variable);
  while (!lexer.accept("}")) {
    if (lexer.peek().kind == Token::Kind::end) lexer.fail("unfinished initialiser");
    if (lexer.peek().is("{")) {
      parse_initialiser(lexer, width, variable, depth + 1);
    } else {
      parse_initial_value(lexer, width, variable);
    }
    if (variable.bytes.size() > variable.size) lexer.fail("more initial values than the variable holds");
    lexer.accept(",");
  }
}

void parse_variable(Lexer& lexer, Space space, Module& module) {
  const Declaration declaration = parse_declaration(lexer);
  if (declaration.bytes > k_max_variable_bytes) lexer.fail("a module variable of more than 64 MiB");
  if (space == Space::shared) {
    module.shared[std::string(declaration.name)] = {.bytes = static_cast<u32>(declaration.bytes),
                                                    .align = declaration.align};
  } else {
    ModuleVariable variable{.name = std::string(declaration.name),
                            .space = space,
                            .size = declaration.bytes,
                            .align = declaration.align,
                            .address = 0,
                            .bytes = {},
                            .relocations = {}};
    if (lexer.accept("=")) parse_initialiser(lexer, type_bytes(declaration.type), variable);
    if (module.variables.size() >= k_module_slots) lexer.fail("more than 4096 module variables");
    u64 total = declaration.bytes;
    for (const ModuleVariable& other : module.variables) total += other.size;
    if (total > k_max_module_bytes) lexer.fail("module variables of more than 256 MiB");
    module.variables.push_back(std::move(variable));
  }
  skip_statement(lexer);
}

/// "( .param ..., .param ... )": assigns offsets; returns the bytes of the block.
u32 parse_formals(Lexer& lexer, std::vector<FormalParameter>& formals) {
  u32 end = 0;
  lexer.expect("(");
  while (!lexer.accept(")")) {
    if (lexer.peek().kind == Token::Kind::end) lexer.fail("unfinished parameter list");
    if (!lexer.accept(".param") && !lexer.accept(".reg")) lexer.fail("expected .param");
    const Declaration declaration = parse_declaration(lexer);
    const u32 bytes = static_cast<u32>(declaration.bytes);
    const u32 offset = (end + declaration.align - 1) / declaration.align * declaration.align;
    if (u64{offset} + declaration.bytes > k_max_formal_bytes) lexer.fail("parameters of more than 1 MiB");
    formals.push_back({std::string(declaration.name), offset, bytes, declaration.align});
    end = offset + bytes;
    lexer.accept(",");
  }
  return end;
}

void parse_max_threads(Lexer& lexer, Function& function) {
  u64 product = 1;
  do product *= lexer.next().value;
  while (lexer.accept(","));
  function.max_threads = static_cast<u32>(product);
}

void parse_function(Lexer& lexer, bool is_kernel, Module& module) {
  Function function;
  function.is_kernel = is_kernel;
  if (lexer.peek().is("(")) parse_formals(lexer, function.results);
  function.name = std::string(lexer.next().text);
  if (lexer.peek().is("(")) function.parameter_bytes = parse_formals(lexer, function.parameters);
  while (!lexer.peek().is("{") && !lexer.peek().is(";")) {
    if (lexer.peek().kind == Token::Kind::end) lexer.fail("unfinished function header");
    const Token directive = lexer.next();
    if (directive.is(".maxntid") || directive.is(".reqntid")) parse_max_threads(lexer, function);
    if (directive.is(".minnctapersm")) function.least_blocks = static_cast<u32>(lexer.next().value);
    if (directive.is(".maxnreg")) function.max_registers = static_cast<u32>(lexer.next().value);
  }
  if (!lexer.accept(";")) {
    BodyParser(lexer, function).parse();
    function.has_body = true;
  }
  module.functions.push_back(std::move(function));
}

}  // namespace

u32 type_bytes(std::string_view type) {
  if (!type.empty() && type[0] == '.') type.remove_prefix(1);
  if (type == "f16x2" || type == "bf16x2" || type == "pred") return 4;
  if (type.ends_with("128")) return 16;
  if (type.ends_with("64")) return 8;
  if (type.ends_with("32")) return 4;
  if (type.ends_with("16")) return 2;
  if (type.ends_with("8x2")) return 2;
  return type.ends_with("8x4") ? 4 : 1;
}

Declaration parse_declaration(Lexer& lexer) {
  Declaration declaration;
  u32 lanes = 1;  // of a vector variable
  for (;;) {
    const Token token = lexer.next();
    if (token.kind != Token::Kind::word) lexer.fail("expected a declaration");
    if (token.is(".align")) {
      declaration.align = static_cast<u32>(lexer.next().value);
    } else if (token.is(
                   ".ptr")) {  // .ptr .global .align 16: facts about the pointee, not about the parameter
      while (lexer.peek().kind == Token::Kind::word && lexer.peek().text[0] == '.') {
        if (lexer.next().is(".align")) lexer.next();
      }
    } else if (token.is(".attribute")) {
      while (!lexer.accept(")")) {
        if (lexer.next().kind == Token::Kind::end) lexer.fail("unfinished .attribute");
      }
    } else if (token.is(".v2") || token.is(".v4")) {
      lanes = token.is(".v2") ? 2 : 4;
    } else if (token.text[0] == '.') {
      declaration.type = token.text;
    } else {
      declaration.name = token.text;
      break;
    }
  }
  u64 elements = 1;
  while (lexer.accept("[")) {
    elements *= lexer.peek().kind == Token::Kind::number ? std::min(lexer.next().value, k_max_elements) : 0;
    if (elements > k_max_elements) lexer.fail("an impossible declaration");
    lexer.expect("]");
  }
  const u32 width = type_bytes(declaration.type) * lanes;
  declaration.bytes = elements * width;
  const bool is_power = declaration.align != 0 && (declaration.align & (declaration.align - 1)) == 0;
  if (!is_power || declaration.align > k_max_align || declaration.bytes > k_max_elements)
    lexer.fail("an impossible declaration");
  declaration.align = std::max(declaration.align, width);
  return declaration;
}

Module parse_module(std::string_view source) {
  Module module;
  Lexer lexer(source);
  if (!lexer.peek().is(".version")) throw Error("this is not PTX: it does not begin with .version");
  while (lexer.peek().kind != Token::Kind::end) {
    const Token token = lexer.next();
    if (token.is(".entry") || token.is(".func")) {
      parse_function(lexer, token.is(".entry"), module);
    } else if (token.is(".global")) {
      parse_variable(lexer, Space::global, module);
    } else if (token.is(".const")) {
      parse_variable(lexer, Space::constant, module);
    } else if (token.is(".shared")) {
      parse_variable(lexer, Space::shared, module);
    } else if (token.is(".section")) {
      skip_braces(lexer);
    } else if (token.is(".file") || token.is(".version") || token.is(".target") ||
               token.is(".address_size")) {
      while (lexer.peek().line == token.line && lexer.peek().kind != Token::Kind::end) lexer.next();
    } else if (token.is(".alias") || token.is(".pragma")) {
      skip_statement(lexer);
    }  // .visible, .weak, .extern, .common change nothing here
  }
  return module;
}

}  // namespace kernelites::worker::vgpu
