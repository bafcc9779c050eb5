// SPDX-License-Identifier: Apache-2.0
// The two exceptions and the assertion: run trouble, wrong user input, programmer error.
//
// A failed candidate is never an exception: it is a `Verdict` (verdict.h) or a `Rejection`. An exception means
// that the *run* is in trouble, or that what the user wrote cannot be used.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace kernelites {

/// Run trouble: disk, database, no device, a worker that cannot start. Ends the program with exit code 3.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Bad user input or configuration. Names the file, the field and what was expected. Exit code 2; nothing changed.
class ConfigError : public Error {
 public:
  /// `where` is a file or an option, `field` a JSON path in it (may be empty), `problem` a sentence, no full stop.
  ConfigError(std::string_view where, std::string_view field, std::string_view problem);
};

/// Prints the failed condition with its place and aborts.
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);

}  // namespace kernelites

/// Programmer error: on in release builds too.
#define KERNELITES_ASSERT(condition) \
  ((condition) ? (void)0 : ::kernelites::assertion_failed(#condition, __FILE__, __LINE__))
