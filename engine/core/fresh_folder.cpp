// SPDX-License-Identifier: Apache-2.0
// mkdtemp, and its end.
#include "engine/core/fresh_folder.h"

#include <stdlib.h>

#include "engine/core/error.h"

namespace kernelites {

FreshFolder::FreshFolder(const std::string& purpose) {
  const std::filesystem::path above = std::filesystem::temp_directory_path();
  std::string name = (above / ("kernelites-" + purpose + "-XXXXXX")).string();
  if (::mkdtemp(name.data()) == nullptr) throw Error("no folder can be made in " + above.string());
  path_ = name;
}

FreshFolder::~FreshFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void make_private_folder(const std::filesystem::path& folder, std::error_code& problem) {
  const std::filesystem::path name = folder.has_filename() ? folder : folder.parent_path();
  if (!std::filesystem::create_directories(name, problem) || problem) return;
  std::filesystem::permissions(name, std::filesystem::perms::owner_all, problem);
}

}  // namespace kernelites
