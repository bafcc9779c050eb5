// SPDX-License-Identifier: Apache-2.0
// What a run writes, in the order in which it writes it; each operation is one transaction.
#include <fmt/format.h>

#include "archive/archive.h"
#include "archive/rows.h"
#include "engine/core/digest.h"
#include "engine/core/error.h"

namespace kernelites {
namespace {

void add_relatives(Database& database, std::uint64_t ordinal, const char* role,
                   const std::vector<std::string>& ids) {
  Statement insert = database.prepare(
      "INSERT INTO variation_parent (ordinal, role, position, parent_id) VALUES (?1, ?2, ?3, ?4)");
  for (std::size_t position = 0; position < ids.size(); ++position)
    insert.bind(ordinal, std::string_view(role), position, ids[position]).run();
}

/// True if `changed` says that an open row was closed; false if it was closed before; Error if there is no
/// such row.
bool closed_now(Database& database, std::int64_t changed, const char* table, const std::string& request_id) {
  if (changed > 0) return true;
  Statement known = database.prepare(fmt::format("SELECT 1 FROM {} WHERE request_id = ?1", table));
  if (!known.bind(request_id).step())
    throw Error(
        fmt::format("{}: a reply to request {} that was never recorded", database.name(), request_id));
  return false;
}

/// What a call was recorded to cost at most.
struct ModelBounds {
  std::int64_t tokens = 0;
  double usd = 0;
};
ModelBounds bounds_of(Database& database, const std::string& request_id) {
  Statement row = database.prepare("SELECT tokens_most, usd_most FROM model_call WHERE request_id = ?1");
  if (!row.bind(request_id).step()) return {};
  return {.tokens = row.integer(0), .usd = row.real(1)};
}

bool is_seed(Database& database, std::uint64_t variation) {
  Statement row = database.prepare("SELECT 1 FROM variation WHERE ordinal = ?1 AND operator_name = 'seed'");
  return row.bind(variation).step();
}

}  // namespace

void Archive::record_variation(const VariationRecord& variation) {
  Transaction transaction(database_);
  database_
      .prepare(
          "INSERT INTO variation (ordinal, generation, operator_name, endpoint, decision, state, "
          "created_unix_s, prompt_version) VALUES (?1, ?2, ?3, ?4, ?5, 'open', ?6, ?7)")
      .bind(variation.ordinal, variation.generation, variation.operator_name, variation.endpoint,
            rows::write_json(variation.decision), variation.created_unix_s, variation.prompt_version)
      .run();
  add_relatives(database_, variation.ordinal, "parent", variation.parents);
  add_relatives(database_, variation.ordinal, "inspiration", variation.inspirations);
  transaction.commit();
}

void Archive::record_model_call(const ModelCallRecord& call) {
  Transaction transaction(database_);
  Json digests = Json::array();
  for (const Json& message : call.prompt) {
    const std::string body = rows::write_json(message);
    digests.push_back(digest(body));
    database_.prepare("INSERT OR IGNORE INTO message (digest, body) VALUES (?1, ?2)")
        .bind(digests.back().get<std::string>(), body)
        .run();
  }
  database_
      .prepare(
          "INSERT INTO model_call (request_id, ordinal, attempt, endpoint, prompt_digest, prompt, "
          "sent_unix_s, "
          "state, model, reply, input_tokens, cached_input_tokens, output_tokens, usd, is_estimated, "
          "latency_s, "
          "failure, message, extras, cuts, tokens_estimated, usd_reserved, tokens_most, usd_most) "
          "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'sent', '', '', 0, 0, 0, 0.0, 0, 0.0, '', '', ?8, ?9, ?10, "
          "?11, ?12, ?13)")
      .bind(call.request_id, call.ordinal, call.attempt, call.endpoint, call.prompt_digest,
            rows::write_json(digests), call.sent_unix_s, rows::write_json(call.extras),
            rows::write_json(call.cuts), call.tokens_estimated, call.usd_reserved, call.tokens_most,
            call.usd_most)
      .run();
  transaction.commit();
  change_spent([&](Spent& spent) {
    spent.tokens_most += call.tokens_most;
    spent.usd_most += call.usd_most;
  });
}

void Archive::record_model_call_again(const std::string& request_id, std::int64_t tokens_most,
                                      double usd_most) {
  const auto changed = database_
                           .prepare(
                               "UPDATE model_call SET tokens_most = tokens_most + ?2, usd_most = usd_most + "
                               "?3 WHERE request_id "
                               "= ?1 AND state = 'sent'")
                           .bind(request_id, tokens_most, usd_most)
                           .run();
  if (changed == 0) return;
  change_spent([&](Spent& spent) {
    spent.tokens_most += tokens_most;
    spent.usd_most += usd_most;
  });
}

bool Archive::record_model_reply(const ModelCallRecord& call) {
  const std::string state = call.failure.empty() ? "answered" : "failed";
  const ModelBounds before = bounds_of(database_, call.request_id);
  const auto changed =
      database_
          .prepare(
              "UPDATE model_call SET state = ?2, model = ?3, reply = ?4, input_tokens = ?5, "
              "cached_input_tokens = ?6, output_tokens = ?7, usd = ?8, is_estimated = ?9, latency_s = ?10, "
              "failure = ?11, message = ?12, tool_calls = ?13, finish = ?14, reasoning_tokens = ?15, "
              "cache_write_tokens = ?16, tokens_most = ?17, usd_most = ?18 WHERE request_id = ?1 AND state = "
              "'sent'")
          .bind(call.request_id, state, call.model, call.reply, call.input_tokens, call.cached_input_tokens,
                call.output_tokens, call.usd, call.is_estimated, call.latency_s, call.failure, call.message,
                rows::write_json(call.tool_calls), call.finish, call.reasoning_tokens,
                call.cache_write_tokens, call.tokens_most, call.usd_most)
          .run();
  if (!closed_now(database_, changed, "model_call", call.request_id)) return false;
  change_spent([&](Spent& spent) {
    spent.model_calls += 1;
    spent.input_tokens += call.input_tokens;
    spent.cached_input_tokens += call.cached_input_tokens;
    spent.output_tokens += call.output_tokens;
    spent.reasoning_tokens += call.reasoning_tokens;
    spent.cache_write_tokens += call.cache_write_tokens;
    spent.usd += call.usd;
    spent.tokens_most += call.tokens_most - before.tokens;
    spent.usd_most += call.usd_most - before.usd;
  });
  return true;
}

void Archive::record_rejection(const RejectionRecord& rejection) {
  Transaction transaction(database_);
  database_.prepare("INSERT INTO rejection (ordinal, reason, message) VALUES (?1, ?2, ?3)")
      .bind(rejection.ordinal, rejection.reason, rejection.message)
      .run();
  database_.prepare("UPDATE variation SET state = 'rejected' WHERE ordinal = ?1")
      .bind(rejection.ordinal)
      .run();
  transaction.commit();
}

bool Archive::record_candidate(const CandidateRecord& candidate) {
  Transaction transaction(database_);
  const auto changed =
      database_
          .prepare(
              "INSERT INTO candidate (ordinal, id, variation, source, tuning, summary, prompt_digest, state, "
              "outcome, told, created_unix_s, source_digest) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'proposed', "
              "'', NULL, "
              "?8, ?9) "
              "ON CONFLICT (id) DO NOTHING")
          .bind(candidate.ordinal, candidate.id, candidate.variation, candidate.candidate.source,
                rows::write_json(Json(candidate.candidate.tuning)), candidate.summary,
                candidate.prompt_digest, candidate.created_unix_s, digest(candidate.candidate.source))
          .run();
  if (changed == 0) return false;
  if (candidate.ordinal == candidate.variation) {
    database_.prepare("UPDATE variation SET state = 'submitted' WHERE ordinal = ?1")
        .bind(candidate.ordinal)
        .run();
  }
  transaction.commit();
  change_spent([&](Spent& spent) {
    spent.candidates += 1;
    spent.seeds += is_seed(database_, candidate.variation) ? 1 : 0;
  });
  return true;
}

bool Archive::take_up(std::uint64_t ordinal, std::uint64_t variation) {
  return database_
             .prepare(
                 "UPDATE candidate SET variation = ?2, state = 'proposed', outcome = '', told = NULL, "
                 "told_unix_s = 0.0 WHERE ordinal = ?1 AND state = 'done' AND outcome = 'unfinished'")
             .bind(ordinal, variation)
             .run() > 0;
}

void Archive::record_inside_result(const InsideResultRecord& result) {
  database_
      .prepare(
          "INSERT OR REPLACE INTO inside_result (variation, position, candidate_id, step, body) VALUES (?1, "
          "?2, ?3, ?4, ?5)")
      .bind(result.variation, result.position, result.candidate_id, result.step,
            rows::write_body("result", result.result))
      .run();
}

void Archive::close_variation(std::uint64_t ordinal, std::uint64_t submitted) {
  database_
      .prepare(
          "UPDATE variation SET state = 'submitted', decision = json_set(decision, '$.submitted', ?2) WHERE "
          "ordinal = "
          "?1 AND state = 'open'")
      .bind(ordinal, submitted)
      .run();
}

void Archive::record_request_sent(const EvaluationRecord& evaluation) {
  Transaction transaction(database_);
  database_
      .prepare(
          "INSERT INTO evaluation (request_id, ordinal, verb, request, sent_unix_s, state, error, worker_s, "
          "device_s) VALUES (?1, ?2, ?3, ?4, ?5, 'sent', '', 0.0, 0.0)")
      .bind(evaluation.request_id, evaluation.ordinal, evaluation.verb, rows::write_json(evaluation.request),
            evaluation.sent_unix_s)
      .run();
  // A candidate that is done stays done: elites are examined again, and time is spent on incumbents.
  database_.prepare("UPDATE candidate SET state = ?2 WHERE ordinal = ?1 AND state <> 'done'")
      .bind(evaluation.ordinal, std::string_view(evaluation.verb == "examine" ? "examining" : "dueling"))
      .run();
  transaction.commit();
}

bool Archive::record_result(const EvaluationRecord& result) {
  const bool is_examine = result.verb == "examine";
  const Verdict& verdict = is_examine ? result.examination->verdict : result.duel->verdict;
  std::optional<std::string> descriptors;
  std::optional<std::string> code_digest;
  if (is_examine) {
    descriptors = rows::write_json(Json(result.examination->descriptors));
    code_digest = result.examination->code_digest;
  }
  const std::string body = is_examine ? rows::write_body("examination", Json(*result.examination))
                                      : rows::write_body("duel", Json(*result.duel));
  Transaction transaction(database_);
  const auto changed =
      database_
          .prepare(
              "UPDATE evaluation SET state = 'answered', is_passed = ?3, stage = ?4, reason = ?5, "
              "descriptors = ?6, code_digest = ?7, task_digest = ?8, harness_version = ?9, toolkit = ?10, "
              "device = ?11, is_modelled = ?12, provenance = ?13, body = ?14, worker_s = ?15, device_s = ?16 "
              "WHERE request_id = ?1 AND verb = ?2 AND state = 'sent'")
          .bind(result.request_id, result.verb, verdict.is_passed, verdict.stage, verdict.reason, descriptors,
                code_digest, result.provenance.task_digest, result.provenance.harness_version,
                result.provenance.toolkit, result.provenance.device.kind, result.provenance.device.is_virtual,
                rows::write_body("provenance", Json(result.provenance)), body, result.worker_s,
                result.device_s)
          .run();
  if (!closed_now(database_, changed, "evaluation", result.request_id)) return false;
  if (is_examine) {
    database_
        .prepare(
            "UPDATE candidate SET state = 'examined' WHERE state = 'examining' AND ordinal = "
            "(SELECT ordinal FROM evaluation WHERE request_id = ?1)")
        .bind(result.request_id)
        .run();
  }
  transaction.commit();
  change_spent([&](Spent& spent) {
    spent.worker_s += result.worker_s;
    spent.device_s += result.device_s;
  });
  return true;
}

bool Archive::record_examination(const std::string& request_id, const Examination& examination,
                                 const Provenance& provenance, double worker_s, double device_s) {
  return record_result({.request_id = request_id,
                        .verb = "examine",
                        .provenance = provenance,
                        .worker_s = worker_s,
                        .device_s = device_s,
                        .examination = examination});
}

bool Archive::record_duel(const std::string& request_id, const Duel& duel, const Provenance& provenance,
                          double worker_s, double device_s) {
  return record_result({.request_id = request_id,
                        .verb = "duel",
                        .provenance = provenance,
                        .worker_s = worker_s,
                        .device_s = device_s,
                        .duel = duel});
}

bool Archive::record_request_failed(const std::string& request_id, const std::string& error, double worker_s,
                                    double device_s) {
  const auto changed = database_
                           .prepare(
                               "UPDATE evaluation SET state = 'failed', error = ?2, worker_s = ?3, "
                               "device_s = ?4 WHERE request_id = ?1 AND state = 'sent'")
                           .bind(request_id, error, worker_s, device_s)
                           .run();
  if (!closed_now(database_, changed, "evaluation", request_id)) return false;
  change_spent([&](Spent& spent) {
    spent.worker_s += worker_s;
    spent.device_s += device_s;
  });
  return true;
}

std::int64_t Archive::append_event(const Json& event) {
  std::optional<std::int64_t> ordinal;
  if (event.contains("ordinal")) ordinal = event.at("ordinal").get<std::int64_t>();
  Statement insert =
      database_.prepare("INSERT INTO event (ordinal, event, body) VALUES (?1, ?2, ?3) RETURNING sequence");
  insert.bind(ordinal, event.at("event").get<std::string>(), rows::write_json(event));
  const bool has_row = insert.step();
  KERNELITES_ASSERT(has_row);
  const std::int64_t sequence = insert.integer(0);
  const bool has_another = insert.step();  // the statement commits when it is stepped to its end
  KERNELITES_ASSERT(!has_another);
  return sequence;
}

bool Archive::sync() {
  const std::int64_t changes = database_.changes();
  if (changes == synced_changes_) return false;
  database_.sync_log();
  synced_changes_ = changes;
  return true;
}

void Archive::set_state(const std::string& state) {
  database_.prepare("UPDATE run SET state = ?1").bind(state).run();
}

void Archive::set_wall_s(double wall_s) {
  database_.prepare("UPDATE run SET wall_s = ?1").bind(wall_s).run();
  change_spent([&](Spent& spent) { spent.wall_s = wall_s; });
}

void Archive::set_model_key(const Key& key) {
  database_.prepare("UPDATE run SET model_key = ?1").bind(key.hex()).run();
}

void Archive::set_budget(const Json& budget) {
  database_.prepare("UPDATE run SET configuration = json_set(configuration, '$.budget', json(?1))")
      .bind(rows::write_json(budget))
      .run();
}

}  // namespace kernelites
