// SPDX-License-Identifier: Apache-2.0
// Turns statements into instructions: what decode functions use to place operands, and the linking of a kernel.
#pragma once

#include <map>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "evaluators/worker/vgpu/call_graph.h"
#include "evaluators/worker/vgpu/instruction.h"
#include "evaluators/worker/vgpu/register_allocation.h"
#include "evaluators/worker/vgpu/syntax.h"

namespace kernelites::worker::vgpu {

class Program;
struct InstructionRow;

/// A type suffix such as "u32", "bf16x2", "e4m3x2".
struct PtxType {
  enum class Kind : u8 { unsigned_, signed_, bits, f, bf, f16x2, bf16x2, predicate, other };
  Kind kind = Kind::other;
  u32 bytes = 4;

  bool is_integer() const { return kind <= Kind::bits; }
  bool is_signed() const { return kind == Kind::signed_; }
  bool is_f32() const { return kind == Kind::f && bytes == 4; }
  bool is_f64() const { return kind == Kind::f && bytes == 8; }
  bool is_f16() const { return kind == Kind::f && bytes == 2; }
  bool is_bf16() const { return kind == Kind::bf; }
};
PtxType type_of(std::string_view part);
/// Type of the last part of a statement's opcode.
inline PtxType last_type(const Statement& statement) { return type_of(statement.parts.back()); }

/// Thrown while decoding an operand that cannot be; the instruction becomes an unsupported one.
struct Undecodable {};

/// Decodes the functions of one kernel into its image. Operand methods return offsets into the warp's arena.
class Decoder {
 public:
  /// Of one kernel. Borrows all four.
  Decoder(const Module& module, const Function& kernel, const Program& program, KernelImage& image);

  /// Links the kernel and every function it calls.
  void link();

  // For decode functions, about the statement being decoded.

  /// A destination register of `width` bytes per lane; a scratch slot for "_". Throws Undecodable for others.
  u32 destination(const Operand& operand, u32 width) const;
  /// A source of `width` bytes per lane: register, immediate, address of a symbol, special register. Throws
  /// Undecodable for a register of another width, so that a handler never reads or writes outside its slot.
  u32 source(const Operand& operand, u32 width);
  /// A predicate register; for an immediate the constant predicate; a scratch slot for "_" and for an absent one.
  /// Throws Undecodable for "!p".
  u32 predicate(const Operand& operand) const;
  /// The same for operands that may be negated. The caller looks at Operand::is_negated.
  u32 negatable_predicate(const Operand& operand) const;
  /// A predicate register that is written, or a scratch slot for "_".
  u32 predicate_destination(const Operand& operand) const;
  u32 second_predicate(const Operand& operand) const;
  /// A predicate that nobody reads; a second one lies 4 bytes behind it.
  u32 scratch_predicate() const { return predicates_ + 8; }
  /// The carry bits that .cc writes and addc, subc, madc read.
  u32 carry_predicate() const { return predicates_ + 16; }
  /// Offset of a constant in all lanes.
  u32 constant(u64 bits, u32 width);
  /// Fills a, offset and flags from a memory operand. False if the address cannot be expressed.
  bool address(const Operand& memory, Instruction& i);
  /// Offsets of the elements of a vector (or of a single operand) as a list; sets list and count.
  void sources(const Operand& operand, u32 width, Instruction& i);
  void destinations(const Operand& operand, u32 width, Instruction& i);
  u32 add_list(const std::vector<u32>& offsets);
  /// Makes `i` wait for the lanes of a member mask operand.
  void wait_for_members(const Operand& mask, Instruction& i);
  /// Bytes per lane of a register operand, or `fallback` for others.
  u32 register_width(const Operand& operand, u32 fallback) const;
  /// A formal parameter of the kernel or function: offset, and whether it lies in local memory.
  struct ParameterPlace {
    u32 offset = 0;
    bool is_local = false;
  };
  bool find_parameter(const Operand& memory, ParameterPlace& place) const;
  /// Statement index to instruction index, in the function being decoded.
  u32 code_index(u32 statement) const { return function_begin_ + statement; }
  /// Entry and areas in local memory of a function of this kernel.
  struct LinkedFunction {
    const Function* function = nullptr;
    u32 entry = 0;
    u32 frame = 0, end = 0;  ///< of what it has in local memory, parameters and results included
    std::vector<u32> parameter_offsets, result_offsets;
    bool is_recursive = false;  ///< its variables lie on the stack, at the frame's offsets
    u32 saved_list = 0;         ///< what a call saves of it, see calls.h; 0: not yet made
  };
  /// Null for unknown and extern functions.
  const LinkedFunction* find_function(std::string_view name) const;
  const CallGraph& calls() const { return calls_; }
  /// Is the symbol a variable on the stack of recursive functions? Then its address is known only when it runs.
  bool is_on_stack(const Operand& symbol) const;
  /// Fills what a call of `callee` from the function being decoded saves and takes of the stack.
  void place_caller(const Function& callee, Instruction& i);
  /// Local memory offset of a local variable (kind .param or .local).
  u32 local_offset(int local) const;
  /// Offset of a local variable in its function's frame.
  u32 variable_offset(int local) const { return function_->locals[static_cast<u32>(local)].offset; }
  u32 local_bytes(int local) const { return function_->locals[static_cast<u32>(local)].bytes; }
  u64 symbol_address(const Operand& symbol) const;
  KernelImage& image() { return image_; }
  const Program& program() const { return program_; }

 private:
  void place_shared();
  void place_registers();
  void place_frame(const Function& function);
  u32 add_saved_list(LinkedFunction& linked);
  void decode_function(const Function& function);
  void decode_statement(const Statement& statement);
  void note_registers();

  const Module& module_;
  const Function& kernel_;
  const CallGraph calls_;
  const Program& program_;
  KernelImage& image_;
  std::map<std::string_view, LinkedFunction> linked_;
  std::map<std::string_view, u32> shared_offsets_;  ///< module-level shared variables
  std::map<const Function*, u32> function_shared_;
  std::map<std::pair<u32, u64>, u32> constants_;
  std::map<const Function*, RegisterSlots> slots_;
  std::unordered_map<std::string_view, const InstructionRow*> rows_;  ///< by opcode with modifiers
  const Function* function_ = nullptr;
  u32 frame_ = 0;
  u32 function_begin_ = 0;
  u32 predicates_ = 0;  ///< true, false, two of scratch, carry, then registers
  u32 scratch_ = 0;
};

}  // namespace kernelites::worker::vgpu
