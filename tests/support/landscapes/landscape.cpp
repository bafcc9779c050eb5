// SPDX-License-Identifier: Apache-2.0
// Points as digits of a mixed-radix number, and figures over them.
#include "tests/support/landscapes/landscape.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/core/axes.h"
#include "engine/core/code_measures.h"
#include "engine/core/error.h"
#include "engine/core/statistics.h"

namespace kernelites {
namespace {

/// Digits of `point`, the last tunable fastest.
std::vector<std::size_t> digits_of(const Landscape& landscape, std::size_t point) {
  std::vector<std::size_t> digits(landscape.tunables.size());
  for (std::size_t i = digits.size(); i-- > 0;) {
    const std::size_t radix = landscape.tunables[i].values.size();
    digits[i] = point % radix;
    point /= radix;
  }
  return digits;
}

std::size_t number_of(const Landscape& landscape, const std::vector<std::size_t>& digits) {
  std::size_t point = 0;
  for (std::size_t i = 0; i < digits.size(); ++i)
    point = point * landscape.tunables[i].values.size() + digits[i];
  return point;
}

/// The fastest neighbour if it is faster by more than `noise`, else the point itself.
std::size_t step_up(const Landscape& landscape, std::size_t point, double noise) {
  std::size_t best = point;
  for (const std::size_t other : landscape.neighbours(point)) {
    if (landscape.speedup(other) > landscape.speedup(best)) best = other;
  }
  return landscape.speedup(best) > landscape.speedup(point) * std::exp(noise) ? best : point;
}

double noise_of(const Landscape& landscape) {
  std::vector<double> differences;
  for (std::size_t i = 1; i < landscape.points.size();
       ++i) {  // the default was in every duel: it would outweigh all
    const LandscapePoint& point = landscape.points[i];
    if (point.twin != i) continue;
    for (const std::vector<double>& again : point.again) {
      for (std::size_t w = 0; w < again.size(); ++w)
        differences.push_back(std::abs(std::log(again[w] / point.time_us[w])));
    }
  }
  return differences.empty() ? 0.0 : median(differences);
}

/// What the worker measures besides, from the same facts: at the first workload, of the launch that there is.
void add_measured_axes(LandscapePoint& point, const std::string& workload) {
  if (point.descriptors.empty()) return;
  const BlockNeeds needs{.registers = static_cast<int>(point.facts.at("registers")),
                         .threads = point.facts.at("threads " + workload),
                         .shared_bytes = point.facts.at("shared_bytes")};
  point.descriptors["occupancy"] = bin_label(*find_axis("occupancy"), occupancy_of(needs, DeviceFacts{}));
  point.descriptors["registers"] = bin_label(*find_axis("registers"), needs.registers);
  point.descriptors["scope"] = scope_label(point.counts, point.facts.at("launches") > 1);
}

LandscapePoint point_from(const Json& row, const std::map<std::string, std::size_t>& column,
                          const Json& head) {
  const auto at = [&](const char* name) -> const Json& { return row.at(column.at(name)); };
  LandscapePoint point{.stage = at("stage"), .reason = at("reason")};
  point.twin = at("twin").get<long>() < 0 ? 0 : at("twin").get<std::size_t>();
  point.time_us = at("time_us").get<std::vector<double>>();
  point.time_us_p10 = at("time_us_p10").get<std::vector<double>>();
  point.time_us_p90 = at("time_us_p90").get<std::vector<double>>();
  point.again = at("again").get<std::vector<std::vector<double>>>();
  for (std::size_t i = 0; i < at("labels").size(); ++i) {
    const std::string label = at("labels").at(i);
    if (!label.empty()) point.descriptors[head.at("axes").at(i)] = label;
  }
  for (const char* fact : {"registers", "shared_bytes", "spill_bytes", "code_bytes", "launches"})
    point.facts[fact] = at(fact).get<std::int64_t>();
  for (std::size_t w = 0; w < at("blocks").size(); ++w) {
    const std::string workload = head.at("workloads").at(w);
    point.facts["blocks " + workload] = at("blocks").at(w);
    point.facts["threads " + workload] = at("threads").at(w);
  }
  for (std::size_t i = 0; i < at("opcodes").size(); ++i) {
    const std::int64_t count = at("opcodes").at(i);
    if (count > 0) point.counts.opcodes[head.at("opcodes").at(i)] = count;
  }
  add_measured_axes(point, head.at("workloads").at(0));
  return point;
}

/// What would make every figure wrong.
std::string problem_of(const Landscape& landscape) {
  std::size_t size = 1;
  for (const Tunable& tunable : landscape.tunables) size *= tunable.values.size();
  if (landscape.points.size() != size) return "one row for every tuning";
  if (!landscape.points.front().is_passed()) return "a default that passed";
  for (std::size_t i = 0; i < size; ++i) {
    const LandscapePoint& point = landscape.points[i];
    if (point.is_passed() != (point.time_us.size() == landscape.workloads.size()))
      return "a time for every workload of what passed";
    if (point.is_passed() && (point.twin > i || landscape.points[point.twin].twin != point.twin))
      return "twins that come first";
    for (const double time : point.time_us) {
      if (!(time > 0)) return "positive times";
    }
  }
  return "";
}

}  // namespace

std::map<std::string, std::int64_t> Landscape::tuning(std::size_t point) const {
  std::map<std::string, std::int64_t> values;
  const std::vector<std::size_t> digits = digits_of(*this, point);
  for (std::size_t i = 0; i < digits.size(); ++i) values[tunables[i].name] = tunables[i].values[digits[i]];
  return values;
}

std::size_t Landscape::point_of(const std::map<std::string, std::int64_t>& tuning) const {
  std::vector<std::size_t> digits;
  for (const Tunable& tunable : tunables) {
    const auto found = std::find(tunable.values.begin(), tunable.values.end(), tuning.at(tunable.name));
    KERNELITES_ASSERT(found != tunable.values.end());
    digits.push_back(static_cast<std::size_t>(found - tunable.values.begin()));
  }
  return number_of(*this, digits);
}

std::vector<std::size_t> Landscape::neighbours(std::size_t point) const {
  std::vector<std::size_t> found;
  std::vector<std::size_t> digits = digits_of(*this, point);
  for (std::size_t i = 0; i < digits.size(); ++i) {
    const std::size_t own = digits[i];
    for (digits[i] = 0; digits[i] < tunables[i].values.size(); ++digits[i]) {
      if (digits[i] != own) found.push_back(number_of(*this, digits));
    }
    digits[i] = own;
  }
  return found;
}

int Landscape::distance(std::size_t a, std::size_t b) const {
  const std::vector<std::size_t> of_a = digits_of(*this, a), of_b = digits_of(*this, b);
  int different = 0;
  for (std::size_t i = 0; i < of_a.size(); ++i) different += of_a[i] != of_b[i];
  return different;
}

double Landscape::speedup(std::size_t point) const {
  const std::vector<double>&time = points[point].time_us, &base = points.front().time_us;
  if (time.empty()) return 0;
  double sum = 0;
  for (std::size_t w = 0; w < time.size(); ++w) sum += std::log(base[w] / time[w]);
  return std::exp(sum / static_cast<double>(time.size()));
}

std::size_t Landscape::best() const {
  std::size_t best = 0;
  for (std::size_t i = 1; i < points.size(); ++i) {
    if (speedup(i) > speedup(best)) best = i;
  }
  return best;
}

Ruggedness ruggedness_of(const Landscape& landscape) {
  Ruggedness result{.noise = noise_of(landscape)};
  const std::size_t best = landscape.best();
  result.distance_to_best = landscape.distance(0, best);
  result.speedup_best = landscape.speedup(best);
  double passed = 0, twins = 0, reached_best = 0;
  std::vector<double> shares;
  for (std::size_t i = 0; i < landscape.points.size(); ++i) {
    if (!landscape.points[i].is_passed()) continue;
    ++passed;
    const bool is_twin = landscape.points[i].twin != i;
    twins += is_twin;
    std::size_t at = i;
    for (std::size_t next; (next = step_up(landscape, at, result.noise)) != at;) at = next;
    result.local_optima += at == i && !is_twin;
    shares.push_back(landscape.speedup(at) / result.speedup_best);
    reached_best += shares.back() >= std::exp(-result.noise);
  }
  result.failed_share = 1 - passed / static_cast<double>(landscape.points.size());
  result.twin_share = twins / passed;
  result.climb_median = median(shares);
  result.climbed_to_best = reached_best / passed;
  return result;
}

Landscape load_landscape(const std::filesystem::path& file) {
  const Json head = read_json(file);
  Landscape landscape;
  try {
    landscape.name = head.at("name");
    landscape.kernel = head.at("kernel");
    landscape.device = head.at("device");
    landscape.date = head.at("date");
    landscape.toolkit = head.at("toolkit");
    landscape.commit = head.at("commit");
    landscape.workloads = head.at("workloads").get<std::vector<std::string>>();
    for (const auto& [name, values] : head.at("tunables").items())
      landscape.tunables.push_back({name, values.get<std::vector<std::int64_t>>()});
    std::map<std::string, std::size_t> column;
    for (const Json& name : head.at("columns")) column.emplace(name.get<std::string>(), column.size());
    for (const Json& row : head.at("points")) landscape.points.push_back(point_from(row, column, head));
  } catch (const std::exception& error) {
    throw ConfigError(file.string(), "", std::string("not a landscape: ") + error.what());
  }
  if (const std::string problem = problem_of(landscape); !problem.empty())
    throw ConfigError(file.string(), "points", "expected " + problem);
  return landscape;
}

}  // namespace kernelites
