// SPDX-License-Identifier: Apache-2.0
// Making a run's file smaller: space that nothing uses, and long texts of candidates that led nowhere.
#include "archive/run_prune.h"

#include <fmt/format.h>

#include "archive/archive.h"
#include "archive/migrations.h"
#include "archive/rows.h"
#include "archive/run_lock.h"
#include "engine/core/error.h"

namespace kernelites {
namespace {

std::filesystem::path database_file(const std::filesystem::path& folder) { return folder / "run.db"; }

std::int64_t bytes_on_disk(const std::filesystem::path& folder) {
  std::int64_t bytes = 0;
  for (const char* name : {"run.db", "run.db-wal"}) {
    std::error_code missing;
    const auto size = std::filesystem::file_size(folder / name, missing);
    if (!missing) bytes += static_cast<std::int64_t>(size);
  }
  return bytes;
}

void refuse_missing(const std::filesystem::path& folder) {
  if (!Archive::exists(folder)) throw ConfigError(folder.string(), "", "there is no run here (no run.db)");
}

/// Who keeps everything: candidates that hold or held something, what they came from, and whatever is not finished.
constexpr const char* k_find_kept =
    "CREATE TEMP TABLE kept AS WITH RECURSIVE line(id) AS ("
    "  SELECT candidate_id FROM elite_history UNION SELECT candidate_id FROM champion"
    "  UNION SELECT c.id FROM candidate c JOIN variation v ON v.ordinal = c.variation WHERE v.operator_name "
    "= 'seed'"
    "  UNION SELECT id FROM candidate WHERE state <> 'done'"
    "  UNION SELECT p.parent_id FROM line JOIN candidate c ON c.id = line.id"
    "    JOIN variation_parent p ON p.ordinal = c.variation AND p.role = 'parent')"
    "SELECT c.ordinal, c.variation FROM line JOIN candidate c ON c.id = line.id;"
    "CREATE INDEX temp.kept_ordinal ON kept (ordinal);"
    "CREATE TEMP TABLE kept_variation AS SELECT DISTINCT variation AS ordinal FROM kept"
    "  UNION SELECT ordinal FROM variation WHERE state = 'open';"
    // What a variation handed in may be a candidate of an earlier one.
    "INSERT INTO kept_variation SELECT v.ordinal FROM variation v JOIN kept k "
    "  ON k.ordinal = json_extract(v.decision, '$.submitted')";

std::string pruned_body(const EvaluationRecord& record) {
  if (record.verb == "examine") {
    Examination examination = *record.examination;
    examination.plans.clear();
    examination.counts.opcodes.clear();
    examination.notes.clear();
    examination.stages.clear();
    examination.counters.clear();
    return rows::write_body("examination", examination);
  }
  Duel duel = *record.duel;
  duel.modelled.clear();
  duel.notes.clear();
  return rows::write_body("duel", duel);
}

void prune_evaluations(Database& database, PruneReport& report) {
  std::vector<std::pair<std::string, std::string>> bodies;
  {
    Statement rows_read = database.prepare(
        fmt::format("{} WHERE state = 'answered' AND ordinal NOT IN (SELECT ordinal FROM temp.kept)",
                    rows::k_evaluation_columns));
    while (rows_read.step()) {
      const std::string before = rows_read.text(10);
      std::string after = pruned_body(rows::evaluation(rows_read));
      if (after.size() >= before.size()) continue;
      report.bytes += static_cast<std::int64_t>(before.size() - after.size());
      bodies.emplace_back(rows_read.text(0), std::move(after));
    }
  }
  report.evaluations = static_cast<std::int64_t>(bodies.size());
  for (const auto& [request, body] : bodies)
    database.prepare("UPDATE evaluation SET body = ?2 WHERE request_id = ?1").bind(request, body).run();
}

void prune_calls(Database& database, PruneReport& report) {
  constexpr const char* k_which =
      "state <> 'sent' AND ordinal NOT IN (SELECT ordinal FROM temp.kept_variation) AND (reply <> '' OR "
      "prompt <> '[]')";
  report.bytes += database.integer(fmt::format(
      "SELECT coalesce(sum(length(reply) + length(prompt) + length(tool_calls)), 0) FROM model_call WHERE {}",
      k_which));
  report.model_calls =
      database
          .prepare(fmt::format("UPDATE model_call SET reply = '', prompt = '[]', tool_calls = '[]' WHERE {}",
                               k_which))
          .run();
  database.execute(
      "CREATE TEMP TABLE named_message AS SELECT DISTINCT j.value AS digest FROM model_call m, "
      "json_each(m.prompt) j "
      "WHERE j.type = 'text'");
  constexpr const char* k_unnamed = "digest NOT IN (SELECT digest FROM temp.named_message)";
  report.bytes +=
      database.integer(fmt::format("SELECT coalesce(sum(length(body)), 0) FROM message WHERE {}", k_unnamed));
  report.messages = database.prepare(fmt::format("DELETE FROM message WHERE {}", k_unnamed)).run();
}

}  // namespace

namespace {

/// REQUIRES: the caller holds the run's lock.
CompactReport compact_locked(const std::filesystem::path& folder, bool is_dry) {
  CompactReport report{.bytes_before = bytes_on_disk(folder), .bytes_after = 0};
  Database database(database_file(folder), is_dry ? Database::Mode::read_only : Database::Mode::read_write);
  report.version_before = archive_version(database);
  if (is_dry) {
    report.bytes_after = database.integer("PRAGMA page_size") *
                         (database.integer("PRAGMA page_count") - database.integer("PRAGMA freelist_count"));
    return report;
  }
  migrate(database, migrations());
  database.execute("VACUUM");
  database.text("PRAGMA wal_checkpoint(TRUNCATE)");
  report.bytes_after = bytes_on_disk(folder);
  return report;
}

}  // namespace

CompactReport compact_run(const std::filesystem::path& folder, bool is_dry) {
  refuse_missing(folder);
  const RunLock lock(folder);
  return compact_locked(folder, is_dry);
}

PruneReport prune_run(const std::filesystem::path& folder, bool is_dry) {
  refuse_missing(folder);
  const RunLock lock(
      folder);  // for both: a run that began in between would make a pruned one look like a failure
  PruneReport report;
  {
    Database database(database_file(folder), Database::Mode::read_write);
    Transaction transaction(database);
    // A dry run of an older format looks at it as it would be; nothing is committed.
    migrate_within(database, migrations());
    database.execute(k_find_kept);
    report.kept_whole = database.integer("SELECT count(*) FROM temp.kept");
    report.pruned = database.integer("SELECT count(*) FROM candidate") - report.kept_whole;
    prune_evaluations(database, report);
    prune_calls(database, report);
    if (!is_dry) {
      database.prepare("INSERT INTO event (event, body) VALUES ('pruned', ?1)")
          .bind(rows::write_json(Json{{"event", "pruned"},
                                      {"candidates", report.pruned},
                                      {"evaluations", report.evaluations},
                                      {"model_calls", report.model_calls}}))
          .run();
      transaction.commit();
    }
  }
  report.compacted = compact_locked(folder, is_dry);
  return report;
}

}  // namespace kernelites
