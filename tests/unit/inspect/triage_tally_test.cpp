// SPDX-License-Identifier: Apache-2.0
// Triage is counted from what was told: who was left out, and of those timed all the same who entered.
#include "tools/inspect/triage_tally.h"

#include "tests/support/catch.h"
#include "tests/support/small_task.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;

TEST_CASE("a model is wrong where one that it put far behind was timed and entered, as elite or champion") {
  const TemporaryFolder folder;
  Archive archive =
      Archive::create(folder.path(), {.task = "scaled_rows", .task_document = small_task_document()});
  const auto tell = [&](const char* outcome, Json more) {
    Json event{{"event", "told"}, {"outcome", outcome}, {"champion_of", Json::array()}};
    event.update(more);
    archive.append_event(event);
  };
  tell("added", Json::object());  // never modelled
  tell("tie", {{"modelled_lag", 0.1}});
  tell("modelled_slow", {{"modelled_lag", 1.0}, {"triage", "left_out"}});
  tell("modelled_slow", {{"modelled_lag", 1.0}, {"triage", "left_out"}});
  tell("tie", {{"modelled_lag", 1.0}, {"triage", "timed"}});
  tell("improved", {{"modelled_lag", 1.0}, {"triage", "timed"}});
  tell("tie", {{"modelled_lag", 1.0}, {"triage", "timed"}, {"champion_of", {"wide"}}});
  const TriageTally tally = triage_tally(archive);
  CHECK(tally.modelled == 6);
  CHECK(tally.left_out == 2);
  CHECK(tally.timed == 3);
  CHECK(tally.wrong == 2);
  CHECK(
      triage_words(tally, {.mode = "skip"}) ==
      "skip: 2 of 6 modelled candidates left out; of 3 as far behind that were timed all the same 2 entered");
}
