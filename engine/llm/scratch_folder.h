// SPDX-License-Identifier: Apache-2.0
// The folder that a program in a jail fills as it likes: made, measured and removed a little at a time, so that a
// quarter of a million files hold nobody up.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <string>
#include <vector>

namespace kernelites {

/// Makes `folder`/`name` with an empty `tmp` in it, in place of what was there. Its canonical path. Throws Error.
std::filesystem::path make_scratch(const std::filesystem::path& folder, const std::string& name);
/// Removes it now, whatever the program did to modes.
void remove_scratch(const std::filesystem::path& scratch);

/// Bytes and files of a folder, counted anew again and again.
class ScratchMeter {
 public:
  explicit ScratchMeter(std::filesystem::path folder) : folder_(std::move(folder)) {}
  /// Looks at some more entries. True if what was found is more than `bytes_max`, or cannot be counted.
  bool exceeds(std::uint64_t bytes_max);

 private:
  std::filesystem::path folder_;
  std::filesystem::recursive_directory_iterator at_;
  std::uint64_t bytes_ = 0;
};

/// Folders on their way out.
class ScratchRemover {
 public:
  /// What is left is removed now.
  ~ScratchRemover();
  void add(std::filesystem::path scratch);
  /// Removes some more entries.
  void step();
  bool is_idle() const { return removals_.empty(); }

 private:
  /// One after the other; of each the folders that are being emptied, the innermost last.
  std::deque<std::vector<std::filesystem::path>> removals_;
};

}  // namespace kernelites
