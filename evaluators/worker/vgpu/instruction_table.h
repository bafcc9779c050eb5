// SPDX-License-Identifier: Apache-2.0
// The table of instructions: opcode, decode function, and what it does with its first operand.
//
// To add an instruction: one row in the table of an ops_*.cpp file, one decode function there that chooses a handler
// by type, and one snippet in tests/vgpu. docs/vgpu.md walks through an example.
#pragma once

#include <span>
#include <string_view>

#include "evaluators/worker/vgpu/decoder.h"
#include "evaluators/worker/vgpu/syntax.h"

namespace kernelites::worker::vgpu {

/// Is the first operand of an instruction written, for the register allocator?
enum class ResultKind : u8 { written, none, read_write };

/// Fills handler and operands; false if this variant of the opcode is not known.
using DecodeFunction = bool (*)(Decoder&, const Statement&, Instruction&);

struct InstructionRow {
  std::string_view opcode;  ///< up to the first dot
  DecodeFunction decode;
  ResultKind result = ResultKind::written;
};

std::span<const InstructionRow> integer_rows();
std::span<const InstructionRow> carry_rows();
std::span<const InstructionRow> packed_rows();
std::span<const InstructionRow> bit_rows();
std::span<const InstructionRow> field_rows();
std::span<const InstructionRow> float_rows();
std::span<const InstructionRow> predicate_rows();
std::span<const InstructionRow> move_rows();
std::span<const InstructionRow> convert_rows();
std::span<const InstructionRow> memory_rows();
std::span<const InstructionRow> atomic_rows();
std::span<const InstructionRow> async_rows();
std::span<const InstructionRow> warp_rows();
std::span<const InstructionRow> matrix_rows();
std::span<const InstructionRow> matrix_move_rows();
std::span<const InstructionRow> wmma_rows();
std::span<const InstructionRow> control_rows();

/// The row of an opcode, or null.
const InstructionRow* find_row(std::string_view opcode);
/// What a statement does with its first operand (an unknown opcode counts as writing it).
ResultKind result_kind(const Statement& statement);

}  // namespace kernelites::worker::vgpu
