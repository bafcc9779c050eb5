// SPDX-License-Identifier: Apache-2.0
// Failing with words, inside an exported library.
#pragma once

#include <string>

#include "tools/exporting/runtime/library_core.h"

namespace KERNELITES_LIBRARY {

/// Keeps the words for this thread's `error_words`, and gives the status back.
Status fail(Status status, const std::string& words);

}  // namespace KERNELITES_LIBRARY
