// SPDX-License-Identifier: Apache-2.0
// Which functions a kernel may run, callees first, and which of them may call themselves.
#pragma once

#include <map>
#include <set>
#include <string_view>
#include <vector>

#include "evaluators/worker/vgpu/syntax.h"

namespace kernelites::worker::vgpu {

/// Does the statement call through a register?
bool is_indirect_call(const Statement& statement);

/// The device address that stands for a function; 0 if the module has no body for it. Reading it is a fault.
u64 function_address(const Module& module, std::string_view name);

/// The functions of a kernel. An indirect call may reach every function whose address the module takes.
class CallGraph {
 public:
  /// Borrows the module; `variables` may hold addresses of functions.
  CallGraph(const Module& module, const std::vector<ModuleVariable>& variables, const Function& kernel);

  /// The kernel and all it may call: callees before their callers, where there is no recursion.
  const std::vector<const Function*>& order() const { return order_; }
  /// What an indirect call may reach; empty if the kernel has none.
  const std::vector<const Function*>& address_taken() const { return address_taken_; }
  bool can_reach(const Function& from, const Function& to) const;
  bool is_recursive(const Function& function) const { return can_reach(function, function); }

 private:
  const Function* find(std::string_view name) const;
  void collect(const Function& function, std::set<const Function*>& seen);
  void find_addresses(const std::vector<ModuleVariable>& variables);
  void find_reachable();

  const Module& module_;
  std::map<std::string_view, const Function*> bodies_;
  std::vector<const Function*> order_, address_taken_;
  std::map<const Function*, std::set<const Function*>> reachable_;
};

}  // namespace kernelites::worker::vgpu
