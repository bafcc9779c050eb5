// SPDX-License-Identifier: Apache-2.0
// Life of an archive: made, opened, refused, closed.
#include "archive/archive.h"

#include <fmt/format.h>

#include "archive/migrations.h"
#include "archive/rows.h"
#include "archive/run_lock.h"
#include "engine/core/error.h"
#include "engine/core/fresh_folder.h"

namespace kernelites {
namespace {

std::filesystem::path database_file(const std::filesystem::path& folder) { return folder / "run.db"; }

/// The version of the file in `folder`, read without writing; 0 if there is none or nothing is recorded in
/// it.
int version_in(const std::filesystem::path& folder) {
  const auto file = database_file(folder);
  std::error_code failure;
  if (!std::filesystem::exists(file, failure)) return 0;
  try {
    Database database(file, Database::Mode::read_only);
    return archive_version(database);
  } catch (const DatabaseError& error) {
    // A rollback journal exists only before a new file is switched to WAL: its maker was killed, nothing is
    // lost.
    if (error.is_rollback_needed()) return 0;
    throw;
  }
}

/// What a writer needs. WAL lets readers in while a run goes on. A SIGKILL loses nothing that was committed under any
/// `synchronous`, since written pages belong to the system. NORMAL keeps the file whole through a power cut, and `sync`
/// decides how much of the end may be missing then: one wait for the disk per commit (FULL) is a dozen per candidate,
/// of milliseconds each.
void prepare_for_writing(Database& database) {
  if (database.text("PRAGMA journal_mode = WAL") != "wal")
    throw Error(fmt::format("{}: this file system cannot hold a database in WAL mode", database.name()));
  database.execute("PRAGMA synchronous = NORMAL");
}

[[noreturn]] void refuse_missing(const std::filesystem::path& folder) {
  std::error_code failure;
  throw ConfigError(
      folder.string(), "",
      std::filesystem::exists(database_file(folder), failure)
          ? "there is no run here: run.db is empty, as a run leaves it that ends before it began"
          : "there is no run here (no run.db)");
}

}  // namespace

Archive::Archive(std::unique_ptr<RunLock> lock, Database database)
    : lock_(std::move(lock)), database_(std::move(database)) {}
Archive::Archive(Archive&&) noexcept = default;
Archive::~Archive() = default;

bool Archive::exists(const std::filesystem::path& folder) { return version_in(folder) > 0; }

Archive Archive::create(const std::filesystem::path& folder, const RunRecord& run) {
  if (exists(folder)) throw ConfigError(folder.string(), "", "there is a run here already");
  std::error_code failure;
  make_private_folder(folder, failure);
  if (failure) throw ConfigError(folder.string(), "", "this folder cannot be made: " + failure.message());
  auto lock = std::make_unique<RunLock>(folder);
  Database database(database_file(folder), Database::Mode::create);
  if (archive_version(database) != 0) throw ConfigError(folder.string(), "", "there is a run here already");
  prepare_for_writing(database);
  {
    // Schema and run in one transaction: a file either holds a run or is empty.
    Transaction transaction(database);
    create_schema(database);
    database
        .prepare(
            "INSERT INTO run (id, seed, task, task_digest, task_document, reference_source, configuration, "
            "started_unix_s, state, wall_s, model_key) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")
        .bind(run.seed, run.task, run.task_digest, rows::write_json(run.task_document), run.reference_source,
              rows::write_json(run.configuration), run.started_unix_s, run.state, run.wall_s, run.model_key)
        .run();
    transaction.commit();
  }
  return Archive(std::move(lock), std::move(database));
}

Archive Archive::open(const std::filesystem::path& folder) {
  if (version_in(folder) == 0) refuse_missing(folder);
  auto lock = std::make_unique<RunLock>(folder);
  Database database(database_file(folder), Database::Mode::read_write);
  prepare_for_writing(database);
  migrate(database, migrations());
  if (archive_version(database) != k_schema_version)
    throw Error(fmt::format("{}: no migration leads to format {}", database.name(), k_schema_version));
  return Archive(std::move(lock), std::move(database));
}

Archive Archive::open_read_only(const std::filesystem::path& folder) {
  const int version = version_in(folder);
  if (version == 0) refuse_missing(folder);
  // Who only looks must not change the file, and may not be allowed to.
  Database database = version == k_schema_version ? Database(database_file(folder), Database::Mode::read_only)
                                                  : migrated_copy(database_file(folder));
  database.execute("BEGIN");
  database.integer("SELECT count(*) FROM run");  // the instant is that of the first reading
  return Archive(nullptr, std::move(database));
}

}  // namespace kernelites
