// SPDX-License-Identifier: Apache-2.0
// The table of property kinds.
#include "engine/core/property_kind.h"

#include <algorithm>

namespace kernelites {

const std::vector<PropertyKind>& property_kinds() {
  using enum PropertyWord;
  static const std::vector<PropertyKind> kinds{
      {.name = "repeat", .is_exact = true},
      {.name = "scale", .has_tensors = true, .is_exact = true, .numbers = {{"factor", 2}}},
      {.name = "flip_channel", .has_tensors = true, .is_exact = true},
      {.name = "shift", .has_tensors = true, .numbers = {{"by", 4}}},
      {.name = "constant", .has_tensors = true, .numbers = {{"value", 0.75}}},
      {.name = "one_element",
       .has_tensors = true,
       .has_dims = true,
       .is_exact = true,
       .numbers = {{"value", 64}}},
      {.name = "isolate", .has_dims = true, .is_exact = true},
      {.name = "future", .has_tensors = true, .has_dims = true, .is_exact = true},
      {.name = "permute", .has_dims = true, .is_exact = true},
      {.name = "permute_tokens",
       .has_tensors = true,
       .has_dims = true,
       .words = {{"lengths", metadata, true}}},
      {.name = "permute_pages", .has_tensors = true, .is_exact = true, .words = {{"table", metadata}}},
      {.name = "crop", .has_dims = true, .words = {{"from", workload}, {"to", workload}}},
      {.name = "expand", .has_dims = true, .words = {{"from", workload}, {"to", workload}}},
      {.name = "split",
       .has_tensors = true,
       .has_dims = true,
       .words = {{"lengths", metadata}, {"log_sum_exp", PropertyWord::output}}},
  };
  return kinds;
}

const PropertyKind* find_property_kind(std::string_view name) {
  const auto& kinds = property_kinds();
  const auto found =
      std::find_if(kinds.begin(), kinds.end(), [&](const PropertyKind& kind) { return kind.name == name; });
  return found == kinds.end() ? nullptr : &*found;
}

}  // namespace kernelites
