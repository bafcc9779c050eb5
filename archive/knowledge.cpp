// SPDX-License-Identifier: Apache-2.0
// A set of effects as a file: read whole, joined, and only the difference written.
#include "archive/knowledge.h"

#include <fmt/format.h>

#include "archive/rows.h"
#include "engine/core/embedded_file.h"
#include "engine/core/error.h"

namespace kernelites {

extern const std::vector<EmbeddedFile> k_archive_files;

namespace {

constexpr int k_knowledge_application_id = 0x4b4c4b4e;  // "KLKN"
constexpr int k_knowledge_version = 1;

/// The file's version; 0 if it is empty. Throws ConfigError if it is anything else than a knowledge file.
int knowledge_version(Database& database) {
  const auto refuse = [&](const std::string& problem) { throw ConfigError(database.name(), "", problem); };
  try {
    const auto application = database.integer("PRAGMA application_id");
    const auto version = database.integer("PRAGMA user_version");
    if (application == 0 && version == 0 && database.integer("SELECT count(*) FROM sqlite_schema") == 0)
      return 0;
    if (application != k_knowledge_application_id) refuse("this is no knowledge file");
    if (version > k_knowledge_version)
      refuse(fmt::format("written by a newer version (format {}; this program knows up to {})", version,
                         k_knowledge_version));
    return static_cast<int>(version);
  } catch (const DatabaseError& error) {
    if (error.is_foreign_file()) refuse("this is no knowledge file");
    throw;
  }
}

void create_tables(Database& database) {
  for (const EmbeddedFile& file : k_archive_files)
    if (file.name == "knowledge.sql") database.execute(std::string(file.text));
  database.execute(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}",
                               k_knowledge_application_id, k_knowledge_version));
}

void write(Database& database, const Effect& effect) {
  database.prepare("DELETE FROM effect WHERE id = ?1").bind(effect.id).run();
  database
      .prepare(
          "INSERT INTO effect (id, task, family, architecture, state, shape_class, outcome, log_gain, "
          "is_modelled, measured_unix_s, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")
      .bind(effect.id, effect.task, effect.family, effect.architecture, effect.state, effect.shape_class,
            std::string(effect_outcome_name(effect.outcome)), effect.log_gain, effect.is_modelled,
            effect.measured_unix_s, rows::write_body("effect", effect))
      .run();
  for (const std::string& technique : effect.techniques) {
    database.prepare("INSERT OR IGNORE INTO technique (code) VALUES (?1)").bind(technique).run();
    database.prepare("INSERT OR IGNORE INTO effect_technique (effect, technique) VALUES (?1, ?2)")
        .bind(effect.id, technique)
        .run();
  }
}

EffectSet read_all(Database& database) {
  EffectSet set;
  Statement gone = database.prepare("SELECT id FROM forgotten");
  while (gone.step()) set.forgotten.insert(gone.text(0));
  Statement row = database.prepare("SELECT id, body FROM effect ORDER BY id");
  while (row.step()) {
    if (set.effects.size() == k_effects_max)
      throw ConfigError(database.name(), "effect", fmt::format("holds more than {} rows", k_effects_max));
    try {
      const auto effect = rows::as<Effect>(rows::read_body(row.text(1), "effect"));
      if (effect.id != row.text(0)) throw Error("its id is another one than its row's");
      set.add(effect);
    } catch (const DatabaseError&) {
      throw;
    } catch (const std::exception& error) {
      // Not the row's id: a file from elsewhere puts no words into our messages either.
      throw ConfigError(database.name(), fmt::format("effect, row {}", set.effects.size() + 1), error.what());
    }
  }
  return set;
}

}  // namespace

Knowledge Knowledge::open(const std::filesystem::path& file) {
  Database database(file, Database::Mode::create);
  if (knowledge_version(database) == 0) {
    Transaction transaction(database);  // another process may have been faster
    if (knowledge_version(database) == 0) create_tables(database);
    transaction.commit();
  }
  return Knowledge(std::move(database));
}

Knowledge Knowledge::open_read_only(const std::filesystem::path& file) {
  if (!std::filesystem::is_regular_file(file))
    throw ConfigError(file.string(), "", "there is no such knowledge file");
  Database database(file, Database::Mode::read_only);
  if (knowledge_version(database) == 0) throw ConfigError(file.string(), "", "this is no knowledge file");
  return Knowledge(std::move(database));
}

EffectSet Knowledge::read() const { return read_all(database_); }

std::size_t Knowledge::join(const EffectSet& more) {
  Transaction transaction(database_);
  const EffectSet before = read_all(database_);
  EffectSet after = before;
  after.join(more);
  std::size_t added = 0;
  for (const std::string& id : after.forgotten) {
    if (before.forgotten.contains(id)) continue;
    database_.prepare("INSERT INTO forgotten (id) VALUES (?1)").bind(id).run();
    database_.prepare("DELETE FROM effect WHERE id = ?1").bind(id).run();
  }
  for (const auto& [id, effect] : after.effects) {
    const auto known = before.effects.find(id);
    if (known != before.effects.end() && known->second == effect) continue;
    if (known == before.effects.end()) ++added;
    write(database_, effect);
  }
  transaction.commit();
  return added;
}

}  // namespace kernelites
