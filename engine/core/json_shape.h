// SPDX-License-Identifier: Apache-2.0
// JSON of another shape than we write: refused while it is text, or an Error like any other damage (of a run.db).
#pragma once

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>

#include "engine/core/error.h"
#include "engine/core/json.h"

namespace kernelites {

/// Whether objects and arrays nest at most `levels_max` deep in `text`, should it be JSON, and no object has more than
/// `members_max` members: parsing, copying and dropping a JSON value recurses, and finding a member takes time that
/// grows with their number. Comments do not count. Linear in the text's length.
bool is_modest_json(std::string_view text, std::size_t levels_max,
                    std::size_t members_max = std::numeric_limits<std::size_t>::max());

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
