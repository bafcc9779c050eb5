// SPDX-License-Identifier: Apache-2.0
// What kinds of kernels there are, what bounds each, and which task covers it: the table in kernel_patterns.json.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/core/json.h"

namespace kernelites {

/// One row of the table.
struct KernelKind {
  std::string kind;                 ///< "attention, prefill"
  std::string bound;                ///< memory, compute, latency, network: as this kind usually is
  std::string task;                 ///< of ours; empty: none covers it
  std::string note;                 ///< how the task differs
  std::string decode_task;          ///< attention: the task of calls with one query a sequence; empty: `task`
  std::vector<std::string> kernel;  ///< words in the kernel's name, lower case
  std::vector<std::string> operation;  ///< words in the operation's name, lower case
};

/// The rows of a document like kernel_patterns.json. Throws ConfigError that names `where` and the row.
std::vector<KernelKind> parse_kernel_kinds(const Json& document, const std::string& where);
/// The project's own table.
std::vector<KernelKind> known_kernel_kinds();

/// The first row that matches; null if none does.
const KernelKind* kind_of(const std::vector<KernelKind>& kinds, std::string_view kernel,
                          std::string_view operation);

}  // namespace kernelites
