// SPDX-License-Identifier: Apache-2.0
// Edits by operator, all made of `scripted_edit`.
#include "tests/bench/scripted_operators.h"

#include <algorithm>
#include <climits>

#include "engine/search/target_cell.h"

namespace kernelites {
namespace {

constexpr int k_ideas = 4;

bool is_change(const ScriptedEdit& edit) {
  return edit.kind == EditKind::move || edit.kind == EditKind::jump;
}

ScriptedEdit moved_to(const Landscape& landscape, std::size_t point) {
  const LandscapePoint& there = landscape.points[point];
  return {.kind = EditKind::move,
          .point = point,
          .verdict = there.is_passed() ? Verdict::passed()
                                       : Verdict::failed(there.stage, there.reason, "as measured")};
}

/// A change of `parent`; broken edits and such are drawn before.
ScriptedEdit next_idea(const Landscape& landscape, std::size_t parent, const EditRates& rates, Rng& rng) {
  ScriptedEdit edit;
  do {
    edit = scripted_edit(landscape, parent, rates, rng);
  } while (!is_change(edit));
  return edit;
}

ScriptedEdit crossed(const Landscape& landscape, std::size_t first, std::size_t second,
                     const ScriptedEdit& otherwise, Rng& rng) {
  constexpr int k_draws = 8;
  const auto of_first = landscape.tuning(first), of_second = landscape.tuning(second);
  for (int draw = 0; draw < k_draws; ++draw) {
    auto tuning = of_first;
    for (auto& [name, value] : tuning)
      if (rng.uniform() < 0.5) value = of_second.at(name);
    const std::size_t point = landscape.point_of(tuning);
    if (point != first && point != second) return moved_to(landscape, point);
  }
  return otherwise;  // the parents differ in one tunable
}

ScriptedEdit repaired(const Landscape& landscape, std::size_t failed, ScriptedEdit edit,
                      const EditRates& rates, Rng& rng) {
  for (int idea = 1; idea < k_ideas && !edit.verdict.is_passed; ++idea)
    edit = next_idea(landscape, failed, rates, rng);
  return edit;
}

/// The workload at which the parent is furthest behind the champion.
std::size_t lagging_workload(const SearchWorld& world, std::size_t parent) {
  const Landscape& landscape = world.landscape();
  std::size_t lagging = 0;
  double most = 0;
  for (std::size_t w = 0; w < landscape.workloads.size(); ++w)
    for (const Champion& champion : world.champions()) {
      if (champion.workload != landscape.workloads[w]) continue;
      const auto& time = landscape.points[world.point_of(champion.candidate_id)].time_us;
      const double lag = landscape.points[parent].time_us[w] / time[w];
      if (lag > most) most = lag, lagging = w;
    }
  return lagging;
}

ScriptedEdit ported(const SearchWorld& world, std::size_t parent, ScriptedEdit edit, const EditRates& rates,
                    Rng& rng) {
  const Landscape& landscape = world.landscape();
  if (rng.uniform() >= rates.insight) return edit;
  const std::size_t workload = lagging_workload(world, parent);
  EditRates blind = rates;
  blind.insight = 0;
  const ScriptedEdit other = next_idea(landscape, parent, blind, rng);
  const auto speed = [&](const ScriptedEdit& one) {
    const LandscapePoint& point = landscape.points[one.point];
    return point.is_passed() ? 1 / point.time_us[workload] : 0;
  };
  return speed(other) > speed(edit) ? other : edit;
}

}  // namespace

ScriptedEdit edit_towards(const SearchWorld& world, const std::string& parent_id, const std::string& cell,
                          const EditRates& rates, Rng& rng) {
  const Landscape& landscape = world.landscape();
  const std::size_t parent = world.point_of(parent_id);
  ScriptedEdit edit = scripted_edit(landscape, parent, rates, rng);
  if (!is_change(edit)) return edit;
  const auto distance = [&](const ScriptedEdit& one) {
    const auto name = cell_name(landscape.points[one.point].descriptors, world.grid().axes());
    return name ? cell_distance(*name, cell) : INT_MAX;
  };
  for (int idea = 1; idea < k_ideas; ++idea) {
    const ScriptedEdit other = next_idea(landscape, parent, rates, rng);
    if (distance(other) < distance(edit)) edit = other;
  }
  return edit;
}

ScriptedEdit operator_edit(const SearchWorld& world, const Selection& selection, const EditRates& rates,
                           Rng& rng) {
  const Landscape& landscape = world.landscape();
  const Parents& parents = selection.parents;
  const std::size_t parent = world.point_of(parents.parent_id);
  EditRates asked = rates;
  if (selection.operator_name == "edit") {
    asked.jump = 0;
    asked.further = 0;
  }
  if (selection.operator_name == "port") asked.insight = 0;  // what it knows is used at the workload
  if (!parents.target_cell.empty())
    return edit_towards(world, parents.parent_id, parents.target_cell, asked, rng);
  ScriptedEdit edit = scripted_edit(landscape, parent, asked, rng);
  if (!is_change(edit)) return edit;
  if (!parents.second_parent_id.empty())
    return crossed(landscape, parent, world.point_of(parents.second_parent_id), edit, rng);
  if (selection.operator_name == "repair") return repaired(landscape, parent, edit, asked, rng);
  if (selection.operator_name == "port") return ported(world, parent, edit, rates, rng);
  return edit;
}

}  // namespace kernelites
