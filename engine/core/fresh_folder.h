// SPDX-License-Identifier: Apache-2.0
// A folder for what is written on the way to something else.
#pragma once

#include <filesystem>
#include <string>

namespace kernelites {

/// A new folder among the machine's temporary ones, removed at the end with everything in it.
class FreshFolder {
 public:
  /// `purpose` is a word in its name, for whoever finds it after a kill. Throws Error if none can be made.
  explicit FreshFolder(const std::string& purpose);
  ~FreshFolder();
  FreshFolder(const FreshFolder&) = delete;
  FreshFolder& operator=(const FreshFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace kernelites
