// SPDX-License-Identifier: Apache-2.0
// Rules one by one, in one snapshot of the file.
#include "archive/run_check.h"

#include <fmt/format.h>

#include <map>

#include "archive/archive.h"
#include "archive/migrations.h"
#include "archive/rows.h"
#include "engine/core/digest.h"
#include "engine/core/error.h"

namespace kernelites {
namespace {

class Rule {
 public:
  explicit Rule(std::string rule) { check_.rule = std::move(rule); }
  void count(std::int64_t things = 1) { check_.checked += things; }
  void fail(std::string problem) {
    ++check_.problem_count;
    if (check_.problems.size() < k_check_problems_max) check_.problems.push_back(std::move(problem));
  }
  void expect(bool holds, const std::string& problem) {
    count();
    if (!holds) fail(problem);
  }
  RunCheck done() { return std::move(check_); }

 private:
  RunCheck check_;
};

RunCheck check_pages(Database& database) {
  Rule rule("the file's pages and indices are sound");
  rule.count(database.integer("PRAGMA page_count"));
  Statement rows = database.prepare("PRAGMA integrity_check");
  while (rows.step())
    if (const std::string problem = rows.text(0); problem != "ok") rule.fail(problem);
  return rule.done();
}

RunCheck check_references(Database& database) {
  Rule rule("every reference leads somewhere");
  rule.count(database.integer("SELECT count(*) FROM sqlite_schema WHERE type = 'table'"));
  Statement rows = database.prepare("PRAGMA foreign_key_check");
  while (rows.step())
    rule.fail(fmt::format("row {} of {} names a row of {} that is not there",
                          rows.is_null(1) ? 0 : rows.integer(1), rows.text(0), rows.text(2)));
  return rule.done();
}

RunCheck check_elites(Database& database) {
  Rule rule("elites are the replay of their history");
  std::map<std::string, Elite> replayed;
  Statement steps = database.prepare(
      fmt::format("SELECT status, {} FROM elite_history ORDER BY sequence", rows::k_elite_columns));
  while (steps.step()) {
    const Elite elite = rows::elite(steps, 1);
    rule.count();
    if (steps.text(0) == "withdrawn")
      replayed.erase(elite.cell);
    else
      replayed[elite.cell] = elite;
  }
  Statement now = database.prepare(fmt::format("SELECT {} FROM elite", rows::k_elite_columns));
  while (now.step()) {
    const Elite elite = rows::elite(now);
    const auto found = replayed.find(elite.cell);
    rule.expect(found != replayed.end() && found->second == elite,
                fmt::format("cell {} holds #{}, its history ends otherwise", elite.cell, elite.ordinal));
    if (found != replayed.end()) replayed.erase(found);
  }
  for (const auto& [cell, elite] : replayed)
    rule.fail(fmt::format("cell {} is empty, its history ends with #{}", cell, elite.ordinal));
  return rule.done();
}

RunCheck check_champions(Database& database) {
  Rule rule("champions are what their duels say");
  Statement rows_read = database.prepare(
      "SELECT h.workload, h.ordinal, h.candidate_id, h.speedup, h.timing, h.duel_id, e.ordinal, e.is_passed, "
      "e.body, "
      "c.id FROM champion h JOIN evaluation e ON e.request_id = h.duel_id JOIN candidate c ON c.ordinal = "
      "h.ordinal");
  while (rows_read.step()) {
    const Champion champion = rows::champion(rows_read);
    const std::string name = fmt::format("{} (#{})", champion.workload, champion.ordinal);
    rule.expect(rows_read.text(9) == champion.candidate_id,
                name + " names another candidate by number than by id");
    rule.expect(static_cast<std::uint64_t>(rows_read.integer(6)) == champion.ordinal,
                name + " has a duel of another candidate");
    rule.expect(!rows_read.is_null(7) && rows_read.integer(7) == 1, name + " has a duel that did not pass");
    if (rows_read.is_null(8)) continue;
    try {
      const Duel duel = rows::as<Duel>(rows::read_body(rows_read.text(8), "duel"));
      const auto timing = duel.timing.find(champion.workload);
      rule.expect(timing != duel.timing.end() && !timing->second.empty() &&
                      timing->second.front().time_us_median == champion.timing.time_us_median,
                  name + " has another time than its duel");
    } catch (const std::exception&) {
      rule.fail(name + " has a duel that cannot be read");
    }
  }
  return rule.done();
}

RunCheck check_candidates(Database& database) {
  Rule rule("digests of candidates and prompts match their contents");
  Statement candidates = database.prepare("SELECT ordinal, id, source, tuning, source_digest FROM candidate");
  while (candidates.step()) {
    const Candidate candidate{
        .source = candidates.text(2),
        .tuning = rows::as<std::map<std::string, std::int64_t>>(rows::read_json(candidates.text(3)))};
    rule.expect(candidate_id(candidate) == candidates.text(1),
                fmt::format("#{} is not what its id says", candidates.integer(0)));
    const std::string known = candidates.text(4);
    rule.expect(known.empty() || known == digest(candidate.source),
                fmt::format("#{} has the digest of another source", candidates.integer(0)));
  }
  Statement messages = database.prepare("SELECT digest, body FROM message");
  while (messages.step())
    rule.expect(digest(messages.text(1)) == messages.text(0),
                fmt::format("message {} is not what its digest says", messages.text(0).substr(0, 12)));
  return rule.done();
}

RunCheck check_bodies(Database& database) {
  Rule rule("every answer can be read");
  Statement rows_read =
      database.prepare(fmt::format("{} WHERE state = 'answered'", rows::k_evaluation_columns));
  while (rows_read.step()) {
    rule.count();
    try {
      const EvaluationRecord record = rows::evaluation(rows_read);
      if (!record.examination && !record.duel) rule.fail(record.request_id + " holds no result");
    } catch (const std::exception& error) {
      rule.fail(fmt::format("{}: {}", rows_read.text(0), error.what()));
    }
  }
  return rule.done();
}

RunCheck check_order(Database& database) {
  Rule rule("candidates were told one after another, and events have no gap");
  const auto no_gap = [&](const char* what, const char* sql) {
    Statement row = database.prepare(sql);
    if (!row.step()) return;
    rule.count(row.integer(0));
    // Unsigned: a foreign file may name numbers whose difference is beyond 63 bits.
    const auto distance =
        static_cast<std::uint64_t>(row.integer(1)) - static_cast<std::uint64_t>(row.integer(2));
    if (row.integer(0) > 0 && static_cast<std::uint64_t>(row.integer(0)) - 1 != distance)
      rule.fail(fmt::format("{} {} between {} and {}", row.integer(0), what, row.integer(2), row.integer(1)));
  };
  no_gap("told candidates",
         "SELECT count(told), coalesce(max(told), 0), coalesce(min(told), 1) FROM candidate");
  no_gap("events", "SELECT count(*), coalesce(max(sequence), 0), coalesce(min(sequence), 1) FROM event");
  return rule.done();
}

}  // namespace

std::vector<RunCheck> check_run(const std::filesystem::path& folder) {
  if (!Archive::exists(folder)) throw ConfigError(folder.string(), "", "there is no run here (no run.db)");
  Database file(folder / "run.db", Database::Mode::read_only);
  std::vector<RunCheck> checks;
  checks.push_back(check_pages(file));
  // What is broken on the level of pages is not read any further: it would end in the middle.
  if (!is_whole(checks)) return checks;
  if (archive_version(file) == k_schema_version) {
    file.execute("BEGIN");  // one snapshot; it ends with the connection
    for (const auto check :
         {check_references, check_elites, check_champions, check_candidates, check_bodies, check_order})
      checks.push_back(check(file));
    return checks;
  }
  Database copy = migrated_copy(folder / "run.db");
  for (const auto check :
       {check_references, check_elites, check_champions, check_candidates, check_bodies, check_order})
    checks.push_back(check(copy));
  return checks;
}

bool is_whole(const std::vector<RunCheck>& checks) {
  for (const RunCheck& check : checks)
    if (check.problem_count > 0) return false;
  return true;
}

}  // namespace kernelites
