// SPDX-License-Identifier: Apache-2.0
// Rows that are compared.
#include "evaluators/worker/pipeline/evaluation_context.h"

#include <set>

#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

TEST_CASE("all rows are compared when as many are wanted") {
  CHECK(draw_rows(4, 10, Key::fixed("a")) == std::vector<std::int64_t>{0, 1, 2, 3});
}

TEST_CASE("a sample of rows always has the first and the last, and no row twice") {
  const auto rows = draw_rows(10000, 64, Key::fixed("a"));
  CHECK(rows.size() == 64);
  CHECK(std::set<std::int64_t>(rows.begin(), rows.end()).size() == 64);
  CHECK(rows.front() == 0);
  CHECK(rows.back() == 9999);
}

TEST_CASE("another key draws other rows") {
  CHECK(draw_rows(10000, 64, Key::fixed("a")) != draw_rows(10000, 64, Key::fixed("b")));
}
