// SPDX-License-Identifier: Apache-2.0
// What a run holds, as one value that every view of a whole run shows: report page, live page, morning text.
//
// Read from run.db, all parts as of one instant, also while the run writes. Lists that grow with the run are thinned
// here, so that a view of ten thousand candidates is no larger than one of five hundred; each says how many it stands
// for.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "archive/brief_rows.h"
#include "archive/progress.h"
#include "engine/search/baseline.h"
#include "engine/search/run_config.h"
#include "engine/variation/lesson.h"
#include "tools/inspect/arm_table.h"
#include "tools/inspect/elite_facts.h"
#include "tools/inspect/gain_reasons.h"
#include "tools/inspect/model_error.h"
#include "tools/inspect/run_end.h"

namespace kernelites {

/// Points of a series and nodes of a tree that are kept.
inline constexpr std::size_t k_series_points_max = 400;
inline constexpr std::size_t k_lineage_nodes_max = 300;
/// Larger ancestries are contracted to roots, forks and winners.
inline constexpr std::size_t k_lineage_whole_max = 60;
/// Told candidates whose changes lessons are drawn from: the newest of them, since each one's measurements are read.
inline constexpr std::int64_t k_lesson_candidates_max = 300;

/// One bench workload: who is fastest there, and how much room is left.
struct WorkloadFacts {
  std::string name;
  double weight = 1;
  std::string shape;  ///< "B 8, S 8192": its variable dims
  RooflineCounts counts;
  double floor_us = 0;  ///< of the highest roof; 0: the device's peaks are unknown
  std::string limit;
  std::optional<Champion> champion;
};

/// One step on the way from a question to an elite: how many came so far, and how many ended here.
struct FunnelStep {
  std::string step;  ///< "reply", "duplicate", a stage, "timing"
  std::int64_t reached = 0, ended = 0;
  std::vector<FailureCount> reasons;  ///< why they ended, most frequent first
};

/// A candidate of the elites' ancestry.
struct LineageNode {
  std::uint64_t ordinal = 0;
  std::optional<std::uint64_t> parent;  ///< nearest ancestor that is shown
  int skipped = 0;                      ///< candidates between the two that are not
  std::string operator_name, outcome, cell, summary;
  double speedup = 0;
  std::optional<Gain> over_parent;  ///< none where candidates were skipped
  bool is_champion = false;
};

/// What the device can do at best: the roofs of the plot.
struct RoofFacts {
  double peak_gb_per_s = 0, copy_gb_per_s = 0,
         peak_tflop_per_s = 0;  ///< 0: unknown; peaks by the maker's figures
};

/// Why the best is faster than what the run began with, from measurements alone.
struct Reasons {
  std::vector<std::string> changes;                    ///< "what multiplies: fma -> mma_sync", by axis
  std::vector<std::string> techniques;                 ///< in words, shown by measures that differ
  std::vector<LineageNode> steps;                      ///< from the first ancestor to it
  double copy_share_before = 0, copy_share_after = 0;  ///< of the copy rate, mean over workloads; 0: unknown
  std::string bottleneck_before, bottleneck_after;
};

/// Lessons with what they were drawn from.
struct LessonFacts {
  std::vector<Lesson> lessons;
  std::int64_t candidates_read = 0, candidates_told = 0;
  std::size_t imported = 0;  ///< effects of earlier runs
};

struct RunFacts {
  std::string folder;
  RunRecord run;
  RunConfig config;
  std::string title;
  DeviceFacts device;
  std::string toolkit, harness_version;
  RunEnd end;
  std::vector<std::string> seeds;           ///< files that it began with
  std::vector<std::string> seeds_left_out;  ///< of the task's; empty: none, or nobody recorded it
  std::vector<UntimedSeed> seeds_untimed;   ///< of `seeds`: they pass every check and were not timed
  std::uint64_t failed_seed = 0;            ///< the first one, where no seed passed or has a time; 0: none
  std::string seed_failure;
  std::optional<EliteFacts> baseline;  ///< the best of `seeds`
  double null_half_width =
      0;  ///< of the baseline against itself, log of a ratio: what chance does; 0: not measured
  std::optional<EliteFacts> best;  ///< the grid's best by fitness
  std::optional<EliteFacts> best_parent;
  std::string best_source, parent_source;
  std::vector<std::pair<std::string, std::int64_t>> best_tuning;
  std::vector<std::string> best_words;    ///< what the best is: a clause for each axis, then its launches
  std::vector<GainStep> best_chain;       ///< its way from its seed; empty: it is one, or there is none
  std::optional<ModelError> model_error;  ///< of modelled times; none: measured ones, or nobody knows
  Reasons reasons;
  Counters counters;
  Spent spent;
  std::vector<Axis> axes;
  QdMetrics metrics;
  std::size_t cells = 0;
  std::vector<EliteFacts> elites;  ///< in the grid's order
  std::vector<ProgressPoint>
      progress;                      ///< thinned; the first, the last and every change of the best are kept
  std::int64_t progress_points = 0;  ///< that it stands for
  std::vector<LineageNode> lineage;  ///< by ordinal
  std::int64_t lineage_candidates = 0;  ///< that it stands for
  std::vector<WorkloadFacts> workloads;
  RoofFacts roofs;
  std::vector<FunnelStep> funnel;
  ArmTable arms;
  LessonFacts lessons;
  std::int64_t last_event = 0;
};

/// A run held at one instant: by its archive, and by a connection for queries over all of its rows.
struct RunInstant {
  RunReader run;
  Database rows;
};
/// Throws ConfigError if `folder` holds no run.
RunInstant hold_run(const std::string& folder);

/// Throws Error if the database fails.
RunFacts run_facts(RunInstant& held, const std::string& folder);
/// Of now. Throws ConfigError if `folder` holds no run, Error if the database fails.
RunFacts run_facts(const std::string& folder);

/// Who descends from whom among all candidates: the ancestry of `winners`, contracted to the most telling ones if there
/// are more than `count_max`. Only ordinal, parent, skipped, operator and outcome are set.
std::vector<LineageNode> lineage_of(const std::vector<BriefCandidate>& candidates,
                                    const std::set<std::uint64_t>& winners, std::size_t count_max);
/// Steps in order; those where nobody ended are kept where somebody came so far.
std::vector<FunnelStep> funnel_of(const BriefRows& brief);
/// At most `count_max` points: evenly spaced, and where a new best came.
std::vector<ProgressPoint> thinned(const std::vector<ProgressPoint>& points, std::size_t count_max);

/// The value as one JSON object, for the page and `--json`; sources are not in it.
Json run_facts_json(const RunFacts& facts);

}  // namespace kernelites
