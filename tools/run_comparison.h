// SPDX-License-Identifier: Apache-2.0
// Runs side by side: those of one configuration are repetitions, whose spread tells what a difference is worth.
//
// A speed-up is over the run's own baseline, the best of the seeds that it began with, so that figures of two runs say
// something about each other only where the baselines are one kernel, or where the times of both can be compared:
// modelled ones of one harness and one model key can (forks and golden runs share one), since the model gives a kernel
// the same time then. Under another key it sees other inputs and blocks. Measured ones cannot be told as ratios, since
// only times of one process are compared anywhere (docs/measurement.md).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "archive/progress.h"
#include "engine/core/bootstrap.h"
#include "engine/core/json.h"

namespace kernelites {

/// A run's baseline or best kernel.
struct ComparedKernel {
  std::uint64_t ordinal = 0;
  std::string id;  ///< of its text and tunables; empty: not known
  std::string summary;
  std::string
      code;  ///< digest of its machine code and launch plans: equal ones are one kernel; empty: not known
  bool is_by_counts =
      false;  ///< `code` is of counts of instructions, resources and launches: an older harness wrote it
  std::map<std::string, double> time_us;  ///< by workload, of the duel that decided
};

/// The kernel that was a run's best from so many evaluations on.
struct Lead {
  std::int64_t evaluations = 0;
  ComparedKernel kernel;
};

/// One run, as far as it is compared.
struct ComparedRun {
  std::string folder;
  std::uint64_t seed = 0;
  double started_unix_s = 0;
  std::vector<std::string> told;  ///< ids of its candidates in the order told, seeds too
  std::string end;                ///< why it has no more evaluations; empty: its budget
  std::string task, task_digest;
  std::string device;
  bool is_modelled = false;
  std::string axes;    ///< of its grid, joined by '/'
  Json configuration;  ///< as recorded, without what repetitions differ in: seed and budget
  std::string harness_version;
  std::string model_key;                  ///< of modelled times; never shown
  std::map<std::string, double> weights;  ///< of the workloads
  ComparedKernel baseline, best;          ///< at the run's end; the best is the last lead's
  std::vector<Lead> leads;                ///< in the order of their evaluations
  std::vector<ProgressPoint> progress;
};

/// Reads a run's archive. Throws ConfigError if there is none, or none of its candidates has been told.
ComparedRun compared_run(const std::string& folder);

/// What makes figures of a run comparable with those of the first.
enum class Basis {
  same,   ///< its baseline is the same kernel
  model,  ///< another baseline: its speed-ups are told over the first run's, by the model's times of both
  none    ///< another baseline, and times that cannot be compared: each is over its own
};
const char* basis_name(Basis basis);

/// One configuration's figures at a number of evaluations, over its runs.
struct GroupPoint {
  std::int64_t evaluations = 0;
  Interval best, qd_score, coverage;
};

/// How far a run went, which can be beyond what is compared.
struct RunLength {
  std::string folder;
  std::uint64_t seed = 0;
  std::int64_t evaluations = 0;
  std::string end;  ///< as ComparedRun's
};

/// What a run found after the last evaluation that is compared.
struct LaterBest {
  std::string run;
  std::int64_t evaluations = 0;  ///< after which
  double best = 0;               ///< as the figures are: over the baseline that they are over
  ComparedKernel kernel;
};

/// A run that is no repetition of another one.
struct RepeatedRun {
  std::string folder, of;
  bool is_copy = false;  ///< of the folder; else another run that did the same steps
};

/// The runs of one configuration.
struct ComparedGroup {
  std::string name;                       ///< "A", "B", ... in the order given
  std::vector<std::string> runs;          ///< folders
  std::vector<RunLength> lengths;         ///< of each run
  Json differences;                       ///< members of the configuration that are not as in the first group
  Basis basis = Basis::same;              ///< the weakest of its runs
  std::vector<ComparedKernel> baselines;  ///< of each run
  ComparedKernel best;                    ///< of its runs, at the last common evaluation
  std::string best_run;                   ///< whose that is
  std::optional<LaterBest> later;         ///< empty: no run found a faster one after that
  GroupPoint end;                         ///< at the last common evaluation
  Interval best_area, qd_area;            ///< means of the curves over evaluations 1 to the last one
  /// Over the first group's; of the first group itself 1. Empty where the two have no common basis.
  std::optional<Interval> best_area_ratio, qd_area_ratio;
  std::vector<GroupPoint> curve;
};

struct Comparison {
  std::int64_t evaluations = 0;  ///< up to which all curves are compared: the fewest of any run
  bool is_modelled = false;
  bool has_one_harness = true;       ///< else no time of one says anything about another's
  bool has_one_model_key = true;     ///< else modelled times are of other inputs and blocks
  std::vector<RepeatedRun> repeats;  ///< left out
  std::vector<ComparedGroup> groups;
};

/// Whether both are known to be one kernel: equal text and tunables, or equal machine code and launches. Of one text
/// the machine code differs where it instantiates templates by shape, since every run draws some of its shapes.
bool is_one_kernel(const ComparedKernel& a, const ComparedKernel& b);
/// How many times as fast as `a` kernel `b` is by their times, geometric mean by weight; empty where one lacks a time.
std::optional<double> ratio_by_times(const ComparedKernel& a, const ComparedKernel& b,
                                     const std::map<std::string, double>& weights);

/// Runs of one configuration that did the same steps, as far as the shorter one went, are one: a copied folder, a
/// replay by the same random seed. Of them the longer one counts.
///
/// Throws ConfigError that names the runs and what differs if they are not of one task, device and grid, or if a run
/// holds no candidate beyond the seeds. `at`: compare up to so many evaluations; 0: as many as all runs have.
Comparison compare_runs(std::vector<ComparedRun> runs, std::int64_t at = 0);

void to_json(Json& json, const Interval& interval);
void to_json(Json& json, const Comparison& comparison);

}  // namespace kernelites
