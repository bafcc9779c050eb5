// SPDX-License-Identifier: Apache-2.0
// Queries that are answered from indexes and the short beginnings of rows.
#include "archive/brief_rows.h"

namespace kernelites {
namespace {

std::uint64_t ordinal_at(const Statement& row, int column) {
  return static_cast<std::uint64_t>(row.integer(column));
}

/// Ordinals by candidate id would be a map of long strings: the parents are joined by the database.
void read_candidates(Database& database, BriefRows& brief) {
  std::map<std::uint64_t, std::uint64_t> parents;  // of variations
  Statement related = database.prepare(
      "SELECT p.ordinal, c.ordinal FROM variation_parent p JOIN candidate c ON c.id = p.parent_id "
      "WHERE p.role = 'parent' AND p.position = 0");
  related.bind();
  while (related.step()) parents[ordinal_at(related, 0)] = ordinal_at(related, 1);
  // Told ones are answered by the index `candidate_told`; of the few others the rows are read.
  Statement rows = database.prepare(
      "SELECT c.ordinal, c.variation, v.operator_name, c.outcome, c.told FROM candidate c "
      "JOIN variation v ON v.ordinal = c.variation WHERE c.told > 0 UNION ALL "
      "SELECT c.ordinal, c.variation, v.operator_name, '', 0 FROM candidate c "
      "JOIN variation v ON v.ordinal = c.variation WHERE c.state <> 'done' AND c.told IS NULL ORDER BY 1");
  rows.bind();
  while (rows.step()) {
    BriefCandidate candidate{.ordinal = ordinal_at(rows, 0),
                             .parent = {},
                             .operator_name = rows.text(2),
                             .outcome = rows.text(3),
                             .told = rows.integer(4)};
    const auto parent = parents.find(ordinal_at(rows, 1));
    // Nobody descends from himself or from later ones: what was proposed again later keeps its number.
    if (parent != parents.end() && parent->second < candidate.ordinal) candidate.parent = parent->second;
    brief.candidates.push_back(std::move(candidate));
  }
}

void read_failures(Database& database, BriefRows& brief) {
  Statement rows = database.prepare(
      "SELECT e.stage, e.reason, count(*) FROM candidate c JOIN evaluation e ON e.id = "
      "(SELECT max(n.id) FROM evaluation n WHERE n.ordinal = c.ordinal AND +n.state = 'answered') "
      "WHERE c.told > 0 AND c.outcome = 'failed' GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2");
  rows.bind();
  while (rows.step()) brief.failures.push_back({rows.text(0), rows.text(1), rows.integer(2)});
}

std::map<std::string, std::int64_t> counts(Database& database, const char* sql) {
  std::map<std::string, std::int64_t> found;
  Statement rows = database.prepare(sql);
  rows.bind();
  while (rows.step()) found[rows.text(0)] = rows.integer(1);
  return found;
}

}  // namespace

BriefRows read_brief_rows(Database& database) {
  BriefRows brief;
  read_candidates(database, brief);
  brief.outcomes =
      counts(database, "SELECT outcome, count(*) FROM candidate WHERE told > 0 GROUP BY outcome");
  read_failures(database, brief);
  brief.rejections = counts(database, "SELECT reason, count(*) FROM rejection GROUP BY reason");
  Statement judged = database.prepare("SELECT body FROM event WHERE event = 'judged' ORDER BY sequence");
  judged.bind();
  while (judged.step()) brief.judged.push_back(judged.text(0));
  brief.last_event = database.integer("SELECT coalesce(max(sequence), 0) FROM event");
  return brief;
}

std::int64_t run_revision(Database& database) {
  // Another connection's commits change it; the schema and this connection's own reading do not.
  return database.integer("PRAGMA data_version");
}

}  // namespace kernelites
