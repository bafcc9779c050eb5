// SPDX-License-Identifier: Apache-2.0
// Joins the tables of the ops files.
#include "evaluators/worker/vgpu/instruction_table.h"

#include <unordered_map>

namespace kernelites::worker::vgpu {

const InstructionRow* find_row(std::string_view opcode) {
  static const auto k_rows = [] {
    std::unordered_map<std::string_view, const InstructionRow*> rows;
    for (auto table :
         {integer_rows(), carry_rows(), packed_rows(), bit_rows(), field_rows(), float_rows(),
          predicate_rows(), move_rows(), convert_rows(), memory_rows(), atomic_rows(), async_rows(),
          warp_rows(), matrix_rows(), matrix_move_rows(), wmma_rows(), control_rows()}) {
      for (const InstructionRow& row : table) rows.emplace(row.opcode, &row);
    }
    return rows;
  }();
  const auto found = k_rows.find(opcode);
  return found == k_rows.end() ? nullptr : found->second;
}

ResultKind result_kind(const Statement& statement) {
  if (statement.is("bar") || statement.is("barrier")) {
    return statement.has("red") ? ResultKind::written : ResultKind::none;
  }
  if (statement.is("wmma") && statement.parts.size() > 1 && statement.parts[1] == "store")
    return ResultKind::none;
  const InstructionRow* row = find_row(statement.parts[0]);
  return row == nullptr ? ResultKind::written : row->result;
}

}  // namespace kernelites::worker::vgpu
