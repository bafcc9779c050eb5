// SPDX-License-Identifier: Apache-2.0
// Two queries that indices answer, save for the variations' own short rows.
#include "archive/told_rows.h"

#include <fmt/format.h>

#include "archive/database.h"
#include "archive/migrations.h"

namespace kernelites {
namespace {

constexpr const char* k_arm_columns =
    "v.ordinal, v.operator_name, v.endpoint, v.prompt_version, "
    "(SELECT coalesce(sum(m.usd), 0.0) FROM model_call m WHERE m.ordinal = v.ordinal AND m.state <> 'sent')";

ArmOfVariation arm_at(const Statement& row) {
  return {.variation = static_cast<std::uint64_t>(row.integer(0)),
          .operator_name = row.text(1),
          .endpoint = row.text(2),
          .prompt_version = row.text(3),
          .usd = row.real(4)};
}

}  // namespace

std::optional<HistoryRows> read_history_rows(const std::filesystem::path& file) {
  Database database(file, Database::Mode::read_only);
  database.execute("BEGIN");  // one snapshot; it ends with the connection
  return read_history_rows(database);
}

std::optional<HistoryRows> read_history_rows(Database& database) {
  if (archive_version(database) != k_schema_version) return std::nullopt;
  HistoryRows history;
  Statement told = database.prepare(
      fmt::format("SELECT {}, c.ordinal, c.told, coalesce(json_extract(v.decision, '$.submitted'), 0), "
                  "(SELECT coalesce(sum(e.device_s), 0.0) FROM evaluation e WHERE e.ordinal = c.ordinal AND "
                  "e.state <> 'sent') FROM candidate c JOIN variation v ON v.ordinal = c.variation "
                  "WHERE c.told > 0 ORDER BY c.told",
                  k_arm_columns));
  while (told.step())
    history.told.push_back({.ordinal = static_cast<std::uint64_t>(told.integer(5)),
                            .told = told.integer(6),
                            .arm = arm_at(told),
                            .submitted = static_cast<std::uint64_t>(told.integer(7)),
                            .device_s = told.real(8)});
  Statement rejected = database.prepare(
      fmt::format("SELECT {} FROM rejection r JOIN variation v ON v.ordinal = r.ordinal ORDER BY r.ordinal",
                  k_arm_columns));
  while (rejected.step()) history.rejected.push_back(arm_at(rejected));
  return history;
}

}  // namespace kernelites
