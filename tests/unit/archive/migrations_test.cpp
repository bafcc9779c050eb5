// SPDX-License-Identifier: Apache-2.0
// Migration steps on a small database of our own: order, versions, and a step that fails.
#include "archive/migrations.h"

#include <array>

#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/unit/archive/archive_samples.h"

using namespace kernelites;

namespace {

constexpr std::array<Migration, 2> k_steps{{
    {1, "ALTER TABLE note ADD COLUMN author TEXT NOT NULL DEFAULT 'nobody'"},
    {2,
     "ALTER TABLE note RENAME COLUMN text TO body; UPDATE note SET author = 'somebody' WHERE author = "
     "'nobody'"},
}};

Database version_1_database(const TemporaryFolder& folder) {
  Database database(folder.database(), Database::Mode::create);
  database.execute(
      "PRAGMA application_id = 1263293509; PRAGMA user_version = 1;"
      "CREATE TABLE note (text TEXT NOT NULL) STRICT; INSERT INTO note VALUES ('kept')");
  return database;
}

}  // namespace

TEST_CASE("migration steps run in order, keep the rows and raise the version") {
  const TemporaryFolder folder;
  Database database = version_1_database(folder);
  migrate(database, k_steps);
  CHECK(database.integer("PRAGMA user_version") == 3);
  CHECK(database.text("SELECT body || ' by ' || author FROM note") == "kept by somebody");
}

TEST_CASE("a file of a middle version runs only the later steps") {
  const TemporaryFolder folder;
  Database database = version_1_database(folder);
  migrate(database, std::span(k_steps).first(1));
  CHECK(database.integer("PRAGMA user_version") == 2);
  database.execute("UPDATE note SET author = 'me'");
  migrate(database, k_steps);
  CHECK(database.integer("PRAGMA user_version") == 3);
  CHECK(database.text("SELECT author FROM note") == "me");
}

TEST_CASE("migrating the newest version changes nothing") {
  const TemporaryFolder folder;
  Database database = version_1_database(folder);
  migrate(database, k_steps);
  CHECK_NOTHROW(migrate(database, k_steps));
  CHECK(database.integer("PRAGMA user_version") == 3);
}

TEST_CASE("a step that fails half way leaves the version before it") {
  const TemporaryFolder folder;
  Database database = version_1_database(folder);
  const std::array<Migration, 2> steps{{k_steps[0], {2, "DELETE FROM note; INSERT INTO nowhere VALUES (1)"}}};
  CHECK_THROWS_AS(migrate(database, steps), Error);
  CHECK(database.integer("PRAGMA user_version") == 2);
  CHECK(database.text("SELECT text FROM note") == "kept");
}

TEST_CASE("the listed migrations lead from version 1 to the present one without a gap") {
  int version = 1;
  for (const Migration& step : migrations()) CHECK(step.from == version++);
  CHECK(version == k_schema_version);
}

TEST_CASE("an empty database has version 0") {
  const TemporaryFolder folder;
  Database database(folder.database(), Database::Mode::create);
  CHECK(archive_version(database) == 0);
}
