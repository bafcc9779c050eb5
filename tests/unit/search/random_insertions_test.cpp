// SPDX-License-Identifier: Apache-2.0
// Grid, champions and archive under random insertions; the long form is in tests/soak.
#include "tests/support/random_insertions.h"

#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;

namespace {

RunRecord random_run() {
  RunRecord run;
  run.task = "random";
  run.configuration = {{"axes", axis_names_of_family("decode")}};
  return run;
}

}  // namespace

TEST_CASE("of 10,000 random candidates no elite is lost or worsened, and champions and figures are right") {
  RandomInsertions search(7);
  for (int i = 0; i < 10'000; ++i) search.step();
  CHECK(search.grid().coverage() > 0.9);
  CHECK(search.changes() > 500);
}

TEST_CASE(
    "an archive that random candidates are told to holds what memory holds, however often it is reopened") {
  const TemporaryFolder folder;
  auto archive = std::make_unique<Archive>(Archive::create(folder.path(), random_run()));
  RandomInsertions search(11, archive.get());
  for (int i = 1; i <= 200; ++i) {
    search.step();
    if (i % 50 == 0) search.check_reopened(Archive::open_read_only(folder.path()));
  }
  archive.reset();
  search.check_reopened(Archive::open(folder.path()));
}
