// SPDX-License-Identifier: Apache-2.0
// The closed list of techniques: what a change of a kernel amounts to, by what was measured before and after it.
//
// A technique is a row: its code, which is stored, its words, which people and models read, and the measured difference
// that shows it. A change shows several; one that shows none is "other_change".
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/variation/kernel_measures.h"

namespace kernelites {

/// How a measure must differ.
enum class Difference {
  appears,   ///< 0 before, more after
  vanishes,  ///< more before, 0 after
  rises,     ///< more than 0 before, at least `factor` times as much after
  falls      ///< at most 1 / factor of it after, not 0
};

struct TechniqueRow {
  std::string_view code;   ///< stored; never reused for another meaning
  std::string_view words;  ///< what is done: "asynchronous copies (cp.async)"
  std::string_view measure;
  Difference difference = Difference::appears;
  double factor = 1;
};

std::span<const TechniqueRow> technique_table();
/// Null for a code of another version.
const TechniqueRow* find_technique(std::string_view code);

/// The codes of what the difference shows, sorted. Empty if nothing differs.
std::vector<std::string> techniques_between(const KernelMeasures& before, const KernelMeasures& after);
/// Measures that differ: before and after. One that is absent counts as 0.
std::map<std::string, std::pair<double, double>> changed_measures(const KernelMeasures& before,
                                                                  const KernelMeasures& after);

}  // namespace kernelites
