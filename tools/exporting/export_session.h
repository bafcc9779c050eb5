// SPDX-License-Identifier: Apache-2.0
// An export from its portfolio to its folder: plans, proof, code, files.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tools/exporting/export_target.h"

namespace kernelites {

enum class PlanMode { code, table };

struct ExportOrder {
  PlanMode plans = PlanMode::code;
  std::vector<std::string> architectures;                   ///< empty: the one on which the run measured
  std::vector<std::string> domain;                          ///< changes of ranges (library_domain.h)
  std::vector<std::map<std::string, std::int64_t>> shapes;  ///< further ones for tables
  std::map<std::string, double> scalars;  ///< of tables; those that are missing are the task's
  std::size_t proof_shapes = 10000;
  std::string host_compiler = "c++";
  std::filesystem::path worker;
  std::string toolkit;
  bool has_test = true;     ///< with reference, metadata and harness, for targets that ship a test
  Json measured = nullptr;  ///< what an exported bench said
  Json tested = nullptr;    ///< what an exported regression test said
};

/// Throws ConfigError naming --arch unless all are architectures that a compiler could know.
void check_architectures(const std::vector<std::string>& architectures);

/// Compiles, proves and writes out. `tell` gets a line about each step. Throws ConfigError for what users can change,
/// Error for trouble with compiler or jail, and if a plan as host code differs from its evaluated self.
ExportInputs make_export(const Task& task, const Portfolio& portfolio, const ExportOrder& order,
                         const std::function<void(const std::string&)>& tell);

}  // namespace kernelites
