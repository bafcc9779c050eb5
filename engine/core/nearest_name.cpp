// SPDX-License-Identifier: Apache-2.0
// Optimal string alignment over three rows of the usual table.
#include "engine/core/nearest_name.h"

#include <algorithm>
#include <array>
#include <vector>

namespace kernelites {
namespace {

constexpr std::size_t k_length_max = 64;
constexpr std::size_t k_slip_letters = 4;  // one slip in so many letters

}  // namespace

std::size_t spelling_distance(std::string_view left, std::string_view right) {
  left = left.substr(0, k_length_max);
  right = right.substr(0, k_length_max);
  std::array<std::vector<std::size_t>, 3> row;  // of the last, this and the next-to-last letter of `left`
  for (auto& cells : row) cells.resize(right.size() + 1);
  for (std::size_t j = 0; j <= right.size(); ++j) row[0][j] = j;
  for (std::size_t i = 1; i <= left.size(); ++i) {
    row[1][0] = i;
    for (std::size_t j = 1; j <= right.size(); ++j) {
      const std::size_t exchange = row[0][j - 1] + (left[i - 1] == right[j - 1] ? 0 : 1);
      row[1][j] = std::min({row[0][j] + 1, row[1][j - 1] + 1, exchange});
      if (i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1])
        row[1][j] = std::min(row[1][j], row[2][j - 2] + 1);
    }
    std::swap(row[2], row[0]);
    std::swap(row[0], row[1]);
  }
  return row[0][right.size()];
}

std::string nearest_name(std::string_view name, std::span<const std::string> known) {
  std::string nearest;
  std::size_t least = std::max<std::size_t>(1, name.size() / 2);
  for (const std::string& other : known) {
    const bool is_start = name.size() >= 3 && other.size() >= 3 &&
                          (name.starts_with(other) || std::string_view(other).starts_with(name));
    const std::size_t distance = is_start ? 1 : spelling_distance(name, other);
    if (distance < least || (distance == least && nearest.empty())) {
      nearest = other;
      least = distance;
    }
  }
  return nearest;
}

std::string did_you_mean(std::string_view name, std::span<const std::string> known) {
  const std::string nearest = nearest_name(name, known);
  return nearest.empty() ? "" : ", did you mean \"" + nearest + "\"?";
}

std::string surely_meant(std::string_view name, std::span<const std::string> known) {
  const std::string nearest = nearest_name(name, known);
  return !nearest.empty() && is_slip_of(name, nearest) ? did_you_mean(name, known) : "";
}

bool is_slip_of(std::string_view name, std::string_view wanted) {
  const std::size_t allowed = std::max<std::size_t>(1, wanted.size() / k_slip_letters);
  return wanted.size() > 1 && spelling_distance(name, wanted) <= allowed;
}

}  // namespace kernelites
