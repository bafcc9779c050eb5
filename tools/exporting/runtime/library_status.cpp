// SPDX-License-Identifier: Apache-2.0
// Words of statuses, and the last ones of each thread.
#include "tools/exporting/runtime/library_status.h"

#include <cstdio>

namespace KERNELITES_LIBRARY {
namespace {

thread_local char t_error[512];

}  // namespace

Status fail(Status status, const std::string& words) {
  std::snprintf(t_error, sizeof t_error, "%s", words.c_str());
  return status;
}

const char* status_words(Status status) {
  static const char* const k_words[] = {"ok",
                                        "invalid argument",
                                        "no CUDA driver",
                                        "no CUDA context, or another one",
                                        "no code for this device",
                                        "the shape is outside the library's domain",
                                        "no kernel of the library takes this shape",
                                        "the workspace is too small",
                                        "out of memory",
                                        "the CUDA driver reports an error"};
  const auto index = static_cast<std::size_t>(status);
  return index < sizeof k_words / sizeof k_words[0] ? k_words[index] : "unknown status";
}

const char* error_words() { return t_error; }

}  // namespace KERNELITES_LIBRARY
