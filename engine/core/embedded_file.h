// SPDX-License-Identifier: Apache-2.0
// A text file that the program carries inside itself (cmake/embed.cmake).
#pragma once

#include <string_view>
#include <vector>

namespace kernelites {

/// Name without folder, and the whole text.
struct EmbeddedFile {
  std::string_view name;
  std::string_view text;
};

}  // namespace kernelites
