// SPDX-License-Identifier: Apache-2.0
// What a library's kernels take beside our own: results of evaluators/baseline/baseline_batch.py, read and compared.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/bootstrap.h"
#include "engine/core/evaluation.h"
#include "engine/core/task.h"
#include "engine/search/seeds.h"
#include "tools/data_root.h"

namespace kernelites {

/// One arm at one workload.
struct LibraryArm {
  std::string name;
  bool is_baseline = false;
  ArmTiming timing;
  std::string candidate;  ///< id of a candidate; empty: a library, or not kept
  /// Median time of the fastest candidate of the same rounds / that of this arm: above 1 is faster. Rows of older files
  /// have no interval.
  Interval speedup = {.value = 1, .low = {}, .high = {}};
};

/// One workload: arms that agree with each other, and why others are missing.
struct LibraryRow {
  std::string workload;
  std::string task_digest;                     ///< of the task that was timed; empty: not kept
  std::vector<LibraryArm> arms;                ///< candidates first
  std::map<std::string, std::string> missing;  ///< arm -> words; an arm with a wrong result among them
};

/// All that was measured of one task on one device.
struct BaselineTable {
  std::string task, date, torch;
  DeviceFacts device;
  std::vector<LibraryRow> rows;  ///< in the order of the task's workloads
};

/// An output that is further than this from the first candidate's, in shares of twice its gates, is wrong.
inline constexpr double k_agreement_max = 1;

/// Compares the arms of result lines. Lines of other tasks are passed over; several lines of one workload (ids
/// "<task>" and "<task>/<part>") are put together, each compared within itself. Throws Error on a line that is no
/// result.
BaselineTable baseline_table(const Task& task, const std::vector<Json>& results);

/// The fastest arm of a kind, or null.
const LibraryArm* fastest(const LibraryRow& row, bool is_baseline);

/// How many times as fast as the fastest library the fastest candidate is, by their medians; empty without both. What
/// every table tells.
std::optional<double> speedup_over_libraries(const LibraryRow& row);

/// The fastest candidate against the fastest library over all workloads that have both.
struct LibraryComparison {
  int workloads = 0;
  double speedup = 1, speedup_min = 1, speedup_max = 1;  ///< geometric mean, and of single workloads
  std::vector<std::string> libraries;                    ///< the fastest ones, by name
};
/// Empty if no workload has both.
std::optional<LibraryComparison> compare_with_libraries(const BaselineTable& table);

/// Ids of a task's seeds with their default tunables, by name without ".cu".
using SeedIds = std::map<std::string, std::string>;
SeedIds seed_ids(const std::vector<Seed>& seeds);
/// Of all its seeds; none where it has none.
SeedIds seed_ids(const Task& task, const DataRoot& data);

/// True unless the row is known to be of the task and of the seeds as they are: either changed since, or no digest was
/// kept.
bool is_older(const LibraryRow& row, const Task& task, const SeedIds& seeds);
/// Whether one of its rows is.
bool is_older(const BaselineTable& table, const Task& task, const SeedIds& seeds);
/// What marks it in tables.
inline constexpr const char* k_older_mark = " (older)";

/// What was measured of all tasks on one device, as docs/measured/baselines_*.json keeps it.
struct MeasuredBaselines {
  DeviceFacts device;
  std::string date, torch;  ///< of the last measurement
  std::map<std::string, BaselineTable> tasks;
};

void to_json(Json& json, const MeasuredBaselines& measured);
void from_json(const Json& json, MeasuredBaselines& measured);

/// Reads such a file; nothing measured if there is none. Throws ConfigError.
MeasuredBaselines read_measured(const std::filesystem::path& file);
/// The files of that name in a folder, by name; none where there is no such folder.
std::vector<std::filesystem::path> measured_files(const std::filesystem::path& folder);
/// Puts one task's table into it. Throws Error if it holds another device's figures.
void record(MeasuredBaselines& measured, const BaselineTable& table);

/// Rows of text: workload, arm, times, share of the floor, comparison. The head comes first.
std::vector<std::vector<std::string>> baseline_cells(const Task& task, const BaselineTable& table);
/// One line per arm that is missing: "workload: arm: why".
std::vector<std::string> missing_arms(const BaselineTable& table);

}  // namespace kernelites
