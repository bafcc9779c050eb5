// SPDX-License-Identifier: Apache-2.0
// Rows that are compared.
#include "evaluators/worker/pipeline/row_sample.h"

#include <algorithm>
#include <set>

#include "evaluators/worker/contract/problem_source.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

Task rows_task() {
  Task task;
  task.dims = {{.name = "B"}, {.name = "S"}};
  task.rows = {"B", "S"};
  task.tensors = {{.name = "dk", .shape = {"S"}, .role = Role::output, .rows = {"S"}}};
  return task;
}

Workload shape(std::int64_t b, std::int64_t s) { return {.name = "w", .dims = {{"B", b}, {"S", s}}}; }

}  // namespace

TEST_CASE("all rows of every group are compared when all are wanted") {
  const RowLists rows = draw_rows(rows_task(), shape(2, 3), k_all_reference_rows, Key::fixed("a"));
  REQUIRE(rows.size() == 2);
  CHECK(rows[0] == std::vector<std::int64_t>{0, 1, 2, 3, 4, 5});
  CHECK(rows[1] == std::vector<std::int64_t>{0, 1, 2});
}

TEST_CASE("a sample has the first and the last row, and no row twice") {
  const RowLists rows = draw_rows(rows_task(), shape(10, 1000), 64, Key::fixed("a"));
  CHECK(rows[0].size() == 64);
  CHECK(std::set<std::int64_t>(rows[0].begin(), rows[0].end()).size() == 64);
  CHECK(rows[0].front() == 0);
  CHECK(rows[0].back() == 9999);
}

TEST_CASE("a sample of one row ends") {
  CHECK(draw_rows(rows_task(), shape(10, 1000), 1, Key::fixed("a"))[0].size() == 1);
}

TEST_CASE("another key draws other rows") {
  const auto drawn = [](const char* key) {
    return draw_rows(rows_task(), shape(10, 1000), 64, Key::fixed(key));
  };
  CHECK(drawn("a") == drawn("a"));
  CHECK(drawn("a") != drawn("b"));
}

TEST_CASE("a sample has rows at borders of tiles") {
  const RowLists rows = draw_rows(rows_task(), shape(50, 100000), 256, Key::fixed("a"));
  const auto at_border = std::count_if(rows[0].begin(), rows[0].end(), [](std::int64_t row) {
    const std::int64_t s = row % 100000;
    return s < 2 || (s >= 63 && s < 65) || (s >= 127 && s < 129) || s >= 99998;
  });
  CHECK(at_border >= 30);
  CHECK(at_border <= 120);
}
