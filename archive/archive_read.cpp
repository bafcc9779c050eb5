// SPDX-License-Identifier: Apache-2.0
// What a resumed run, a command or a report asks of the archive.
#include <fmt/format.h>

#include "archive/archive.h"
#include "archive/rows.h"
#include "engine/core/error.h"

namespace kernelites {
namespace {

/// A query may return this many rows at most; a run records far fewer.
constexpr std::size_t k_rows_max = 1'000'000;

/// `read` of every row of `sql` with `values` bound.
template <typename Read, typename... Values>
auto collect(Database& database, const std::string& sql, Read read, const Values&... values) {
  Statement rows = database.prepare(sql);
  rows.bind(values...);
  std::vector<decltype(read(rows))> records;
  while (rows.step()) {
    if (records.size() == k_rows_max) throw Error(database.name() + ": too many rows");
    records.push_back(read(rows));
  }
  return records;
}

template <typename Record>
std::optional<Record> first(std::vector<Record> records) {
  if (records.empty()) return std::nullopt;
  return std::move(records.front());
}

auto variation_reader(Database& database) {
  return [&database](const Statement& row) { return rows::variation(database, row); };
}
auto candidate_reader(Database& database) {
  return [&database](const Statement& row) { return rows::candidate(database, row); };
}
auto call_reader(Database& database) {
  return [&database](const Statement& row) { return rows::model_call(database, row); };
}
std::uint64_t read_ordinal(const Statement& row) { return static_cast<std::uint64_t>(row.integer(0)); }
RejectionRecord read_rejection(const Statement& row) { return {read_ordinal(row), row.text(1), row.text(2)}; }

std::optional<EvaluationRecord> newest_answer(Database& database, std::uint64_t ordinal,
                                              std::string_view verb) {
  return first(collect(database,
                       std::string(rows::k_evaluation_columns) +
                           "WHERE ordinal = ?1 AND verb = ?2 AND state = 'answered' AND "
                           "json_extract(request, '$.is_null') IS NULL ORDER BY id DESC LIMIT 1",
                       rows::evaluation, ordinal, verb));
}

}  // namespace

std::uint64_t Archive::next_ordinal() const {
  return 1 + static_cast<std::uint64_t>(
                 database_.integer("SELECT max(coalesce((SELECT max(ordinal) FROM variation), 0), "
                                   "coalesce((SELECT max(ordinal) FROM candidate), 0))"));
}

RunRecord Archive::run() const {
  Statement row = database_.prepare(
      "SELECT seed, task, task_digest, task_document, reference_source, configuration, started_unix_s, "
      "state, "
      "wall_s, model_key FROM run");
  if (!row.step()) throw Error(database_.name() + ": no run is recorded");
  return {.seed = static_cast<std::uint64_t>(row.integer(0)),
          .task = row.text(1),
          .task_digest = row.text(2),
          .task_document = rows::read_json(row.text(3)),
          .reference_source = row.text(4),
          .configuration = rows::read_json(row.text(5)),
          .started_unix_s = row.real(6),
          .state = row.text(7),
          .wall_s = row.real(8),
          .model_key = row.text(9)};
}

Spent Archive::spent() const {
  // Asked in every pass of the loop; what a reader reads may be changed by another process.
  if (spent_ && lock_) return *spent_;
  Spent spent;
  Statement calls = database_.prepare(
      "SELECT count(*), coalesce(sum(input_tokens), 0), coalesce(sum(cached_input_tokens), 0), "
      "coalesce(sum(output_tokens), 0), coalesce(sum(usd), 0.0), coalesce(sum(reasoning_tokens), 0), "
      "coalesce(sum(cache_write_tokens), 0) FROM model_call WHERE state <> 'sent'");
  if (calls.step()) {
    spent.model_calls = calls.integer(0);
    spent.input_tokens = calls.integer(1);
    spent.cached_input_tokens = calls.integer(2);
    spent.output_tokens = calls.integer(3);
    spent.usd = calls.real(4);
    spent.reasoning_tokens = calls.integer(5);
    spent.cache_write_tokens = calls.integer(6);
  }
  Statement bounds =
      database_.prepare("SELECT coalesce(sum(tokens_most), 0), coalesce(sum(usd_most), 0.0) FROM model_call");
  if (bounds.step()) {
    spent.tokens_most = bounds.integer(0);
    spent.usd_most = bounds.real(1);
  }
  Statement workers = database_.prepare(
      "SELECT coalesce(sum(worker_s), 0.0), coalesce(sum(device_s), 0.0) FROM evaluation WHERE state <> "
      "'sent'");
  if (workers.step()) {
    spent.worker_s = workers.real(0);
    spent.device_s = workers.real(1);
  }
  spent.candidates = database_.integer("SELECT count(*) FROM candidate");
  spent.seeds = database_.integer(
      "SELECT count(*) FROM candidate c JOIN variation v ON v.ordinal = c.variation WHERE v.operator_name = "
      "'seed'");
  Statement wall = database_.prepare("SELECT wall_s FROM run");
  if (wall.step()) spent.wall_s = wall.real(0);
  spent_ = spent;
  return spent;
}

Counters Archive::counters() const {
  const auto count = [&](const char* from) {
    return database_.integer(fmt::format("SELECT count(*) FROM {}", from));
  };
  // The sign keeps SQLite from the index on states, through which it would read ten thousand long rows: all that is
  // asked for is in `evaluation_cost`.
  const auto answered = [&](const char* condition) {
    return database_.integer(fmt::format(
        "SELECT count(DISTINCT ordinal) FROM evaluation WHERE +state = 'answered' AND {}", condition));
  };
  return {.variations = count("variation"),
          .rejections = count("rejection"),
          .candidates = count("candidate"),
          .examined = answered("verb = 'examine'"),
          .passed = answered("verb = 'examine' AND is_passed"),
          .dueled = answered("verb = 'duel'"),
          .told = count("candidate WHERE state = 'done'"),
          .distinct_codes =
              database_.integer("SELECT count(DISTINCT code_digest) FROM evaluation WHERE code_digest <> ''"),
          .duplicate_codes = count("candidate WHERE told IS NOT NULL AND outcome = 'duplicate_code'"),
          .events = count("event")};
}

std::vector<VariationRecord> Archive::open_variations() const {
  return collect(database_, std::string(rows::k_variation_columns) + "WHERE state = 'open' ORDER BY ordinal",
                 variation_reader(database_));
}

std::vector<ModelCallRecord> Archive::open_model_calls() const {
  return collect(database_, std::string(rows::k_model_call_columns) + "WHERE state = 'sent' ORDER BY id",
                 call_reader(database_));
}

std::vector<ModelCallRecord> Archive::ended_model_calls() const {
  return collect(database_, std::string(rows::k_model_call_columns) + "WHERE state <> 'sent' ORDER BY id",
                 call_reader(database_));
}

std::vector<CandidateRecord> Archive::unfinished_candidates() const {
  return collect(database_,
                 std::string(rows::k_candidate_columns) + "WHERE c.state <> 'done' ORDER BY c.ordinal",
                 candidate_reader(database_));
}

std::vector<EvaluationRecord> Archive::outstanding_requests() const {
  return collect(database_, std::string(rows::k_evaluation_columns) + "WHERE state = 'sent' ORDER BY id",
                 rows::evaluation);
}

std::optional<VariationRecord> Archive::variation(std::uint64_t ordinal) const {
  return first(collect(database_, std::string(rows::k_variation_columns) + "WHERE ordinal = ?1",
                       variation_reader(database_), ordinal));
}

std::optional<CandidateRecord> Archive::candidate(std::uint64_t ordinal) const {
  return first(collect(database_, std::string(rows::k_candidate_columns) + "WHERE c.ordinal = ?1",
                       candidate_reader(database_), ordinal));
}

std::optional<CandidateRecord> Archive::find_candidate(const std::string& id) const {
  // A range instead of LIKE or GLOB: whatever a person types is a prefix and never a pattern.
  if (id.size() < k_id_prefix_min) return std::nullopt;
  auto found =
      collect(database_,
              std::string(rows::k_candidate_columns) + "WHERE c.id >= ?1 AND c.id < ?2 ORDER BY c.id LIMIT 2",
              candidate_reader(database_), id, id + "~");
  if (found.size() != 1) return std::nullopt;
  return std::move(found.front());
}

std::vector<CandidateRecord> Archive::candidates() const {
  return collect(database_, std::string(rows::k_candidate_columns) + "ORDER BY c.ordinal",
                 candidate_reader(database_));
}

std::vector<std::uint64_t> Archive::proposed_ordinals() const {
  return collect(database_,
                 "SELECT ordinal FROM candidate UNION SELECT ordinal FROM rejection ORDER BY ordinal",
                 read_ordinal);
}

std::vector<CandidateRecord> Archive::seeds() const {
  return collect(database_,
                 std::string(rows::k_candidate_columns) + "WHERE v.operator_name = 'seed' ORDER BY c.ordinal",
                 candidate_reader(database_));
}

std::vector<CandidateRecord> Archive::told_candidates(std::int64_t after) const {
  return collect(database_, std::string(rows::k_candidate_columns) + "WHERE c.told > ?1 ORDER BY c.told",
                 candidate_reader(database_), after);
}

std::vector<Telling> Archive::tellings() const {
  return collect(
      database_,
      "SELECT c.ordinal, v.operator_name = 'seed', c.outcome IN ('added', 'improved') FROM candidate c JOIN "
      "variation v ON v.ordinal = c.variation WHERE c.told IS NOT NULL ORDER BY c.told",
      [](const Statement& row) {
        return Telling{.ordinal = static_cast<std::uint64_t>(row.integer(0)),
                       .is_seed = row.integer(1) != 0,
                       .is_placed = row.integer(2) != 0};
      });
}

std::optional<EvaluatedCandidate> Archive::evaluated(std::uint64_t ordinal) const {
  auto record = candidate(ordinal);
  if (!record) return std::nullopt;
  return EvaluatedCandidate{.record = std::move(*record),
                            .examination = newest_answer(database_, ordinal, "examine"),
                            .duel = newest_answer(database_, ordinal, "duel")};
}

std::vector<EvaluationRecord> Archive::evaluations(std::uint64_t ordinal) const {
  return collect(database_, std::string(rows::k_evaluation_columns) + "WHERE ordinal = ?1 ORDER BY id",
                 rows::evaluation, ordinal);
}

std::optional<Provenance> Archive::first_provenance() const {
  return first(collect(
      database_,
      "SELECT provenance FROM evaluation WHERE verb = 'examine' AND state = 'answered' ORDER BY id LIMIT 1",
      [](const Statement& row) { return rows::as<Provenance>(rows::read_body(row.text(0), "provenance")); }));
}

std::int64_t Archive::null_duels(std::uint64_t ordinal) const {
  Statement row = database_.prepare(
      "SELECT count(*) FROM evaluation WHERE ordinal = ?1 AND verb = 'duel' AND json_extract(request, "
      "'$.is_null')");
  return row.bind(ordinal).step() ? row.integer(0) : 0;
}

std::optional<std::uint64_t> Archive::first_with_code(const std::string& code_digest,
                                                      std::uint64_t other_than) const {
  if (code_digest.empty()) return std::nullopt;  // nothing was compiled
  return first(collect(
      database_,
      "SELECT e.ordinal FROM evaluation e WHERE e.code_digest = ?1 AND e.is_passed AND (e.ordinal < ?2 OR "
      "(e.ordinal > ?2 AND EXISTS (SELECT 1 FROM evaluation d WHERE d.ordinal = e.ordinal AND d.verb = "
      "'duel' "
      "AND d.state <> 'failed'))) ORDER BY e.ordinal LIMIT 1",
      read_ordinal, code_digest, other_than));
}

std::vector<EvaluatedCandidate> Archive::recent_failures(const std::string& parent_id, int limit) const {
  // Failed: the newest answer, of whichever verb, is not passed.
  const auto ordinals = collect(
      database_,
      "SELECT c.ordinal FROM (SELECT ordinal FROM variation_parent WHERE parent_id = ?1 AND role = 'parent' "
      "AND position = 0 ORDER BY ordinal DESC LIMIT ?3) p JOIN candidate c ON c.variation = p.ordinal "
      "WHERE c.told IS NOT NULL AND c.outcome <> 'unfinished' AND NOT "
      // The sign keeps SQLite from looking for the newest answered evaluation of all candidates first.
      "(SELECT e.is_passed FROM evaluation e WHERE e.ordinal = c.ordinal AND +e.state = 'answered' "
      "ORDER BY e.id DESC LIMIT 1) ORDER BY c.told DESC LIMIT ?2",
      read_ordinal, parent_id, limit, k_children_searched);
  std::vector<EvaluatedCandidate> failures;
  for (std::uint64_t ordinal : ordinals) failures.push_back(*evaluated(ordinal));
  return failures;
}

std::vector<RejectionRecord> Archive::recent_rejections(const std::string& parent_id, int limit) const {
  return collect(
      database_,
      "SELECT r.ordinal, r.reason, r.message FROM (SELECT ordinal FROM variation_parent WHERE parent_id = ?1 "
      "AND "
      "role = 'parent' AND position = 0 ORDER BY ordinal DESC LIMIT ?3) p JOIN rejection r USING (ordinal) "
      "ORDER BY r.ordinal DESC LIMIT ?2",
      read_rejection, parent_id, limit, k_children_searched);
}

std::vector<CandidateRecord> Archive::repairable(int limit) const {
  return collect(
      database_,
      std::string(rows::k_candidate_columns) +
          "WHERE c.told > (SELECT max(told) FROM candidate) - ?2 AND c.outcome = 'failed' AND "
          "v.operator_name <> 'seed' AND NOT EXISTS "
          "(SELECT 1 FROM variation_parent p JOIN variation r ON r.ordinal = p.ordinal WHERE p.parent_id = "
          "c.id AND p.role = 'parent' AND r.operator_name = 'repair') ORDER BY c.told DESC LIMIT ?1",
      candidate_reader(database_), limit, k_tellings_searched);
}

std::optional<RejectionRecord> Archive::rejection(std::uint64_t ordinal) const {
  return first(collect(database_, "SELECT ordinal, reason, message FROM rejection WHERE ordinal = ?1",
                       read_rejection, ordinal));
}

std::vector<std::string> Archive::parents_rejected_for(const std::string& reason) const {
  return collect(
      database_,
      "SELECT DISTINCT p.parent_id FROM rejection r JOIN variation_parent p ON p.ordinal = r.ordinal AND "
      "p.role = 'parent' AND p.position = 0 WHERE r.reason = ?1",
      [](const Statement& row) { return row.text(0); }, reason);
}

std::vector<RejectionRecord> Archive::rejections() const {
  return collect(database_, "SELECT ordinal, reason, message FROM rejection ORDER BY ordinal",
                 read_rejection);
}

std::vector<CandidateRecord> Archive::lineage(std::uint64_t ordinal) const {
  // Nobody descends from what is not proven, so that the walk ends; a damaged file must not hang it.
  constexpr std::size_t k_generations_max = 100'000;
  std::vector<CandidateRecord> line;
  auto step = candidate(ordinal);
  while (step) {
    if (line.size() == k_generations_max) throw Error(database_.name() + ": lineage goes in a circle");
    line.push_back(std::move(*step));
    const auto& parents = line.back().parents;
    step = parents.empty() ? std::nullopt : find_candidate(parents.front());
  }
  return line;
}

std::optional<InsideResultRecord> Archive::inside_result(std::uint64_t variation,
                                                         std::int64_t position) const {
  return first(collect(
      database_,
      "SELECT variation, position, candidate_id, step, body FROM inside_result WHERE variation = ?1 AND "
      "position = ?2",
      [](const Statement& row) {
        return InsideResultRecord{.variation = static_cast<std::uint64_t>(row.integer(0)),
                                  .position = row.integer(1),
                                  .candidate_id = row.text(2),
                                  .step = row.text(3),
                                  .result = rows::read_body(row.text(4), "result")};
      },
      variation, position));
}

std::vector<ModelCallRecord> Archive::model_calls(std::uint64_t ordinal) const {
  return collect(database_, std::string(rows::k_model_call_columns) + "WHERE ordinal = ?1 ORDER BY id",
                 call_reader(database_), ordinal);
}

std::vector<Axis> Archive::axes() const {
  Statement row = database_.prepare("SELECT coalesce(json_extract(configuration, '$.axes'), '[]') FROM run");
  if (!row.step()) throw Error(database_.name() + ": no run is recorded");
  return axes_named(rows::as<std::vector<std::string>>(rows::read_json(row.text(0))));
}

Grid Archive::grid() const {
  Grid grid(axes());
  for (Elite& elite :
       collect(database_, fmt::format("SELECT {} FROM elite ORDER BY cell", rows::k_elite_columns),
               [](const Statement& row) { return rows::elite(row); })) {
    if (!grid.has_cell(elite.cell))
      throw Error(fmt::format("{}: unknown cell \"{}\"", database_.name(), elite.cell));
    grid.put(std::move(elite));
  }
  return grid;
}

std::vector<EliteStep> Archive::elite_history(std::int64_t after) const {
  return collect(
      database_,
      fmt::format("SELECT sequence, status, reason, {} FROM elite_history WHERE sequence > ?1 "
                  "ORDER BY sequence",
                  rows::k_elite_columns),
      [](const Statement& row) {
        return EliteStep{.sequence = row.integer(0),
                         .status = row.text(1),
                         .elite = rows::elite(row, 3),
                         .reason = row.text(2)};
      },
      after);
}

std::vector<Champion> Archive::champions() const {
  return collect(
      database_,
      "SELECT workload, ordinal, candidate_id, speedup, timing, duel_id FROM champion ORDER BY workload",
      rows::champion);
}

std::vector<Json> Archive::events(std::int64_t after, int limit) const {
  return collect(
      database_, "SELECT body FROM event WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
      [](const Statement& row) { return rows::read_json(row.text(0)); }, after, limit);
}

}  // namespace kernelites
