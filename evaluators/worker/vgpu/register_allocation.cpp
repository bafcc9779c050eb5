// SPDX-License-Identifier: Apache-2.0
// Liveness over basic blocks, then linear scan over the intervals. A guarded definition does not end a live range. What
// wgmma accumulates in lives until a wait for groups: it is written at some moment before.
#include "evaluators/worker/vgpu/register_allocation.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/core.h>

#include "engine/core/error.h"
#include "evaluators/worker/vgpu/statement_registers.h"

namespace kernelites::worker::vgpu {
namespace {

constexpr std::size_t k_max_live_words = std::size_t{1} << 25;  ///< of each of four sets: 1 GiB in all

using Bits = std::vector<u64>;
bool test(const Bits& bits, int index) {
  return (bits[static_cast<u32>(index) / 64] >> (index % 64) & 1) != 0;
}
void set(Bits& bits, int index) { bits[static_cast<u32>(index) / 64] |= u64{1} << (index % 64); }

/// The registers in which wgmma accumulates. Whoever waits for groups reads them: until then they may be written.
std::vector<int> accumulators_of(const Function& function) {
  std::set<int> found;
  for (const Statement& statement : function.statements) {
    if (!statement.is("wgmma") || statement.operands.empty()) continue;
    for (const Operand& element : statement.operands[0].elements)
      if (element.reg >= 0) found.insert(element.reg);
  }
  return {found.begin(), found.end()};
}

bool waits_for_products(const Statement& statement) {
  return statement.is("wgmma") && statement.has("wait_group");
}

struct BasicBlock {
  std::size_t begin = 0, end = 0;
  Bits use, define, live_in, live_out;
  std::vector<std::size_t> successors;
};

bool falls_through(const Statement& statement) { return statement.guard >= 0 || !ends_block(statement); }

std::vector<BasicBlock> split_blocks(const Function& function) {
  const auto& statements = function.statements;
  std::vector<bool> leads(statements.size() + 1, false);
  leads[0] = true;
  for (std::size_t k = 0; k < statements.size(); ++k) {
    for (u32 target : statements[k].targets) leads[target] = true;
    if (ends_block(statements[k])) leads[k + 1] = true;
  }
  std::vector<BasicBlock> blocks;
  std::vector<std::size_t> block_at(statements.size() + 1, 0);
  for (std::size_t k = 0; k < statements.size(); ++k) {
    if (leads[k])
      blocks.push_back(
          {.begin = k, .end = k, .use = {}, .define = {}, .live_in = {}, .live_out = {}, .successors = {}});
    blocks.back().end = k + 1;
    block_at[k] = blocks.size() - 1;
  }
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    const Statement& last = statements[blocks[b].end - 1];
    for (u32 target : last.targets) {
      if (target < statements.size()) blocks[b].successors.push_back(block_at[target]);
    }
    if (falls_through(last) && b + 1 < blocks.size()) blocks[b].successors.push_back(b + 1);
  }
  return blocks;
}

void solve_liveness(const Function& function, std::vector<BasicBlock>& blocks) {
  const std::size_t words = function.registers.size() / 64 + 1;
  if (words * blocks.size() > k_max_live_words) {
    throw Error(fmt::format("the function {} is too large: {} registers, {} basic blocks", function.name,
                            function.registers.size(), blocks.size()));
  }
  const std::vector<int> accumulators = accumulators_of(function);
  for (BasicBlock& block : blocks) {
    block.use = block.define = block.live_in = block.live_out = Bits(words);
    auto use = [&block](int reg) {
      if (!test(block.define, reg)) set(block.use, reg);
    };
    for (std::size_t k = block.begin; k < block.end; ++k) {
      const Statement& statement = function.statements[k];
      if (waits_for_products(statement)) std::for_each(accumulators.begin(), accumulators.end(), use);
      visit_registers(statement, use, [&](int reg) {
        if (statement.guard < 0) set(block.define, reg);
      });
    }
  }
  for (bool is_changed = true; is_changed;) {
    is_changed = false;
    for (std::size_t b = blocks.size(); b-- > 0;) {
      BasicBlock& block = blocks[b];
      for (std::size_t successor : block.successors) {
        for (std::size_t w = 0; w < words; ++w) block.live_out[w] |= blocks[successor].live_in[w];
      }
      for (std::size_t w = 0; w < words; ++w) {
        const u64 in = block.use[w] | (block.live_out[w] & ~block.define[w]);
        is_changed |= in != block.live_in[w];
        block.live_in[w] = in;
      }
    }
  }
}

struct Interval {
  int first = -1, last = -1;
  void cover(std::size_t at) {
    const int k = static_cast<int>(at);
    first = first < 0 ? k : std::min(first, k);
    last = std::max(last, k);
  }
};

std::vector<Interval> live_intervals(const Function& function) {
  std::vector<Interval> intervals(function.registers.size());
  const std::vector<int> accumulators = accumulators_of(function);
  for (std::size_t k = 0; k < function.statements.size(); ++k) {
    auto cover = [&](int reg) { intervals[static_cast<u32>(reg)].cover(k); };
    if (waits_for_products(function.statements[k]))
      std::for_each(accumulators.begin(), accumulators.end(), cover);
    visit_registers(function.statements[k], cover, cover);
  }
  std::vector<BasicBlock> blocks = split_blocks(function);
  solve_liveness(function, blocks);
  for (const BasicBlock& block : blocks) {
    for (std::size_t w = 0; w < block.live_in.size(); ++w) {
      for (u64 bits = block.live_in[w]; bits != 0; bits &= bits - 1) {
        intervals[w * 64 + static_cast<u32>(__builtin_ctzll(bits))].cover(block.begin);
      }
      for (u64 bits = block.live_out[w]; bits != 0; bits &= bits - 1) {
        intervals[w * 64 + static_cast<u32>(__builtin_ctzll(bits))].cover(block.end - 1);
      }
    }
  }
  return intervals;
}

/// Removes moves whose register nobody reads any more, and moves branch targets along.
void drop_dead_moves(Function& function) {
  std::vector<bool> is_read(function.registers.size(), false);
  for (const Statement& statement : function.statements) {
    visit_registers(
        statement, [&](int reg) { is_read[static_cast<u32>(reg)] = true; }, [](int) {});
  }
  std::vector<u32> moved(function.statements.size() + 1);
  std::vector<Statement> kept;
  kept.reserve(function.statements.size());
  for (std::size_t k = 0; k < function.statements.size(); ++k) {
    Statement& statement = function.statements[k];
    moved[k] = static_cast<u32>(kept.size());
    const bool is_dead = statement.is("mov") && statement.operands.size() == 2 && statement.guard < 0 &&
                         statement.operands[0].kind == Operand::Kind::reg &&
                         statement.operands[1].kind == Operand::Kind::immediate &&
                         !is_read[static_cast<u32>(statement.operands[0].reg)];
    if (!is_dead) kept.push_back(std::move(statement));
  }
  moved.back() = static_cast<u32>(kept.size());
  for (Statement& statement : kept) {
    for (u32& target : statement.targets) target = moved[target];
  }
  function.statements = std::move(kept);
}

}  // namespace

void fold_constants(Function& function) {
  struct Definition {
    int count = 0;
    bool is_constant = false;
    u64 value = 0;
  };
  std::vector<Definition> definitions(function.registers.size());
  for (const Statement& statement : function.statements) {
    const bool is_move = statement.is("mov") && statement.guard < 0 && statement.operands.size() == 2 &&
                         statement.operands[1].kind == Operand::Kind::immediate;
    visit_registers(
        statement, [](int) {},
        [&](int reg) {
          Definition& definition = definitions[static_cast<u32>(reg)];
          ++definition.count;
          definition.is_constant = is_move && !function.registers[static_cast<u32>(reg)].is_predicate;
          if (is_move) definition.value = statement.operands[1].immediate;
        });
  }
  auto replace = [&](Operand& operand) {
    if (operand.kind != Operand::Kind::reg || operand.is_negated || operand.second >= 0) return;
    const Definition& definition = definitions[static_cast<u32>(operand.reg)];
    if (definition.count != 1 || !definition.is_constant) return;
    operand.kind = Operand::Kind::immediate;
    operand.immediate = definition.value;
    operand.reg = -1;
  };
  for (Statement& statement : function.statements) {
    const ResultKind result = result_kind(statement);
    for (std::size_t k = 0; k < statement.operands.size(); ++k) {
      if (k == 0 && result != ResultKind::none) continue;
      Operand& operand = statement.operands[k];
      replace(operand);
      if (operand.kind != Operand::Kind::vector) continue;
      for (Operand& element : operand.elements) replace(element);
    }
  }
  drop_dead_moves(function);
}

u32 predicate_count(const Function& function) {
  return static_cast<u32>(std::count_if(function.registers.begin(), function.registers.end(),
                                        [](const VirtualRegister& reg) { return reg.is_predicate; }));
}

RegisterSlots allocate_registers(const Function& function, u32 predicates_begin, u32 registers_begin) {
  const std::vector<Interval> intervals = live_intervals(function);
  RegisterSlots slots{.offsets = std::vector<u32>(function.registers.size(), registers_begin),
                      .end = registers_begin};
  std::vector<std::size_t> order;
  for (std::size_t reg = 0; reg < function.registers.size(); ++reg) {
    if (function.registers[reg].is_predicate) {
      slots.offsets[reg] = predicates_begin;
      predicates_begin += 4;
    } else if (intervals[reg].first >= 0) {
      order.push_back(reg);
    }
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return intervals[a].first < intervals[b].first; });
  std::map<u8, std::vector<u32>> free_slots;   // by width
  std::set<std::pair<int, std::size_t>> live;  // (last use, register)
  for (std::size_t reg : order) {
    while (!live.empty() && live.begin()->first < intervals[reg].first) {
      const std::size_t ended = live.begin()->second;
      free_slots[function.registers[ended].width].push_back(slots.offsets[ended]);
      live.erase(live.begin());
    }
    std::vector<u32>& available = free_slots[function.registers[reg].width];
    if (available.empty()) {
      slots.offsets[reg] = slots.end;
      slots.end += k_lanes * function.registers[reg].width;
    } else {
      slots.offsets[reg] = available.back();
      available.pop_back();
    }
    live.insert({intervals[reg].last, reg});
  }
  return slots;
}

}  // namespace kernelites::worker::vgpu
