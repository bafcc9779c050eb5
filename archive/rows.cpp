// SPDX-License-Identifier: Apache-2.0
// Reading rows: one function per table, in the order of its column list.
#include "archive/rows.h"

#include <fmt/format.h>

#include "engine/core/error.h"

namespace kernelites::rows {
namespace {

std::vector<std::string> related(Database& database, std::uint64_t ordinal, const char* role) {
  Statement rows = database.prepare(
      "SELECT parent_id FROM variation_parent WHERE ordinal = ?1 AND role = ?2 ORDER BY position");
  rows.bind(ordinal, std::string_view(role));
  std::vector<std::string> ids;
  while (rows.step()) ids.push_back(rows.text(0));
  return ids;
}

std::uint64_t ordinal_at(const Statement& row, int column) {
  return static_cast<std::uint64_t>(row.integer(column));
}

/// The messages themselves where digests stand for them.
Json whole_prompt(Database& database, Json prompt) {
  Statement find = database.prepare("SELECT body FROM message WHERE digest = ?1");
  for (Json& message : prompt) {
    if (!message.is_string()) continue;  // of version 1: the message itself
    find.bind(message.get<std::string>());
    if (!find.step()) throw Error("run.db: a prompt names a message that is not there");
    message = read_json(find.text(0));
  }
  return prompt;
}

}  // namespace

std::string write_json(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json read_json(const std::string& text) {
  if (!is_modest_json(text, k_depth_max)) throw Error("run.db: damaged JSON: it nests too deep");
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    throw Error(fmt::format("run.db: damaged JSON: {}", error.what()));
  }
}

std::string write_body(const char* what, const Json& value) {
  Json body;
  body["version"] = k_body_version;
  body[what] = value;
  return write_json(body);
}

Json read_body(const std::string& text, const char* what) {
  Json body = read_json(text);
  if (!body.is_object() || !body.contains(what) || body.value("version", Json()) != k_body_version)
    throw Error(fmt::format("run.db: a body that is not version {} of \"{}\"", k_body_version, what));
  return std::move(body[what]);
}

VariationRecord variation(Database& database, const Statement& row) {
  VariationRecord record;
  record.ordinal = ordinal_at(row, 0);
  record.generation = static_cast<int>(row.integer(1));
  record.operator_name = row.text(2);
  record.endpoint = row.text(3);
  record.decision = read_json(row.text(4));
  record.state = row.text(5);
  record.created_unix_s = row.real(6);
  record.prompt_version = row.text(7);
  record.parents = related(database, record.ordinal, "parent");
  record.inspirations = related(database, record.ordinal, "inspiration");
  return record;
}

CandidateRecord candidate(Database& database, const Statement& row) {
  CandidateRecord record;
  record.ordinal = ordinal_at(row, 0);
  record.id = row.text(1);
  record.variation = ordinal_at(row, 2);
  record.candidate.source = row.text(3);
  record.candidate.tuning = as<std::map<std::string, std::int64_t>>(read_json(row.text(4)));
  record.summary = row.text(5);
  record.prompt_digest = row.text(6);
  record.created_unix_s = row.real(7);
  record.state = row.text(8);
  record.outcome = row.text(9);
  record.told = row.integer(10);  // 0 for NULL
  record.generation = static_cast<int>(row.integer(11));
  record.operator_name = row.text(12);
  record.endpoint = row.text(13);
  record.told_unix_s = row.real(14);
  record.parents = related(database, record.variation, "parent");
  return record;
}

EvaluationRecord evaluation(const Statement& row) {
  EvaluationRecord record;
  record.request_id = row.text(0);
  record.ordinal = ordinal_at(row, 1);
  record.verb = row.text(2);
  record.request = read_json(row.text(3));
  record.sent_unix_s = row.real(4);
  record.state = row.text(5);
  record.error = row.text(6);
  record.worker_s = row.real(8);
  record.device_s = row.real(9);
  if (row.is_null(10)) return record;
  record.provenance = as<Provenance>(read_body(row.text(7), "provenance"));
  if (record.verb == "examine")
    record.examination = as<Examination>(read_body(row.text(10), "examination"));
  else
    record.duel = as<Duel>(read_body(row.text(10), "duel"));
  return record;
}

ModelCallRecord model_call(Database& database, const Statement& row) {
  ModelCallRecord record;
  record.request_id = row.text(0);
  record.ordinal = ordinal_at(row, 1);
  record.attempt = static_cast<int>(row.integer(2));
  record.endpoint = row.text(3);
  record.prompt_digest = row.text(4);
  record.prompt = whole_prompt(database, read_json(row.text(5)));
  record.sent_unix_s = row.real(6);
  record.state = row.text(7);
  record.model = row.text(8);
  record.reply = row.text(9);
  record.input_tokens = row.integer(10);
  record.cached_input_tokens = row.integer(11);
  record.output_tokens = row.integer(12);
  record.usd = row.real(13);
  record.is_estimated = row.integer(14) != 0;
  record.latency_s = row.real(15);
  record.failure = row.text(16);
  record.message = row.text(17);
  record.extras = read_json(row.text(18));
  record.cuts = read_json(row.text(19));
  record.tokens_estimated = row.integer(20);
  record.usd_reserved = row.real(21);
  record.tool_calls = read_json(row.text(22));
  record.finish = row.text(23);
  record.reasoning_tokens = row.integer(24);
  record.cache_write_tokens = row.integer(25);
  record.tokens_most = row.integer(26);
  record.usd_most = row.real(27);
  return record;
}

Elite elite(const Statement& row, int first) {
  return {.cell = row.text(first),
          .ordinal = ordinal_at(row, first + 1),
          .candidate_id = row.text(first + 2),
          .fitness = row.real(first + 3),
          .speedup = row.real(first + 4),
          .duel_id = row.text(first + 5),
          .task_digest = row.text(first + 6),
          .harness_version = row.text(first + 7),
          .device = row.text(first + 8),
          .is_modelled = row.integer(first + 9) != 0};
}

Champion champion(const Statement& row) {
  return {.workload = row.text(0),
          .ordinal = ordinal_at(row, 1),
          .candidate_id = row.text(2),
          .speedup = row.real(3),
          .timing = as<ArmTiming>(read_json(row.text(4))),
          .duel_id = row.text(5)};
}

}  // namespace kernelites::rows
