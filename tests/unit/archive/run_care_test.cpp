// SPDX-License-Identifier: Apache-2.0
// Verify, compact, prune, merge: what they find, what they keep, and that a refusal changes nothing.
#include "archive/run_check.h"
#include "archive/run_merge.h"
#include "archive/run_prune.h"
#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/unit/archive/archive_samples.h"

using namespace kernelites;
namespace fs = std::filesystem;

namespace {

/// A candidate with examination, duel, a model call, and its end.
void add_told(Archive& archive, std::uint64_t ordinal, std::uint64_t content,
              const std::vector<std::string>& parents, const std::string& status,
              std::optional<double> fitness, const std::string& cell = "shared/fma/tile") {
  archive.record_variation(sample_variation(ordinal, parents));
  if (!parents.empty()) {
    ModelCallRecord call{
        .request_id = std::to_string(ordinal) + "-1", .ordinal = ordinal, .endpoint = "replay"};
    call.prompt = Json::array({{{"role", "user"}, {"text", "prompt " + std::to_string(ordinal)}}});
    archive.record_model_call(call);
    call.state = "answered";
    call.reply = std::string(1000, 'r');
    call.output_tokens = 10;
    archive.record_model_reply(call);
  }
  CandidateRecord record = sample_candidate(content);
  record.ordinal = record.variation = ordinal;
  archive.record_candidate(record);
  Examination examination = sample_examination(content);
  examination.counts.opcodes = {{"ld.global", 4}};
  examination.plans["wide"].launches.push_back({.kernel = "k"});
  examine(archive, ordinal, examination);
  duel(archive, ordinal, sample_duel(-0.1));
  Outcome outcome{.ordinal = ordinal, .status = status, .told_unix_s = 1};
  if (fitness) {
    outcome.elite = sample_elite(content, *fitness, cell);
    outcome.elite->ordinal = ordinal;
    outcome.elite->duel_id = std::to_string(ordinal) + "-duel";
    outcome.champions = {{.workload = "wide",
                          .ordinal = ordinal,
                          .candidate_id = record.id,
                          .speedup = *fitness,
                          .timing = {.time_us_median = 10, .samples = 30, .is_modelled = true},
                          .duel_id = std::to_string(ordinal) + "-duel"}};
  }
  archive.tell(outcome);
  archive.append_event({{"event", "told"}, {"ordinal", ordinal}});
}

/// A seed (content 1), a better child (content `content`), and one that led nowhere (content `content` + 1).
void make_run(const fs::path& folder, std::uint64_t content, double fitness, RunRecord run = sample_run()) {
  Archive archive = Archive::create(folder, run);
  const std::string seed = sample_candidate(1).id;
  add_told(archive, 1, 1, {}, "added", 1.0);
  add_told(archive, 2, content, {seed}, "improved", fitness);
  add_told(archive, 3, content + 1, {seed}, "tie", {});
}

std::string problems_of(const fs::path& folder) {
  std::string text;
  for (const RunCheck& check : check_run(folder))
    for (const std::string& problem : check.problems) text += check.rule + ": " + problem + "\n";
  return text;
}

void spoil(const fs::path& folder, const std::string& sql) {
  Database database(folder / "run.db", Database::Mode::read_write);
  database.execute("PRAGMA foreign_keys = OFF; " + sql);
}

std::string refusal_of(const std::vector<fs::path>& sources, const fs::path& target) {
  try {
    merge_runs(sources, target, false);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a run that nothing happened to is whole") {
  const TemporaryFolder folder;
  make_run(folder.path(), 2, 1.2);
  CHECK(problems_of(folder.path()).empty());
  for (const RunCheck& check : check_run(folder.path())) {
    CAPTURE(check.rule);
    CHECK(check.checked > 0);
  }
}

TEST_CASE("every kind of damage is found by its rule") {
  struct Row {
    const char *sql, *words;
  };
  const Row rows[] = {
      {"UPDATE elite SET fitness = 9",
       "elites are the replay of their history: cell shared/fma/tile holds #2"},
      {"DELETE FROM elite", "is empty, its history ends with #2"},
      {"UPDATE champion SET duel_id = '3-duel'",
       "champions are what their duels say: wide (#2) has a duel of another"},
      {"UPDATE champion SET timing = json_set(timing, '$.time_us_median', 1.0)",
       "has another time than its duel"},
      {"UPDATE candidate SET source = 'other' WHERE ordinal = 3", "#3 is not what its id says"},
      {"UPDATE message SET body = '{}'", "is not what its digest says"},
      {"UPDATE evaluation SET body = '{\"version\": 9}' WHERE request_id = '2-duel'",
       "every answer can be read: 2-duel"},
      {"DELETE FROM variation WHERE ordinal = 3", "every reference leads somewhere"},
      {"UPDATE candidate SET told = 9 WHERE ordinal = 3", "3 told candidates between 1 and 9"},
      {"DELETE FROM event WHERE sequence = 2", "2 events between 1 and 3"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.sql);
    const TemporaryFolder folder;
    make_run(folder.path(), 2, 1.2);
    spoil(folder.path(), row.sql);
    CHECK(problems_of(folder.path()).find(row.words) != std::string::npos);
    CHECK_FALSE(is_whole(check_run(folder.path())));
  }
}

TEST_CASE("pruning keeps winners and their ancestors whole, and of the others what counts") {
  const TemporaryFolder folder;
  make_run(folder.path(), 2, 1.2);
  const Spent before = Archive::open_read_only(folder.path()).spent();
  const PruneReport dry = prune_run(folder.path(), true);
  CHECK(dry.pruned == 1);
  CHECK(Archive::open_read_only(folder.path()).model_calls(3).at(0).reply.size() == 1000);
  const PruneReport report = prune_run(folder.path(), false);
  CHECK(report.kept_whole == 2);
  CHECK(report.pruned == 1);
  CHECK(report.evaluations >= 1);
  CHECK(report.model_calls == 1);
  CHECK(report.messages == 1);
  CHECK(report.bytes == dry.bytes);
  CHECK(problems_of(folder.path()).empty());
  const Archive archive = Archive::open_read_only(folder.path());
  CHECK(archive.spent().output_tokens == before.output_tokens);
  CHECK(archive.counters().passed == 3);
  CHECK(archive.model_calls(2).at(0).reply.size() == 1000);
  CHECK(archive.model_calls(3).at(0).reply.empty());
  CHECK(archive.evaluated(2)->examination->examination->plans.size() == 1);
  const Examination pruned = *archive.evaluated(3)->examination->examination;
  CHECK(pruned.plans.empty());
  CHECK(pruned.descriptors == sample_examination(3).descriptors);
  CHECK(archive.evaluated(3)->duel->duel->timing.at("wide").size() == 3);
  CHECK(archive.candidate(3)->candidate.source == sample_candidate(3).candidate.source);
}

TEST_CASE("pruning twice drops nothing more") {
  const TemporaryFolder folder;
  make_run(folder.path(), 2, 1.2);
  prune_run(folder.path(), false);
  const PruneReport again = prune_run(folder.path(), false);
  CHECK(again.evaluations == 0);
  CHECK(again.model_calls == 0);
  CHECK(again.bytes == 0);
}

TEST_CASE("compacting gives space back and keeps the run") {
  const TemporaryFolder folder;
  make_run(folder.path(), 2, 1.2);
  spoil(folder.path(),
        "CREATE TABLE large (text TEXT) STRICT; INSERT INTO large VALUES (randomblob(4) || "
        "hex(zeroblob(500000)));"
        "DROP TABLE large");
  const CompactReport dry = compact_run(folder.path(), true);
  CHECK(dry.bytes_after < dry.bytes_before - 500000);
  const CompactReport report = compact_run(folder.path(), false);
  CHECK(report.bytes_after < report.bytes_before - 500000);
  CHECK(problems_of(folder.path()).empty());
  CHECK(Archive::open_read_only(folder.path()).candidates().size() == 3);
}

TEST_CASE("a run that another process writes is neither compacted nor pruned") {
  const TemporaryFolder folder;
  const Archive writer = Archive::create(folder.path(), sample_run());
  CHECK_THROWS_AS(compact_run(folder.path(), false), ConfigError);
  CHECK_THROWS_AS(prune_run(folder.path(), true), ConfigError);
}

TEST_CASE("two runs become one that holds the candidates of both and the better elite") {
  const TemporaryFolder folder;
  make_run(folder.path() / "a", 2, 1.2);
  make_run(folder.path() / "b", 12, 1.5);
  const fs::path both = folder.path() / "both";
  const MergeReport report = merge_runs({folder.path() / "a", folder.path() / "b"}, both, false);
  CHECK(report.candidates == 5);  // the seed is in both
  CHECK(report.common == 1);
  CHECK(report.elites == 1);
  CHECK(report.contested == 2);  // the cell and the workload
  CHECK(report.reopened == 1);
  CHECK(problems_of(both).empty());
  const Archive archive = Archive::open(both);
  const Elite elite = archive.grid().elites().at(0);
  CHECK(elite.candidate_id == sample_candidate(12).id);
  CHECK(elite.ordinal == 5);
  CHECK(elite.duel_id == "r2-2-duel");
  CHECK(archive.champions().at(0).candidate_id == sample_candidate(12).id);
  // The one that lost without a duel is open again and keeps its examination.
  const auto open = archive.unfinished_candidates();
  REQUIRE(open.size() == 1);
  CHECK(open[0].id == sample_candidate(2).id);
  CHECK(archive.evaluated(2)->examination);
  CHECK(archive.spent().output_tokens == 40);
  CHECK(archive.last_told() == 4);
  CHECK(archive.lineage(5).back().ordinal == 1);
  CHECK(archive.next_ordinal() == 7);
  CHECK(archive.model_calls(5).at(0).request_id == "r2-2-1");
  CHECK(Archive::open_read_only(folder.path() / "a").candidates().size() == 3);
}

TEST_CASE("cells that only one run holds keep their history") {
  const TemporaryFolder folder;
  make_run(folder.path() / "a", 2, 1.2);
  {
    Archive archive = Archive::create(folder.path() / "b", sample_run());
    add_told(archive, 1, 1, {}, "added", 1.0);
    add_told(archive, 2, 12, {sample_candidate(1).id}, "added", 1.1, "direct/fma/tile");
  }
  const fs::path both = folder.path() / "both";
  CHECK(merge_runs({folder.path() / "a", folder.path() / "b"}, both, false).elites == 2);
  const Archive archive = Archive::open_read_only(both);
  CHECK(archive.elite_history().size() == 3);  // two steps of the first cell, one of the second
  // The one that lost the workload holds a cell still: elites are not taken from the grid.
  CHECK(archive.unfinished_candidates().empty());
}

TEST_CASE("runs that cannot be compared are not merged, and nothing is left behind") {
  const TemporaryFolder folder;
  make_run(folder.path() / "a", 2, 1.2);
  RunRecord other = sample_run();
  other.task_digest = "task-2";
  make_run(folder.path() / "b", 12, 1.5, other);
  make_run(folder.path() / "c", 12, 1.5);
  spoil(folder.path() / "c", "UPDATE evaluation SET device = 'NVIDIA H100' WHERE ordinal = 2");
  make_run(folder.path() / "d", 12, 1.5);
  spoil(folder.path() / "d", "UPDATE run SET model_key = 'another'");
  spoil(folder.path() / "d", "UPDATE elite SET is_modelled = 1");
  const fs::path both = folder.path() / "both";
  CHECK(refusal_of({folder.path() / "a", folder.path() / "d"}, both).find("model_key") != std::string::npos);
  CHECK(refusal_of({folder.path() / "a", folder.path() / "b"}, both).find("task") != std::string::npos);
  CHECK(refusal_of({folder.path() / "a", folder.path() / "c"}, both).find("device") != std::string::npos);
  CHECK(refusal_of({folder.path() / "a"}, both).find("at least two") != std::string::npos);
  CHECK(refusal_of({folder.path() / "a", folder.path() / "nowhere"}, both).find("no run here") !=
        std::string::npos);
  CHECK(refusal_of({folder.path() / "a", folder.path() / "c"}, folder.path() / "a").find("exists") !=
        std::string::npos);
  CHECK_FALSE(fs::exists(both));
  CHECK_FALSE(fs::exists(folder.path() / "both.merging"));
}

TEST_CASE("a dry merge reports and makes nothing") {
  const TemporaryFolder folder;
  make_run(folder.path() / "a", 2, 1.2);
  make_run(folder.path() / "b", 12, 1.5);
  CHECK(merge_runs({folder.path() / "a", folder.path() / "b"}, folder.path() / "both", true).candidates == 5);
  CHECK_FALSE(fs::exists(folder.path() / "both"));
  merge_runs({folder.path() / "a", folder.path() / "b"}, folder.path() / "new" / "both/", true);
  CHECK_FALSE(fs::exists(folder.path() / "new"));
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 2);
}

TEST_CASE("a merge takes a path with a slash at its end and leaves what lies beside alone") {
  const TemporaryFolder folder;
  make_run(folder.path() / "a", 2, 1.2);
  make_run(folder.path() / "b", 12, 1.5);
  fs::create_directories(folder.path() / "new" / "both.merging" / "mine");
  merge_runs({folder.path() / "a", folder.path() / "b"}, folder.path() / "new" / "both/", false);
  CHECK(problems_of(folder.path() / "new" / "both").empty());
  CHECK(fs::exists(folder.path() / "new" / "both.merging" / "mine"));
  CHECK(std::distance(fs::directory_iterator(folder.path() / "new"), {}) == 2);
}

TEST_CASE("every ordinal in a merged event names the candidate or variation that it named before") {
  const TemporaryFolder folder;
  make_run(folder.path() / "a", 2, 1.2);
  make_run(folder.path() / "b", 12, 1.5);
  {
    Archive b = Archive::open(folder.path() / "b");
    b.append_event({{"event", "asked"}, {"ordinal", 1}, {"parent", 1}});
    b.append_event({{"event", "asked"}, {"ordinal", 3}, {"parent", 2}});
    b.append_event({{"event", "handed_in"}, {"ordinal", 1}, {"variation", 3}});
    b.append_event({{"event", "told"}, {"ordinal", 3}, {"same_code_as", 1}});
    b.append_event({{"event", "told"}, {"ordinal", 3}, {"same_code_as", 0}});
    b.append_event({{"event", "incident"}, {"message", "m"}});
  }
  merge_runs({folder.path() / "a", folder.path() / "b"}, folder.path() / "both", false);
  Database both(folder.path() / "both" / "run.db", Database::Mode::read_only);
  Statement rows =
      both.prepare("SELECT coalesce(ordinal, 0), body FROM event ORDER BY sequence DESC LIMIT 6");
  // The seed, #1 of both, stays #1; variations and other candidates of the second run are three further.
  const std::pair<std::int64_t, Json> expected[] = {
      {0, {{"event", "incident"}, {"message", "m"}}},
      {6, {{"event", "told"}, {"ordinal", 6}, {"same_code_as", 0}}},
      {6, {{"event", "told"}, {"ordinal", 6}, {"same_code_as", 1}}},
      {1, {{"event", "handed_in"}, {"ordinal", 1}, {"variation", 6}}},
      {6, {{"event", "asked"}, {"ordinal", 6}, {"parent", 5}}},
      {4, {{"event", "asked"}, {"ordinal", 4}, {"parent", 1}}},
  };
  for (const auto& [ordinal, body] : expected) {
    REQUIRE(rows.step());
    CHECK(rows.integer(0) == ordinal);
    CHECK(Json::parse(rows.text(1)) == body);
  }
}
