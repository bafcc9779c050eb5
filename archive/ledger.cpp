// SPDX-License-Identifier: Apache-2.0
// Sums over the tables of a run; nothing is kept besides the rows themselves.
#include "archive/ledger.h"

#include <fmt/format.h>

#include "archive/archive.h"
#include "engine/core/error.h"

namespace kernelites {
namespace {

constexpr const char* k_call_sums =
    "count(*), coalesce(sum(state = 'failed'), 0), coalesce(sum(input_tokens), 0), "
    "coalesce(sum(cached_input_tokens), 0), coalesce(sum(cache_write_tokens), 0), "
    "coalesce(sum(output_tokens), 0), "
    "coalesce(sum(reasoning_tokens), 0), coalesce(sum(usd), 0.0), coalesce(sum(latency_s), 0.0)";

/// The arm's variations.
constexpr const char* k_of_arm =
    "(SELECT ordinal FROM variation WHERE operator_name = ?1 AND endpoint = ?2 AND prompt_version = ?3)";

CallSums read_sums(const Statement& row) {
  return {.calls = row.integer(0),
          .failed = row.integer(1),
          .input_tokens = row.integer(2),
          .cached_input_tokens = row.integer(3),
          .cache_write_tokens = row.integer(4),
          .output_tokens = row.integer(5),
          .reasoning_tokens = row.integer(6),
          .usd = row.real(7),
          .latency_s = row.real(8)};
}

/// Fills in all but the arm's name and its number of variations.
void add_sums(Database& database, ArmLedger& arm) {
  const auto prepared = [&](const std::string& sql) {
    Statement statement = database.prepare(sql);
    statement.bind(arm.operator_name, arm.endpoint, arm.prompt_version);
    const bool has_row = statement.step();  // a sum always is one
    KERNELITES_ASSERT(has_row);
    return statement;
  };
  const auto count = [&](const std::string& from) {
    return prepared("SELECT count(*) FROM " + from).integer(0);
  };
  arm.rejections = count(fmt::format("rejection WHERE ordinal IN {}", k_of_arm));
  arm.candidates = count(fmt::format("candidate WHERE variation IN {}", k_of_arm));
  arm.passed = count(fmt::format(
      "candidate c WHERE c.variation IN {} AND c.told IS NOT NULL AND c.outcome <> 'unfinished' AND "
      "(SELECT e.is_passed FROM evaluation e WHERE e.ordinal = c.ordinal AND +e.state = 'answered' "
      "ORDER BY e.id DESC LIMIT 1)",
      k_of_arm));
  arm.elites = count(fmt::format(
      "elite_history h JOIN candidate c ON c.ordinal = h.ordinal WHERE c.variation IN {} AND h.status IN "
      "('added', 'improved')",
      k_of_arm));
  arm.calls = read_sums(prepared(fmt::format(
      "SELECT {} FROM model_call WHERE state <> 'sent' AND ordinal IN {}", k_call_sums, k_of_arm)));
  const Statement evaluations = prepared(fmt::format(
      "SELECT coalesce(sum(e.worker_s), 0.0), coalesce(sum(e.device_s), 0.0) FROM evaluation e JOIN "
      "candidate c ON c.ordinal = e.ordinal WHERE e.state <> 'sent' AND c.variation IN {}",
      k_of_arm));
  arm.worker_s = evaluations.real(0);
  arm.device_s = evaluations.real(1);
  arm.wall_s =
      prepared(
          fmt::format("SELECT coalesce(sum(c.told_unix_s - v.created_unix_s), 0.0) FROM candidate c JOIN "
                      "variation v ON v.ordinal = c.variation WHERE c.told_unix_s > 0 AND v.ordinal IN {}",
                      k_of_arm))
          .real(0);
}

}  // namespace

std::vector<ChildCount> Archive::child_counts() const {
  std::vector<ChildCount> counts;
  Statement rows = database_.prepare(
      "SELECT p.parent_id, v.operator_name, count(*) FROM variation_parent p JOIN variation v USING "
      "(ordinal) "
      "WHERE p.role = 'parent' AND p.position = 0 GROUP BY 1, 2 ORDER BY 1, 2");
  while (rows.step()) counts.push_back({rows.text(0), rows.text(1), static_cast<int>(rows.integer(2))});
  return counts;
}

std::vector<ArmLedger> Archive::arms() const {
  std::vector<ArmLedger> arms;
  Statement rows = database_.prepare(
      "SELECT operator_name, endpoint, prompt_version, count(*) FROM variation GROUP BY 1, 2, 3 ORDER BY 1, "
      "2, 3");
  while (rows.step()) {
    ArmLedger arm;
    arm.operator_name = rows.text(0);
    arm.endpoint = rows.text(1);
    arm.prompt_version = rows.text(2);
    arm.variations = rows.integer(3);
    arms.push_back(std::move(arm));
  }
  for (ArmLedger& arm : arms) add_sums(database_, arm);
  return arms;
}

CandidateLedger Archive::cost_of(std::uint64_t ordinal) const {
  CandidateLedger ledger;
  Statement calls =
      database_.prepare(fmt::format("SELECT {} FROM model_call WHERE state <> 'sent' AND ordinal = "
                                    "(SELECT variation FROM candidate WHERE ordinal = ?1)",
                                    k_call_sums));
  if (calls.bind(ordinal).step()) ledger.calls = read_sums(calls);
  Statement evaluations = database_.prepare(
      "SELECT coalesce(sum(worker_s), 0.0), coalesce(sum(device_s), 0.0) FROM evaluation WHERE state <> "
      "'sent' AND "
      "ordinal = ?1");
  if (evaluations.bind(ordinal).step()) {
    ledger.worker_s = evaluations.real(0);
    ledger.device_s = evaluations.real(1);
  }
  Statement wall = database_.prepare(
      "SELECT c.told_unix_s - v.created_unix_s FROM candidate c JOIN variation v ON v.ordinal = c.variation "
      "WHERE c.ordinal = ?1 AND c.told_unix_s > 0");
  if (wall.bind(ordinal).step()) ledger.wall_s = wall.real(0);
  return ledger;
}

double Archive::usd_of(std::uint64_t variation) const {
  Statement sum = database_.prepare(
      "SELECT coalesce(sum(usd), 0.0) FROM model_call WHERE state <> 'sent' AND ordinal = ?1");
  const bool has_row = sum.bind(variation).step();  // a sum always is one
  KERNELITES_ASSERT(has_row);
  return sum.real(0);
}

void to_json(Json& json, const CallSums& sums) {
  json = {{"calls", sums.calls},
          {"failed", sums.failed},
          {"input_tokens", sums.input_tokens},
          {"cached_input_tokens", sums.cached_input_tokens},
          {"cache_write_tokens", sums.cache_write_tokens},
          {"output_tokens", sums.output_tokens},
          {"reasoning_tokens", sums.reasoning_tokens},
          {"usd", sums.usd},
          {"latency_s", sums.latency_s}};
}

void to_json(Json& json, const ArmLedger& arm) {
  json = {{"operator_name", arm.operator_name},
          {"endpoint", arm.endpoint},
          {"prompt_version", arm.prompt_version},
          {"variations", arm.variations},
          {"rejections", arm.rejections},
          {"candidates", arm.candidates},
          {"passed", arm.passed},
          {"elites", arm.elites},
          {"calls", arm.calls},
          {"worker_s", arm.worker_s},
          {"device_s", arm.device_s},
          {"wall_s", arm.wall_s}};
}

void to_json(Json& json, const CandidateLedger& candidate) {
  json = {{"calls", candidate.calls},
          {"worker_s", candidate.worker_s},
          {"device_s", candidate.device_s},
          {"wall_s", candidate.wall_s}};
}

}  // namespace kernelites
