// SPDX-License-Identifier: Apache-2.0
// What an export can be: one row per kind of folder, made from the same portfolio and code.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "engine/core/json.h"
#include "tools/exporting/domain_coverage.h"
#include "tools/exporting/export_files.h"
#include "tools/exporting/library_code.h"
#include "tools/exporting/library_domain.h"
#include "tools/exporting/portfolio.h"

namespace kernelites {

/// Everything that the files of an export are made from.
struct ExportInputs {
  const Task& task;
  const Portfolio& portfolio;
  LibraryDomain domain;
  DomainCoverage coverage;
  LibraryCode code;
  bool has_host_plans = true;             ///< else tables
  std::vector<std::string> host_plans;    ///< by arm: src/plan_<label>.cpp
  std::vector<Shape> table_shapes;        ///< where plans are tables
  std::map<std::string, double> scalars;  ///< for which those are made
  Json facts = Json::object();  ///< further members of the manifest: "plans", "domain", "toolkit", ...
};

/// The files besides the manifest.
using MakeFiles = std::vector<ExportFile> (*)(const ExportInputs& inputs);

struct ExportTarget {
  const char* name;
  const char* purpose;
  MakeFiles make;
  const char* next;  ///< what its user does with the folder
};

std::vector<ExportFile> cpp_files(const ExportInputs& inputs);
std::vector<ExportFile> annotated_files(const ExportInputs& inputs);

/// The sources of the C++ library alone: include/<name>.h, include/<name>.hpp, src/*, and kernels/* as provenance. All
/// src/*.cpp compile with -std=c++20 and src/ and include/ on the include path, and link libdl.
std::vector<ExportFile> library_files(const ExportInputs& inputs);

}  // namespace kernelites
