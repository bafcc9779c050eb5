// SPDX-License-Identifier: Apache-2.0
// A whole search in memory, in a frozen landscape: thousands of candidates a second for comparing policies.
#include "tests/bench/search_world.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"
#include "tests/support/landscapes/landscape_world.h"

namespace kernelites {

std::vector<Arena> measured_arenas(const std::filesystem::path& source_root) {
  const std::filesystem::path folder = source_root / "tests" / "support" / "landscapes";
  std::vector<Arena> arenas;
  if (std::filesystem::is_directory(folder)) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (!entry.path().filename().string().ends_with("_landscape.json")) continue;
      Arena arena{.landscape = load_landscape(entry.path())};
      const Ruggedness figures = ruggedness_of(arena.landscape);
      arena.noise = figures.noise;
      arena.speedup_best = figures.speedup_best;
      const std::filesystem::path task = source_root / "tasks" / arena.landscape.name / "task.json";
      arena.axes = axes_of_family(read_json(task).at("family").get<std::string>());
      arenas.push_back(std::move(arena));
    }
  }
  if (arenas.empty()) throw ConfigError(folder.string(), "", "expected *_landscape.json");
  std::sort(arenas.begin(), arenas.end(),
            [](const Arena& a, const Arena& b) { return a.landscape.name < b.landscape.name; });
  return arenas;
}

namespace {

std::map<std::string, double> even_weights(const Landscape& landscape) {
  std::map<std::string, double> weights;
  for (const std::string& workload : landscape.workloads) weights[workload] = 1;
  return weights;
}

}  // namespace

SearchWorld::SearchWorld(const Arena& arena, const WorldSettings& settings)
    : arena_(&arena),
      settings_(settings),
      weights_(even_weights(arena.landscape)),
      grid_(settings.axes.empty() ? std::span<const Axis>(arena.axes) : settings.axes),
      triage_(settings.triage, weights_, Key::fixed(std::to_string(settings.seed))) {
  const Verdict passed = Verdict::passed();
  const Told seed_told = submit("", {.kind = EditKind::same, .point = 0, .verdict = passed});
  KERNELITES_ASSERT(seed_told.status == insert_status_name(InsertStatus::added));
  evaluations_ = duels_ = 0;
  counts_ = {};
}

Told SearchWorld::submit(const std::string& parent_id, const ScriptedEdit& edit) {
  Told told{.ordinal = next_ordinal_++, .point = edit.point};
  if (!parent_id.empty()) pool_.count_children(parent_id, true);
  if (edit.kind == EditKind::no_code) {
    told.status = "rejected";
    return told;
  }
  Course course = examined(told.ordinal, parent_id, edit);
  ++evaluations_;
  told.id = course.record.id;
  points_[told.id] = edit.point;
  triage_.know(told.id, *course.examination);
  if (baseline_id_.empty()) {
    baseline_id_ = told.id;
    duel(course, {.arms = {told.id}});  // with itself, as seeds do
  }
  told.is_passed = course.examination->verdict.is_passed;
  if (told.is_passed) {
    told.cell = cell_name(course.examination->descriptors, grid_.axes()).value_or("");
    if (!known_code_.insert(landscape().points[edit.point].twin).second) {
      told.status = "duplicate_code";
      return told;
    }
  }
  const Elite* incumbent = told.cell.empty() ? nullptr : grid_.find(told.cell);
  const std::optional<Standing> standing = triage_.standing(course.record, incumbent, champions_);
  for (;;) {
    const NextStep step = next_step(course, {.grid = grid_,
                                             .champions = champions_,
                                             .baseline_id = baseline_id_,
                                             .weights = weights_,
                                             .rule = settings_.rule,
                                             .standing = standing});
    if (const auto* need = std::get_if<NeedsDuel>(&step)) {
      duel(course, *need);
      continue;
    }
    const Outcome& outcome = std::get<Ends>(step).outcome;
    told.status = outcome.status;
    told.duels = course.duels_sent;
    count(course, outcome, incumbent);
    if (!course.duels.empty()) told.speedup = speedup_over(*course.duels.back().duel, baseline_id_, weights_);
    pool_.admit({told.id, told.ordinal, told.cell, told.speedup});
    if (!course.duels.empty())
      for (const auto& [workload, weight] : weights_)
        told.log_speedup_at[workload] =
            std::log(speedup_over(*course.duels.back().duel, baseline_id_, {{workload, 1.0}}));
    told.champions = static_cast<int>(outcome.champions.size());
    for (const Champion& champion : outcome.champions) {
      std::erase_if(champions_, [&](const Champion& other) { return other.workload == champion.workload; });
      champions_.push_back(champion);
    }
    if (outcome.elite) {
      const Elite* former = grid_.find(outcome.elite->cell);
      if (former != nullptr) told.gain = std::log(outcome.elite->fitness / former->fitness);
      grid_.put(*outcome.elite);
    }
    return told;
  }
}

/// Also tells the triage what a first duel has shown.
void SearchWorld::count(const Course& course, const Outcome& outcome, const Elite* incumbent) {
  counts_.duels = duels_;
  if (!course.duels.empty()) {
    ++counts_.timed;
    triage_.learn(course.record.id, *course.duels.front().duel);
  }
  if (outcome.status != k_modelled_slow) return;
  ++counts_.left_out;
  const double own = landscape().speedup(point_of(course.record.id));
  const double theirs = landscape().speedup(point_of(incumbent->candidate_id));
  if (own > theirs * (1 + settings_.rule.effect_min)) ++counts_.left_out_wrongly;
}

std::string SearchWorld::cell_of(const std::string& candidate_id) const {
  return cell_name(landscape().points[point_of(candidate_id)].descriptors, grid_.axes()).value_or("");
}

double SearchWorld::reached() const {
  return landscape().speedup(points_.at(grid_.best()->candidate_id)) / arena_->speedup_best;
}

bool SearchWorld::has_champions(double goal) const {
  for (std::size_t workload = 0; workload < landscape().workloads.size(); ++workload) {
    double best = 0;
    for (const LandscapePoint& point : landscape().points)
      if (point.is_passed() && (best == 0 || point.time_us[workload] < best)) best = point.time_us[workload];
    for (const Champion& champion : champions_) {
      if (champion.workload != landscape().workloads[workload]) continue;
      const LandscapePoint& point = landscape().points[point_of(champion.candidate_id)];
      if (point.time_us[workload] * goal > best) return false;
    }
  }
  return true;
}

Course SearchWorld::examined(std::uint64_t ordinal, const std::string& parent_id,
                             const ScriptedEdit& edit) const {
  Course course;
  course.record.ordinal = course.record.variation = ordinal;
  course.record.id = fmt::format("c{}", ordinal);
  course.record.parents = {parent_id};
  course.examination = Examination{.verdict = edit.verdict};
  if (edit.verdict.is_passed) course.examination->descriptors = landscape().points[edit.point].descriptors;
  if (edit.verdict.is_passed && settings_.modelled != nullptr)
    course.examination->modelled_us = (*settings_.modelled)[edit.point];
  return course;
}

void SearchWorld::duel(Course& course, const NeedsDuel& need) {
  LandscapeArms arms{.labels = {"candidate"}, .points = {points_.at(course.record.id)}};
  for (const std::string& id : need.arms) {
    arms.labels.push_back(id);
    arms.points.push_back(points_.at(id));
  }
  arms.confidence =
      need.is_confirmation ? settings_.rule.confirmation_confidence_min : settings_.rule.confidence_min;
  EvaluationRecord record;
  record.ordinal = course.record.ordinal;
  record.verb = "duel";
  record.request_id =
      fmt::format("{}-{}-duel-{}", settings_.seed, course.record.ordinal, course.duels_sent++);
  record.request = {{"is_confirmation", need.is_confirmation}};
  record.state = "answered";
  record.duel = landscape_duel(landscape(), settings_.noise * arena_->noise, arms, record.request_id);
  course.duels.push_back(std::move(record));
  ++duels_;
}

}  // namespace kernelites
