// SPDX-License-Identifier: Apache-2.0
// The explicit list of migrations. A change of archive/schema.sql adds one row here, raises k_schema_version,
// and keeps tests/unit/archive/schema_version_1.sql as it is: a test migrates that file and compares it with
// the schema.
#include "archive/migrations.h"

#include <fmt/format.h>

#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "engine/core/embedded_file.h"
#include "engine/core/error.h"

namespace kernelites {

extern const std::vector<EmbeddedFile> k_archive_files;

namespace {

// 1 -> 2: the ledger (arms, reasoning and cache tokens, reservations), conversations with tools, shared messages.
// 2 -> 3: bounds of costs, results of inner evaluations.
// 3 -> 4: prompts that evolve, tunings of one source, evidence of earlier runs, indices for long histories.
// 4 -> 5: indices that hold what sums of costs need.
// 5 -> 6: the key of modelled times.
constexpr std::array<Migration, 5> k_migrations{{
    {1,
     "ALTER TABLE variation ADD COLUMN prompt_version TEXT NOT NULL DEFAULT '';"
     "ALTER TABLE candidate ADD COLUMN told_unix_s REAL NOT NULL DEFAULT 0.0;"
     "ALTER TABLE model_call ADD COLUMN extras TEXT NOT NULL DEFAULT '{}';"
     "ALTER TABLE model_call ADD COLUMN cuts TEXT NOT NULL DEFAULT '[]';"
     "ALTER TABLE model_call ADD COLUMN tokens_estimated INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE model_call ADD COLUMN usd_reserved REAL NOT NULL DEFAULT 0.0;"
     "ALTER TABLE model_call ADD COLUMN tool_calls TEXT NOT NULL DEFAULT '[]';"
     "ALTER TABLE model_call ADD COLUMN finish TEXT NOT NULL DEFAULT '';"
     "ALTER TABLE model_call ADD COLUMN reasoning_tokens INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE model_call ADD COLUMN cache_write_tokens INTEGER NOT NULL DEFAULT 0;"
     "CREATE TABLE message (digest TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;"},
    {2,
     "ALTER TABLE model_call ADD COLUMN tokens_most INTEGER NOT NULL DEFAULT 0;"
     "ALTER TABLE model_call ADD COLUMN usd_most REAL NOT NULL DEFAULT 0.0;"
     "UPDATE model_call SET tokens_most = max(tokens_estimated, input_tokens + output_tokens), "
     "usd_most = CASE state WHEN 'sent' THEN usd_reserved ELSE usd END;"
     "CREATE TABLE inside_result (variation INTEGER NOT NULL REFERENCES variation (ordinal), "
     "position INTEGER NOT NULL, candidate_id TEXT NOT NULL, step TEXT NOT NULL, body TEXT NOT NULL, "
     "PRIMARY KEY (variation, position)) STRICT;"},
    {3,
     "ALTER TABLE candidate ADD COLUMN source_digest TEXT NOT NULL DEFAULT '';"
     "CREATE INDEX candidate_source ON candidate (source_digest, told);"
     "CREATE INDEX candidate_told ON candidate (told, outcome, variation);"
     "DROP INDEX variation_parent_parent;"
     "CREATE INDEX variation_parent_child ON variation_parent (parent_id, role, position, ordinal);"
     "CREATE INDEX rejection_reason ON rejection (reason);"
     "CREATE TABLE prompt_version (version TEXT PRIMARY KEY, operator_name TEXT NOT NULL, parent TEXT NOT "
     "NULL, "
     "ordinal INTEGER NOT NULL REFERENCES variation (ordinal), regions TEXT NOT NULL, "
     "state TEXT NOT NULL CHECK (state IN ('live', 'retired')), created_unix_s REAL NOT NULL) STRICT;"
     "CREATE TABLE lesson_evidence (id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;"
     "UPDATE run SET configuration = json_remove(configuration, '$.greed');"},
    {4,
     "CREATE INDEX evaluation_cost ON evaluation (ordinal, state, verb, is_passed, worker_s, device_s);"
     "CREATE INDEX model_call_cost ON model_call (ordinal, state, input_tokens, cached_input_tokens, "
     "output_tokens, usd,\n"
     "  reasoning_tokens, cache_write_tokens, tokens_most, usd_most, latency_s);"
     "DROP INDEX candidate_variation;"
     "CREATE INDEX candidate_variation ON candidate (variation, told, outcome, told_unix_s);"},
    {5, "ALTER TABLE run ADD COLUMN model_key TEXT NOT NULL DEFAULT '';"},
}};

void set_version(Database& database, int version) {
  database.execute(fmt::format("PRAGMA user_version = {}", version));
}

}  // namespace

std::span<const Migration> migrations() { return k_migrations; }

int archive_version(Database& database, int newest) {
  const auto refuse = [&](const std::string& problem) { throw ConfigError(database.name(), "", problem); };
  try {
    const auto application = database.integer("PRAGMA application_id");
    const auto version = database.integer("PRAGMA user_version");
    if (application == 0 && version == 0 && database.integer("SELECT count(*) FROM sqlite_schema") == 0)
      return 0;
    if (application != k_application_id) refuse("this database belongs to another program");
    if (version > newest)
      refuse(fmt::format("written by a newer version (format {}; this program knows up to {})", version,
                         newest));
    return static_cast<int>(version);
  } catch (const DatabaseError& error) {
    if (error.is_foreign_file())
      refuse(
          "this file is not a database, or a damaged one: take it from a copy, or begin a run in another "
          "folder");
    throw;
  }
}

void create_schema(Database& database) {
  for (const EmbeddedFile& file : k_archive_files)
    if (file.name == "schema.sql") database.execute(std::string(file.text));
  database.execute(fmt::format("PRAGMA application_id = {}", k_application_id));
  set_version(database, k_schema_version);
}

void migrate_within(Database& database, std::span<const Migration> steps) {
  for (const Migration& step : steps) {
    if (database.integer("PRAGMA user_version") != step.from) continue;
    database.execute(step.sql);
    set_version(database, step.from + 1);
  }
}

void migrate(Database& database, std::span<const Migration> steps) {
  for (const Migration& step : steps) {
    if (database.integer("PRAGMA user_version") != step.from) continue;
    Transaction transaction(database);
    migrate_within(database, {&step, 1});
    transaction.commit();
  }
}

Database migrated_copy(const std::filesystem::path& file) {
  std::string name = (std::filesystem::temp_directory_path() / "kernelites-copy-XXXXXX").string();
  const int descriptor = ::mkstemp(name.data());  // makes it, so that nobody else can
  if (descriptor < 0) throw Error(fmt::format("{}: cannot be made: {}", name, std::strerror(errno)));
  ::close(descriptor);
  struct Remove {
    std::string name;
    ~Remove() { ::unlink(name.c_str()); }
  };
  const Remove remove{name};
  {
    Database database(file, Database::Mode::read_only);
    Statement statement = database.prepare("VACUUM INTO ?1");  // one snapshot, into an empty file
    statement.bind(name);
    (void)statement.step();
  }
  Database copy(name, Database::Mode::read_write);
  migrate(copy, migrations());
  return copy;
}

}  // namespace kernelites
