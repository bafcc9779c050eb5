// SPDX-License-Identifier: Apache-2.0
// Joins the tables of the ops files.
#include "evaluators/worker/vgpu/instruction_table.h"

#include <algorithm>
#include <unordered_map>

namespace kernelites::worker::vgpu {

bool has_word(std::string_view list, std::string_view word) {
  if (word.empty()) return false;
  for (std::size_t at = list.find(word); at != list.npos; at = list.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || list[at - 1] == ' ') && (end == list.size() || list[end] == ' ')) return true;
  }
  return false;
}

std::vector<const InstructionRow*> all_rows() {
  std::vector<const InstructionRow*> rows;
  for (auto table : {integer_rows(),     carry_rows(),     packed_rows(),   bit_rows(),     field_rows(),
                     float_rows(),       predicate_rows(), move_rows(),     convert_rows(), memory_rows(),
                     atomic_rows(),      async_rows(),     mbarrier_rows(), warp_rows(),    matrix_rows(),
                     matrix_move_rows(), wmma_rows(),      wgmma_rows(),    control_rows(), cluster_rows()}) {
    for (const InstructionRow& row : table) rows.push_back(&row);
  }
  return rows;
}

const InstructionRow* find_row(std::string_view opcode) {
  static const auto k_rows = [] {
    std::unordered_map<std::string_view, const InstructionRow*> rows;
    for (const InstructionRow* row : all_rows()) rows.emplace(row->opcode, row);
    return rows;
  }();
  const auto found = k_rows.find(opcode);
  return found == k_rows.end() ? nullptr : found->second;
}

const InstructionRow* find_row(const Statement& statement) {
  const InstructionRow* row = find_row(statement.parts[0]);
  if (row == nullptr) return nullptr;
  const bool is_known = std::all_of(
      statement.parts.begin() + 1, statement.parts.end(),
      [row](std::string_view part) { return has_word(row->types, part) || has_word(row->modifiers, part); });
  return is_known ? row : nullptr;
}

ResultKind result_kind(const Statement& statement) {
  if (statement.is("bar") || statement.is("barrier")) {
    return statement.has("red") ? ResultKind::written : ResultKind::none;
  }
  if (statement.is("mbarrier") && statement.parts.size() > 1 && !statement.parts[1].starts_with("arrive") &&
      !statement.parts[1].ends_with("wait") && statement.parts[1] != "pending_count")
    return ResultKind::none;
  if (statement.is("wgmma") && !statement.has("mma_async")) return ResultKind::none;
  if (statement.is("wmma") && statement.parts.size() > 1 && statement.parts[1] == "store")
    return ResultKind::none;
  const InstructionRow* row = find_row(statement.parts[0]);
  return row == nullptr ? ResultKind::written : row->result;
}

}  // namespace kernelites::worker::vgpu
