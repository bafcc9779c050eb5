// SPDX-License-Identifier: Apache-2.0
// Distances are counted in labels: a kernel that differs in one of them is one idea away.
#include "engine/search/target_cell.h"

#include <algorithm>
#include <climits>
#include <string_view>

namespace kernelites {
namespace {

std::string_view next_label(std::string_view& rest) {
  const std::size_t slash = rest.find('/');
  const std::string_view label = rest.substr(0, slash);
  rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
  return label;
}

}  // namespace

int cell_distance(const std::string& a, const std::string& b) {
  std::string_view rest_a = a, rest_b = b;
  int distance = 0;
  while (!rest_a.empty() || !rest_b.empty()) distance += next_label(rest_a) != next_label(rest_b);
  return distance;
}

void keep_nearest(std::vector<const Elite*>& elites, const std::string& cell) {
  int nearest = INT_MAX;
  for (const Elite* elite : elites) nearest = std::min(nearest, cell_distance(elite->cell, cell));
  std::erase_if(elites, [&](const Elite* elite) { return cell_distance(elite->cell, cell) > nearest; });
}

}  // namespace kernelites
