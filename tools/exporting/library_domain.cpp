// SPDX-License-Identifier: Apache-2.0
// Spans workloads, finds what divides what, and draws.
#include "tools/exporting/library_domain.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <set>

#include "engine/core/error.h"
#include "engine/core/rng.h"
#include "tools/exporting/portfolio.h"

namespace kernelites {
namespace {

/// Enough workloads must show that one dim divides another: two extents above 1, so that it is no accident.
constexpr std::size_t k_extents_min = 2;
constexpr int k_tries = 64;

std::vector<Shape> listed_shapes(const Task& task) {
  std::vector<Shape> shapes;
  for (const auto* workloads : {&task.check, &task.bench})
    for (const Workload& workload : *workloads) shapes.push_back(shape_of(task, workload.dims));
  return shapes;
}

void add_multiples(const std::vector<Shape>& listed, LibraryDomain& domain) {
  const auto count = static_cast<int>(domain.ranges.size());
  const auto at = [](const Shape& shape, int dim) { return shape[static_cast<std::size_t>(dim)]; };
  for (int a = 0; a < count; ++a) {
    std::int64_t common = 0;
    for (const Shape& shape : listed) common = std::gcd(common, at(shape, a));
    common = std::gcd(common, std::gcd(domain.ranges[static_cast<std::size_t>(a)].low,
                                       domain.ranges[static_cast<std::size_t>(a)].high));
    if (common > 1) domain.multiples.push_back({.dim = a, .of = -1, .number = common});
    for (int b = 0; b < count; ++b) {
      std::set<std::int64_t> extents;
      for (const Shape& shape : listed)
        if (at(shape, b) > 1) extents.insert(at(shape, b));
      const bool divides = a != b && extents.size() >= k_extents_min &&
                           std::all_of(listed.begin(), listed.end(),
                                       [&](const Shape& shape) { return at(shape, a) % at(shape, b) == 0; });
      if (divides) domain.multiples.push_back({.dim = a, .of = b, .number = 1});
    }
  }
}

void change_range(const std::string& change, LibraryDomain& domain) {
  const std::size_t equals = change.find('='), colon = change.find(':');
  const auto number = [&](std::size_t begin, std::size_t end) {
    std::int64_t value = 0;
    const auto [last, error] = std::from_chars(change.data() + begin, change.data() + end, value);
    return error == std::errc() && last == change.data() + end ? value : -1;
  };
  if (equals == std::string::npos || colon == std::string::npos || colon < equals)
    throw ConfigError("--domain", change, "expected DIM=LOW:HIGH");
  const auto found = std::find_if(domain.ranges.begin(), domain.ranges.end(), [&](const DomainRange& range) {
    return range.dim == change.substr(0, equals);
  });
  if (found == domain.ranges.end())
    throw ConfigError("--domain", change, "names no variable dim of the task");
  found->low = number(equals + 1, colon);
  found->high = number(colon + 1, change.size());
  if (found->low < 1 || found->high < found->low || found->high > std::numeric_limits<std::int32_t>::max())
    throw ConfigError("--domain", change, "expected 1 <= LOW <= HIGH <= 2147483647");
}

/// Between `low` and `high`, all magnitudes alike.
std::int64_t log_uniform(Rng& rng, std::int64_t low, std::int64_t high) {
  const double value =
      static_cast<double>(low) *
      std::exp(rng.uniform() * std::log((static_cast<double>(high) + 1) / static_cast<double>(low)));
  return std::clamp(static_cast<std::int64_t>(value), low, high);
}

/// What `dim` must be a multiple of, given the others.
std::int64_t step_of(const LibraryDomain& domain, const Shape& shape, std::size_t dim) {
  std::int64_t step = 1;
  for (const DomainMultiple& multiple : domain.multiples)
    if (static_cast<std::size_t>(multiple.dim) == dim)
      step =
          std::lcm(step, multiple.of >= 0 ? shape[static_cast<std::size_t>(multiple.of)] : multiple.number);
  return step;
}

/// Dims that others are multiples of come first.
std::vector<std::size_t> drawing_order(const LibraryDomain& domain) {
  std::vector<std::size_t> order(domain.ranges.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto needs = [&](std::size_t dim) {
    return std::count_if(domain.multiples.begin(), domain.multiples.end(),
                         [&](const DomainMultiple& multiple) {
                           return static_cast<std::size_t>(multiple.dim) == dim && multiple.of >= 0;
                         });
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return needs(a) < needs(b); });
  return order;
}

Shape draw_shape(const LibraryDomain& domain, const std::vector<std::size_t>& order, const Shape* near,
                 Rng& rng) {
  Shape shape = near ? *near : Shape(domain.ranges.size(), 1);
  const std::size_t changed = rng.below(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::size_t dim = order[i];
    const DomainRange& range = domain.ranges[dim];
    if (near && i != changed) continue;
    const std::int64_t step = step_of(domain, shape, dim);
    const std::int64_t low = (range.low + step - 1) / step, high = range.high / step;
    if (low <= high) shape[dim] = step * log_uniform(rng, low, high);
  }
  return shape;
}

}  // namespace

Shape shape_of(const Task& task, const std::map<std::string, std::int64_t>& dims) {
  Shape shape;
  for (const std::string& name : variable_dims(task)) shape.push_back(dims.at(name));
  return shape;
}

LibraryDomain domain_of(const Task& task, const std::vector<std::string>& changes) {
  LibraryDomain domain;
  const std::vector<Shape> listed = listed_shapes(task);
  const std::vector<std::string> names = variable_dims(task);
  for (std::size_t i = 0; i < names.size(); ++i) {
    DomainRange range{.dim = names[i], .low = listed.front()[i], .high = listed.front()[i]};
    const auto include = [&](std::int64_t extent) {
      range.low = std::min(range.low, extent);
      range.high = std::max(range.high, extent);
    };
    for (const Shape& shape : listed) include(shape[i]);
    for (const HoldOutRange& hold_out : task.hold_out) {
      const auto found = hold_out.dims.find(names[i]);
      if (found != hold_out.dims.end()) include(found->second.first), include(found->second.second);
    }
    domain.ranges.push_back(range);
  }
  add_multiples(listed, domain);
  for (const std::string& change : changes) change_range(change, domain);
  return domain;
}

bool is_within(const LibraryDomain& domain, const Shape& shape) {
  for (std::size_t i = 0; i < domain.ranges.size(); ++i)
    if (shape[i] < domain.ranges[i].low || shape[i] > domain.ranges[i].high ||
        shape[i] % step_of(domain, shape, i) != 0)
      return false;
  return true;
}

std::vector<Shape> draw_shapes(const Task& task, const LibraryDomain& domain, std::size_t count,
                               std::uint64_t seed) {
  std::vector<Shape> shapes;
  std::set<Shape> known;
  const auto add = [&](const Shape& shape) {
    if (!is_within(domain, shape) || !known.insert(shape).second) return false;
    shapes.push_back(shape);
    return true;
  };
  const std::vector<Shape> listed = listed_shapes(task);
  for (const Shape& shape : listed) add(shape);
  const std::vector<std::size_t> order = drawing_order(domain);
  Rng rng = Rng::keyed(seed, 0, "library domain");
  for (int missed = 0; shapes.size() < count && missed < 1000 * k_tries;) {
    const bool is_near = rng.below(2) == 0;
    if (!add(draw_shape(domain, order, is_near ? &listed[rng.below(listed.size())] : nullptr, rng))) ++missed;
  }
  return shapes;
}

void to_json(Json& json, const LibraryDomain& domain) {
  json = Json{{"ranges", Json::object()}, {"multiples", Json::array()}};
  for (const DomainRange& range : domain.ranges) json["ranges"][range.dim] = {range.low, range.high};
  for (const DomainMultiple& multiple : domain.multiples) {
    const std::string& dim = domain.ranges[static_cast<std::size_t>(multiple.dim)].dim;
    Json of = multiple.number;
    if (multiple.of >= 0) of = domain.ranges[static_cast<std::size_t>(multiple.of)].dim;
    json["multiples"].push_back({{"dim", dim}, {"of", of}});
  }
}

}  // namespace kernelites
