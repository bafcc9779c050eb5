// SPDX-License-Identifier: Apache-2.0
// Kernel launches as a trace is read: small records, names kept once, summed up at the end.
#include "tools/rank/launch_table.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "engine/core/error.h"

namespace kernelites {
namespace {

/// Names of kernels from template libraries run to tens of kilobytes.
constexpr std::size_t k_name_bytes_max = 8192;

/// A third of a thousand years, in either direction: sums of what a file says beyond it would be no numbers.
constexpr double k_time_us_max = 1e16;
double sane(double time_us) { return std::clamp(time_us, -k_time_us_max, k_time_us_max); }

/// Into `trace`, whose spans name them by their places in `uses`.
void put_longest_first(std::vector<KernelUse> uses, KernelTrace& trace) {
  std::vector<std::uint32_t> order(uses.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return uses[a].total_us > uses[b].total_us; });
  std::vector<std::uint32_t> place(uses.size());
  for (std::uint32_t i = 0; i < order.size(); ++i) {
    place[order[i]] = i;
    trace.kernels.push_back(std::move(uses[order[i]]));
  }
  for (LaunchSpan& span : trace.spans) span.use = place[span.use];
}

}  // namespace

std::uint32_t LaunchTable::name_index(const std::string& text) {
  const std::string name = text.substr(0, k_name_bytes_max);
  const auto [found, is_new] = index_.emplace(name, static_cast<std::uint32_t>(names_.size()));
  if (is_new) names_.push_back(name);
  return found->second;
}

void LaunchTable::add_launch(const std::string& kernel, std::uint64_t operation, double start_us,
                             double duration_us, std::uint32_t gpu) {
  if (launches_.size() >= rows_max_)
    throw ConfigError(file_, "", "has more kernels than can be ranked: record a few steps of the model only");
  launches_.push_back({name_index(kernel), gpu, operation, sane(start_us), std::max(sane(duration_us), 0.0)});
}

void LaunchTable::add_operation(std::uint64_t id, const OperationFacts& facts) {
  if (operations_.size() >= rows_max_)
    throw ConfigError(file_, "",
                      "has more operations than can be ranked: record a few steps of the model only");
  operations_.push_back({id, name_index(facts.name), name_index(facts.shapes), name_index(facts.types)});
}

void LaunchTable::add_copy(double duration_us) { copy_us_ += std::max(sane(duration_us), 0.0); }

LaunchTable::OperationRow LaunchTable::operation_of(const Launch& launch) const {
  if (launch.operation == 0) return {};
  const auto found = std::lower_bound(operations_.begin(), operations_.end(), launch.operation,
                                      [](const OperationRow& row, std::uint64_t id) { return row.id < id; });
  return found != operations_.end() && found->id == launch.operation ? *found : OperationRow{};
}

KernelTrace LaunchTable::summed() {
  KernelTrace trace;
  trace.copy_us = copy_us_;
  trace.launches = static_cast<std::int64_t>(launches_.size());
  std::stable_sort(operations_.begin(), operations_.end(),
                   [](const OperationRow& a, const OperationRow& b) { return a.id < b.id; });
  std::sort(launches_.begin(), launches_.end(),
            [](const Launch& a, const Launch& b) { return a.start_us < b.start_us; });
  std::map<std::tuple<std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t>, std::uint32_t> known;
  std::vector<KernelUse> uses;
  const double begin_us = launches_.empty() ? 0 : launches_.front().start_us;
  double last_us = begin_us;
  std::map<std::uint32_t, double> covered_us;  // up to where each GPU's time is counted
  trace.spans.reserve(launches_.size());
  for (const Launch& launch : launches_) {
    const double end_us = launch.start_us + launch.duration_us;
    trace.kernel_us += launch.duration_us;
    double& covered = covered_us.try_emplace(launch.gpu, begin_us).first->second;
    trace.busy_us += std::max(0.0, end_us - std::max(covered, launch.start_us));
    covered = std::max(covered, end_us);
    last_us = std::max(last_us, end_us);
    const OperationRow operation = operation_of(launch);
    const auto [found, is_new] =
        known.try_emplace({launch.kernel, operation.name, operation.shapes, operation.types},
                          static_cast<std::uint32_t>(uses.size()));
    if (is_new)
      uses.push_back({.name = names_[launch.kernel],
                      .operation = names_[operation.name],
                      .shapes = names_[operation.shapes],
                      .types = names_[operation.types],
                      .least_us = launch.duration_us,
                      .most_us = launch.duration_us});
    KernelUse& use = uses[found->second];
    ++use.launches;
    use.total_us += launch.duration_us;
    use.least_us = std::min(use.least_us, launch.duration_us);
    use.most_us = std::max(use.most_us, launch.duration_us);
    // From the beginning: stamps of a clock since 1970 leave too few digits for sums of nanoseconds.
    trace.spans.push_back({found->second, launch.gpu, launch.start_us - begin_us, end_us - begin_us});
  }
  trace.span_us = last_us - begin_us;
  trace.gpus = static_cast<int>(covered_us.size());
  put_longest_first(std::move(uses), trace);
  return trace;
}

}  // namespace kernelites
