// SPDX-License-Identifier: Apache-2.0
// Chrome traces (JSON) of the PyTorch profiler.
#pragma once

#include "tools/rank/kernel_trace.h"

namespace kernelites {

/// Kernels are complete events ("ph": "X") of category "kernel"; their "External id" leads to the operation of category
/// "cpu_op" with "Input Dims" and "Input type". Throws ConfigError if the text is no JSON, is cut short, or is no
/// trace.
KernelTrace read_chrome_trace(const std::filesystem::path& file);

}  // namespace kernelites
