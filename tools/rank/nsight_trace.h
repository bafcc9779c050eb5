// SPDX-License-Identifier: Apache-2.0
// SQLite exports of Nsight Systems.
#pragma once

#include "tools/rank/kernel_trace.h"

namespace kernelites {

/// Kernels are the rows of CUPTI_ACTIVITY_KIND_KERNEL, their names those of StringIds. Throws ConfigError if one of the
/// tables is missing.
KernelTrace read_nsight_trace(const std::filesystem::path& file);

}  // namespace kernelites
