// SPDX-License-Identifier: Apache-2.0
// A whole run's candidates, failures and refusals in short, beside the archive that writes them.
#include "archive/brief_rows.h"

#include "tests/support/catch.h"
#include "tests/unit/archive/scripted_run.h"

using namespace kernelites;

namespace {

BriefRows brief_rows_in(const TemporaryFolder& folder) {
  Database database(folder.database(), Database::Mode::read_only);
  return read_brief_rows(database);
}

}  // namespace

TEST_CASE("brief rows tell of every candidate who it came from and what became of it") {
  const TemporaryFolder folder;
  Archive archive = Archive::create(folder.path(), sample_run());
  continue_scripted_run(archive, 10);
  const BriefRows brief = brief_rows_in(folder);
  const std::vector<CandidateRecord> candidates = archive.candidates();
  REQUIRE(brief.candidates.size() == candidates.size());
  std::int64_t told = 0;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const CandidateRecord& record = candidates[i];
    CHECK(brief.candidates[i].ordinal == record.ordinal);
    CHECK(brief.candidates[i].outcome == record.outcome);
    CHECK(brief.candidates[i].told == record.told);
    CHECK(brief.candidates[i].operator_name == record.operator_name);
    if (record.parents.empty())
      CHECK(!brief.candidates[i].parent);
    else
      CHECK(brief.candidates[i].parent == archive.find_candidate(record.parents[0])->ordinal);
  }
  for (const auto& [outcome, count] : brief.outcomes) told += count;
  CHECK(told == archive.counters().told);
  CHECK(brief.rejections == std::map<std::string, std::int64_t>{{"no_code_block", 2}});
}

TEST_CASE("brief rows tell of candidates that are under way") {
  const TemporaryFolder folder;
  Archive archive = Archive::create(folder.path(), sample_run());
  add_candidate(archive, 1);
  const BriefRows brief = brief_rows_in(folder);
  REQUIRE(brief.candidates.size() == 1);
  CHECK(brief.candidates[0].told == 0);
  CHECK(brief.candidates[0].outcome.empty());
  CHECK(brief.outcomes.empty());
}

TEST_CASE("a failure is counted where the newest answer says it was") {
  const TemporaryFolder folder;
  Archive archive = Archive::create(folder.path(), sample_run());
  for (const std::uint64_t ordinal : {1, 2, 3}) {
    add_candidate(archive, ordinal);
    Examination examination = sample_examination(ordinal);
    if (ordinal < 3) examination.verdict = Verdict::failed("check", "numerical_mismatch", "");
    examine(archive, ordinal, examination);
    Duel late = sample_duel(0);
    late.verdict = Verdict::failed("time", "output_changed", "");
    if (ordinal == 3) duel(archive, ordinal, late);
    archive.tell({.ordinal = ordinal, .status = "failed", .elite = {}, .champions = {}});
  }
  archive.append_event({{"event", "judged"}, {"ordinal", 3}});
  const BriefRows brief = brief_rows_in(folder);
  REQUIRE(brief.failures.size() == 2);
  CHECK(brief.failures[0].reason == "numerical_mismatch");
  CHECK(brief.failures[0].count == 2);
  CHECK(brief.failures[1].stage == "time");
  CHECK(brief.judged.size() == 1);
  CHECK(brief.last_event == 1);
}

TEST_CASE("a revision changes when another connection has written, and only then") {
  const TemporaryFolder folder;
  Archive archive = Archive::create(folder.path(), sample_run());
  Database reader(folder.database(), Database::Mode::read_only);
  const std::int64_t before = run_revision(reader);
  CHECK(run_revision(reader) == before);
  add_candidate(archive, 1);
  CHECK(run_revision(reader) != before);
}
