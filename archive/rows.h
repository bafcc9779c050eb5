// SPDX-License-Identifier: Apache-2.0
// Rows of run.db to records and back: column lists and the versioned JSON bodies. Internal to the archive.
#pragma once

#include <string>

#include "archive/archive.h"
#include "engine/core/json_shape.h"

namespace kernelites::rows {

/// Version of the bodies that this program writes and the only one that it reads.
inline constexpr int k_body_version = 1;
/// Stored JSON nests at most this deep.
inline constexpr std::size_t k_depth_max = 256;

/// JSON as stored. Bytes that are no UTF-8 (compiler logs, model text) become U+FFFD instead of an exception.
std::string write_json(const Json& json);
/// Throws Error if the text is no JSON, or nests too deep: the database is damaged.
Json read_json(const std::string& text);
/// Of JSON that is stored. Throws Error if it is of another shape.
template <typename T>
T as(const Json& json) {
  return in_shape("run.db", [&] { return json.get<T>(); });
}
/// {"version": 1, "<what>": value}
std::string write_body(const char* what, const Json& value);
/// The value of a body. Throws Error if the version or the content is unknown.
Json read_body(const std::string& text, const char* what);

/// Column lists and the readers that agree with them. `SELECT <columns> <from> ...`.
inline constexpr const char* k_variation_columns =
    "SELECT ordinal, generation, operator_name, endpoint, decision, state, created_unix_s, prompt_version "
    "FROM variation ";
inline constexpr const char* k_candidate_columns =
    "SELECT c.ordinal, c.id, c.variation, c.source, c.tuning, c.summary, c.prompt_digest, c.created_unix_s, "
    "c.state, "
    "c.outcome, c.told, v.generation, v.operator_name, v.endpoint, c.told_unix_s "
    "FROM candidate c JOIN variation v ON v.ordinal = c.variation ";
inline constexpr const char* k_evaluation_columns =
    "SELECT request_id, ordinal, verb, request, sent_unix_s, state, error, provenance, worker_s, device_s, "
    "body "
    "FROM evaluation ";
inline constexpr const char* k_model_call_columns =
    "SELECT request_id, ordinal, attempt, endpoint, prompt_digest, prompt, sent_unix_s, state, model, reply, "
    "input_tokens, cached_input_tokens, output_tokens, usd, is_estimated, latency_s, failure, message, "
    "extras, "
    "cuts, tokens_estimated, usd_reserved, tool_calls, finish, reasoning_tokens, cache_write_tokens, "
    "tokens_most, usd_most FROM model_call ";
inline constexpr const char* k_elite_columns =
    "cell, ordinal, candidate_id, fitness, speedup, duel_id, task_digest, harness_version, device, "
    "is_modelled";

/// Parents and inspirations, and the messages of prompts, are in other tables: `database` is asked for them.
VariationRecord variation(Database& database, const Statement& row);
CandidateRecord candidate(Database& database, const Statement& row);
EvaluationRecord evaluation(const Statement& row);
ModelCallRecord model_call(Database& database, const Statement& row);
/// Reads k_elite_columns from column `first` on.
Elite elite(const Statement& row, int first = 0);
Champion champion(const Statement& row);

}  // namespace kernelites::rows
