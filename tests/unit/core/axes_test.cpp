// SPDX-License-Identifier: Apache-2.0
// The table of axes, its bins, and the measures behind them.
#include "engine/core/axes.h"

#include <algorithm>
#include <set>

#include "engine/core/code_measures.h"
#include "engine/core/error.h"
#include "engine/core/task.h"
#include "tests/support/catch.h"

using namespace kernelites;

namespace {

std::vector<std::string> names_of(std::span<const Axis> axes) {
  std::vector<std::string> names;
  for (const Axis& axis : axes) names.emplace_back(axis.name);
  return names;
}

StaticCounts with(const char* opcode) { return {.opcodes = {{opcode, 3}}, .sass = {}}; }

}  // namespace

TEST_CASE(
    "no name of an axis and no label of one axis occurs twice, and bins have one edge fewer than labels") {
  std::set<std::string_view> names, labels;
  for (const Axis& axis : axis_table()) {
    INFO(axis.name);
    CHECK(names.insert(axis.name).second);
    CHECK((axis.edges.empty() || axis.edges.size() + 1 == axis.labels.size()));
    CHECK(std::is_sorted(axis.edges.begin(), axis.edges.end()));
    CHECK_FALSE(axis.meaning.empty());
    for (std::string_view label : axis.labels) {
      CHECK(label.find('/') == std::string_view::npos);
      CHECK(labels.insert(label).second);
      CHECK(axis_of_label(label) == &axis);
    }
  }
}

TEST_CASE("a value on an edge belongs to the bin below, and what is no number to the last one") {
  const Axis& occupancy = *find_axis("occupancy");
  CHECK(bin_label(occupancy, 0) == "occ12");
  CHECK(bin_label(occupancy, 0.125) == "occ12");
  CHECK(bin_label(occupancy, 0.126) == "occ25");
  CHECK(bin_label(occupancy, 1) == "occ100");
  CHECK(bin_label(occupancy, std::numeric_limits<double>::quiet_NaN()) == "occ100");
}

TEST_CASE("axes are found by name; unknown ones, repeated ones and too many cells are refused") {
  CHECK(names_of(axes_named({})) == std::vector<std::string>{"movement", "compute", "split"});
  const std::vector<std::string> two{"split", "registers"};
  CHECK(names_of(axes_named(two)) == two);
  CHECK_THROWS_AS(axes_named(std::vector<std::string>{"colour"}), Error);
  CHECK_THROWS_AS(axes_named(std::vector<std::string>{"split", "split"}), Error);
  CHECK_THROWS_AS(axes_named(std::vector<std::string>{"movement", "compute", "split", "scope", "occupancy",
                                                      "registers", "access", "intensity"}),
                  Error);
}

TEST_CASE("every task's family has axes of its own, and a family without a row those of old runs") {
  const std::filesystem::path root = std::filesystem::path(KERNELITES_SOURCE_DIR) / "tasks";
  for (const std::string& name : list_tasks(root)) {
    INFO(name);
    const auto axes = axis_names_of_family(load_task(root / name).family);
    CHECK(axes != axis_names_of_family("no such family"));
    CHECK_NOTHROW(axes_named(axes));
  }
  CHECK(axis_names_of_family("no such family") == names_of(k_axes));
  CHECK(axis_names_of_family("norm") != axis_names_of_family("prefill"));
}

TEST_CASE("occupancy is limited by warps, registers or shared memory, whichever allows fewest blocks") {
  const DeviceFacts h100;
  CHECK(occupancy_of({.registers = 32, .threads = 256}, h100) == 1);
  CHECK(occupancy_of({.registers = 255, .threads = 256}, h100) == Approx(0.125));  // one block of 8 warps
  CHECK(occupancy_of({.registers = 128, .threads = 128}, h100) == Approx(0.25));   // 4 blocks
  CHECK(occupancy_of({.registers = 32, .threads = 128, .shared_bytes = 100'000}, h100) == Approx(0.125));
  CHECK(occupancy_of({.registers = 32, .threads = 32}, h100) == Approx(0.5));  // 32 blocks
  CHECK(occupancy_of({.registers = 32, .threads = 128, .shared_bytes = 300'000}, h100) == 0);
  DeviceFacts small;
  small.compute_capability = 89;
  small.shared_bytes_per_block_max = 101376;
  CHECK(occupancy_of({.registers = 40, .threads = 1024}, small) == Approx(32.0 / 48));
}

TEST_CASE("the scope is the widest exchange that the code holds") {
  CHECK(scope_label(with("fma"), false) == "thread");
  CHECK(scope_label(with("shfl"), false) == "warp");
  CHECK(scope_label(with("bar.sync"), false) == "block");
  CHECK(scope_label(with("atom.global"), false) == "blocks");
  CHECK(scope_label(with("fma"), true) == "blocks");
}
