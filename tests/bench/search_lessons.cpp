// SPDX-License-Identifier: Apache-2.0
// Experiment `lessons`: what runs in the other landscapes teach one, how much sooner it reaches a fixed gain, and what
// wrong lessons do.
//
// Assumption about a model that reads lessons: it has four ideas for a move where a model without lessons follows its
// first one, all drawn as `scripted_edit` draws moves, and a share `k_heed` of the time it takes the one of which the
// lessons promise most: the sum over the lessons and warnings whose technique the idea shows, by the table that effects
// are drawn with. It knows neither times nor verdicts. All other edits are those of `scripted_edit`. Lessons with
// shuffled techniques tell what the choosing alone does.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/core/statistics.h"
#include "engine/search/measured_change.h"
#include "engine/search/selection.h"
#include "engine/variation/bottleneck.h"
#include "engine/variation/lesson_ranking.h"
#include "engine/variation/technique_table.h"
#include "tests/bench/search_experiments.h"
#include "tests/support/landscapes/landscape_world.h"

namespace kernelites {
namespace {

constexpr double k_heed = 0.75;
constexpr int k_ideas = 4;
constexpr double k_goal = 0.95;
constexpr std::int64_t k_teaching_evaluations = 150;
constexpr double k_now_unix_s = 1.79e9;
constexpr std::uint64_t k_teaching_seeds = 1'000'000;  // runs that teach are not the runs that are taught

Provenance h100() {
  Provenance provenance{
      .task_digest = "landscape", .harness_version = k_harness_version, .toolkit = "NVRTC 13.0"};
  provenance.device.kind = "NVIDIA H100 80GB HBM3";
  provenance.device.architecture = "sm_90a";
  provenance.device.memory_gb_per_s = 2800;
  return provenance;
}

/// What the examination of a point would say, with plans of one launch.
Examination examination_of(const Landscape& landscape, const LandscapePoint& point) {
  Examination result{.verdict = point.is_passed()
                                    ? Verdict::passed()
                                    : Verdict::failed(point.stage, point.reason, "as measured")};
  result.descriptors = point.descriptors;
  result.counts = point.counts;
  const auto fact = [&](const std::string& name) {  // what did not compile has none
    const auto found = point.facts.find(name);
    return found == point.facts.end() ? 0 : static_cast<int>(found->second);
  };
  result.kernels = {{.kernel = "k",
                     .registers = fact("registers"),
                     .static_shared_bytes = fact("shared_bytes"),
                     .spill_store_bytes = fact("spill_bytes"),
                     .code_bytes = fact("code_bytes")}};
  for (const std::string& workload : landscape.workloads) {
    const auto launches = static_cast<std::size_t>(std::max(1, fact("launches")));
    LaunchPlan plan;
    plan.launches.resize(launches, {.kernel = "merge"});
    plan.launches[0] = {
        .kernel = "k",
        .grid = {static_cast<std::uint32_t>(std::max(1, fact("blocks " + workload))), 1, 1},
        .block = {static_cast<std::uint32_t>(std::max(1, fact("threads " + workload))), 1, 1}};
    result.plans[workload] = plan;
  }
  return result;
}

/// A landscape with everything that effects and lessons are drawn from.
struct School {
  const Arena* arena = nullptr;
  Task task;
  std::vector<ChangeEnd> ends;  ///< by point: as it was examined and, if it passed, dueled with the default
  std::vector<LessonQuery> queries;
  std::vector<KernelMeasures> measures;
};

School school_of(const Arena& arena, double noise) {
  School school{
      .arena = &arena,
      .task = load_task(std::filesystem::path(KERNELITES_SOURCE_DIR) / "tasks" / arena.landscape.name)};
  const Landscape& landscape = arena.landscape;
  std::erase_if(school.task.bench, [&](const Workload& workload) {
    return std::find(landscape.workloads.begin(), landscape.workloads.end(), workload.name) ==
           landscape.workloads.end();
  });
  if (school.task.bench.size() == 1) school.task.name += "_" + landscape.workloads.front();
  for (std::size_t i = 0; i < landscape.points.size(); ++i) {
    ChangeEnd end;
    end.specimen.id = fmt::format("{} {}", landscape.name, i);
    end.specimen.candidate.tuning = landscape.tuning(i);
    end.specimen.examination = examination_of(landscape, landscape.points[i]);
    end.specimen.verdict = end.specimen.examination.verdict;
    if (landscape.points[i].is_passed()) {
      const LandscapeArms arms{.labels = {"candidate", "default"}, .points = {i, 0}};
      end.specimen.duel = landscape_duel(landscape, noise * arena.noise, arms, end.specimen.id);
      end.duels = {{end.specimen.id, *end.specimen.duel}};
    }
    const VariationInput input{.task = school.task, .device = h100().device, .parent = end.specimen};
    LessonQuery query = lesson_query(input);
    query.toolkit = h100().toolkit;
    query.now_unix_s = k_now_unix_s;
    school.queries.push_back(std::move(query));
    school.measures.push_back(
        measures_of(end.specimen.candidate, end.specimen.examination, h100().device, landscape.workloads));
    school.ends.push_back(std::move(end));
  }
  return school;
}

std::vector<Effect> effects_of(const School& school, std::size_t parent, std::size_t child) {
  const ChangeFacts facts{
      .provenance = h100(), .measured_unix_s = k_now_unix_s, .winner_id = school.ends[child].specimen.id};
  return effects_between(school.task, school.ends[parent], school.ends[child], facts, 0.005);
}

/// Whose effects are imported.
enum class Source { none, other_tasks, same_task, other_shape };

/// How one arm of the experiment learns.
struct Teaching {
  const char* name;
  Source source = Source::none;
  bool has_own = false;  ///< and effects of the run itself, as they come in
  bool is_inverted = false;
  bool is_shuffled = false;
  LessonRules rules = {};
};

std::vector<const Effect*> pointers(const std::vector<Effect>& effects) {
  std::vector<const Effect*> all;
  for (const Effect& effect : effects) all.push_back(&effect);
  return all;
}

/// What the lessons promise of a move.
double promise_of(const School& school, std::size_t parent, std::size_t child,
                  const std::vector<Lesson>& lessons) {
  if (school.measures[child].empty()) return 0;
  const auto codes = techniques_between(school.measures[parent], school.measures[child]);
  double promise = 0;
  for (const Lesson& lesson : lessons) {
    if (std::find(codes.begin(), codes.end(), lesson.code) == codes.end()) continue;
    promise += lesson.promise;
  }
  return promise;
}

ScriptedEdit edit_with(const School& school, std::size_t parent, const std::vector<Lesson>& lessons,
                       const EditRates& rates, Rng& rng) {
  ScriptedEdit edit = scripted_edit(school.arena->landscape, parent, rates, rng);
  if (edit.kind != EditKind::move || lessons.empty() || rng.uniform() >= k_heed) return edit;
  double promised = promise_of(school, parent, edit.point, lessons);
  for (int ideas = 1; ideas < k_ideas;) {
    const ScriptedEdit other = scripted_edit(school.arena->landscape, parent, rates, rng);
    if (other.kind != EditKind::move) continue;
    ++ideas;
    const double more = promise_of(school, parent, other.point, lessons);
    if (more <= promised) continue;
    promised = more;
    edit = other;
  }
  return edit;
}

/// A run in the school's landscape.
struct RunResult {
  double evaluations = 0;  ///< until the goal, or the budget
  std::vector<Effect> effects;
};

RunResult run_in(const School& school, const BenchOptions& options, const Teaching& teaching,
                 const std::vector<Effect>& imported, std::uint64_t seed, std::int64_t budget, double goal) {
  RunResult result;
  std::set<std::string> seen;
  RunConfig config;
  config.operators = {{"refine", 1}};
  SearchWorld world(*school.arena,
                    {.seed = seed, .rule = {.looks_max = options.looks}, .noise = options.noise});
  while (world.evaluations() < budget && (goal == 0 || world.reached() < goal)) {
    const std::uint64_t ordinal = world.next_ordinal();
    const auto selection = select(world.grid(), world.choices(), config, Rng::keyed(seed, ordinal, "select"));
    const std::string& parent_id = selection->parents.parent_id;
    const std::size_t parent = world.point_of(parent_id);
    std::vector<const Effect*> known = pointers(imported);
    if (teaching.has_own)
      for (const Effect& effect : result.effects) known.push_back(&effect);
    std::vector<Lesson> lessons;
    if (!known.empty()) lessons = rank_lessons(known, school.queries[parent], teaching.rules);
    Rng rng = Rng::keyed(seed, ordinal, "edit");
    const ScriptedEdit edit = edit_with(school, parent, lessons, options.rates, rng);
    const Told told = world.submit(parent_id, edit);
    const bool is_change = edit.kind == EditKind::move || edit.kind == EditKind::jump;
    if (!is_change || told.id.empty()) continue;
    for (Effect& effect : effects_of(school, parent, edit.point))
      if (seen.insert(effect.id).second) result.effects.push_back(std::move(effect));
  }
  result.evaluations = static_cast<double>(world.evaluations());
  return result;
}

/// Whether what was learned in `other` is imported in `self`.
bool is_source(const std::vector<School>& schools, std::size_t other, std::size_t self, Source source) {
  const Landscape &there = schools[other].arena->landscape, &here = schools[self].arena->landscape;
  switch (source) {
    case Source::none:
      return false;
    case Source::other_tasks:
      return there.name != here.name;
    case Source::same_task:
      return other == self;
    case Source::other_shape:
      return there.name == here.name && other != self;
  }
  return false;
}

/// Everything that one untaught run in each of the source's landscapes leaves in a knowledge file.
std::vector<Effect> lessons_for(const std::vector<std::vector<Effect>>& by_school,
                                const std::vector<School>& schools, std::size_t self,
                                const Teaching& teaching, std::uint64_t seed) {
  EffectSet set;
  for (std::size_t i = 0; i < by_school.size(); ++i)
    if (is_source(schools, i, self, teaching.source))
      for (const Effect& effect : by_school[i]) set.add(effect);
  std::vector<Effect> effects;
  for (const auto& [id, effect] : set.effects) effects.push_back(effect);
  Rng rng = Rng::keyed(seed, 0, "shuffle");
  if (teaching.is_shuffled) {
    std::vector<std::vector<std::string>> techniques;
    for (const Effect& effect : effects) techniques.push_back(effect.techniques);
    rng.shuffle(techniques);
    for (std::size_t i = 0; i < effects.size(); ++i) effects[i].techniques = techniques[i];
  }
  if (teaching.is_inverted)
    for (Effect& effect : effects) {
      effect.log_gain *= -1;
      std::swap(effect.log_gain_low, effect.log_gain_high);
      effect.log_gain_low *= -1;
      effect.log_gain_high *= -1;
      if (effect.outcome == EffectOutcome::faster)
        effect.outcome = EffectOutcome::slower;
      else if (effect.outcome == EffectOutcome::slower)
        effect.outcome = EffectOutcome::faster;
    }
  return effects;
}

LessonRules without_similarity() {
  return {.other_state = 1,
          .unknown_state = 1,
          .other_family = 1,
          .related_family = 1,
          .other_shape_class = 1,
          .related_shape_class = 1,
          .other_dtype = 1};
}

/// The landscape at one of its workloads alone: the same kernels as a task of another shape.
Arena at_workload(const Arena& arena, std::size_t workload) {
  Arena one = arena;
  one.landscape.workloads = {arena.landscape.workloads[workload]};
  for (LandscapePoint& point : one.landscape.points) {
    const auto keep = [&](std::vector<double>& times) {
      if (!times.empty()) times = {times[workload]};
    };
    keep(point.time_us);
    keep(point.time_us_p10);
    keep(point.time_us_p90);
    for (std::vector<double>& again : point.again) keep(again);
  }
  const Ruggedness figures = ruggedness_of(one.landscape);
  one.noise = figures.noise;
  one.speedup_best = figures.speedup_best;
  return one;
}

/// What an untaught run in every school leaves in a knowledge file, by seed and school.
using Taught = std::vector<std::vector<std::vector<Effect>>>;

Taught taught_in(const std::vector<School>& schools, const BenchOptions& options) {
  Taught taught(static_cast<std::size_t>(options.seeds));
  for_each_run(options, taught.size(), [&](std::size_t i) {
    for (const School& school : schools)
      taught[i].push_back(run_in(school, options, {.name = "none"}, {},
                                 k_teaching_seeds + options.first_seed + i, k_teaching_evaluations, 0)
                              .effects);
  });
  return taught;
}

void print_table(const std::vector<School>& schools, std::span<const Teaching> teachings,
                 const BenchOptions& options) {
  const Taught taught = taught_in(schools, options);
  fmt::print("| lessons |");
  for (const School& school : schools)
    fmt::print(" `{}` {} |", school.arena->landscape.name,
               schools.size() > 5 ? school.arena->landscape.workloads.front() : "");
  fmt::print(" of none |\n| --- |");
  for (std::size_t i = 0; i <= schools.size(); ++i) fmt::print(" --- |");
  fmt::print("\n");
  std::vector<std::vector<double>> untaught;
  for (const Teaching& teaching : teachings) {
    std::vector<std::vector<double>> all;
    fmt::print("| {} |", teaching.name);
    for (std::size_t s = 0; s < schools.size(); ++s) {
      std::vector<double> evaluations(taught.size());
      for_each_run(options, taught.size(), [&](std::size_t i) {
        const std::uint64_t seed = options.first_seed + i;
        std::vector<Effect> imported;
        if (teaching.source != Source::none) imported = lessons_for(taught[i], schools, s, teaching, seed);
        evaluations[i] =
            run_in(schools[s], options, teaching, imported, seed, options.budget, k_goal).evaluations;
      });
      const Estimate estimate = bootstrap_median(evaluations);
      fmt::print(" {:.0f} ({:.0f}-{:.0f}) |", estimate.value, estimate.low, estimate.high);
      all.push_back(std::move(evaluations));
    }
    if (untaught.empty()) untaught = all;
    const Estimate ratio = bootstrap_ratio(all, untaught);
    fmt::print(" {:.2f} ({:.2f}-{:.2f}) |\n", ratio.value, ratio.low, ratio.high);
    std::fflush(stdout);
  }
}

}  // namespace

void run_lessons(const BenchOptions& options, const std::vector<Arena>& arenas) {
  const Teaching k_teachings[] = {
      {.name = "none"},
      {.name = "of the other landscapes", .source = Source::other_tasks, .has_own = true},
      {.name = "the same, without the run's own effects", .source = Source::other_tasks},
      {.name = "the same, all cases alike",
       .source = Source::other_tasks,
       .has_own = true,
       .rules = without_similarity()},
      {.name = "the same, by the mean instead of its bound",
       .source = Source::other_tasks,
       .has_own = true,
       .rules = {.bound = 0}},
      {.name = "the run's own effects only", .has_own = true},
      {.name = "of an earlier run in the same landscape", .source = Source::same_task, .has_own = true},
      {.name = "shuffled techniques", .source = Source::other_tasks, .has_own = true, .is_shuffled = true},
      {.name = "inverted", .source = Source::other_tasks, .has_own = true, .is_inverted = true},
      {.name = "inverted, without the run's own effects", .source = Source::other_tasks, .is_inverted = true},
  };
  const Teaching k_of_shapes[] = {
      {.name = "none"},
      {.name = "of the other shape", .source = Source::other_shape, .has_own = true},
      {.name = "the same, without the run's own effects", .source = Source::other_shape},
      {.name = "of the other shape, shuffled techniques",
       .source = Source::other_shape,
       .has_own = true,
       .is_shuffled = true},
      {.name = "of the other shape, inverted",
       .source = Source::other_shape,
       .has_own = true,
       .is_inverted = true},
  };
  std::vector<School> schools, of_shapes;
  for (const Arena& arena : arenas) schools.push_back(school_of(arena, options.noise));
  std::vector<Arena> shapes;
  for (const Arena& arena : arenas)
    for (std::size_t w = 0; w < arena.landscape.workloads.size(); ++w)
      shapes.push_back(at_workload(arena, w));
  for (const Arena& shape : shapes)  // where the default is at the goal there is nothing to learn
    if (shape.speedup_best * k_goal > 1) of_shapes.push_back(school_of(shape, options.noise));
  print_table(of_shapes, k_of_shapes, options);
  fmt::print("\n");
  print_table(schools, k_teachings, options);
}

}  // namespace kernelites
