// SPDX-License-Identifier: Apache-2.0
// The two halves of the parser: declarations of a module, and bodies of functions.
#pragma once

#include <unordered_map>
#include <vector>

#include "evaluators/worker/vgpu/lexer.h"
#include "evaluators/worker/vgpu/syntax.h"

namespace kernelites::worker::vgpu {

/// A variable or parameter declaration: ".align 8 .b8 name[24]".
struct Declaration {
  std::string_view type, name;
  u32 align = 1;
  u64 bytes = 0;
};

/// Reads from the first token after the state space to just behind the name and its brackets.
Declaration parse_declaration(Lexer& lexer);

/// Parses the body of a function, from '{' to its '}'.
class BodyParser {
 public:
  BodyParser(Lexer& lexer, Function& function) : lexer_(lexer), function_(function) {}
  void parse();

 private:
  struct Fixup {
    std::size_t statement;
    std::string_view label;
    int scope;
  };
  struct RegisterRange {  ///< "%r<45>" declares %r0 ... %r44
    int first = 0;
    u32 count = 0;
  };
  struct Scope {
    std::unordered_map<std::string_view, int> registers;
    std::unordered_map<std::string_view, RegisterRange> ranges;  ///< by prefix
    std::unordered_map<std::string_view, int> variables;
    std::unordered_map<std::string_view, u32> labels;
    std::unordered_map<std::string_view, std::vector<std::string_view>> target_lists;
    int parent = -1, depth = 0;
  };

  void parse_directive(std::string_view name);
  void parse_registers(std::string_view first_type);
  void parse_variable(Space space);
  void parse_loc();
  void parse_label(std::string_view name);
  void parse_statement();
  void parse_call(Statement& statement);
  void parse_branch(Statement& statement);
  std::vector<Operand> parse_list(std::string_view close);
  Operand parse_operand();
  Operand parse_memory();
  Operand parse_name(std::string_view name);
  int find_register(std::string_view name) const;
  int find_variable(std::string_view name) const;
  void open_scope();
  void resolve_branches();
  const u32* find_label(std::string_view label, int scope) const;

  Lexer& lexer_;
  Function& function_;
  std::vector<Scope> scopes_;
  int scope_ = -1;
  std::vector<Fixup> fixups_;
  int line_ = 0;
  int home_file_ = -1;
  int depth_ = 0;  ///< of nested operands
};

}  // namespace kernelites::worker::vgpu
