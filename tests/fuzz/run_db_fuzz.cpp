// SPDX-License-Identifier: Apache-2.0
// A run.db from elsewhere: a whole run in which any value may be another one.
//
// Bytes of a database file are SQLite's to check; what we read out of them is ours. So an input is lines that change
// cells of a good run: "TABLE COLUMN ROWID TYPE VALUE" (type i, r, t or n), "delete TABLE ROWID", or "version NUMBER".
#include <charconv>
#include <vector>

#include "archive/archive.h"
#include "archive/database.h"
#include "archive/dump.h"
#include "archive/run_check.h"
#include "engine/core/identifier.h"
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

/// A small whole run whose tables take values of any type, as a foreign file's may.
const fs::path& good_run() {
  static const FuzzFolder folder;
  static const fs::path k_file = [] {
    write_large_run(folder.path() / "good",
                    {.data = KERNELITES_SOURCE_DIR, .task = "rmsnorm", .variations = 12, .is_small = true});
    const fs::path file = folder.path() / "good" / "run.db";
    Database database(file, Database::Mode::read_write);
    database.text("PRAGMA journal_mode=DELETE");
    database.execute(
        "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = replace(sql, 'STRICT', ''); VACUUM");
    return file;
  }();
  return k_file;
}

std::string_view next_word(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

void change_cell(Database& database, std::string_view table, std::string_view line) {
  const std::string column(next_word(line));
  const std::string row(next_word(line));
  const std::string_view type = next_word(line);
  if (!is_identifier(table) || !is_identifier(column)) return;
  Statement statement = database.prepare("UPDATE " + std::string(table) + " SET \"" + column +
                                         "\" = ?1 WHERE rowid = CAST(?2 AS INTEGER)");
  const std::string text(line);
  if (type == "i")
    statement.bind(static_cast<std::int64_t>(std::strtoll(text.c_str(), nullptr, 10)), row);
  else if (type == "r")
    statement.bind(std::strtod(text.c_str(), nullptr), row);
  else if (type == "n")
    statement.bind(std::optional<std::string>(), row);
  else
    statement.bind(text, row);
  statement.run();
}

void change(Database& database, std::string_view line) {
  const std::string_view word = next_word(line);
  if (word == "version") {
    const std::string number(line);
    database.execute("PRAGMA user_version = " + std::to_string(std::strtol(number.c_str(), nullptr, 10)));
  } else if (word == "delete") {
    const std::string table(next_word(line));
    if (!is_identifier(table)) return;
    Statement statement = database.prepare("DELETE FROM " + table + " WHERE rowid = CAST(?1 AS INTEGER)");
    statement.bind(std::string(line)).run();
  } else {
    change_cell(database, word, line);
  }
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
  fs::copy_file(good_run(), file, fs::copy_options::overwrite_existing);
  {
    Database database(file, Database::Mode::read_write);
    database.execute(
        "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; PRAGMA ignore_check_constraints=ON; PRAGMA "
        "foreign_keys=OFF");
    for (int lines = 0; lines < k_changes_max && !input.empty(); ++lines) {
      const std::size_t end = std::min(input.find('\n'), input.size());
      is_taken([&] { change(database, input.substr(0, end)); });
      input.remove_prefix(std::min(end + 1, input.size()));
    }
  }
  look_at(folder.path());
}

}  // namespace kernelites::fuzz
