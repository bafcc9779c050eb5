// SPDX-License-Identifier: Apache-2.0
// Rows from one source after the other, then who holds what.
#include "archive/run_merge.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <map>
#include <set>
#include <string>

#include "archive/archive.h"
#include "archive/merge_rows.h"
#include "archive/migrations.h"
#include "archive/rows.h"
#include "archive/run_check.h"
#include "engine/core/error.h"

namespace kernelites {
namespace {

namespace fs = std::filesystem;

/// What must be the same in all sources.
struct SourceFacts {
  std::string task_digest;
  std::string axes;
  std::set<std::string> devices;    // of answered evaluations
  std::set<std::string> harnesses;  // of elites
  std::string model_key;            // of elites whose times are modelled; empty: of none, or of an older run
};

SourceFacts facts_of(Database& database) {
  SourceFacts facts{
      .task_digest = database.text("SELECT task_digest FROM run"),
      .axes = database.text("SELECT coalesce(json_extract(configuration, '$.axes'), '') FROM run"),
      .devices = {},
      .harnesses = {},
      .model_key = database.text("SELECT CASE WHEN EXISTS (SELECT 1 FROM elite WHERE is_modelled) THEN "
                                 "model_key ELSE '' END FROM run")};
  Statement devices = database.prepare("SELECT DISTINCT device FROM evaluation WHERE state = 'answered'");
  while (devices.step()) facts.devices.insert(devices.text(0));
  Statement harnesses = database.prepare("SELECT DISTINCT harness_version FROM elite");
  while (harnesses.step()) facts.harnesses.insert(harnesses.text(0));
  return facts;
}

void check_alike(const SourceFacts& first, const SourceFacts& other, const std::string& name) {
  const auto refuse = [&](const char* field, const std::string& expected) {
    throw ConfigError(name, field, "differs from the first run's; expected " + expected);
  };
  if (other.task_digest != first.task_digest)
    refuse("task", "the same task, digest " + first.task_digest.substr(0, 12));
  if (other.axes != first.axes) refuse("axes", "a grid of the same axes, " + first.axes);
  std::set<std::string> devices = first.devices;
  devices.insert(other.devices.begin(), other.devices.end());
  if (devices.size() > 1)
    refuse("device", *first.devices.begin() + " alone: times of two devices are not compared");
  std::set<std::string> harnesses = first.harnesses;
  harnesses.insert(other.harnesses.begin(), other.harnesses.end());
  if (harnesses.size() > 1) refuse("harness", "elites of one harness version: resume the older run first");
  if (other.model_key != first.model_key)
    refuse("model_key",
           "runs of recorded replies, or forks of one run: modelled times of two keys are not compared");
}

/// A copy in today's format; the source is not touched.
void copy_source(const fs::path& source, const fs::path& copy) {
  if (!Archive::exists(source)) throw ConfigError(source.string(), "", "there is no run here (no run.db)");
  {
    Database database(source / "run.db", Database::Mode::read_only);
    Statement statement = database.prepare("VACUUM INTO ?1");
    statement.bind(copy.string());
    (void)statement.step();
  }
  Database database(copy, Database::Mode::read_write);
  migrate(database, migrations());
}

/// One holder of a cell or a workload, of source `source`.
struct Holder {
  std::size_t source = 0;
  std::string candidate_id;
  double fitness = 0;
};

/// The holders of the merged run, and who lost a place to another run.
struct Places {
  std::map<std::string, Holder> cells, workloads;
  std::set<std::string> losers;
  std::int64_t contested = 0;

  void put(std::map<std::string, Holder>& places, const std::string& place, const Holder& holder) {
    const auto found = places.find(place);
    if (found == places.end()) {
      places[place] = holder;
      return;
    }
    if (found->second.candidate_id == holder.candidate_id) return;
    ++contested;
    const bool is_better = holder.fitness > found->second.fitness;
    losers.insert(is_better ? found->second.candidate_id : holder.candidate_id);
    if (is_better) found->second = holder;
  }
};

void read_places(Database& database, std::size_t source, Places& places) {
  Statement elites = database.prepare("SELECT cell, candidate_id, fitness FROM source.elite ORDER BY cell");
  while (elites.step()) places.put(places.cells, elites.text(0), {source, elites.text(1), elites.real(2)});
  Statement champions =
      database.prepare("SELECT workload, candidate_id, speedup FROM source.champion ORDER BY workload");
  while (champions.step())
    places.put(places.workloads, champions.text(0), {source, champions.text(1), champions.real(2)});
}

/// History and elites of the cells that source `source` holds in the merged run, and its champions.
void write_places(Database& database, std::size_t source, const Places& places) {
  database.execute(
      "CREATE TEMP TABLE held_cell (cell TEXT PRIMARY KEY); CREATE TEMP TABLE held_workload (workload TEXT "
      "PRIMARY KEY)");
  for (const auto& [cell, holder] : places.cells)
    if (holder.source == source) database.prepare("INSERT INTO held_cell VALUES (?1)").bind(cell).run();
  for (const auto& [workload, holder] : places.workloads)
    if (holder.source == source)
      database.prepare("INSERT INTO held_workload VALUES (?1)").bind(workload).run();
  database.execute(places_script(source));
}

/// A loser that both runs knew has met the winner's line already.
void reopen_losers(Database& database, const Places& places, const std::set<std::string>& common,
                   MergeReport& report) {
  std::set<std::string> holders;
  for (const auto* kind : {&places.cells, &places.workloads})
    for (const auto& [place, holder] : *kind) holders.insert(holder.candidate_id);
  for (const std::string& id : places.losers) {
    if (holders.contains(id) || common.contains(id)) continue;
    report.reopened += database
                           .prepare(
                               "UPDATE candidate SET state = 'examined', outcome = '', told = NULL, "
                               "told_unix_s = 0.0 WHERE id = ?1 AND state = 'done'")
                           .bind(id)
                           .run();
  }
  database.execute(k_renumber_told);
}

std::set<std::string> common_ids(Database& database) {
  std::set<std::string> ids;
  Statement rows = database.prepare("SELECT id FROM temp.common_candidate");
  while (rows.step()) ids.insert(rows.text(0));
  return ids;
}

MergeReport merge_into(const fs::path& file, const std::vector<fs::path>& copies) {
  MergeReport report;
  Database database(file, Database::Mode::create);
  Places places;
  create_schema(database);
  database.execute("CREATE TEMP TABLE common_candidate (id TEXT PRIMARY KEY)");
  const auto attached = [&](std::size_t source, auto act) {
    database.prepare("ATTACH ?1 AS source").bind(copies[source].string()).run();
    {
      Transaction transaction(database);
      act(source);
      transaction.commit();
    }
    database.execute("DETACH source");
  };
  for (std::size_t i = 0; i < copies.size(); ++i)
    attached(i, [&](std::size_t source) {
      database.execute(rows_script(source, database.integer(k_last_ordinal),
                                   database.integer("SELECT coalesce(max(told), 0) FROM main.candidate")));
      read_places(database, source, places);
    });
  for (std::size_t i = 0; i < copies.size(); ++i)
    attached(i, [&](std::size_t source) { write_places(database, source, places); });
  const std::set<std::string> common = common_ids(database);
  {
    Transaction transaction(database);
    reopen_losers(database, places, common, report);
    transaction.commit();
  }
  report.candidates = database.integer("SELECT count(*) FROM candidate");
  report.common = static_cast<std::int64_t>(common.size());
  report.elites = database.integer("SELECT count(*) FROM elite");
  report.contested = places.contested;
  return report;
}

/// Removed with everything in it unless kept.
class Scratch {
 public:
  /// A fresh folder beside `target`, or above it where that folder is not made yet: on the same file system.
  explicit Scratch(const fs::path& target) {
    fs::path above = target.parent_path();
    while (!fs::is_directory(above) && above.has_relative_path()) above = above.parent_path();
    std::string name = (above / ("." + target.filename().string() + "_XXXXXX")).string();
    if (::mkdtemp(name.data()) == nullptr)
      throw Error(fmt::format("no folder can be made in {}", above.string()));
    path_ = name;
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// Without the slash at the end that shells complete to, which would name a folder inside.
fs::path normal_path(const fs::path& folder) {
  fs::path path = fs::absolute(folder).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return path;
}

void put_in_place(const fs::path& made, const fs::path& target) {
  std::error_code error;
  fs::create_directories(target.parent_path(), error);
  if (!error) fs::rename(made, target, error);
  if (error) throw Error(fmt::format("{} cannot be made: {}", target.string(), error.message()));
}

}  // namespace

MergeReport merge_runs(const std::vector<fs::path>& sources, const fs::path& out, bool is_dry) {
  const fs::path target = normal_path(out);
  if (sources.size() < 2) throw ConfigError("RUN", "", "at least two runs can be merged");
  if (fs::exists(fs::symlink_status(target)))
    throw ConfigError("--out", target.string(), "exists; expected a new folder");
  const Scratch scratch(target);
  fs::create_directories(scratch.path() / "run");
  std::vector<fs::path> copies;
  std::optional<SourceFacts> first;
  for (const fs::path& source : sources) {
    copies.push_back(scratch.path() / fmt::format("source_{}.db", copies.size() + 1));
    copy_source(source, copies.back());
    Database copy(copies.back(), Database::Mode::read_only);
    const SourceFacts facts = facts_of(copy);
    if (first)
      check_alike(*first, facts, source.string());
    else
      first = facts;
  }
  const MergeReport report = merge_into(scratch.path() / "run" / "run.db", copies);
  for (const RunCheck& check : check_run(scratch.path() / "run"))
    if (check.problem_count > 0)
      throw Error(fmt::format("the merged run is not whole: {}: {}", check.rule, check.problems.front()));
  if (!is_dry) put_in_place(scratch.path() / "run", target);
  return report;
}

}  // namespace kernelites
