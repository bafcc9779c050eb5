// SPDX-License-Identifier: Apache-2.0
// The inside of a Program: its text, its module and its kernels, ready to run.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "evaluators/worker/vgpu/instruction.h"
#include "evaluators/worker/vgpu/syntax.h"

namespace kernelites::worker::vgpu {

class Program {
 public:
  std::string source;  ///< the PTX; everything below refers into it
  u64 id = 0;          ///< digest of the source: programs of the same text share module variables
  std::vector<ModuleVariable> variables;
  std::vector<KernelImage> kernels;  ///< in file order
  std::map<std::string, std::vector<FormalParameter>, std::less<>> parameters;
  std::map<std::string, u64, std::less<>> function_addresses;

  const KernelImage* find(std::string_view kernel) const;
  /// 0 if there is no such variable.
  u64 variable_address(std::string_view name) const;
  /// Of a variable or a function; 0 if there is neither.
  u64 symbol_address(std::string_view name) const;
};

}  // namespace kernelites::worker::vgpu
