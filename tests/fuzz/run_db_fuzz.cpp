// SPDX-License-Identifier: Apache-2.0
// A run.db from elsewhere: a whole run in which any value may be another one.
//
// Bytes of a database file are SQLite's to check; what we read out of them is ours. So an input is lines that change
// cells of a good run: "TABLE COLUMN ROWID TYPE VALUE" (type i, r, t or n), "TABLE COLUMN ROWID s OFFSET LENGTH TEXT"
// (a part of a text is another one), "delete TABLE ROWID", or "version NUMBER". A word that names nothing stands for
// something all the same, so that most mutants change a value; where nothing changes, nothing is looked at.
#include <algorithm>
#include <string>
#include <vector>

#include "archive/archive.h"
#include "archive/database.h"
#include "archive/dump.h"
#include "archive/run_check.h"
#include "tests/fuzz/fuzz_folder.h"
#include "tests/fuzz/fuzzed_parser.h"
#include "tests/support/large_run/large_run.h"
#include "tools/dataset/run_steps.h"
#include "tools/inspect/run_facts.h"
#include "tools/inspect/run_reader.h"

namespace kernelites::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr int k_changes_max = 16;

/// What can be changed.
struct Table {
  std::string name;
  std::vector<std::string> columns;
  std::vector<std::int64_t> rows;
};

struct GoodRun {
  fs::path file;
  std::vector<Table> tables;  ///< those that have rows
};

std::vector<Table> tables_of(Database& database) {
  std::vector<Table> tables;
  Statement names = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name");
  while (names.step()) {
    Table table{.name = names.text(0)};
    Statement columns = database.prepare("SELECT name FROM pragma_table_info('" + table.name + "')");
    while (columns.step()) table.columns.push_back(columns.text(0));
    Statement rows = database.prepare("SELECT rowid FROM " + table.name);
    while (rows.step()) table.rows.push_back(rows.integer(0));
    if (!table.rows.empty()) tables.push_back(std::move(table));
  }
  return tables;
}

/// A small whole run whose tables take values of any type, as a foreign file's may. Few candidates: most of the time
/// goes into reading them again.
const GoodRun& good_run() {
  static const FuzzFolder folder;
  static const GoodRun k_run = [] {
    write_large_run(folder.path() / "good",
                    {.data = KERNELITES_SOURCE_DIR, .task = "rmsnorm", .variations = 6, .is_small = true});
    const fs::path file = folder.path() / "good" / "run.db";
    Database database(file, Database::Mode::read_write);
    database.text("PRAGMA journal_mode=DELETE");
    database.execute(
        "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = replace(sql, 'STRICT', ''); VACUUM");
    return GoodRun{file, tables_of(database)};
  }();
  return k_run;
}

std::string_view next_word(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

std::int64_t number(std::string_view word) { return std::strtoll(std::string(word).c_str(), nullptr, 10); }

std::size_t any_index(std::string_view word, std::size_t count) {
  std::size_t sum = 0;
  for (const char letter : word) sum = sum * 31 + static_cast<unsigned char>(letter);
  return sum % count;
}

const Table& table_of(std::string_view word) {
  const std::vector<Table>& tables = good_run().tables;
  const auto found =
      std::find_if(tables.begin(), tables.end(), [&](const Table& table) { return table.name == word; });
  return found != tables.end() ? *found : tables[any_index(word, tables.size())];
}

const std::string& column_of(const Table& table, std::string_view word) {
  const auto found = std::find(table.columns.begin(), table.columns.end(), word);
  return found != table.columns.end() ? *found : table.columns[any_index(word, table.columns.size())];
}

std::int64_t row_of(const Table& table, std::string_view word) {
  const auto found = std::find(table.rows.begin(), table.rows.end(), number(word));
  return found != table.rows.end() ? *found : table.rows[any_index(word, table.rows.size())];
}

void change_cell(Database& database, std::string_view word, std::string_view line) {
  const Table& table = table_of(word);
  const std::string& column = column_of(table, next_word(line));
  const std::int64_t row = row_of(table, next_word(line));
  const std::string_view type = next_word(line);
  const auto set = [&](const std::string& expression) {
    return database.prepare("UPDATE " + table.name + " SET \"" + column + "\" = " + expression +
                            " WHERE rowid = ?1");
  };
  if (type == "i") {
    set("?2").bind(row, number(line)).run();
  } else if (type == "r") {
    set("?2").bind(row, std::strtod(std::string(line).c_str(), nullptr)).run();
  } else if (type == "n") {
    set("NULL").bind(row).run();
  } else if (type == "s") {
    const std::int64_t offset = number(next_word(line)), length = number(next_word(line));
    const std::string cell = "\"" + column + "\"", start = "(abs(?2 % 1000000) % (length(" + cell + ") + 1))";
    set("substr(" + cell + ", 1, " + start + ") || ?4 || substr(" + cell + ", 1 + " + start +
        " + abs(?3 % 1000))")
        .bind(row, offset, length, std::string(line))
        .run();
  } else {
    set("?2").bind(row, std::string(line)).run();
  }
}

/// True: the run is another one now.
bool change(Database& database, std::string_view line) {
  const std::int64_t before = database.changes();
  const std::string_view word = next_word(line);
  if (word == "version") {
    database.execute("PRAGMA user_version = " + std::to_string(static_cast<int>(number(line))));
    return true;
  }
  if (word == "delete") {
    const Table& table = table_of(next_word(line));
    database.prepare("DELETE FROM " + table.name + " WHERE rowid = ?1").bind(row_of(table, line)).run();
  } else {
    change_cell(database, word, line);
  }
  return database.changes() != before;
}

/// What the commands that look at a run do with it.
void look_at(const std::string& folder) {
  is_taken([&] { run_facts_json(run_facts(folder)).dump(-1, ' ', false, Json::error_handler_t::replace); });
  is_taken([&] { check_run(folder); });
  is_taken([&] {
    const RunReader run = read_run(folder);
    read_steps(run.archive, run.task, "run", {.has_programs = true},
               {.kin = [](const Kin&) {}, .step = [](const Step&) {}, .left_out = [](auto&&...) {}});
    dump(run.archive);
    find_candidate(run, "3");
  });
}

}  // namespace

void fuzz_run_db(std::string_view input) {
  static const FuzzFolder folder;
  const fs::path file = folder.path() / "run.db";
  fs::copy_file(good_run().file, file, fs::copy_options::overwrite_existing);
  bool is_changed = false;
  {
    Database database(file, Database::Mode::read_write);
    database.execute(
        "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; PRAGMA ignore_check_constraints=ON; PRAGMA "
        "foreign_keys=OFF");
    for (int lines = 0; lines < k_changes_max && !input.empty(); ++lines) {
      const std::size_t end = std::min(input.find('\n'), input.size());
      is_taken([&] { is_changed |= change(database, input.substr(0, end)); });
      input.remove_prefix(std::min(end + 1, input.size()));
    }
  }
  if (is_changed) look_at(folder.path());
}

}  // namespace kernelites::fuzz
