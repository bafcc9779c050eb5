// SPDX-License-Identifier: Apache-2.0
// The table of instructions: opcode, types and modifiers, decode function, and what it does with its first operand.
//
// A statement with a modifier that is not in its row is not decoded: what nobody thought of must not be ignored.
// To add an instruction: one row in the table of an ops_*.cpp file, one decode function there that chooses a handler
// by type, and one snippet in tests/vgpu. docs/vgpu.md walks through an example.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "evaluators/worker/vgpu/decoder.h"
#include "evaluators/worker/vgpu/syntax.h"

namespace kernelites::worker::vgpu {

/// Is the first operand of an instruction written, for the register allocator?
enum class ResultKind : u8 { written, none, read_write };

/// Fills handler and operands; false if this variant of the opcode is not known.
using DecodeFunction = bool (*)(Decoder&, const Statement&, Instruction&);

struct InstructionRow {
  std::string_view opcode;            ///< up to the first dot
  std::string_view types, modifiers;  ///< words with blanks between: all that `decode` honours
  DecodeFunction decode;
  ResultKind result = ResultKind::written;
};

inline constexpr std::string_view k_integer_types = "u16 u32 u64 s16 s32 s64";
inline constexpr std::string_view k_bit_types = "b16 b32 b64";
inline constexpr std::string_view k_float_types = "f16 f16x2 bf16 bf16x2 f32 f64";
inline constexpr std::string_view k_number_types = "u16 u32 u64 s16 s32 s64 f16 f16x2 bf16 bf16x2 f32 f64";
inline constexpr std::string_view k_all_types =
    "b16 b32 b64 u16 u32 u64 s16 s32 s64 f16 f16x2 bf16 bf16x2 f32 f64";

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
std::span<const InstructionRow> mbarrier_rows();
std::span<const InstructionRow> warp_rows();
std::span<const InstructionRow> matrix_rows();
std::span<const InstructionRow> matrix_move_rows();
std::span<const InstructionRow> wmma_rows();
std::span<const InstructionRow> wgmma_rows();
std::span<const InstructionRow> control_rows();
std::span<const InstructionRow> cluster_rows();

/// Is `word` one of the words of `list`?
bool has_word(std::string_view list, std::string_view word);
/// The row of an opcode, or null.
const InstructionRow* find_row(std::string_view opcode);
/// All rows, for tests.
std::vector<const InstructionRow*> all_rows();
/// The row of a statement; null if there is none, or if the statement has a modifier that the row does not name.
const InstructionRow* find_row(const Statement& statement);
/// What a statement does with its first operand (an unknown opcode counts as writing it).
ResultKind result_kind(const Statement& statement);

}  // namespace kernelites::worker::vgpu
