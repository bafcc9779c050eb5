// SPDX-License-Identifier: Apache-2.0
// Device memory and devices for programs that bring neither the CUDA runtime nor the driver's header.
#pragma once

#include <cstddef>

#include "tools/exporting/runtime/library_core.h"

namespace KERNELITES_LIBRARY {

/// Makes the device's primary context, which is the CUDA runtime's, current in this thread. It is kept to the end.
Status use_device(int device);
/// Zeroed. Null for no bytes.
Status allocate(std::size_t bytes, void*& memory);
Status release(void* memory);
/// Both wait for everything that was enqueued in the context before.
Status write(void* memory, const void* host, std::size_t bytes);
Status read(void* host, const void* memory, std::size_t bytes);
Status wait(Stream stream);

}  // namespace KERNELITES_LIBRARY
