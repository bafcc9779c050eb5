// SPDX-License-Identifier: Apache-2.0
// What the parser makes of PTX: functions of statements over virtual registers, and module variables.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "evaluators/worker/vgpu/types.h"

namespace kernelites::worker::vgpu {

struct Operand {
  enum class Kind : u8 { none, reg, immediate, memory, vector, symbol, special, sink };
  Kind kind = Kind::none;
  bool is_negated = false;        ///< !p
  bool is_double = false;         ///< the immediate holds the bits of a double literal
  int reg = -1;                   ///< index into Function::registers; base of a memory operand
  int second = -1;                ///< q of p|q
  int local = -1;                 ///< index into Function::locals of the symbol or of the memory base
  u64 immediate = 0;              ///< value, or offset of a memory or symbol operand
  std::string_view name;          ///< symbol or special register; base symbol of a memory operand
  std::vector<Operand> elements;  ///< of {a, b, c}
};

struct Statement {
  std::string_view opcode;              ///< with modifiers
  std::vector<std::string_view> parts;  ///< opcode split at dots: {"ld", "global", "u32"}
  std::vector<Operand> operands;
  int guard = -1;
  bool is_guard_negated = false;
  int line = 0;                             ///< of the .cu, 0 if unknown
  std::string_view text;                    ///< PTX source of the statement
  std::vector<u32> targets;                 ///< statement indices a branch may go to
  std::vector<Operand> results, arguments;  ///< of a call; operands[0] is the callee

  bool has(std::string_view part) const;
  bool is(std::string_view base) const { return parts[0] == base; }
};

struct VirtualRegister {
  bool is_predicate = false;
  u8 width = 4;  ///< bytes per lane
};

/// A variable of a state space inside a function: its offset in the function's shared, local or parameter memory.
struct LocalVariable {
  Space space = Space::local;
  u32 offset = 0, bytes = 0;
};

struct FormalParameter {
  std::string name;
  u32 offset = 0, bytes = 0, align = 1;
};

struct Function {
  std::string name;
  bool is_kernel = false;
  bool has_body = false;
  std::vector<FormalParameter> results, parameters;
  u32 parameter_bytes = 0;
  u32 max_threads = 0;
  u32 least_blocks = 0;   ///< .minnctapersm; 0: not said
  u32 max_registers = 0;  ///< .maxnreg; 0: not said
  std::vector<VirtualRegister> registers;
  std::vector<Statement> statements;
  std::vector<LocalVariable> locals;
  u32 shared_bytes = 0, local_bytes = 0;
  std::vector<std::string_view> callees;
};

/// An 8-byte word of a variable's initial value that is the address of a symbol.
struct Relocation {
  u32 offset = 0;
  std::string symbol;
  u64 addend = 0;
};

struct ModuleVariable {
  std::string name;
  Space space = Space::global;
  u64 size = 0;
  u32 align = 1;
  u64 address = 0;        ///< virtual device address (global and constant)
  std::vector<u8> bytes;  ///< initial value, may be shorter than size
  std::vector<Relocation> relocations;
};

struct SharedVariable {
  u32 bytes = 0;  ///< 0: the dynamic array
  u32 align = 1;
};

struct Module {
  std::vector<Function> functions;
  std::vector<ModuleVariable> variables;
  std::map<std::string, SharedVariable, std::less<>> shared;
};

/// Bytes of one element of a PTX type such as "u32", "bf16x2", "b128"; 1 for eight-bit and unknown types.
u32 type_bytes(std::string_view type);

/// Parses a module. The result refers into `source`. Throws Error for text that is not PTX.
Module parse_module(std::string_view source);

}  // namespace kernelites::worker::vgpu
