// SPDX-License-Identifier: Apache-2.0
// Elites, champions, lineage and look-ups.
#include "archive/progress.h"
#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/unit/archive/archive_samples.h"

using namespace kernelites;

namespace {

/// Candidates 1 to `count`, each a child of the one before, all examined and dueled.
struct Fixture {
  explicit Fixture(std::uint64_t count) {
    std::vector<std::string> parents;
    for (std::uint64_t ordinal = 1; ordinal <= count; ++ordinal) {
      parents = {add_candidate(archive, ordinal, parents)};
      examine(archive, ordinal, sample_examination(ordinal));
      duel(archive, ordinal, sample_duel(-0.1));
    }
  }
  void tell_elite(std::uint64_t ordinal, double fitness, std::vector<Champion> champions = {}) {
    archive.tell({.ordinal = ordinal,
                  .status = "improved",
                  .elite = sample_elite(ordinal, fitness),
                  .champions = std::move(champions)});
  }
  TemporaryFolder folder;
  Archive archive = Archive::create(folder.path(), sample_run());
};

Champion sample_champion(std::uint64_t ordinal) {
  return {.workload = "wide",
          .ordinal = ordinal,
          .candidate_id = sample_candidate(ordinal).id,
          .speedup = 1.5,
          .timing = {.time_us_median = 10.5, .time_us_p10 = 10, .time_us_p90 = 11, .samples = 30},
          .duel_id = std::to_string(ordinal) + "-duel"};
}

}  // namespace

TEST_CASE("an elite that is told is the grid's and enters the history") {
  Fixture f(2);
  f.tell_elite(1, 1.0);
  f.tell_elite(2, 1.25);
  const Grid grid = f.archive.grid();
  CHECK(grid.elite_count() == 1);
  CHECK(*grid.find("shared/fma/tile") == sample_elite(2, 1.25));
  const auto history = f.archive.elite_history();
  REQUIRE(history.size() == 2);
  CHECK(history[0].status == "added");
  CHECK(history[0].elite == sample_elite(1, 1.0));
  CHECK(history[1].status == "improved");
}

TEST_CASE("an elite whose duel is not recorded is refused together with its telling") {
  Fixture f(1);
  Elite elite = sample_elite(1, 1.0);
  elite.duel_id = "nowhere";
  CHECK_THROWS_AS(f.archive.tell({.ordinal = 1, .status = "added", .elite = elite}), Error);
  CHECK(f.archive.candidate(1)->state == "dueling");
  CHECK(f.archive.elite_history().empty());
  CHECK(f.archive.grid().elite_count() == 0);
}

TEST_CASE("the history of elites can be neither changed nor deleted") {
  Fixture f(1);
  f.tell_elite(1, 1.0);
  Database database(f.folder.database(), Database::Mode::read_write);
  CHECK_THROWS_WITH(database.execute("DELETE FROM elite_history"), Catch::Contains("append-only"));
  CHECK_THROWS_WITH(database.execute("UPDATE elite_history SET fitness = 9"), Catch::Contains("append-only"));
}

TEST_CASE("a withdrawn elite leaves its cell and its championships but stays in the history") {
  Fixture f(1);
  f.tell_elite(1, 1.0, {sample_champion(1)});
  f.archive.withdraw_elite("shared/fma/tile", "fails under harness 2");
  CHECK(f.archive.grid().elite_count() == 0);
  CHECK(f.archive.champions().empty());
  const auto history = f.archive.elite_history();
  REQUIRE(history.size() == 2);
  CHECK(history[1].status == "withdrawn");
  CHECK(history[1].reason == "fails under harness 2");
  CHECK(history[1].elite.ordinal == 1);
}

TEST_CASE("a renewed elite keeps its cell under its new provenance") {
  Fixture f(1);
  f.tell_elite(1, 1.0);
  Elite renewed = sample_elite(1, 1.2);
  renewed.harness_version = "2";
  f.archive.renew_elite(renewed);
  CHECK(*f.archive.grid().find("shared/fma/tile") == renewed);
  CHECK(f.archive.elite_history().back().status == "renewed");
}

TEST_CASE("a champion comes back with its timing and gives way to the next") {
  Fixture f(2);
  f.tell_elite(1, 1.0, {sample_champion(1)});
  REQUIRE(f.archive.champions().size() == 1);
  CHECK(f.archive.champions()[0].timing.time_us_p90 == 11);
  CHECK(f.archive.champions()[0].speedup == 1.5);
  f.archive.tell({.ordinal = 2, .status = "tie", .champions = {sample_champion(2)}});
  REQUIRE(f.archive.champions().size() == 1);
  CHECK(f.archive.champions()[0].ordinal == 2);
}

TEST_CASE("lineage goes back to the seed") {
  Fixture f(3);
  const auto line = f.archive.lineage(3);
  REQUIRE(line.size() == 3);
  CHECK(line[0].ordinal == 3);
  CHECK(line[2].ordinal == 1);
  CHECK(f.archive.lineage(99).empty());
}

TEST_CASE("a candidate is found by a prefix of its id, not by a pattern or a shorter text") {
  Fixture f(2);
  const std::string id = sample_candidate(2).id;
  REQUIRE(f.archive.find_candidate(id.substr(0, 8)));
  CHECK(f.archive.find_candidate(id.substr(0, 8))->ordinal == 2);
  CHECK(f.archive.find_candidate(id)->ordinal == 2);
  CHECK_FALSE(f.archive.find_candidate(id.substr(0, 3)));
  CHECK_FALSE(f.archive.find_candidate("%%%%"));
  CHECK_FALSE(f.archive.find_candidate(id + "0"));
}

TEST_CASE("failures of a parent are told children that did not pass, newest first") {
  Fixture f(1);
  const std::string parent = sample_candidate(1).id;
  Examination failed = sample_examination(2);
  failed.verdict = Verdict::failed("compile", "syntax", "");
  for (std::uint64_t ordinal : {2, 3, 4, 5}) {
    add_candidate(f.archive, ordinal, {parent});
    examine(f.archive, ordinal, ordinal == 3 ? sample_examination(3) : failed);
  }
  for (std::uint64_t ordinal : {4, 2, 3}) f.archive.tell({.ordinal = ordinal, .status = "failed"});
  const auto failures = f.archive.recent_failures(parent, 10);
  REQUIRE(failures.size() == 2);
  CHECK(failures[0].record.ordinal == 2);
  CHECK(failures[1].record.ordinal == 4);
  CHECK(failures[0].examination->examination->verdict.reason == "syntax");
  CHECK(f.archive.recent_failures(parent, 1).size() == 1);
}

TEST_CASE("equal code is found under another candidate only if it passed") {
  Fixture f(1);
  add_candidate(f.archive, 2);
  Examination failed = sample_examination(2);
  failed.verdict = Verdict::failed("check", "wrong", "");
  examine(f.archive, 2, failed);
  CHECK(f.archive.first_with_code("code-1", 7) == 1u);
  CHECK_FALSE(f.archive.first_with_code("code-1", 1));
  CHECK_FALSE(f.archive.first_with_code("code-2", 7));
  CHECK_FALSE(f.archive.first_with_code("", 7));
}

TEST_CASE("a later candidate with the same code counts only once its duel was sent") {
  Fixture f(1);
  for (std::uint64_t ordinal : {2, 3}) {
    add_candidate(f.archive, ordinal);
    examine(f.archive, ordinal, sample_examination(9));
  }
  CHECK_FALSE(f.archive.first_with_code("code-9", 2));
  CHECK(f.archive.first_with_code("code-9", 3) == 2u);
  f.archive.record_request_sent(sample_request(3, "duel"));
  CHECK(f.archive.first_with_code("code-9", 2) == 3u);
  f.archive.record_request_failed("3-duel", "the worker is gone", 0, 0);
  CHECK_FALSE(f.archive.first_with_code("code-9", 2));
}

TEST_CASE("what a writer says is spent is what a reader sums, after every kind of write") {
  Fixture f(2);
  const auto check_spent = [&] {
    const Spent kept = f.archive.spent();
    const Spent summed = Archive::open_read_only(f.folder.path()).spent();
    CHECK(kept.candidates == summed.candidates);
    CHECK(kept.seeds == summed.seeds);
    CHECK(kept.model_calls == summed.model_calls);
    CHECK(kept.input_tokens == summed.input_tokens);
    CHECK(kept.output_tokens == summed.output_tokens);
    CHECK(kept.tokens_most == summed.tokens_most);
    CHECK(kept.usd == Approx(summed.usd));
    CHECK(kept.usd_most == Approx(summed.usd_most));
    CHECK(kept.worker_s == Approx(summed.worker_s));
    CHECK(kept.device_s == Approx(summed.device_s));
    CHECK(kept.wall_s == summed.wall_s);
  };
  check_spent();
  add_candidate(f.archive, 3);
  check_spent();
  ModelCallRecord call{
      .request_id = "3-0", .ordinal = 3, .prompt = Json::array(), .tokens_most = 900, .usd_most = 0.3};
  f.archive.record_model_call(call);
  f.archive.record_model_call_again("3-0", 100, 0.1);
  check_spent();
  call.input_tokens = 70;
  call.output_tokens = 7;
  call.usd = call.usd_most = 0.02;
  call.tokens_most = 77;
  CHECK(f.archive.record_model_reply(call));
  CHECK_FALSE(f.archive.record_model_reply(call));
  check_spent();
  examine(f.archive, 3, sample_examination(3));
  f.archive.record_request_sent(sample_request(3, "duel"));
  f.archive.record_request_failed("3-duel", "gone", 2.5, 1.5);
  f.archive.set_wall_s(12);
  check_spent();
}

TEST_CASE("a run has the axes that its configuration names, and one that names none the first three") {
  Fixture old_run(1);
  old_run.tell_elite(1, 1.0);
  CHECK(old_run.archive.grid().cell_count() == 48);
  CHECK(old_run.archive.grid().find("shared/fma/tile")->ordinal == 1);
  const TemporaryFolder folder;
  RunRecord run = sample_run();
  run.configuration["axes"] = {"scope", "occupancy"};
  Archive archive = Archive::create(folder.path(), run);
  add_candidate(archive, 1);
  duel(archive, 1, sample_duel(-0.1));
  archive.tell({.ordinal = 1, .status = "added", .elite = sample_elite(1, 1.5, "warp/occ50")});
  CHECK(Archive::open_read_only(folder.path()).grid().elites() == archive.grid().elites());
  CHECK(archive.grid().cell_count() == 16);
  CHECK(archive.grid().find("warp/occ50")->fitness == 1.5);
}

TEST_CASE("rejections are found by ordinal and their parents by reason") {
  Fixture f(2);
  f.archive.record_variation(sample_variation(3, {sample_candidate(2).id, sample_candidate(1).id}));
  f.archive.record_rejection({3, "tune_exhausted", "nothing left"});
  CHECK(f.archive.rejection(3)->message == "nothing left");
  CHECK_FALSE(f.archive.rejection(2));
  CHECK(f.archive.parents_rejected_for("tune_exhausted") == std::vector<std::string>{sample_candidate(2).id});
  CHECK(f.archive.parents_rejected_for("no_code_block").empty());
}

TEST_CASE(
    "progress is the grid after each telling; who was withdrawn since lowers the score and was never the "
    "best") {
  Fixture f(4);
  f.tell_elite(1, 1.0);  // the seed
  f.tell_elite(3, 2.0);
  f.archive.tell({.ordinal = 2, .status = "tie"});
  f.archive.withdraw_elite("shared/fma/tile", "disproved");
  f.archive.tell({.ordinal = 4, .status = "failed"});
  const std::vector<ProgressPoint> points = progress_of(f.archive);
  REQUIRE(points.size() == 4);
  CHECK(points[0].best == 1);
  CHECK(points[1].best == 1);
  CHECK(points[1].qd_score == 2);
  CHECK((points[0].best_ordinal == 1 && points[1].best_ordinal == 1 && points[3].best_ordinal == 1));
  CHECK(points[2].evaluations == 2);
  CHECK(points[3].best == 1);
  CHECK(points[3].qd_score == 0);
  CHECK(mean_over(points, &ProgressPoint::best, 3) == 1);
  CHECK(mean_over(points, &ProgressPoint::qd_score, 4) == Approx(1));  // goes on as it ended
  CHECK(point_at(points, 99).evaluations == 3);
}

TEST_CASE("counters count candidates, not requests") {
  Fixture f(2);
  EvaluationRecord again = sample_request(1, "duel");
  again.request_id = "1-confirm";
  f.archive.record_request_sent(again);
  f.archive.record_duel("1-confirm", sample_duel(-0.1), sample_provenance(), 1, 1);
  const Counters counters = f.archive.counters();
  CHECK(counters.variations == 2);
  CHECK(counters.candidates == 2);
  CHECK(counters.examined == 2);
  CHECK(counters.passed == 2);
  CHECK(counters.dueled == 2);
  CHECK(counters.told == 0);
  CHECK(f.archive.spent().seeds == 1);
}

TEST_CASE("a body of an unknown version is refused by name") {
  Fixture f(1);
  Database(f.folder.database(), Database::Mode::read_write)
      .execute(R"(UPDATE evaluation SET body = '{"version": 2, "examination": {}}' WHERE verb = 'examine')");
  CHECK_THROWS_WITH(f.archive.evaluated(1), Catch::Contains("not version 1 of \"examination\""));
}

TEST_CASE("stored JSON of another shape, or nested without end, is damage in words") {
  Fixture f(1);
  const auto spoil = [&](const std::string& body) {
    Database database(f.folder.database(), Database::Mode::read_write);
    database.prepare("UPDATE evaluation SET body = ?1 WHERE verb = 'examine'").bind(body).run();
  };
  spoil(R"({"version": 1, "examination": {"verdict": 3}})");
  CHECK_THROWS_AS(f.archive.evaluated(1), Error);
  spoil(R"({"version": "one", "examination": {}})");
  CHECK_THROWS_WITH(f.archive.evaluated(1), Catch::Contains("not version 1 of \"examination\""));
  spoil(std::string(200000, '['));
  CHECK_THROWS_WITH(f.archive.evaluated(1), Catch::Contains("nests too deep"));
}
