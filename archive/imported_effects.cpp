// SPDX-License-Identifier: Apache-2.0
// What a run knows of earlier runs, and a question that minimisations ask of its history.
#include "archive/archive.h"
#include "archive/rows.h"

namespace kernelites {

void Archive::record_imported_effects(const EffectSet& effects) {
  Transaction transaction(database_);
  database_.execute("DELETE FROM lesson_evidence");
  Statement insert = database_.prepare("INSERT INTO lesson_evidence (id, body) VALUES (?1, ?2)");
  for (const auto& [id, effect] : effects.effects) insert.bind(id, rows::write_body("effect", effect)).run();
  transaction.commit();
}

EffectSet Archive::imported_effects() const {
  EffectSet set;
  Statement row = database_.prepare("SELECT body FROM lesson_evidence ORDER BY id");
  while (row.step()) set.add(rows::as<Effect>(rows::read_body(row.text(0), "effect")));
  return set;
}

bool Archive::was_asked(const std::string& operator_name, const std::string& parent_id) const {
  Statement row = database_.prepare(
      "SELECT 1 FROM variation_parent p JOIN variation v ON v.ordinal = p.ordinal "
      "WHERE p.parent_id = ?1 AND p.role = 'parent' AND p.position = 0 AND v.operator_name = ?2 LIMIT 1");
  row.bind(parent_id, operator_name);
  return row.step();
}

}  // namespace kernelites
