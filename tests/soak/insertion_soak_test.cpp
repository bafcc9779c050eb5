// SPDX-License-Identifier: Apache-2.0
// A million random insertions: what must never happen is looked for after each.
#include <fmt/format.h>

#include <iostream>

#include "tests/support/catch.h"
#include "tests/support/random_insertions.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;

TEST_CASE("a million random candidates lose and worsen no elite, and a reopened archive is the same") {
  const TemporaryFolder folder;
  RunRecord run;
  run.task = "random";
  run.configuration = {{"axes", axis_names_of_family("decode")}};
  Archive archive = Archive::create(folder.path(), run);
  RandomInsertions search(3, &archive, 0.01);
  for (int i = 1; i <= 1'000'000; ++i) {
    search.step();
    if (i % 100'000 == 0) search.check_reopened(Archive::open_read_only(folder.path()));
  }
  const Counters counters = archive.counters();
  std::cout << fmt::format("{} changes, {} withdrawals, {} candidates in the archive; {} of {} cells\n",
                           search.changes(), search.withdrawals(), counters.candidates,
                           search.grid().elite_count(), search.grid().cell_count());
  CHECK(search.changes() > 1000);
  CHECK(search.withdrawals() > 20);
  CHECK(counters.candidates > 5000);
}
