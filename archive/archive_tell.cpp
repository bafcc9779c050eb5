// SPDX-License-Identifier: Apache-2.0
// The end of a candidate's way, and what else changes a cell: history, elite and champions in one transaction.
#include <fmt/format.h>

#include "archive/archive.h"
#include "archive/rows.h"
#include "engine/core/error.h"

namespace kernelites {
namespace {

void add_history(Database& database, const std::string& status, const std::string& reason,
                 const Elite& elite) {
  database
      .prepare(fmt::format("INSERT INTO elite_history (status, reason, {}) "
                           "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                           rows::k_elite_columns))
      .bind(status, reason, elite.cell, elite.ordinal, elite.candidate_id, elite.fitness, elite.speedup,
            elite.duel_id, elite.task_digest, elite.harness_version, elite.device, elite.is_modelled)
      .run();
}

void put_elite(Database& database, const std::string& status, const Elite& elite) {
  add_history(database, status, "", elite);
  database
      .prepare(
          fmt::format("INSERT OR REPLACE INTO elite ({}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                      rows::k_elite_columns))
      .bind(elite.cell, elite.ordinal, elite.candidate_id, elite.fitness, elite.speedup, elite.duel_id,
            elite.task_digest, elite.harness_version, elite.device, elite.is_modelled)
      .run();
}

void put_champion(Database& database, const Champion& champion) {
  database
      .prepare(
          "INSERT OR REPLACE INTO champion (workload, ordinal, candidate_id, speedup, timing, duel_id) "
          "VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
      .bind(champion.workload, champion.ordinal, champion.candidate_id, champion.speedup,
            rows::write_json(Json(champion.timing)), champion.duel_id)
      .run();
}

std::optional<Elite> elite_of(Database& database, const std::string& cell) {
  Statement row =
      database.prepare(fmt::format("SELECT {} FROM elite WHERE cell = ?1", rows::k_elite_columns));
  if (!row.bind(cell).step()) return std::nullopt;
  return rows::elite(row);
}

}  // namespace

bool Archive::tell(const Outcome& outcome) {
  Transaction transaction(database_);
  const auto changed = database_
                           .prepare(
                               "UPDATE candidate SET state = 'done', outcome = ?2, told_unix_s = ?3, "
                               "told = (SELECT coalesce(max(told), 0) + 1 FROM candidate) WHERE ordinal = ?1 "
                               "AND state <> 'done'")
                           .bind(outcome.ordinal, outcome.status, outcome.told_unix_s)
                           .run();
  if (changed == 0) {
    if (!candidate(outcome.ordinal))
      throw Error(fmt::format("{}: candidate {} was never recorded", database_.name(), outcome.ordinal));
    return false;
  }
  if (outcome.elite) {
    KERNELITES_ASSERT(outcome.elite->ordinal == outcome.ordinal);
    put_elite(database_, elite_of(database_, outcome.elite->cell) ? "improved" : "added", *outcome.elite);
  }
  for (const Champion& champion : outcome.champions) put_champion(database_, champion);
  transaction.commit();
  return true;
}

void Archive::renew_elite(const Elite& elite) {
  Transaction transaction(database_);
  const auto present = elite_of(database_, elite.cell);
  KERNELITES_ASSERT(present && present->candidate_id == elite.candidate_id);
  put_elite(database_, "renewed", elite);
  transaction.commit();
}

void Archive::withdraw_elite(const std::string& cell, const std::string& reason) {
  Transaction transaction(database_);
  const auto present = elite_of(database_, cell);
  KERNELITES_ASSERT(present);
  add_history(database_, "withdrawn", reason, *present);
  database_.prepare("DELETE FROM elite WHERE cell = ?1").bind(cell).run();
  database_.prepare("DELETE FROM champion WHERE ordinal = ?1").bind(present->ordinal).run();
  transaction.commit();
}

}  // namespace kernelites
