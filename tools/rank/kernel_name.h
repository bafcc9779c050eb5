// SPDX-License-Identifier: Apache-2.0
// Names of kernels as people call them.
#pragma once

#include <string>

namespace kernelites {

/// Mangled C++ names as source; others as they are.
std::string demangled(const std::string& name);
/// "flash_fwd_kernel" of "void flash_fwd_kernel<Flash_fwd_traits<...>, ...>(Flash_fwd_params)": without result,
/// namespaces, template arguments and parameters. Of PyTorch's templates for any elementwise operation and any
/// reduction the operation is told too: "vectorized_elementwise_kernel:CUDAFunctor_add".
std::string short_kernel_name(const std::string& name);

}  // namespace kernelites
