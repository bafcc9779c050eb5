// SPDX-License-Identifier: Apache-2.0
// The table of fill kinds.
#include "engine/core/fill_kind.h"

#include <algorithm>

namespace kernelites {

const std::vector<FillKind>& fill_kinds() {
  using enum FillPlace;
  // The order of the device kinds is that of `FillKind` in harness/fill.cu.
  static const std::vector<FillKind> kinds{
      {"normal", {{"mean", 0}, {"std", 1}}},
      {"uniform", {{"low", -1}, {"high", 1}}},
      {"constant", {{"value", 0}}},
      {"shifted", {{"offset", 0}, {"std", 1}}},
      {"rising", {{"slope", 0}, {"std", 1}}},
      {"one_hot", {{"value", 64}, {"count", 128}}},
      {"heavy_tail", {{"factor", 32}, {"std", 1}, {"every", 64}}},
      {"signs", {{"value", 1}}},
      {"spike", {{"height", 0}, {"std", 1}}},
      {"tail_mass", {{"gap", 12}, {"std", 1}, {"largest", 1024}}},
      {"permuted_one_hot", {{"value", 1}}},
      {"student_t", {{"std", 1}}},
      {"repeated", {{"times", 0}, {"std", 1}}},
      {"edge_values", {{"share", 0.125}, {"std", 1}}},
      {"coherent", {{"noise", 0.3}}},
      {"segments", {{"low", 0}, {"high", 1}, {"length", 64}}},
      {"impulse", {{"std", 1}, {"chunk", 64}}},
      {"sigmoid", {{"mean", 0}, {"std", 1}}},
      {"log_sigmoid", {{"mean", 0}, {"std", 1}, {"divisor", 1}}},
      {"gaps", {{"mean", 0}, {"std", 1}, {"share", 0.125}}},
      {"log_uniform", {{"low", 0.0625}, {"high", 16}, {"factor", 64}, {"share", 0}}},
      {"codes", {{"extreme", 0.0625}}},
      {"integers", {{"low", 0}, {"high", 1}}},
      {"bits", {{"density", 0.5}}},
      {"index_set", {{"limit", 1}, {"block", 0}, {"missing", 0}}},
      {"lengths_full", {}, host, true},
      {"lengths_ragged", {{"min_fraction", 0}}, host, true},
      {"lengths_with_empty", {}, host, true},
      {"lengths_one", {}, host, true},
      {"lengths_short", {{"largest", 2}}, host, true},
      {"lengths_skewed", {{"fraction", 0.0625}}, host, true},
      {"lengths_geometric", {}, host, true},
      {"lengths_near", {{"tile", 64}}, host, true},
      {"offsets_even", {}, host, true},
      {"offsets_ragged", {}, host, true},
      {"offsets_with_empty", {}, host, true},
      {"offsets_skewed", {{"fraction", 0.75}}, host, true},
      {"offsets_of", {{"unit", 1}}, host, false, true},
      {"page_table", {{"page", 16}, {"pages", 1}, {"shared", 0}, {"repeated", 0}}, host, false, true},
      {"page_list", {{"page", 16}, {"pages", 1}, {"shared", 0}, {"repeated", 0}}, host, false, true},
      {"last_page", {{"page", 16}}, host, false, true},
      {"permutation", {}, host, true},
      {"numbers", {{"low", 0}, {"high", 1}}, host},
      {"computed", {{"variant", 0}}, task},
  };
  return kinds;
}

const FillKind* find_fill_kind(std::string_view name) {
  const auto& kinds = fill_kinds();
  const auto found =
      std::find_if(kinds.begin(), kinds.end(), [&](const FillKind& kind) { return kind.name == name; });
  return found == kinds.end() ? nullptr : &*found;
}

const std::vector<FillParameter>& fill_modifiers() {
  static const std::vector<FillParameter> modifiers{{"head_step", 0}, {"grid", 0}, {"unit", 0}};
  return modifiers;
}

}  // namespace kernelites
