// SPDX-License-Identifier: Apache-2.0
// Runs side by side: those of one configuration are repetitions, whose spread tells what a difference is worth.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "archive/progress.h"
#include "engine/core/bootstrap.h"
#include "engine/core/json.h"

namespace kernelites {

/// One run, as far as it is compared.
struct ComparedRun {
  std::string folder;
  std::string task, task_digest;
  std::string device;
  bool is_modelled = false;
  std::string axes;    ///< of its grid, joined by '/'
  Json configuration;  ///< as recorded, without what repetitions differ in: seed and budget
  std::vector<ProgressPoint> progress;
};

/// Reads a run's archive. Throws ConfigError if there is none, or none of its candidates has been told.
ComparedRun compared_run(const std::string& folder);

/// One configuration's figures at a number of evaluations, over its runs.
struct GroupPoint {
  std::int64_t evaluations = 0;
  Interval best, qd_score, coverage;
};

/// The runs of one configuration.
struct ComparedGroup {
  std::string name;               ///< "A", "B", ... in the order given
  std::vector<std::string> runs;  ///< folders
  Json differences;               ///< members of the configuration that are not as in the first group
  GroupPoint end;                 ///< at the last common evaluation
  Interval best_area, qd_area;    ///< means of the curves over evaluations 1 to the last one
  Interval best_area_ratio, qd_area_ratio;  ///< over the first group's; of the first group itself 1
  std::vector<GroupPoint> curve;
};

struct Comparison {
  std::int64_t evaluations = 0;  ///< up to which all curves are compared: the fewest of any run
  std::vector<ComparedGroup> groups;
};

/// Throws ConfigError that names the runs and what differs if they are not of one task, device and grid, or if a run
/// holds no candidate beyond the seeds. `at`: compare up to so many evaluations; 0: as many as all runs have.
Comparison compare_runs(const std::vector<ComparedRun>& runs, std::int64_t at = 0);

void to_json(Json& json, const Interval& interval);
void to_json(Json& json, const Comparison& comparison);

}  // namespace kernelites
