// SPDX-License-Identifier: Apache-2.0
// SQLite as values: a connection, a statement, a transaction. Every failure is an Error that names file and
// cause.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "engine/core/error.h"

struct sqlite3;
struct sqlite3_stmt;

namespace kernelites {

/// How long a connection waits for another one before it gives up.
inline constexpr int k_database_busy_timeout_ms = 10'000;

/// What SQLite said, with its result code.
class DatabaseError : public Error {
 public:
  DatabaseError(const std::string& message, int code) : Error(message), code_(code) {}
  int code() const { return code_; }
  /// The file is not a SQLite database at all.
  bool is_foreign_file() const;
  /// Reading would first have to roll back what a killed writer left in a rollback journal.
  bool is_rollback_needed() const;

 private:
  int code_;
};

class Statement;
class StatementPool;

/// One connection. Movable; statements and transactions borrow it and must end before it.
class Database {
 public:
  enum class Mode { read_only, read_write, create };

  /// Throws DatabaseError, as everything below does. Reads nothing yet: a foreign file shows at the first
  /// statement.
  Database(const std::filesystem::path& file, Mode mode);

  /// Runs every statement of `script`; rows are discarded.
  void execute(const std::string& script);
  Statement prepare(std::string_view sql);
  /// The first column of the only row of `sql`.
  std::int64_t integer(std::string_view sql);
  std::string text(std::string_view sql);

  /// Rows changed on this connection since it was opened.
  std::int64_t changes() const;
  /// Waits until the disk has what was committed to the write-ahead log.
  void sync_log() const;

  const std::string& name() const { return name_; }
  [[noreturn]] void fail(std::string_view doing) const;

 private:
  friend class Statement;
  struct Close {
    void operator()(sqlite3* connection) const;
  };
  std::string name_;  // of the file, for messages
  std::unique_ptr<sqlite3, Close> connection_;
  std::shared_ptr<StatementPool> pool_;  // after the connection, so that it is closed before it
};

/// Idle statements kept for the next use of the same text.
inline constexpr std::size_t k_statements_kept = 128;

/// One prepared statement, taken from the idle ones of the same text if there are any: bind the parameters in order,
/// then `run` it or `step` through its rows.
class Statement {
 public:
  Statement(Database& database, std::string_view sql);

  /// Binds `values` to ?1, ?2, ...: integers, doubles, text, bool, or std::optional of one (NULL if empty).
  template <typename... Values>
  Statement& bind(const Values&... values) {
    reset();
    int index = 0;
    (bind_value(++index, values), ...);
    return *this;
  }
  /// The next row, if there is one.
  [[nodiscard]] bool step();
  /// For statements without rows. Returns the rows changed.
  std::int64_t run();

  int column_count() const;
  std::string column_name(int column) const;
  bool is_null(int column) const;
  bool is_integer(int column) const;
  bool is_real(int column) const;
  std::int64_t integer(int column) const;
  double real(int column) const;
  std::string text(int column) const;

 private:
  template <typename Value>
  void bind_value(int index, const Value& value) {
    if constexpr (std::is_floating_point_v<Value>) {
      bind_real(index, value);
    } else if constexpr (std::is_integral_v<Value>) {
      bind_integer(index, static_cast<std::int64_t>(value));
    } else {
      bind_text(index, value);
    }
  }
  template <typename Value>
  void bind_value(int index, const std::optional<Value>& value) {
    if (value) bind_value(index, *value);
  }
  void reset();
  void bind_integer(int index, std::int64_t value);
  void bind_real(int index, double value);
  void bind_text(int index, std::string_view value);
  void check(int code) const;

  struct GiveBack {
    StatementPool* pool;
    void operator()(sqlite3_stmt* statement) const;
  };
  Database* database_;
  std::unique_ptr<sqlite3_stmt, GiveBack> statement_;
};

/// Takes the write lock at once, so that a transaction that reads before it writes cannot fail half way;
/// rolls back unless committed.
class Transaction {
 public:
  explicit Transaction(Database& database);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  void commit();

 private:
  Database& database_;
  bool is_open_ = true;
};

}  // namespace kernelites
