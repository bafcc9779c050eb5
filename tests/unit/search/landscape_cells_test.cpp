// SPDX-License-Identifier: Apache-2.0
// What the axes of a task's family separate in the measured landscapes; with -s the cells are printed.
#include <filesystem>
#include <set>

#include "archive/grid.h"
#include "engine/core/task.h"
#include "tests/support/catch.h"
#include "tests/support/landscapes/landscape.h"

using namespace kernelites;

namespace {

std::size_t cells_in(const Landscape& landscape, std::span<const Axis> axes) {
  std::set<std::string> cells;
  for (std::size_t i = 0; i < landscape.points.size(); ++i) {
    const LandscapePoint& point = landscape.points[i];
    if (!point.is_passed() || point.twin != i) continue;
    const auto cell = cell_name(point.descriptors, axes);
    REQUIRE(cell);
    cells.insert(*cell);
  }
  return cells.size();
}

}  // namespace

TEST_CASE("the family's axes spread every measured landscape over more cells than the old ones") {
  const std::filesystem::path root = KERNELITES_SOURCE_DIR;
  for (const auto& entry : std::filesystem::directory_iterator(root / "tests" / "support" / "landscapes")) {
    if (!entry.path().filename().string().ends_with("_landscape.json")) continue;
    const Landscape landscape = load_landscape(entry.path());
    const std::string family = load_task(root / "tasks" / landscape.name).family;
    const std::size_t old_cells = cells_in(landscape, k_axes);
    const std::size_t cells = cells_in(landscape, axes_of_family(family));
    INFO(landscape.name << " (" << family << "): " << old_cells << " cells, now " << cells);
    CHECK(cells > old_cells);
    CHECK(cells >= 3);
  }
}
