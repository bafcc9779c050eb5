// SPDX-License-Identifier: Apache-2.0
// A file that is written line by line and is there once it is whole.
#pragma once

#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

namespace kernelites {

/// Written beside its place under a name that nobody can guess, synced and moved there by `finish`; without that
/// nothing is left of it.
class WholeFile {
 public:
  /// Throws ConfigError naming --out if the folder takes no file.
  explicit WholeFile(const std::filesystem::path& file);
  ~WholeFile();
  WholeFile(const WholeFile&) = delete;
  WholeFile& operator=(const WholeFile&) = delete;

  /// Throws Error where there is no room.
  void add(std::string_view text);
  /// Throws Error if it cannot be synced or moved; nothing is left then.
  void finish();

 private:
  [[noreturn]] void fail(const char* what);

  const std::filesystem::path file_;
  std::string draft_;
  std::FILE* stream_ = nullptr;
};

}  // namespace kernelites
