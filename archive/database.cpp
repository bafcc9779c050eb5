// SPDX-License-Identifier: Apache-2.0
// The thin layer over SQLite's C interface.
#include "archive/database.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>

namespace kernelites {
namespace {

/// SQLite's own 2 MiB make a reader of a night's run fetch most pages several times.
constexpr const char* k_larger_cache = "PRAGMA cache_size = -65536";  // KiB
constexpr const char* k_read_only = " (its file system is read-only)";

/// SQLite calls what follows from that "unable to open database file".
bool is_on_read_only_disk(const std::string& file, int code) {
  const int kind = code & 0xff;
  if (kind != SQLITE_CANTOPEN && kind != SQLITE_READONLY && kind != SQLITE_IOERR) return false;
  struct statvfs disk {};
  const std::string folder = std::filesystem::path(file).parent_path().string();
  return ::statvfs(folder.empty() ? "." : folder.c_str(), &disk) == 0 && (disk.f_flag & ST_RDONLY) != 0;
}

}  // namespace

/// Preparing a statement costs more than running most of ours.
class StatementPool {
 public:
  StatementPool() = default;
  StatementPool(const StatementPool&) = delete;
  ~StatementPool() {
    for (const auto& [sql, statement] : idle_) sqlite3_finalize(statement);
  }
  /// Null if none of this text is idle.
  sqlite3_stmt* take(std::string_view sql) {
    const auto found = idle_.find(sql);
    if (found == idle_.end()) return nullptr;
    sqlite3_stmt* statement = found->second;
    idle_.erase(found);
    return statement;
  }
  void give_back(sqlite3_stmt* statement) {
    sqlite3_reset(statement);  // ends its read transaction
    sqlite3_clear_bindings(statement);
    if (idle_.size() < k_statements_kept)
      idle_.emplace(sqlite3_sql(statement), statement);
    else
      sqlite3_finalize(statement);
  }

 private:
  std::multimap<std::string, sqlite3_stmt*, std::less<>> idle_;
};

bool DatabaseError::is_foreign_file() const { return (code_ & 0xff) == SQLITE_NOTADB; }

bool DatabaseError::is_rollback_needed() const { return code_ == SQLITE_READONLY_ROLLBACK; }

void Database::Close::operator()(sqlite3* connection) const { sqlite3_close(connection); }
void Statement::GiveBack::operator()(sqlite3_stmt* statement) const { pool->give_back(statement); }

Database::Database(const std::filesystem::path& file, Mode mode)
    : name_(file.string()), pool_(std::make_shared<StatementPool>()) {
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  if (mode == Mode::read_only) flags |= SQLITE_OPEN_READONLY;
  if (mode == Mode::read_write) flags |= SQLITE_OPEN_READWRITE;
  if (mode == Mode::create) flags |= SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  sqlite3* connection = nullptr;
  const int code = sqlite3_open_v2(name_.c_str(), &connection, flags, nullptr);
  connection_.reset(connection);  // SQLite gives a connection even when it fails
  if (code != SQLITE_OK) fail("open");
  sqlite3_busy_timeout(connection, k_database_busy_timeout_ms);
  // The file may come from elsewhere: its triggers and views get no more rights than plain SQL.
  sqlite3_db_config(connection, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(connection, SQLITE_DBCONFIG_ENABLE_FKEY, 1, nullptr);
  // Reads the file, so that what is no database fails here; it is to say so where it is first asked for something.
  sqlite3_exec(connection, k_larger_cache, nullptr, nullptr, nullptr);
}

void Database::fail(std::string_view doing) const {
  const int code = connection_ ? sqlite3_extended_errcode(connection_.get()) : SQLITE_NOMEM;
  const char* cause = connection_ ? sqlite3_errmsg(connection_.get()) : "out of memory";
  throw DatabaseError(
      fmt::format("{}: {}: {}{}", name_, doing, cause, is_on_read_only_disk(name_, code) ? k_read_only : ""),
      code);
}

std::int64_t Database::changes() const { return sqlite3_total_changes64(connection_.get()); }

void Database::sync_log() const {
  // SQLite locks the database and its -shm, never the log: a descriptor of our own may come and go.
  const int log = ::open((name_ + "-wal").c_str(), O_RDONLY | O_CLOEXEC);
  if (log < 0 && errno == ENOENT) return;  // all of it is in the database
  const bool is_synced = log >= 0 && ::fdatasync(log) == 0;
  const int cause = errno;
  if (log >= 0) ::close(log);
  if (!is_synced) throw Error(fmt::format("{}-wal: fdatasync: {}", name_, std::strerror(cause)));
}

void Database::execute(const std::string& script) {
  if (sqlite3_exec(connection_.get(), script.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
    fail(script.substr(0, 60));
}

Statement Database::prepare(std::string_view sql) { return Statement(*this, sql); }

std::int64_t Database::integer(std::string_view sql) {
  Statement statement = prepare(sql);
  return statement.step() ? statement.integer(0) : 0;
}

std::string Database::text(std::string_view sql) {
  Statement statement = prepare(sql);
  return statement.step() ? statement.text(0) : std::string();
}

Statement::Statement(Database& database, std::string_view sql)
    : database_(&database), statement_(database.pool_->take(sql), GiveBack{database.pool_.get()}) {
  if (statement_) return;
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v2(database.connection_.get(), sql.data(), static_cast<int>(sql.size()),
                                      &statement, nullptr);
  statement_.reset(statement);
  if (code != SQLITE_OK) database.fail(sql.substr(0, 60));
}

bool Statement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) database_->fail(std::string_view(sqlite3_sql(statement_.get())).substr(0, 60));
  return false;
}

std::int64_t Statement::run() {
  const bool has_row = step();
  KERNELITES_ASSERT(!has_row);
  const std::int64_t changed = sqlite3_changes64(database_->connection_.get());
  reset();
  return changed;
}

void Statement::reset() {
  sqlite3_reset(statement_.get());  // repeats the error of the last step, which has been thrown
  sqlite3_clear_bindings(statement_.get());
}

void Statement::bind_integer(int index, std::int64_t value) {
  check(sqlite3_bind_int64(statement_.get(), index, value));
}
void Statement::bind_real(int index, double value) {
  check(sqlite3_bind_double(statement_.get(), index, value));
}
void Statement::bind_text(int index, std::string_view value) {
  // A null pointer would bind NULL; an empty view may have one.
  check(sqlite3_bind_text64(statement_.get(), index, value.empty() ? "" : value.data(), value.size(),
                            SQLITE_TRANSIENT, SQLITE_UTF8));
}
void Statement::check(int code) const {
  if (code != SQLITE_OK) database_->fail("bind");
}

int Statement::column_count() const { return sqlite3_column_count(statement_.get()); }
std::string Statement::column_name(int column) const { return sqlite3_column_name(statement_.get(), column); }
bool Statement::is_null(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}
bool Statement::is_integer(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_INTEGER;
}
bool Statement::is_real(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_FLOAT;
}
std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }
double Statement::real(int column) const { return sqlite3_column_double(statement_.get(), column); }
std::string Statement::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column));
  return bytes ? std::string(bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column)))
               : std::string();
}

Transaction::Transaction(Database& database) : database_(database) { database_.execute("BEGIN IMMEDIATE"); }

Transaction::~Transaction() {
  if (!is_open_) return;
  try {
    database_.execute("ROLLBACK");
  } catch (const Error&) {
    // SQLite has rolled back on its own (disk full, I/O error); the cause is already on its way up.
  }
}

void Transaction::commit() {
  database_.execute("COMMIT");
  is_open_ = false;
}

}  // namespace kernelites
