// SPDX-License-Identifier: Apache-2.0
// Where a key comes from: an environment variable, or a file that nobody else can read.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace kernelites {

/// Reads a secret from the environment by name.
using SecretSource = std::function<std::optional<std::string>(const std::string& name)>;

/// Each throws ConfigError naming the variable or file, never its content: missing, empty, or with white space or
/// control characters inside; white space at the end is dropped.
std::string key_from_environment(const std::string& name, const SecretSource& source,
                                 const std::string& where);
/// The file must be a regular file of this user (or root's) that no group and nobody else may touch: mode 0600 or 0400.
std::string key_from_file(const std::filesystem::path& file, const std::string& where);

}  // namespace kernelites
