// SPDX-License-Identifier: Apache-2.0
// A table of queries; a new column that is a result belongs into its query here.
#include "archive/dump.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "archive/rows.h"
#include "engine/core/digest.h"

namespace kernelites {
namespace {

/// A table, its query, and which of the columns are JSON.
struct Listing {
  const char* table;
  const char* sql;
  std::array<std::string_view, 3> json_columns{};
};

constexpr std::array<Listing, 13> k_listings{{
    {"run", "SELECT seed, task, task_digest FROM run"},
    {"lesson_evidence", "SELECT id, body FROM lesson_evidence ORDER BY id", {"body"}},
    {"variation",
     "SELECT ordinal, generation, operator_name, endpoint, decision, state FROM variation ORDER BY ordinal",
     {"decision"}},
    {"variation_parent",
     "SELECT ordinal, role, position, parent_id FROM variation_parent ORDER BY ordinal, role DESC, position"},
    {"model_call",
     "SELECT request_id, ordinal, attempt, endpoint, prompt_digest, state, model, reply, input_tokens, "
     "cached_input_tokens, output_tokens, usd, is_estimated, failure FROM model_call ORDER BY ordinal, "
     "request_id"},
    {"inside_result",
     "SELECT variation, position, candidate_id, step, body FROM inside_result ORDER BY variation, position",
     {"body"}},
    {"prompt_version",
     "SELECT version, operator_name, parent, ordinal, regions, state FROM prompt_version ORDER BY ordinal",
     {"regions"}},
    {"rejection", "SELECT ordinal, reason, message FROM rejection ORDER BY ordinal"},
    {"candidate",
     "SELECT ordinal, id, variation, tuning, summary, prompt_digest, state, outcome, told FROM candidate "
     "ORDER BY ordinal",
     {"tuning"}},
    {"evaluation",
     "SELECT request_id, ordinal, verb, request, state, is_passed, stage, reason, descriptors, code_digest, "
     "task_digest, harness_version, toolkit, device, is_modelled, body FROM evaluation "
     "ORDER BY ordinal, verb DESC, request_id",
     {"request", "descriptors", "body"}},
    {"elite_history",
     "SELECT status, reason, cell, ordinal, candidate_id, fitness, speedup, duel_id, task_digest, "
     "harness_version, "
     "device, is_modelled FROM elite_history ORDER BY sequence"},
    {"elite",
     "SELECT cell, ordinal, candidate_id, fitness, speedup, duel_id, task_digest, harness_version, device, "
     "is_modelled FROM elite ORDER BY cell"},
    {"champion",
     "SELECT workload, ordinal, candidate_id, speedup, timing, duel_id FROM champion ORDER BY workload",
     {"timing"}},
}};

/// Members of bodies that are measured anew by every run.
constexpr std::array<std::string_view, 6> k_measured{"stage_ms", "worker_s",  "device_s",
                                                     "wall_s",   "latency_s", "time_s"};

void strip_measured(Json& json) {
  if (json.is_object())
    for (std::string_view member : k_measured) json.erase(std::string(member));
  if (json.is_structured())
    for (Json& child : json) strip_measured(child);
}

Json column_value(const Statement& row, int column, bool is_json) {
  if (row.is_null(column)) return nullptr;
  if (row.is_integer(column)) return row.integer(column);
  if (row.is_real(column)) return row.real(column);
  if (!is_json) return row.text(column);
  Json value = rows::read_json(row.text(column));
  strip_measured(value);
  return value;
}

}  // namespace

std::string dump(const Archive& archive) {
  std::string text;
  for (const Listing& listing : k_listings) {
    Statement row = archive.database_.prepare(listing.sql);
    while (row.step()) {
      Json line;
      for (int column = 0; column < row.column_count(); ++column) {
        const std::string name = row.column_name(column);
        const auto& json = listing.json_columns;
        const bool is_json = std::find(json.begin(), json.end(), name) != json.end();
        line[name] = column_value(row, column, is_json);
      }
      text.append(listing.table).append(" ").append(rows::write_json(line)).append("\n");
    }
  }
  return text;
}

std::string golden_signature(const Archive& archive) { return digest(dump(archive)); }

}  // namespace kernelites
