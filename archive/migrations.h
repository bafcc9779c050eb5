// SPDX-License-Identifier: Apache-2.0
// Which file is ours, which version it has, and how an older one becomes the present one.
#pragma once

#include <optional>
#include <span>

#include "archive/database.h"

namespace kernelites {

/// "KLTE": SQLite keeps it in the file's header, so that `file` and we know our own.
inline constexpr int k_application_id = 0x4b4c5445;
/// Version of archive/schema.sql. The first is 1.
inline constexpr int k_schema_version = 6;

/// A step from version `from` to `from + 1`.
struct Migration {
  int from;
  const char* sql;
};
/// A copy of `file` in today's format that nobody else sees: it lies where temporary files do, and its name is gone
/// already. For who only reads: the file stays as it is. Throws Error if there is no room for it.
Database migrated_copy(const std::filesystem::path& file);

/// All steps, oldest first; the last leads to k_schema_version.
std::span<const Migration> migrations();

/// The version of an archive; 0 if the database is empty (a run that was killed while it made its file).
/// Throws ConfigError, and changes nothing, if the file is no database, another program's, or of a version
/// above `newest`.
int archive_version(Database& database, int newest = k_schema_version);

/// Makes the present schema in an empty database. REQUIRES: an open transaction.
void create_schema(Database& database);
/// Applies every step from the file's version on, each in its own transaction together with the new version
/// number. REQUIRES: a version of at least 1. Throws Error if a step fails; the file then has the version
/// before it.
void migrate(Database& database, std::span<const Migration> steps);
/// The same inside the caller's transaction. REQUIRES: one is open.
void migrate_within(Database& database, std::span<const Migration> steps);

}  // namespace kernelites
