// SPDX-License-Identifier: Apache-2.0
// Limits first: what is beyond them is not parsed.
#include "engine/llm/foreign_json.h"

#include "engine/core/json_shape.h"

namespace kernelites {

Json parse_foreign_json(std::string_view text) {
  if (!is_modest_json(text, k_foreign_depth_max, k_foreign_keys_max)) return Json(Json::value_t::discarded);
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace kernelites
