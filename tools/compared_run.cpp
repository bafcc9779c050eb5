// SPDX-License-Identifier: Apache-2.0
// A run's folder as what is compared of it: its curve, its best kernels, the way it went and why it ended.
#include <fmt/format.h>

#include "engine/core/digest.h"
#include "engine/core/error.h"
#include "engine/search/recorded_config.h"
#include "engine/search/run_folder.h"
#include "tools/inspect/elite_facts.h"
#include "tools/inspect/run_end.h"
#include "tools/inspect/run_reader.h"
#include "tools/run_comparison.h"

namespace kernelites {
namespace {

ComparedKernel compared_kernel(const RunReader& reader, std::uint64_t ordinal) {
  ComparedKernel kernel{.ordinal = ordinal};
  const auto evaluated = reader.archive.evaluated(ordinal);
  if (!evaluated) return kernel;
  kernel.id = evaluated->record.id;
  kernel.summary = evaluated->record.summary;
  if (!evaluated->examination || !evaluated->examination->examination) return kernel;
  const Examination& examination = *evaluated->examination->examination;
  if (examination.code_digest.empty()) return kernel;
  const Json json(examination);
  if (!examination.machine_code.empty()) {
    kernel.code = digest_parts({examination.machine_code, json.at("plans").dump()});
    return kernel;
  }
  kernel.is_by_counts = true;
  // `code_digest` holds launches at shapes that every run draws for itself: it serves where nothing else is known.
  kernel.code =
      examination.counts.sass.empty()
          ? examination.code_digest
          : digest_parts({json.at("counts").dump(), json.at("kernels").dump(), json.at("plans").dump()});
  return kernel;
}

/// `elite`: as the grid has it, or null for what is no elite any more.
ComparedKernel timed_kernel(const RunReader& reader, std::uint64_t ordinal, const Elite* elite) {
  ComparedKernel kernel = compared_kernel(reader, ordinal);
  for (const WorkloadTime& time : elite_facts(reader, ordinal, elite).times)
    kernel.time_us[time.workload] = time.own.time_us_median;
  return kernel;
}

/// Baseline and best, with their times. The best is the one whose fitness the curve ends with: the grid's, unless a
/// withdrawal left the grid without one that was faster and is right.
void add_kernels(const RunReader& reader, ComparedRun& run) {
  std::uint64_t leader = 0;
  for (const ProgressPoint& point : run.progress) {
    if (point.best_ordinal == leader || point.best_ordinal == 0) continue;
    leader = point.best_ordinal;
    run.leads.push_back({point.evaluations, timed_kernel(reader, leader, nullptr)});
  }
  const auto baseline = reader.archive.find_candidate(reader.baseline_id);
  if (leader == 0 || !baseline) return;
  const auto held = reader.archive.grid().best();
  const Elite* const elite = held && held->ordinal == leader ? &*held : nullptr;
  run.best = timed_kernel(reader, leader, elite);
  run.baseline = compared_kernel(reader, baseline->ordinal);
  for (const WorkloadTime& time : elite_facts(reader, leader, elite).times) {
    if (leader == baseline->ordinal)
      run.baseline.time_us[time.workload] = time.own.time_us_median;
    else if (time.baseline)
      run.baseline.time_us[time.workload] = time.baseline->time_us_median;
  }
}

/// What it told, and why it told no more.
void add_way(const RunReader& reader, const RunRecord& record, ComparedRun& run) {
  Database rows(RunFolder{run.folder}.database(), Database::Mode::read_only);
  Statement ids = rows.prepare("SELECT id FROM candidate WHERE told IS NOT NULL ORDER BY told");
  while (ids.step()) run.told.push_back(ids.text(0));
  const RunConfig config = recorded_run_config(record.configuration, run.folder + ": configuration");
  const RunEnd end = run_end(rows, run.folder, record, reader.archive.spent(), config);
  if (end.state == "running") run.end = "goes on";
  if (end.reason != "budget" && !end.words.empty()) run.end = end.words;
}

}  // namespace

ComparedRun compared_run(const std::string& folder) {
  const RunReader reader = read_run(folder);
  const RunRecord record = reader.archive.run();
  ComparedRun run{.folder = folder,
                  .seed = record.seed,
                  .started_unix_s = record.started_unix_s,
                  .task = record.task,
                  .task_digest = record.task_digest,
                  .device = reader.device.kind,
                  .is_modelled = reader.device.is_virtual,
                  .configuration = record.configuration,
                  .model_key = record.model_key,
                  .weights = reader.weights,
                  .progress = progress_of(reader.archive)};
  if (const auto provenance = reader.archive.first_provenance())
    run.harness_version = provenance->harness_version;
  add_kernels(reader, run);
  add_way(reader, record, run);
  for (const char* own : {"seed", "budget"}) run.configuration.erase(own);
  for (const Axis& axis : reader.archive.axes())
    run.axes += fmt::format("{}{}", run.axes.empty() ? "" : "/", axis.name);
  if (run.progress.size() < 2) throw ConfigError(folder, "", "holds no told candidate beyond the seeds");
  return run;
}

}  // namespace kernelites
