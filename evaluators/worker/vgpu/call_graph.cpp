// SPDX-License-Identifier: Apache-2.0
// Depth-first over the calls; then, from every function, what it can reach.
#include "evaluators/worker/vgpu/call_graph.h"

#include <algorithm>

#include "evaluators/worker/vgpu/memory.h"

namespace kernelites::worker::vgpu {
namespace {

bool has_indirect_call(const Function& function) {
  return std::any_of(function.statements.begin(), function.statements.end(), is_indirect_call);
}

constexpr u64 k_address_step = 16;

}  // namespace

bool is_indirect_call(const Statement& statement) {
  return statement.is("call") && !statement.operands.empty() &&
         statement.operands[0].kind == Operand::Kind::reg;
}

u64 function_address(const Module& module, std::string_view name) {
  for (std::size_t k = 0; k < module.functions.size(); ++k) {
    const Function& function = module.functions[k];
    if (function.name == name && function.has_body && !function.is_kernel)
      return (k_function_slot << 32) + k_slot_offset + k_address_step * k;
  }
  return 0;
}

CallGraph::CallGraph(const Module& module, const std::vector<ModuleVariable>& variables,
                     const Function& kernel)
    : module_(module) {
  for (const Function& function : module.functions) {
    if (function.has_body) bodies_.emplace(function.name, &function);
  }
  std::set<const Function*> seen;
  collect(kernel, seen);
  if (std::any_of(order_.begin(), order_.end(), [](const Function* f) { return has_indirect_call(*f); })) {
    find_addresses(variables);
    order_.clear();
    seen.clear();
    for (const Function* function : address_taken_) collect(*function, seen);
    collect(kernel, seen);
  }
  find_reachable();
}

const Function* CallGraph::find(std::string_view name) const {
  const auto found = bodies_.find(name);
  return found == bodies_.end() ? nullptr : found->second;
}

/// Appends what `function` calls and then itself. A list of what is left to do: recursion of ours could be endless.
void CallGraph::collect(const Function& function, std::set<const Function*>& seen) {
  struct Visit {
    const Function* function;
    std::size_t next = 0;
  };
  if (!seen.insert(&function).second) return;
  std::vector<Visit> stack = {{&function}};
  while (!stack.empty()) {
    Visit& top = stack.back();
    if (top.next == top.function->callees.size()) {
      order_.push_back(top.function);
      stack.pop_back();
      continue;
    }
    const Function* callee = find(top.function->callees[top.next++]);
    if (callee != nullptr && !callee->is_kernel && seen.insert(callee).second) stack.push_back({callee});
  }
}

void CallGraph::find_addresses(const std::vector<ModuleVariable>& variables) {
  std::set<const Function*> taken;
  const auto add = [&](std::string_view name) {
    const Function* function = find(name);
    if (function != nullptr && !function->is_kernel && taken.insert(function).second)
      address_taken_.push_back(function);
  };
  for (const ModuleVariable& variable : variables) {
    for (const Relocation& relocation : variable.relocations) add(relocation.symbol);
  }
  for (const Function& function : module_.functions) {
    for (const Statement& statement : function.statements) {
      for (std::size_t k = statement.is("call") ? 1 : 0; k < statement.operands.size(); ++k) {
        const Operand& operand = statement.operands[k];
        if (operand.kind == Operand::Kind::symbol && operand.local < 0) add(operand.name);
      }
    }
  }
}

void CallGraph::find_reachable() {
  for (const Function* from : order_) {
    std::set<const Function*>& reached = reachable_[from];
    std::vector<const Function*> left = {from};
    while (!left.empty()) {
      const Function* function = left.back();
      left.pop_back();
      const auto reach = [&](const Function* callee) {
        if (callee != nullptr && reached.insert(callee).second) left.push_back(callee);
      };
      for (std::string_view callee : function->callees) reach(find(callee));
      if (!address_taken_.empty() && has_indirect_call(*function)) {
        for (const Function* callee : address_taken_) reach(callee);
      }
    }
  }
}

bool CallGraph::can_reach(const Function& from, const Function& to) const {
  const auto found = reachable_.find(&from);
  return found != reachable_.end() && found->second.contains(&to);
}

}  // namespace kernelites::worker::vgpu
