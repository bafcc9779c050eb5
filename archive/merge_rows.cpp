// SPDX-License-Identifier: Apache-2.0
// The SQL that copies rows of one run into another, numbered anew.
#include "archive/merge_rows.h"

#include <fmt/format.h>

namespace kernelites {
namespace {

/// Columns whose values pass unchanged.
constexpr const char* k_evaluation_rest =
    "verb, request, sent_unix_s, state, error, is_passed, stage, reason, descriptors, code_digest, "
    "task_digest, "
    "harness_version, toolkit, device, is_modelled, provenance, body, worker_s, device_s";
constexpr const char* k_call_rest =
    "reply, input_tokens, cached_input_tokens, output_tokens, usd, is_estimated, latency_s, extras, cuts, "
    "tokens_estimated, usd_reserved, tool_calls, finish, reasoning_tokens, cache_write_tokens, tokens_most, "
    "usd_most";

std::string tag_of(std::size_t source) { return source == 0 ? "" : fmt::format("r{}-", source + 1); }

/// The run itself is the first's; the time of all counts.
std::string run_sql(std::size_t source) {
  if (source > 0) return "UPDATE main.run SET wall_s = wall_s + (SELECT wall_s FROM source.run);";
  return "INSERT INTO main.run SELECT * FROM source.run; UPDATE main.run SET state = 'stopped';";
}

std::string variation_sql(std::int64_t last) {
  return fmt::format(
      "CREATE TEMP TABLE renumbered AS SELECT c.ordinal AS old, c.variation AS variation, "
      "  coalesce((SELECT m.ordinal FROM main.candidate m WHERE m.id = c.id), c.ordinal + {0}) AS new, "
      "  c.id AS id FROM source.candidate c;"
      "CREATE INDEX temp.renumbered_old ON renumbered (old);"
      "INSERT OR IGNORE INTO temp.common_candidate SELECT id FROM temp.renumbered WHERE new <> old + {0};"
      "INSERT INTO main.variation SELECT ordinal + {0}, generation, operator_name, endpoint, "
      "  CASE WHEN json_extract(decision, '$.submitted') IS NULL THEN decision ELSE json_set(decision, "
      "'$.submitted', "
      "    coalesce((SELECT new FROM temp.renumbered WHERE old = json_extract(decision, '$.submitted')), "
      "    json_extract(decision, '$.submitted') + {0})) END, "
      "  CASE state WHEN 'open' THEN 'rejected' ELSE state END, created_unix_s, prompt_version "
      "  FROM source.variation ORDER BY ordinal;"
      // What it handed in is the candidate of another run's variation.
      "UPDATE main.variation SET decision = json_set(decision, '$.submitted', "
      "  (SELECT new FROM temp.renumbered r WHERE r.old + {0} = main.variation.ordinal)) "
      "  WHERE ordinal IN (SELECT old + {0} FROM temp.renumbered WHERE new <> old + {0} AND old = variation);"
      "INSERT INTO main.rejection SELECT ordinal + {0}, reason, message FROM source.rejection;"
      "INSERT INTO main.rejection SELECT ordinal + {0}, 'merged', 'was under way when its run was merged' "
      "  FROM source.variation WHERE state = 'open';",
      last);
}

/// Requests that were never answered are left out: their candidates are asked for anew.
std::string candidate_sql(std::size_t source, std::int64_t last, std::int64_t told) {
  return fmt::format(
      "INSERT INTO main.candidate SELECT c.ordinal + {0}, c.id, c.variation + {0}, c.source, c.tuning, "
      "c.summary, "
      "  c.prompt_digest, CASE WHEN c.state = 'done' THEN 'done' WHEN EXISTS (SELECT 1 FROM "
      "source.evaluation e "
      "  WHERE e.ordinal = c.ordinal AND e.verb = 'examine' AND e.state = 'answered') THEN 'examined' "
      "  ELSE 'proposed' END, c.outcome, "
      "  CASE WHEN c.told IS NULL THEN NULL ELSE {1} + row_number() OVER (PARTITION BY c.told IS NULL ORDER "
      "BY c.told) "
      "  END, c.created_unix_s, c.told_unix_s, c.source_digest FROM source.candidate c "
      "  WHERE c.id NOT IN (SELECT id FROM main.candidate) ORDER BY c.ordinal;"
      "INSERT INTO main.variation_parent SELECT ordinal + {0}, role, position, parent_id FROM "
      "source.variation_parent;"
      "INSERT INTO main.evaluation (request_id, ordinal, {2}) SELECT '{3}' || e.request_id, r.new, {2} "
      "  FROM source.evaluation e JOIN temp.renumbered r ON r.old = e.ordinal WHERE e.state <> 'sent' ORDER "
      "BY e.id;",
      last, told, k_evaluation_rest, tag_of(source));
}

std::string call_sql(std::size_t source, std::int64_t last) {
  return fmt::format(
      "INSERT OR IGNORE INTO main.message SELECT * FROM source.message;"
      "INSERT INTO main.model_call (request_id, ordinal, attempt, endpoint, prompt_digest, prompt, "
      "sent_unix_s, model, "
      "  state, failure, message, {0}) SELECT '{1}' || request_id, ordinal + {2}, attempt, endpoint, "
      "prompt_digest, "
      "  prompt, sent_unix_s, model, CASE state WHEN 'sent' THEN 'failed' ELSE state END, "
      "  CASE state WHEN 'sent' THEN 'merged' ELSE failure END, message, {0} FROM source.model_call ORDER BY "
      "id;"
      "INSERT INTO main.inside_result SELECT variation + {2}, position, candidate_id, step, body "
      "  FROM source.inside_result;"
      "INSERT OR IGNORE INTO main.prompt_version SELECT version, operator_name, parent, ordinal + {2}, "
      "regions, state, "
      "  created_unix_s FROM source.prompt_version;"
      "INSERT OR IGNORE INTO main.lesson_evidence SELECT * FROM source.lesson_evidence;",
      k_call_rest, tag_of(source), last);
}

/// Every member that holds an ordinal is renumbered: that of a variation by the distance, that of a candidate to the
/// one that is kept.
std::string event_sql(std::int64_t last) {
  std::string body = "e.body";
  for (const char* member : {"parent", "same_code_as"})
    body = fmt::format(
        "json_replace({0}, '$.{1}', coalesce((SELECT new FROM temp.renumbered WHERE old = "
        "json_extract(e.body, '$.{1}')), json_extract(e.body, '$.{1}')))",
        body, member);
  return fmt::format(
      "INSERT INTO main.event (ordinal, event, body) SELECT numbered, event, CASE WHEN numbered IS NULL THEN "
      "body "
      "  ELSE json_replace(body, '$.ordinal', numbered) END FROM (SELECT e.sequence AS sequence, e.event AS "
      "event, "
      "  CASE WHEN e.event IN ('asked', 'answered', 'rejected', 'prompt_written') THEN e.ordinal + {0} "
      "  ELSE coalesce((SELECT new FROM temp.renumbered WHERE old = e.ordinal), e.ordinal + {0}) END AS "
      "numbered, "
      "  json_replace({1}, '$.variation', json_extract(e.body, '$.variation') + {0}) AS body "
      "  FROM source.event e) ORDER BY sequence;",
      last, body);
}

}  // namespace

std::string rows_script(std::size_t source, std::int64_t last_ordinal, std::int64_t told) {
  return run_sql(source) + variation_sql(last_ordinal) + candidate_sql(source, last_ordinal, told) +
         call_sql(source, last_ordinal) + event_sql(last_ordinal) + "DROP TABLE temp.renumbered;";
}

std::string places_script(std::size_t source) {
  constexpr const char* k_rest =
      "fitness, speedup, duel_id, task_digest, harness_version, device, is_modelled";
  return fmt::format(
      "INSERT INTO main.elite_history (status, reason, cell, ordinal, candidate_id, {0}) "
      "  SELECT h.status, h.reason, h.cell, c.ordinal, h.candidate_id, h.fitness, h.speedup, '{1}' || "
      "h.duel_id, "
      "  h.task_digest, h.harness_version, h.device, h.is_modelled FROM source.elite_history h "
      "  JOIN main.candidate c ON c.id = h.candidate_id WHERE h.cell IN (SELECT cell FROM temp.held_cell) "
      "  ORDER BY h.sequence;"
      "INSERT INTO main.elite (cell, ordinal, candidate_id, {0}) "
      "  SELECT e.cell, c.ordinal, e.candidate_id, e.fitness, e.speedup, '{1}' || e.duel_id, e.task_digest, "
      "  e.harness_version, e.device, e.is_modelled FROM source.elite e JOIN main.candidate c ON c.id = "
      "e.candidate_id "
      "  WHERE e.cell IN (SELECT cell FROM temp.held_cell);"
      "INSERT INTO main.champion (workload, ordinal, candidate_id, speedup, timing, duel_id) "
      "  SELECT h.workload, c.ordinal, h.candidate_id, h.speedup, h.timing, '{1}' || h.duel_id FROM "
      "source.champion h "
      "  JOIN main.candidate c ON c.id = h.candidate_id WHERE h.workload IN (SELECT workload FROM "
      "temp.held_workload);"
      "DROP TABLE temp.held_cell; DROP TABLE temp.held_workload;",
      k_rest, tag_of(source));
}

}  // namespace kernelites
