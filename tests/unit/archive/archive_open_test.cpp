// SPDX-License-Identifier: Apache-2.0
// Making, opening and refusing: whose file it is, which version, who writes.
#include <sys/wait.h>

#include <fstream>
#include <regex>

#include "archive/database.h"
#include "archive/migrations.h"
#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/unit/archive/archive_samples.h"

using namespace kernelites;

namespace {

/// Every way of opening must refuse the run in `folder` with `sentence` and leave run.db as it is.
void check_refused(const TemporaryFolder& folder, const std::string& sentence) {
  const std::string before = read_text(folder.database());
  CHECK_THROWS_AS(Archive::open(folder.path()), ConfigError);
  CHECK_THROWS_WITH(Archive::open(folder.path()), Catch::Contains(sentence));
  CHECK_THROWS_WITH(Archive::open_read_only(folder.path()), Catch::Contains(sentence));
  CHECK_THROWS_WITH(Archive::create(folder.path(), sample_run()), Catch::Contains(sentence));
  CHECK(read_text(folder.database()) == before);
  CHECK_FALSE(std::filesystem::exists(folder.path() / "run.lock"));
}

/// Without comments and needless blanks: SQLite keeps the text of CREATE and writes what ALTER adds behind it.
std::string normal_form(const std::string& sql) {
  static const std::regex comments("--[^\n]*");
  static const std::regex blanks("[ \n]+");
  static const std::regex around(" ?([,()]) ?");
  return std::regex_replace(std::regex_replace(std::regex_replace(sql, comments, ""), blanks, " "), around,
                            "$1");
}

std::string schema_of(Database& database) {
  std::string text;
  Statement rows =
      database.prepare("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name");
  while (rows.step()) text += rows.text(0) + " " + rows.text(1) + "\n" + normal_form(rows.text(2)) + "\n";
  return text;
}

}  // namespace

TEST_CASE("a run reads back as it was recorded") {
  const TemporaryFolder folder;
  { Archive::create(folder.path(), sample_run()); }
  const RunRecord run = Archive::open(folder.path()).run();
  CHECK(run.seed == 0xfedcba9876543210u);
  CHECK(run.task == "rmsnorm");
  CHECK(run.task_digest == "task-1");
  CHECK(run.task_document == sample_run().task_document);
  CHECK(run.reference_source == "reference");
  CHECK(run.configuration == sample_run().configuration);
  CHECK(run.started_unix_s == 1700000000.5);
  CHECK(run.state == "running");
}

TEST_CASE("state and wall clock of a run can be told") {
  const TemporaryFolder folder;
  {
    Archive archive = Archive::create(folder.path(), sample_run());
    archive.set_state("stopped");
    archive.set_wall_s(12.5);
  }
  const Archive archive = Archive::open_read_only(folder.path());
  CHECK(archive.run().state == "stopped");
  CHECK(archive.spent().wall_s == 12.5);
}

TEST_CASE("a folder is made when a run is created in it") {
  const TemporaryFolder folder;
  Archive::create(folder.path() / "runs" / "one", sample_run());
  CHECK(Archive::exists(folder.path() / "runs" / "one"));
}

TEST_CASE("a second run in one folder is refused") {
  const TemporaryFolder folder;
  { Archive::create(folder.path(), sample_run()); }
  CHECK_THROWS_WITH(Archive::create(folder.path(), sample_run()),
                    Catch::Contains("there is a run here already"));
}

TEST_CASE("opening where there is no run is refused and makes nothing") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH(Archive::open(folder.path()), Catch::Contains("there is no run here"));
  CHECK_THROWS_WITH(Archive::open_read_only(folder.path()), Catch::Contains("there is no run here"));
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("a second writer is refused with the process that writes") {
  const TemporaryFolder folder;
  const Archive archive = Archive::create(folder.path(), sample_run());
  const std::string sentence = "the run is in use by process " + std::to_string(getpid());
  CHECK_THROWS_AS(Archive::open(folder.path()), ConfigError);
  CHECK_THROWS_WITH(Archive::open(folder.path()), Catch::Contains(sentence));
}

TEST_CASE("a writer that was killed does not keep the run locked") {
  const TemporaryFolder folder;
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    const Archive archive = Archive::create(folder.path(), sample_run());
    if (write(ready[1], "x", 1) != 1) _exit(1);
    pause();
  }
  char byte = 0;
  REQUIRE(read(ready[0], &byte, 1) == 1);
  CHECK_THROWS_WITH(Archive::open(folder.path()), Catch::Contains("process " + std::to_string(child)));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  CHECK_NOTHROW(Archive::open(folder.path()));
  close(ready[0]);
  close(ready[1]);
}

TEST_CASE("a reader sees what was committed when it was opened, while a writer goes on") {
  const TemporaryFolder folder;
  Archive writer = Archive::create(folder.path(), sample_run());
  const Archive reader = Archive::open_read_only(folder.path());
  CHECK(reader.counters().candidates == 0);
  add_candidate(writer, 1);
  CHECK(reader.counters().candidates == 0);
  CHECK(reader.next_ordinal() == 1);
  CHECK(Archive::open_read_only(folder.path()).counters().candidates == 1);
}

TEST_CASE("a reader cannot write") {
  const TemporaryFolder folder;
  { Archive::create(folder.path(), sample_run()); }
  Archive reader = Archive::open_read_only(folder.path());
  CHECK_THROWS_AS(reader.set_state("done"), Error);
}

TEST_CASE("a file that is not a database is refused unchanged") {
  const TemporaryFolder folder;
  std::ofstream(folder.database()) << std::string(5000, 'x');
  check_refused(folder, "this file is not a database");
}

TEST_CASE("another program's database is refused unchanged") {
  const TemporaryFolder folder;
  Database(folder.database(), Database::Mode::create)
      .execute("CREATE TABLE note (text TEXT); PRAGMA application_id = 42");
  check_refused(folder, "this database belongs to another program");
}

TEST_CASE("a database without an application id is refused unchanged") {
  const TemporaryFolder folder;
  Database(folder.database(), Database::Mode::create).execute("CREATE TABLE note (text TEXT)");
  check_refused(folder, "this database belongs to another program");
}

TEST_CASE("a newer version is refused unchanged") {
  const TemporaryFolder folder;
  { Archive::create(folder.path(), sample_run()); }
  std::filesystem::remove(folder.path() / "run.lock");
  Database(folder.database(), Database::Mode::read_write)
      .execute("PRAGMA journal_mode = DELETE; PRAGMA user_version = " + std::to_string(k_schema_version + 1));
  check_refused(folder, "written by a newer version (format " + std::to_string(k_schema_version + 1));
}

TEST_CASE("a run that was killed while it made its file can be created again") {
  const TemporaryFolder folder;
  Database(folder.database(), Database::Mode::create).execute("PRAGMA journal_mode = WAL");
  CHECK_FALSE(Archive::exists(folder.path()));
  CHECK_NOTHROW(Archive::create(folder.path(), sample_run()));
}

TEST_CASE("a run file says whose it is, which version, and writes ahead") {
  const TemporaryFolder folder;
  { Archive::create(folder.path(), sample_run()); }
  Database database(folder.database(), Database::Mode::read_only);
  CHECK(database.integer("PRAGMA application_id") == 0x4b4c5445);
  CHECK(database.integer("PRAGMA user_version") == k_schema_version);
  CHECK(database.text("PRAGMA journal_mode") == "wal");
}

namespace {

/// A run as version `version` wrote it.
void make_old_file(const std::filesystem::path& file, int version) {
  Database old(file, Database::Mode::create);
  old.execute(
      read_text(std::filesystem::path(KERNELITES_SOURCE_DIR) / "tests/unit/archive/schema_version_1.sql"));
  old.execute(
      "PRAGMA application_id = 1263293509; PRAGMA user_version = 1;"
      "INSERT INTO run VALUES (1, 7, 'rmsnorm', 'd', '{}', 'r', '{}', 1.5, 'stopped', 2.5)");
  migrate(old, migrations().first(static_cast<std::size_t>(version) - 1));
}

}  // namespace

TEST_CASE("a file of every older version opens with the present schema and its run") {
  for (int version = 1; version < k_schema_version; ++version) {
    CAPTURE(version);
    const TemporaryFolder folder;
    make_old_file(folder.database(), version);
    CHECK(Archive::open(folder.path()).run().seed == 7);
    const TemporaryFolder fresh_folder;
    { Archive::create(fresh_folder.path(), sample_run()); }
    Database migrated(folder.database(), Database::Mode::read_only);
    Database fresh(fresh_folder.database(), Database::Mode::read_only);
    CHECK(schema_of(migrated) == schema_of(fresh));
  }
}

TEST_CASE("a run keeps the key of its modelled times, and one of an older version is given one") {
  const TemporaryFolder folder;
  RunRecord run = sample_run();
  run.model_key = Key::fixed("a").hex();
  { Archive::create(folder.path(), run); }
  CHECK(Archive::open_read_only(folder.path()).run().model_key == Key::fixed("a").hex());
  const TemporaryFolder old_folder;
  make_old_file(old_folder.database(), k_schema_version - 1);
  {
    Archive old = Archive::open(old_folder.path());
    CHECK(old.run().model_key.empty());
    old.set_model_key(Key::fixed("b"));
  }
  CHECK(Archive::open_read_only(old_folder.path()).run().model_key == Key::fixed("b").hex());
}

TEST_CASE("who only reads a file of an older version sees its run and leaves it as it is") {
  for (int version = 1; version < k_schema_version; ++version) {
    CAPTURE(version);
    const TemporaryFolder folder;
    make_old_file(folder.database(), version);
    const std::string before = read_text(folder.database());
    {
      const Archive archive = Archive::open_read_only(folder.path());
      CHECK(archive.run().seed == 7);
      CHECK(archive.prompt_versions().empty());  // a table of version 4
    }
    CHECK(read_text(folder.database()) == before);
    Database file(folder.database(), Database::Mode::read_only);
    CHECK(file.integer("PRAGMA user_version") == version);
  }
}
