// SPDX-License-Identifier: Apache-2.0
// Export as a package of PyTorch: the C++ library, a binding that registers the
// operator, and what Python must know.
#pragma once

#include <string>
#include <vector>

#include "tools/exporting/export_target.h"

namespace kernelites {

/// A folder that `pip install --no-build-isolation` builds: setup.py, the
/// package kernelites_<task>, csrc/ with the library's sources and the binding,
/// a test, a README. Throws ConfigError where a name of the task is none in
/// Python.
std::vector<ExportFile> torch_files(const ExportInputs& inputs);

/// The binding's source, with the operator in the namespace `space` of
/// torch.ops.
std::string torch_binding(const Task& task, const std::string& space);

}  // namespace kernelites
