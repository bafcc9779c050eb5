// SPDX-License-Identifier: Apache-2.0
// The test and the bench of an exported library as files.
#pragma once

#include <vector>

#include "tools/exporting/export_target.h"

namespace kernelites {

/// test/*: fixed programs, and the tables of workloads that they go through.
std::vector<ExportFile> library_test_files(const ExportInputs& inputs);

}  // namespace kernelites
