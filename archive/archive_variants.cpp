// SPDX-License-Identifier: Apache-2.0
// Variants of one thing: tunings of a source, and prompts with other texts in their regions.
#include "archive/archive.h"
#include "archive/rows.h"
#include "engine/core/digest.h"

namespace kernelites {

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

}  // namespace kernelites
