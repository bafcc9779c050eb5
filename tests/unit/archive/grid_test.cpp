// SPDX-License-Identifier: Apache-2.0
// Cells and figures over them.
#include "archive/grid.h"

#include "archive/qd_metrics.h"

#include "tests/support/catch.h"
#include "tests/unit/archive/archive_samples.h"

using namespace kernelites;

TEST_CASE("a cell is named by one label per axis, in the order of the axes") {
  const Descriptors descriptors{{"split", "split_kv"}, {"compute", "mma_sync"}, {"movement", "cp_async"}};
  CHECK(cell_name(descriptors) == std::string("cp_async/mma_sync/split_kv"));
}

TEST_CASE("descriptors beyond the axes do not move a cell") {
  Descriptors descriptors{{"split", "tile"}, {"compute", "fma"}, {"movement", "direct"}};
  const auto cell = cell_name(descriptors);
  descriptors["occupancy"] = "high";
  CHECK(cell_name(descriptors) == cell);
}

TEST_CASE("a missing axis or an unknown label names no cell") {
  CHECK_FALSE(cell_name({{"split", "tile"}, {"compute", "fma"}}));
  CHECK_FALSE(cell_name({{"split", "tile"}, {"compute", "abacus"}, {"movement", "direct"}}));
}

TEST_CASE("the grid has every combination of labels once, last axis fastest") {
  const auto cells = all_cells();
  REQUIRE(cells.size() == 48);
  CHECK(cells[0] == "direct/fma/tile");
  CHECK(cells[1] == "direct/fma/split_kv");
  CHECK(cells[47] == "tma/wgmma/specialised");
}

TEST_CASE("elites are listed in grid order, not in the order they came") {
  Grid grid;
  grid.put(sample_elite(1, 1, "tma/wgmma/tile"));
  grid.put(sample_elite(2, 1, "direct/fma/tile"));
  REQUIRE(grid.elites().size() == 2);
  CHECK(grid.elites()[0].ordinal == 2);
}

TEST_CASE("coverage is the occupied share of all cells") {
  Grid grid;
  CHECK(grid.coverage() == 0);
  grid.put(sample_elite(1, 1, "direct/fma/tile"));
  grid.put(sample_elite(2, 2, "direct/fma/tile"));
  grid.put(sample_elite(3, 1, "tma/wgmma/tile"));
  CHECK(grid.coverage() == Approx(2.0 / 48));
}

TEST_CASE("QD figures are those of pyribs: sums, shares and means over elites, empty cells at the offset") {
  Grid grid;
  CHECK(qd_metrics(grid) == QdMetrics{});
  CHECK(Json(qd_metrics(grid)).at("obj_max").is_null());
  grid.put(sample_elite(1, 1, "direct/fma/tile"));
  grid.put(sample_elite(2, 0.25, "shared/fma/tile"));
  const QdMetrics metrics = qd_metrics(grid);
  CHECK(metrics.num_elites == 2);
  CHECK(metrics.coverage == Approx(2.0 / 48));
  CHECK(metrics.qd_score == Approx(1.25));
  CHECK(metrics.norm_qd_score == Approx(1.25 / 48));
  CHECK(*metrics.obj_max == 1);
  CHECK(*metrics.obj_mean == Approx(0.625));
  CHECK(qd_metrics(grid, 0.25).qd_score == Approx(0.75));
  CHECK(*qd_metrics(grid, 0.25).obj_mean == Approx(0.625));
  grid.put(sample_elite(3, 2, "direct/fma/tile"));
  CHECK(grid.qd_score() == Approx(2.25));
}

TEST_CASE("a grid of other axes has their cells, binned ones among them") {
  Grid grid(axes_named(std::vector<std::string>{"movement", "occupancy"}));
  CHECK(grid.cell_count() == 16);
  CHECK(grid.cells().front() == "direct/occ12");
  CHECK(grid.has_cell("tma/occ100"));
  CHECK_FALSE(grid.has_cell("direct/fma/tile"));
  CHECK(cell_name({{"movement", "tma"}, {"compute", "fma"}, {"occupancy", "occ50"}}, grid.axes()) ==
        std::string("tma/occ50"));
}

TEST_CASE("the best elite is the fittest, of equals the older") {
  Grid grid;
  CHECK_FALSE(grid.best());
  grid.put(sample_elite(5, 2, "direct/fma/tile"));
  grid.put(sample_elite(3, 2, "tma/wgmma/tile"));
  grid.put(sample_elite(1, 1, "shared/fma/tile"));
  CHECK(grid.best()->ordinal == 3);
}

TEST_CASE("an elite is stale under another task, harness or device") {
  const Elite elite = sample_elite(1, 1);
  CHECK_FALSE(is_stale(elite, sample_provenance()));
  const auto check_stale = [&](auto change) {
    Provenance now = sample_provenance();
    change(now);
    CHECK(is_stale(elite, now));
  };
  check_stale([](Provenance& now) { now.task_digest = "task-2"; });
  check_stale([](Provenance& now) { now.harness_version = "2"; });
  check_stale([](Provenance& now) { now.device.kind = "NVIDIA H100 80GB HBM3"; });
  check_stale([](Provenance& now) { now.device.is_virtual = false; });
}
