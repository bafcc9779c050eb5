// SPDX-License-Identifier: Apache-2.0
// A folder for what is written on the way to something else.
#pragma once

#include <filesystem>
#include <string>
#include <system_error>

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

/// Makes `folder` and what is missing above it; the last of them, if it is new, for its owner alone: prompts, replies
/// and sources are nobody else's business on a shared machine. What is there already keeps its mode.
void make_private_folder(const std::filesystem::path& folder, std::error_code& problem);

}  // namespace kernelites
