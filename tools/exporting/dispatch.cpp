// SPDX-License-Identifier: Apache-2.0
// Boxes around workloads: made, joined and grown.
#include "tools/exporting/dispatch.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "engine/core/error.h"

namespace kernelites {
namespace {

using Dims = std::map<std::string, std::int64_t>;
constexpr std::int64_t k_no_end = std::numeric_limits<std::int64_t>::max();

double time_of(const ShapeTimes& shape, int arm) {
  if (arm == k_fallback_arm) return shape.fallback_us;
  return static_cast<std::size_t>(arm) < shape.time_us.size() ? shape.time_us[static_cast<std::size_t>(arm)]
                                                              : 0;
}

/// The arm with the least weighted mean of log times, among those that ran at most workloads.
int best_single(const std::vector<ShapeTimes>& shapes) {
  std::size_t arms = 0;
  for (const ShapeTimes& shape : shapes) arms = std::max(arms, shape.time_us.size());
  int best = -1;
  std::size_t most = 0;
  double least = 0;
  for (std::size_t arm = 0; arm < arms; ++arm) {
    std::size_t count = 0;
    double sum = 0;
    for (const ShapeTimes& shape : shapes) {
      const double time_us = time_of(shape, static_cast<int>(arm));
      if (time_us > 0) ++count, sum += shape.weight * std::log(time_us);
    }
    if (count == 0 || count < most || (count == most && sum >= least)) continue;
    best = static_cast<int>(arm), most = count, least = sum;
  }
  if (best < 0) throw Error("no kernel of the portfolio has a time");
  return best;
}

int fastest(const ShapeTimes& shape) {
  int best = -1;
  for (std::size_t arm = 0; arm < shape.time_us.size(); ++arm)
    if (shape.time_us[arm] > 0 && (best < 0 || shape.time_us[arm] < time_of(shape, best)))
      best = static_cast<int>(arm);
  return best;
}

/// What a workload should run.
int wish_at(const ShapeTimes& shape, int default_arm, double gain_min) {
  int wish = default_arm;
  const int best = fastest(shape);
  const double standard = time_of(shape, default_arm);
  if (best >= 0 && (standard <= 0 || time_of(shape, best) < standard * (1 - gain_min))) wish = best;
  const double own = time_of(shape, wish);
  if (shape.fallback_us > 0 && (own <= 0 || shape.fallback_us < own * (1 - gain_min))) wish = k_fallback_arm;
  return wish;
}

bool holds(const std::vector<DimRange>& ranges, const Dims& dims) {
  return std::all_of(ranges.begin(), ranges.end(), [&](const DimRange& range) {
    const auto found = dims.find(range.dim);
    return found != dims.end() && found->second >= range.low && found->second <= range.high;
  });
}

struct Box {
  int arm = 0;
  std::vector<DimRange> core;  ///< bounds of its own workloads
  std::vector<std::string> workloads;
};

std::vector<DimRange> joined(std::vector<DimRange> a, const std::vector<DimRange>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    a[i].low = std::min(a[i].low, b[i].low);
    a[i].high = std::max(a[i].high, b[i].high);
  }
  return a;
}

/// Every workload with its wish.
using Wishes = std::vector<std::pair<const ShapeTimes*, int>>;

bool is_pure(const std::vector<DimRange>& core, int arm, const Wishes& wishes) {
  return std::none_of(wishes.begin(), wishes.end(),
                      [&](const auto& wish) { return wish.second != arm && holds(core, wish.first->dims); });
}

void join_boxes(std::vector<Box>& boxes, const Wishes& wishes) {
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    for (std::size_t j = i + 1; j < boxes.size();) {
      const auto core = joined(boxes[i].core, boxes[j].core);
      if (boxes[i].arm != boxes[j].arm || !is_pure(core, boxes[i].arm, wishes)) {
        ++j;
        continue;
      }
      boxes[i].core = core;
      boxes[i].workloads.insert(boxes[i].workloads.end(), boxes[j].workloads.begin(),
                                boxes[j].workloads.end());
      boxes.erase(boxes.begin() + static_cast<std::ptrdiff_t>(j));
      j = i + 1;
    }
  }
}

/// How far `value` lies outside, in the logarithm.
double gap(const DimRange& core, std::int64_t value) {
  if (value > core.high) return std::log(static_cast<double>(value) / static_cast<double>(core.high));
  if (value < core.low) return std::log(static_cast<double>(core.low) / static_cast<double>(value));
  return 0;
}

/// Half the way to `value` in the logarithm, on the box's side.
void cut(DimRange& range, const DimRange& core, std::int64_t value) {
  const double middle =
      std::sqrt(static_cast<double>(value) * static_cast<double>(value > core.high ? core.high : core.low));
  if (value > core.high)
    range.high = std::min(range.high, std::clamp(static_cast<std::int64_t>(middle), core.high, value - 1));
  else
    range.low =
        std::max(range.low, std::clamp(static_cast<std::int64_t>(std::ceil(middle)), value + 1, core.low));
}

std::vector<DimRange> grown(const Box& box, const Wishes& wishes) {
  std::vector<DimRange> ranges = box.core;
  for (DimRange& range : ranges) range.low = 1, range.high = k_no_end;
  while (true) {
    // The stranger that lies nearest is cut off first: its cut spares others.
    std::optional<std::size_t> dim;
    double least = 0;
    std::int64_t value = 0;
    for (const auto& [shape, wish] : wishes) {
      if (wish == box.arm || !holds(ranges, shape->dims)) continue;
      std::size_t widest = 0;
      for (std::size_t i = 1; i < ranges.size(); ++i)
        if (gap(box.core[i], shape->dims.at(ranges[i].dim)) >
            gap(box.core[widest], shape->dims.at(ranges[widest].dim)))
          widest = i;
      const double distance = gap(box.core[widest], shape->dims.at(ranges[widest].dim));
      if (!dim || distance < least)
        dim = widest, least = distance, value = shape->dims.at(ranges[widest].dim);
    }
    if (!dim) break;
    cut(ranges[*dim], box.core[*dim], value);
  }
  std::erase_if(ranges, [](const DimRange& range) { return range.low == 1 && range.high == k_no_end; });
  return ranges;
}

}  // namespace

int arm_at(const Dispatch& dispatch, const Dims& dims) {
  for (const DispatchRule& rule : dispatch.rules)
    if (holds(rule.ranges, dims)) return rule.arm;
  return dispatch.default_arm;
}

Dispatch choose_dispatch(const std::vector<ShapeTimes>& shapes, const std::vector<std::string>& dims,
                         double gain_min) {
  Dispatch dispatch{.default_arm = best_single(shapes), .rules = {}};
  Wishes wishes;
  std::vector<Box> boxes;
  for (const ShapeTimes& shape : shapes) {
    const int wish = wish_at(shape, dispatch.default_arm, gain_min);
    wishes.emplace_back(&shape, wish);
    if (wish == dispatch.default_arm) continue;
    Box box{.arm = wish, .core = {}, .workloads = {shape.workload}};
    for (const std::string& dim : dims)
      box.core.push_back({.dim = dim, .low = shape.dims.at(dim), .high = shape.dims.at(dim)});
    // Two workloads of one shape: the first one's wish counts.
    if (is_pure(box.core, wish, wishes)) boxes.push_back(std::move(box));
  }
  std::erase_if(boxes, [&](const Box& box) { return !is_pure(box.core, box.arm, wishes); });
  join_boxes(boxes, wishes);
  for (const Box& box : boxes)
    dispatch.rules.push_back({.ranges = grown(box, wishes), .arm = box.arm, .workloads = box.workloads});
  return dispatch;
}

std::map<std::string, double> dispatch_gains(const Dispatch& dispatch,
                                             const std::vector<ShapeTimes>& shapes) {
  std::map<std::string, double> gains;
  for (const ShapeTimes& shape : shapes) {
    const double standard = time_of(shape, dispatch.default_arm),
                 chosen = time_of(shape, arm_at(dispatch, shape.dims));
    if (standard > 0 && chosen > 0) gains[shape.workload] = standard / chosen;
  }
  return gains;
}

std::string rule_words(const DispatchRule& rule, const std::vector<std::string>& labels) {
  std::string words;
  for (const DimRange& range : rule.ranges) {
    const std::string low = range.low > 1 ? std::to_string(range.low) : "";
    const std::string high = range.high < k_no_end ? std::to_string(range.high) : "";
    words += fmt::format("{}{} {}..{}", words.empty() ? "" : ", ", range.dim, low, high);
  }
  if (words.empty()) words = "everywhere";
  const auto arm = static_cast<std::size_t>(rule.arm);
  return fmt::format("{} -> {}", words,
                     rule.arm == k_fallback_arm ? "the caller's fallback" : labels.at(arm));
}

}  // namespace kernelites
