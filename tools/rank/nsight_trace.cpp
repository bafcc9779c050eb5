// SPDX-License-Identifier: Apache-2.0
// SQLite exports of Nsight Systems.
#include "tools/rank/nsight_trace.h"

#include <fmt/format.h>

#include "archive/database.h"
#include "engine/core/error.h"
#include "tools/rank/launch_table.h"

namespace kernelites {
namespace {

bool has_table(Database& database, const std::string& name) {
  Statement statement =
      database.prepare("SELECT count(*) FROM sqlite_schema WHERE type IN ('table', 'view') AND name = ?1");
  statement.bind(name);
  return statement.step() && statement.integer(0) > 0;
}

bool has_column(Database& database, const std::string& table, const std::string& column) {
  Statement statement = database.prepare("SELECT count(*) FROM pragma_table_info(?1) WHERE name = ?2");
  statement.bind(table, column);
  return statement.step() && statement.integer(0) > 0;
}

void add_copies(Database& database, LaunchTable& table) {
  for (const char* name : {"CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_MEMSET"})
    if (has_table(database, name))
      table.add_copy(1e-3 * static_cast<double>(database.integer(fmt::format(
                                "SELECT coalesce(sum(max(\"end\" - start, 0)), 0) FROM {}", name))));
}

std::string device_of(Database& database) {
  if (!has_table(database, "TARGET_INFO_GPU") || !has_column(database, "TARGET_INFO_GPU", "name")) return "";
  return database.text("SELECT name FROM TARGET_INFO_GPU LIMIT 1");
}

}  // namespace

KernelTrace read_nsight_trace(const std::filesystem::path& file) {
  try {
    Database database(file, Database::Mode::read_only);
    for (const char* name : {"CUPTI_ACTIVITY_KIND_KERNEL", "StringIds"})
      if (!has_table(database, name))
        throw ConfigError(file.string(), name,
                          "is missing: not an export of Nsight Systems, or of a profile without CUDA kernels "
                          "(`nsys profile -t cuda`, then `nsys export --type sqlite`)");
    // Older exports have only the short name.
    const char* const name =
        has_column(database, "CUPTI_ACTIVITY_KIND_KERNEL", "demangledName") ? "demangledName" : "shortName";
    LaunchTable table(file.string());
    const bool has_device = has_column(database, "CUPTI_ACTIVITY_KIND_KERNEL", "deviceId");
    Statement rows = database.prepare(
        fmt::format("SELECT coalesce(s.value, ''), k.start, k.\"end\", {} FROM CUPTI_ACTIVITY_KIND_KERNEL k "
                    "LEFT JOIN StringIds s ON s.id = k.{}",
                    has_device ? "k.deviceId" : "0", name));
    while (rows.step()) {
      const std::int64_t start_ns = rows.integer(1);
      std::int64_t duration_ns = 0;
      if (__builtin_sub_overflow(rows.integer(2), start_ns, &duration_ns))
        continue;  // no kernel ran for centuries
      table.add_launch(rows.text(0), 0, 1e-3 * static_cast<double>(start_ns),
                       1e-3 * static_cast<double>(duration_ns), static_cast<std::uint32_t>(rows.integer(3)));
    }
    add_copies(database, table);
    KernelTrace trace = table.summed();
    trace.format = "Nsight Systems";
    trace.device = device_of(database);
    return trace;
  } catch (const DatabaseError& error) {
    throw ConfigError(file.string(), "", fmt::format("this database cannot be read: {}", error.what()));
  }
}

}  // namespace kernelites
