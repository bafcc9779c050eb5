// SPDX-License-Identifier: Apache-2.0
// A run's archive as one value: bulk rows first, then what is shown of elites, ancestors, arms and lessons.
#include "tools/inspect/run_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/core/device_peaks.h"
#include "engine/core/error.h"
#include "engine/core/json_shape.h"
#include "engine/core/plain_line.h"
#include "engine/core/roofline.h"
#include "engine/search/baseline.h"
#include "engine/search/lesson_book.h"
#include "engine/search/recorded_config.h"
#include "engine/search/run_folder.h"
#include "engine/variation/bottleneck.h"
#include "engine/variation/kernel_measures.h"
#include "engine/variation/lesson_ranking.h"
#include "engine/variation/technique_table.h"
#include "tools/inspect/kernel_words.h"
#include "tools/inspect/told_kind.h"

namespace kernelites {
namespace {

/// How often a run is tried to be held: each try fails only if the run commits within it.
constexpr int k_holds_max = 1000;

/// Candidates are read once, however many parts of a view show them.
class Candidates {
 public:
  explicit Candidates(const RunReader& run, const Grid& grid) : run_(run) {
    grid.for_each([&](const Elite& elite) { elites_[elite.ordinal] = elite; });
  }

  const EliteFacts& at(std::uint64_t ordinal) {
    auto found = facts_.find(ordinal);
    if (found != facts_.end()) return found->second;
    const auto elite = elites_.find(ordinal);
    return facts_
        .emplace(ordinal, elite_facts(run_, ordinal, elite == elites_.end() ? nullptr : &elite->second))
        .first->second;
  }

 private:
  const RunReader& run_;
  std::map<std::uint64_t, Elite> elites_;
  std::map<std::uint64_t, EliteFacts> facts_;
};

std::string dims_text(const Task& task, const Workload& workload) {
  std::string text;
  for (const DimSpec& dim : task.dims)
    if (!dim.constant && workload.dims.contains(dim.name))
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", dim.name, workload.dims.at(dim.name));
  return text;
}

std::vector<WorkloadFacts> workloads_of(const RunReader& run) {
  std::vector<WorkloadFacts> all;
  const std::vector<Champion> champions = run.archive.champions();
  for (const Workload& workload : run.task.bench) {
    WorkloadFacts facts{.name = workload.name,
                        .weight = workload.weight,
                        .shape = dims_text(run.task, workload),
                        .counts = counts_on(run.device, run.task, workload),
                        .champion = {}};
    const Floor floor = floor_of(facts.counts, run.device);
    facts.floor_us = floor.us;
    facts.limit = floor.limit;
    for (const Champion& champion : champions)
      if (champion.workload == workload.name) facts.champion = champion;
    all.push_back(std::move(facts));
  }
  return all;
}

RoofFacts roofs_of(const DeviceFacts& device) {
  RoofFacts facts{.copy_gb_per_s = device.memory_gb_per_s};
  if (const DevicePeaks* const peaks = peaks_of(device)) {
    facts.peak_gb_per_s = peaks->memory_gb_per_s;
    facts.peak_tflop_per_s = peaks->tensor_flops * peaks->clock_ghz * 1e-3 * device.sm_count;
  }
  return facts;
}

void fill_node(const EliteFacts& facts, const std::vector<WorkloadFacts>& workloads, LineageNode& node) {
  node.cell = facts.cell;
  node.summary = facts.summary;
  node.speedup = facts.speedup;
  if (node.skipped == 0) node.over_parent = facts.over_parent;
  for (const WorkloadFacts& workload : workloads)
    node.is_champion = node.is_champion || (workload.champion && workload.champion->ordinal == node.ordinal);
}

double mean_copy_share(const EliteFacts& facts) {
  double sum = 0;
  for (const WorkloadTime& time : facts.times) sum += time.of_copy_rate;
  return facts.times.empty() ? 0 : sum / static_cast<double>(facts.times.size());
}

KernelMeasures measures(const RunReader& run, std::uint64_t ordinal) {
  const auto evaluated = run.archive.evaluated(ordinal);
  if (!evaluated || !evaluated->examination || !evaluated->examination->examination) return {};
  std::vector<std::string> names;
  for (const Workload& workload : run.task.bench) names.push_back(workload.name);
  Examination examination = *evaluated->examination->examination;
  examination.descriptors =
      told_descriptors(examination, evaluated->duel ? evaluated->duel->duel : std::optional<Duel>());
  return measures_of(evaluated->record.candidate, examination, evaluated->examination->provenance.device,
                     names);
}

/// From the baseline to the best, by what was measured of both.
Reasons reasons_of(const RunReader& run, const RunFacts& facts) {
  Reasons reasons;
  if (!facts.best || !facts.baseline || facts.best->ordinal == facts.baseline->ordinal) return reasons;
  for (const Axis& axis : facts.axes) {
    const auto before = facts.baseline->descriptors.find(std::string(axis.name));
    const auto after = facts.best->descriptors.find(std::string(axis.name));
    if (before == facts.baseline->descriptors.end() || after == facts.best->descriptors.end()) continue;
    if (before->second != after->second)
      reasons.changes.push_back(fmt::format("{}: {} -> {}", axis.name, before->second, after->second));
  }
  for (const std::string& code :
       techniques_between(measures(run, facts.baseline->ordinal), measures(run, facts.best->ordinal)))
    if (const TechniqueRow* const row = find_technique(code)) reasons.techniques.emplace_back(row->words);
  std::map<std::uint64_t, const LineageNode*> nodes;
  for (const LineageNode& node : facts.lineage) nodes[node.ordinal] = &node;
  for (std::optional<std::uint64_t> at = facts.best->ordinal; at && nodes.contains(*at);
       at = nodes.at(*at)->parent)
    reasons.steps.insert(reasons.steps.begin(), *nodes.at(*at));
  reasons.copy_share_before = mean_copy_share(*facts.baseline);
  reasons.copy_share_after = mean_copy_share(*facts.best);
  reasons.bottleneck_before = facts.baseline->bottleneck;
  reasons.bottleneck_after = facts.best->bottleneck;
  return reasons;
}

LessonFacts lessons_of(const RunReader& run, const RunFacts& facts) {
  LessonFacts found{.lessons = {}, .candidates_told = run.archive.last_told()};
  const EffectSet imported = run.archive.imported_effects();
  found.imported = imported.effects.size();
  found.candidates_read = std::min(found.candidates_told, k_lesson_candidates_max);
  RunEffects own(run.archive, run.task, facts.config.effect_min, true);
  own.skip(found.candidates_told - found.candidates_read);
  own.read(imported);
  std::vector<const Effect*> all;
  for (const auto& [id, effect] : imported.effects) all.push_back(&effect);
  for (const auto& [told, effect] : own.effects())
    if (!imported.effects.contains(effect.id)) all.push_back(&effect);
  found.lessons = rank_lessons(all, {.task = run.task.name,
                                     .architecture = run.device.architecture,
                                     .count_max = 12,
                                     .family = run.task.family,
                                     .dtype = dtype_of(run.task),
                                     .is_modelled = run.device.is_virtual,
                                     .toolkit = facts.toolkit,
                                     .now_unix_s = facts.run.started_unix_s});
  return found;
}

void add_best(const RunReader& run, const Grid& grid, Candidates& candidates, RunFacts& facts) {
  const auto best = grid.best();
  if (!best) return;
  facts.best = candidates.at(best->ordinal);
  if (const auto record = run.archive.candidate(best->ordinal)) {
    facts.best_source = record->candidate.source;
    for (const auto& [name, value] : record->candidate.tuning) facts.best_tuning.emplace_back(name, value);
  }
  if (!facts.best->parent) return;
  facts.best_parent = candidates.at(*facts.best->parent);
  if (const auto record = run.archive.candidate(*facts.best->parent))
    facts.parent_source = record->candidate.source;
}

/// Opinions are events: of several the newest counts.
void add_judgements(const BriefRows& brief, std::vector<EliteFacts>& elites,
                    std::optional<EliteFacts>& best) {
  for (const std::string& text : brief.judged) {
    const Json event = Json::parse(text, nullptr, false);
    if (!event.is_object()) continue;
    const auto words = [&] {
      const std::string opinion = event.value("opinion", "");
      return opinion == "flagged" ? fmt::format("flagged: {}", event.value("reason", "")) : opinion;
    };
    const auto ordinal = event.value("ordinal", std::uint64_t{0});
    for (EliteFacts& elite : elites)
      if (elite.ordinal == ordinal) elite.proof.judgement = words();
    if (best && best->ordinal == ordinal) best->proof.judgement = words();
  }
}

void add_lineage(const BriefRows& brief, Candidates& candidates, RunFacts& facts) {
  std::set<std::uint64_t> winners;
  for (const EliteFacts& elite : facts.elites) winners.insert(elite.ordinal);
  for (const WorkloadFacts& workload : facts.workloads)
    if (workload.champion) winners.insert(workload.champion->ordinal);
  facts.lineage = lineage_of(brief.candidates, winners, k_lineage_nodes_max);
  for (LineageNode& node : facts.lineage) {
    fill_node(candidates.at(node.ordinal), facts.workloads, node);
    facts.lineage_candidates += 1 + node.skipped;
  }
}

/// What the run began with, what it did not, and the best of it.
void add_seeds(RunInstant& held, Candidates& candidates, RunFacts& facts) {
  for (const CandidateRecord& seed : held.run.archive.seeds()) facts.seeds.push_back(seed_name(seed));
  facts.seeds_left_out = seeds_left_out(held.rows);
  const Baseline baseline = baseline_of(held.run.archive, held.run.weights);
  facts.seeds_untimed = baseline.untimed;
  for (UntimedSeed& seed : facts.seeds_untimed) {
    seed.name = plain_line(seed.name, '?');
    seed.verdict.message = plain_line(seed.verdict.message, '?');
  }
  if (baseline.id.empty()) {
    facts.failed_seed = baseline.failed;
    facts.seed_failure = plain_line(baseline.failure, '?');
    return;
  }
  facts.baseline = candidates.at(baseline.ordinal);
  facts.null_half_width = baseline.null_half_width;
}

/// What the best is and how it came to be.
void explain_best(const RunReader& run, RunFacts& facts) {
  facts.model_error = model_error(run.device, run.task.name);
  if (!facts.best) return;
  facts.best_words = kernel_words(facts.axes, facts.best->descriptors);
  facts.best_chain = gain_chain(run, facts.best->id);
  const auto evaluated = run.archive.evaluated(facts.best->ordinal);
  if (!evaluated || !evaluated->examination || !evaluated->examination->examination) return;
  // Where a step is explained the launches are told; else at the first workload that has a plan.
  const auto& plans = evaluated->examination->examination->plans;
  auto plan = facts.best_chain.empty() ? plans.end() : plans.find(facts.best_chain.back().reasons.workload);
  for (const Workload& workload : run.task.bench)
    if (plan == plans.end()) plan = plans.find(workload.name);
  if (plan == plans.end()) return;
  if (const std::string words = plan_words(plan->second); !words.empty())
    facts.best_words.push_back(fmt::format("{}, at {}", words, plan->first));
}

}  // namespace

RunInstant hold_run(const std::string& folder) {
  // Two connections see the same if nobody commits between their first readings: then a third one's version stands
  // still. That is a hundredth of a second, so that a run which writes all the time is caught between two commits.
  Archive::open_read_only(folder);  // says in words if there is no run
  const std::filesystem::path file = RunFolder{folder}.database();
  Database watch(file, Database::Mode::read_only);
  for (int attempt = 0; attempt < k_holds_max; ++attempt) {
    const std::int64_t before = run_revision(watch);
    Database rows(file, Database::Mode::read_only);
    rows.execute("BEGIN");
    rows.integer("SELECT count(*) FROM run");
    RunReader run = read_run(folder);
    if (run_revision(watch) == before) return {std::move(run), std::move(rows)};
  }
  throw Error(fmt::format("{}: the run writes faster than it can be read", file.string()));
}

namespace {

RunFacts facts_of(RunInstant& held, const std::string& folder) {
  const RunReader& run = held.run;
  const BriefRows brief = read_brief_rows(held.rows);
  RunFacts facts{.folder = folder, .baseline = {}, .best = {}, .best_parent = {}};
  facts.run = run.archive.run();
  facts.config = recorded_run_config(facts.run.configuration, folder + ": configuration");
  facts.end = run_end(held.rows, folder, facts.run, run.archive.spent(), facts.config);
  facts.title = run.task.title;
  facts.device = run.device;
  if (const auto provenance = run.archive.first_provenance()) {
    facts.toolkit = provenance->toolkit;
    facts.harness_version = provenance->harness_version;
  }
  const Grid grid = run.archive.grid();
  Candidates candidates(run, grid);
  facts.counters = run.archive.counters();
  facts.spent = run.archive.spent();
  facts.axes = run.archive.axes();
  facts.metrics = qd_metrics(grid);
  facts.cells = grid.cell_count();
  grid.for_each([&](const Elite& elite) { facts.elites.push_back(candidates.at(elite.ordinal)); });
  add_seeds(held, candidates, facts);
  add_best(run, grid, candidates, facts);
  add_judgements(brief, facts.elites, facts.best);
  const std::vector<ProgressPoint> progress = progress_of(run.archive);
  facts.progress_points = static_cast<std::int64_t>(progress.size());
  facts.progress = thinned(progress, k_series_points_max);
  facts.workloads = workloads_of(run);
  add_lineage(brief, candidates, facts);
  facts.roofs = roofs_of(run.device);
  facts.funnel = funnel_of(brief);
  facts.arms = arm_table(run, facts.config, folder, held.rows);
  facts.reasons = reasons_of(run, facts);
  facts.lessons = lessons_of(run, facts);
  facts.last_event = brief.last_event;
  explain_best(run, facts);
  return facts;
}

}  // namespace

RunFacts run_facts(RunInstant& held, const std::string& folder) {
  return in_shape(folder, [&] { return facts_of(held, folder); });
}

RunFacts run_facts(const std::string& folder) {
  RunInstant held = hold_run(folder);
  return run_facts(held, folder);
}

}  // namespace kernelites
