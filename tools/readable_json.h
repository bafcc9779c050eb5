// SPDX-License-Identifier: Apache-2.0
// JSON for files that people read and compare.
#pragma once

#include <string>

#include "engine/core/json.h"

namespace kernelites {

/// An object with a line for every member, and for every member of those.
std::string readable_json(const Json& document);

}  // namespace kernelites
