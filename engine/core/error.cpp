// SPDX-License-Identifier: Apache-2.0
// Wording of configuration errors, and the end of the program on a programmer error.
#include "engine/core/error.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

namespace kernelites {

ConfigError::ConfigError(std::string_view where, std::string_view field, std::string_view problem)
    : Error(field.empty() ? fmt::format("{}: {}", where, problem)
                          : fmt::format("{}: {}: {}", where, field, problem)) {}

void assertion_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace kernelites
