// SPDX-License-Identifier: Apache-2.0
// Opinions about winners are kept with the run, beside its other events.
#include "engine/search/judgements.h"

#include "tests/support/catch.h"
#include "tests/support/small_task.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;

TEST_CASE("what a judge said is read back, and no answer stays no opinion") {
  const TemporaryFolder folder;
  RunRecord run;
  run.task = "scaled_rows";
  run.task_document = small_task_document();
  Archive archive = Archive::create(folder.path(), run);
  archive.append_event({{"event", "told"}, {"ordinal", 3}});
  const Judgement flagged = judgement_of(
      3, {"large_gain"}, Opinion{.is_flagged = true, .reason = "keeps_state", .lines = {4, 5}}, "some model");
  const Judgement silent = judgement_of(4, {"near_roofline"}, std::nullopt, "");
  archive.append_event(event_of(flagged));
  archive.append_event(event_of(silent));
  CHECK(judgements(archive) == std::vector<Judgement>{flagged, silent});
  CHECK(judgement_words(archive, 3) == "flagged: keeps_state, lines 4 5 (asked because of large_gain)");
  CHECK(judgement_words(archive, 4) == "no opinion (asked because of near_roofline)");
  CHECK(judgement_words(archive, 5).empty());
}
