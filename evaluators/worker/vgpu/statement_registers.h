// SPDX-License-Identifier: Apache-2.0
// Which registers a statement reads and writes, and where a basic block ends.
#pragma once

#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/syntax.h"

namespace kernelites::worker::vgpu {

/// Calls use(register) and define(register) for the registers of a statement.
template <class Use, class Define>
void visit_registers(const Statement& statement, Use use, Define define) {
  const ResultKind result = result_kind(statement);
  if (statement.guard >= 0) use(statement.guard);
  auto each = [](const Operand& operand, auto& visit) {
    auto one = [&visit](const Operand& single) {
      if (single.reg >= 0) visit(single.reg);
      if (single.second >= 0) visit(single.second);
    };
    one(operand);
    for (const Operand& element : operand.elements) {
      one(element);
      for (const Operand& coordinate : element.elements) one(coordinate);  // of a tensor copy
    }
  };
  for (std::size_t k = 0; k < statement.operands.size(); ++k) {
    const Operand& operand = statement.operands[k];
    const bool is_result = k == 0 && result != ResultKind::none && operand.kind != Operand::Kind::memory;
    if (!is_result || result == ResultKind::read_write) each(operand, use);
  }
  for (const Operand& argument : statement.arguments) each(argument, use);
  if (!statement.operands.empty() && result != ResultKind::none) {
    if (statement.operands[0].kind != Operand::Kind::memory) each(statement.operands[0], define);
  }
  for (const Operand& outcome : statement.results) each(outcome, define);
}

/// Does control leave the statements in order here?
inline bool ends_block(const Statement& statement) {
  return !statement.targets.empty() || statement.is("ret") || statement.is("exit") || statement.is("trap");
}

}  // namespace kernelites::worker::vgpu
