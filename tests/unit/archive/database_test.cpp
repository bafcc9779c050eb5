// SPDX-License-Identifier: Apache-2.0
// The layer over SQLite: values survive, transactions roll back, errors name the file.
#include "archive/database.h"

#include <limits>

#include "tests/support/catch.h"
#include "tests/unit/archive/archive_samples.h"

using namespace kernelites;

namespace {

Database notes(const TemporaryFolder& folder) {
  Database database(folder.database(), Database::Mode::create);
  database.execute("CREATE TABLE note (number INTEGER, real REAL, text TEXT UNIQUE) STRICT");
  return database;
}

}  // namespace

TEST_CASE("text with zero bytes, quotes and broken UTF-8 comes back byte for byte") {
  const TemporaryFolder folder;
  Database database = notes(folder);
  const std::string text("a\0b'); DROP TABLE note; --\xff\xfe", 28);
  database.prepare("INSERT INTO note (text) VALUES (?1)").bind(text).run();
  CHECK(database.text("SELECT text FROM note") == text);
}

TEST_CASE("empty text is not NULL and an empty optional is") {
  const TemporaryFolder folder;
  Database database = notes(folder);
  database.prepare("INSERT INTO note (number, text) VALUES (?1, ?2)")
      .bind(std::optional<int>(), std::string_view())
      .run();
  CHECK(database.integer("SELECT number IS NULL AND text = '' FROM note") == 1);
}

TEST_CASE("a text is prepared once for uses one after the other, and twice for uses at the same time") {
  const TemporaryFolder folder;
  Database database = notes(folder);
  database.prepare("INSERT INTO note (number) VALUES (1), (2)").run();
  const std::string sql = "SELECT number FROM note WHERE number >= ?1 ORDER BY number";
  Statement first = database.prepare(sql);
  REQUIRE(first.bind(1).step());
  {
    Statement second = database.prepare(sql);  // the first is in the middle of its rows
    REQUIRE(second.bind(2).step());
    CHECK(second.integer(0) == 2);
  }
  REQUIRE(first.step());
  CHECK(first.integer(0) == 2);
  Statement third = database.prepare(sql);  // left half read by the second, and bound to 2
  CHECK_FALSE(third.bind(3).step());
}

TEST_CASE("a statement that was left half read does not keep others from writing") {
  const TemporaryFolder folder;
  Database database = notes(folder);
  database.execute("PRAGMA journal_mode = DELETE");
  database.prepare("INSERT INTO note (number) VALUES (1), (2)").run();
  { CHECK(database.prepare("SELECT number FROM note").step()); }
  Database other(folder.database(), Database::Mode::read_write);
  other.execute("DELETE FROM note");
  CHECK(database.integer("SELECT count(*) FROM note") == 0);
}

TEST_CASE("extreme integers and reals come back exactly") {
  const TemporaryFolder folder;
  Database database = notes(folder);
  const auto number = std::numeric_limits<std::int64_t>::min();
  const double real = 0.1 + 0.2;
  database.prepare("INSERT INTO note (number, real) VALUES (?1, ?2)").bind(number, real).run();
  Statement row = database.prepare("SELECT number, real FROM note");
  REQUIRE(row.step());
  CHECK(row.integer(0) == number);
  CHECK(row.real(1) == real);
}

TEST_CASE("a transaction that is not committed leaves nothing") {
  const TemporaryFolder folder;
  Database database = notes(folder);
  {
    Transaction transaction(database);
    database.execute("INSERT INTO note (number) VALUES (1)");
  }
  CHECK(database.integer("SELECT count(*) FROM note") == 0);
}

TEST_CASE("a failed statement names file, statement and cause") {
  const TemporaryFolder folder;
  Database database = notes(folder);
  database.execute("INSERT INTO note (text) VALUES ('once')");
  CHECK_THROWS_WITH(database.execute("INSERT INTO note (text) VALUES ('once')"),
                    Catch::Contains("run.db") && Catch::Contains("INSERT INTO note") &&
                        Catch::Contains("UNIQUE constraint failed: note.text"));
}

TEST_CASE("a statement can be bound and run again") {
  const TemporaryFolder folder;
  Database database = notes(folder);
  Statement insert = database.prepare("INSERT INTO note (number) VALUES (?1)");
  for (int number : {1, 2, 3}) CHECK(insert.bind(number).run() == 1);
  CHECK(database.integer("SELECT sum(number) FROM note") == 6);
}
