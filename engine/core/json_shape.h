// SPDX-License-Identifier: Apache-2.0
// JSON of another shape than we write (a foreign or damaged run.db): an Error, like any other damage.
#pragma once

#include <string>
#include <string_view>

#include "engine/core/error.h"
#include "engine/core/json.h"

namespace kernelites {

/// Whether objects and arrays nest deeper than `levels` in `text`. Copying and dropping a JSON value recurses.
bool is_too_deep(std::string_view text, int levels);

/// What `read` returns. A member that is missing or of another type ends as an Error that names `where`, not as the
/// JSON library's exception.
template <typename Read>
decltype(auto) in_shape(const std::string& where, Read read) {
  try {
    return read();
  } catch (const nlohmann::json::exception& error) {
    throw Error(where + ": damaged JSON: " + error.what());
  }
}

}  // namespace kernelites
