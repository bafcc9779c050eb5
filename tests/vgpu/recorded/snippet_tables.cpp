// SPDX-License-Identifier: Apache-2.0
// The list of all tables of snippets.
#include "tests/vgpu/recorded/snippet_tables.h"

namespace kernelites::recorded {

std::vector<Family> all_families() {
  std::vector<Family> all;
  for (const auto& area : {integer_families(), float_families(), half_families(), conversion_families(),
                           predicate_families(), warp_families(), memory_families(), matrix_families(),
                           wgmma_families(), async_families(), cluster_families()})
    all.insert(all.end(), area.begin(), area.end());
  return all;
}

std::vector<Snippet> all_snippets() {
  std::vector<Snippet> all;
  for (const Family& family : all_families()) {
    const std::vector<Snippet> snippets = expand(family.name, family.rows);
    all.insert(all.end(), snippets.begin(), snippets.end());
  }
  return all;
}

}  // namespace kernelites::recorded
