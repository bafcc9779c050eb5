// SPDX-License-Identifier: Apache-2.0
// The table of fill kinds.
#include "engine/core/fill_kind.h"

#include <algorithm>

namespace kernelites {

const std::vector<FillKind>& fill_kinds() {
  static const std::vector<FillKind> kinds{
      {"normal", {{"mean", 0}, {"std", 1}}},
      {"uniform", {{"low", -1}, {"high", 1}}},
      {"constant", {{"value", 0}}},
      {"shifted", {{"offset", 0}, {"std", 1}}},
      {"rising", {{"slope", 0}, {"std", 1}}},
      {"one_hot", {{"value", 64}, {"count", 128}}},
      {"heavy_tail", {{"factor", 32}, {"std", 1}}},
      {"signs", {{"value", 1}}},
      {"spike", {{"height", 0}, {"std", 1}}},
      {"lengths_full", {}, true},
      {"lengths_ragged", {{"min_fraction", 0}}, true},
      {"lengths_with_empty", {}, true},
      {"lengths_one", {}, true},
  };
  return kinds;
}

const FillKind* find_fill_kind(std::string_view name) {
  const auto& kinds = fill_kinds();
  const auto found =
      std::find_if(kinds.begin(), kinds.end(), [&](const FillKind& kind) { return kind.name == name; });
  return found == kinds.end() ? nullptr : &*found;
}

}  // namespace kernelites
