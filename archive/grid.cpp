// SPDX-License-Identifier: Apache-2.0
// Cells are numbered in grid order, so that every listing and every random choice over elites is stable.
#include "archive/grid.h"

#include <algorithm>

#include "archive/qd_metrics.h"
#include "engine/core/error.h"

namespace kernelites {

std::optional<std::string> cell_name(const Descriptors& descriptors, std::span<const Axis> axes) {
  std::string name;
  for (const Axis& axis : axes) {
    const auto found = descriptors.find(std::string(axis.name));
    if (found == descriptors.end()) return std::nullopt;
    if (std::find(axis.labels.begin(), axis.labels.end(), found->second) == axis.labels.end())
      return std::nullopt;
    if (!name.empty()) name += '/';
    name += found->second;
  }
  return name;
}

std::vector<std::string> all_cells(std::span<const Axis> axes) {
  std::vector<std::string> cells{""};
  for (const Axis& axis : axes) {
    std::vector<std::string> longer;
    for (const std::string& cell : cells) {
      for (std::string_view label : axis.labels) {
        std::string name = cell;
        if (!name.empty()) name += '/';
        longer.push_back(name.append(label));
      }
    }
    cells = std::move(longer);
  }
  return cells;
}

bool is_stale(const Elite& elite, const Provenance& now) {
  return elite.task_digest != now.task_digest || elite.harness_version != now.harness_version ||
         elite.device != now.device.kind || elite.is_modelled != now.device.is_virtual;
}

Grid::Grid(std::span<const Axis> axes) : axes_(axes.begin(), axes.end()), cells_(all_cells(axes)) {
  for (std::size_t i = 0; i < cells_.size(); ++i) position_[cells_[i]] = i;
}

void Grid::put(Elite elite) {
  const auto position = position_.find(elite.cell);
  KERNELITES_ASSERT(position != position_.end());
  elites_.insert_or_assign(position->second, std::move(elite));
}

void Grid::remove(const std::string& cell) {
  const auto position = position_.find(cell);
  KERNELITES_ASSERT(position != position_.end() && elites_.erase(position->second) == 1);
}

const Elite* Grid::find(const std::string& cell) const {
  const auto position = position_.find(cell);
  if (position == position_.end()) return nullptr;
  const auto elite = elites_.find(position->second);
  return elite == elites_.end() ? nullptr : &elite->second;
}

bool Grid::has_cell(const std::string& cell) const { return position_.count(cell) > 0; }

std::vector<Elite> Grid::elites() const {
  std::vector<Elite> list;
  for (const auto& [position, elite] : elites_) list.push_back(elite);
  return list;
}

std::optional<Elite> Grid::best() const {
  std::optional<Elite> best;
  for (const auto& [position, elite] : elites_) {
    const bool is_better = !best || elite.fitness > best->fitness ||
                           (elite.fitness == best->fitness && elite.ordinal < best->ordinal);
    if (is_better) best = elite;
  }
  return best;
}

double Grid::coverage() const { return qd_metrics(*this).coverage; }

double Grid::qd_score() const { return qd_metrics(*this).qd_score; }

}  // namespace kernelites
