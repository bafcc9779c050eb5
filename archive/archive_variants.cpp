// SPDX-License-Identifier: Apache-2.0
// Variants of one thing: tunings of a source, and prompts with other texts in their regions.
#include "archive/archive.h"
#include "archive/rows.h"
#include "engine/core/digest.h"

namespace kernelites {
namespace {

/// Not those whose candidate is under way: what is over is the same however replies arrived.
constexpr const char* k_is_over =
    "(v.state = 'rejected' OR EXISTS (SELECT 1 FROM candidate c WHERE c.variation = v.ordinal AND +c.told > "
    "0))";

}  // namespace

std::int64_t Archive::last_told() const {
  return database_.integer("SELECT coalesce(max(told), 0) FROM candidate");
}

std::vector<EvaluatedCandidate> Archive::tunings(const std::string& source, std::int64_t told_max,
                                                 int limit) const {
  std::vector<std::uint64_t> ordinals;
  Statement rows = database_.prepare(
      "SELECT ordinal FROM candidate WHERE source_digest = ?1 AND told <= ?2 AND outcome <> 'unfinished' "
      "ORDER BY told DESC LIMIT ?3");
  rows.bind(digest(source), told_max, limit);
  while (rows.step()) ordinals.push_back(static_cast<std::uint64_t>(rows.integer(0)));
  std::vector<EvaluatedCandidate> candidates;
  for (const std::uint64_t ordinal : ordinals) candidates.push_back(*evaluated(ordinal));
  return candidates;
}

bool Archive::record_prompt_version(const PromptVersionRecord& version) {
  Transaction transaction(database_);
  const auto changed =
      database_
          .prepare(
              "INSERT INTO prompt_version (version, operator_name, parent, ordinal, regions, state, "
              "created_unix_s) VALUES (?1, ?2, ?3, ?4, ?5, 'live', ?6) ON CONFLICT (version) DO NOTHING")
          .bind(version.version, version.operator_name, version.parent, version.ordinal,
                rows::write_json(version.regions), version.created_unix_s)
          .run();
  if (changed == 0) return false;
  database_
      .prepare(
          "UPDATE variation SET state = 'submitted', decision = json_set(decision, '$.prompt_version', ?2) "
          "WHERE ordinal = ?1 AND state = 'open'")
      .bind(version.ordinal, version.version)
      .run();
  transaction.commit();
  return true;
}

void Archive::retire_prompt_version(const std::string& version) {
  database_.prepare("UPDATE prompt_version SET state = 'retired' WHERE version = ?1").bind(version).run();
}

std::vector<PromptVersionRecord> Archive::prompt_versions() const {
  std::vector<PromptVersionRecord> versions;
  Statement row = database_.prepare(
      "SELECT version, operator_name, parent, ordinal, regions, state, created_unix_s FROM prompt_version "
      "ORDER BY ordinal");
  while (row.step())
    versions.push_back({.version = row.text(0),
                        .operator_name = row.text(1),
                        .parent = row.text(2),
                        .ordinal = static_cast<std::uint64_t>(row.integer(3)),
                        .regions = rows::read_json(row.text(4)),
                        .state = row.text(5),
                        .created_unix_s = row.real(6)});
  return versions;
}

std::vector<std::uint64_t> Archive::variations_under(const std::string& operator_name,
                                                     const std::string& version, int limit) const {
  std::vector<std::uint64_t> ordinals;
  Statement row = database_.prepare(
      std::string(
          "SELECT v.ordinal FROM variation v WHERE v.operator_name = ?1 AND v.prompt_version = ?2 AND ") +
      k_is_over + " ORDER BY v.ordinal DESC LIMIT ?3");
  row.bind(operator_name, version, limit);
  while (row.step()) ordinals.push_back(static_cast<std::uint64_t>(row.integer(0)));
  return ordinals;
}

std::map<std::string, std::int64_t> Archive::variations_by_version(const std::string& operator_name) const {
  std::map<std::string, std::int64_t> counts;
  Statement row = database_.prepare(
      std::string("SELECT v.prompt_version, count(*) FROM variation v WHERE v.operator_name = ?1 AND ") +
      k_is_over + " GROUP BY 1");
  row.bind(operator_name);
  while (row.step()) counts[row.text(0)] = row.integer(1);
  return counts;
}

std::vector<VariationRecord> Archive::variations_of(const std::string& operator_name) const {
  std::vector<VariationRecord> records;
  Statement row =
      database_.prepare(std::string(rows::k_variation_columns) + "WHERE operator_name = ?1 ORDER BY ordinal");
  row.bind(operator_name);
  while (row.step()) records.push_back(rows::variation(database_, row));
  return records;
}

}  // namespace kernelites
