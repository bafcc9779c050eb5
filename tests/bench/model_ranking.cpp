// SPDX-License-Identifier: Apache-2.0
// Rank correlations and a random search.
#include "tests/bench/model_ranking.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <numeric>

#include "engine/core/error.h"
#include "engine/core/json.h"
#include "engine/core/rng.h"
#include "engine/core/statistics.h"

namespace kernelites::bench {
namespace {

using worker::vgpu::ModelledDevice;

constexpr FittedParameter k_parameters[] = {
    {"launch_us", &ModelledDevice::launch_us, 1, 5, 2.2},
    {"issue_share", &ModelledDevice::issue_share, 0.4, 1, 0.7},
    {"integer_share", &ModelledDevice::integer_share, 0.2, 1, 0.5},
    {"phase_share", &ModelledDevice::phase_share, 0, 2, 0.5},
    {"latency_share", &ModelledDevice::latency_share, 0.3, 2.5, 1},
    {"hiding_power", &ModelledDevice::hiding_power, 1, 6, 2},
    {"memory_power", &ModelledDevice::memory_power, 1.2, 8, 3},
    {"l1_hit_share", &ModelledDevice::l1_hit_share, 0, 1, 0.7},
    {"reuse_power", &ModelledDevice::reuse_power, 0.2, 3, 1},
    {"l2_bytes_per_second", &ModelledDevice::l2_bytes_per_second, 5e12, 9e12, 6e12},
    {"dram_bytes_per_second", &ModelledDevice::dram_bytes_per_second, 2.9e12, 3.3e12, 3.1e12},
};

std::vector<double> ranks(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t i = 0; i < order.size();) {
    std::size_t end = i + 1;
    while (end < order.size() && values[order[end]] == values[order[i]]) ++end;
    for (std::size_t k = i; k < end; ++k) ranks[order[k]] = static_cast<double>(i + end - 1) / 2;
    i = end;
  }
  return ranks;
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) /
         static_cast<double>(std::max<std::size_t>(values.size(), 1));
}

/// Measured and modelled times of some rows.
struct Times {
  std::vector<double> measured, modelled;
  void add(double measured_us, double modelled_us) {
    measured.push_back(measured_us);
    modelled.push_back(modelled_us);
  }
  double correlation() const { return spearman(measured, modelled); }
  std::vector<double> log_ratios() const {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < measured.size(); ++i) ratios.push_back(std::log(modelled[i] / measured[i]));
    return ratios;
  }
};

double mean_distance(const std::vector<double>& values, double from) {
  std::vector<double> distances;
  for (const double value : values) distances.push_back(std::abs(value - from));
  return mean(distances);
}

using ByTask = std::map<std::string, std::map<std::string, Times>>;

ByTask times_of(const std::vector<MeasuredKernel>& kernels, const ModelledDevice& device) {
  ByTask tasks;
  for (const MeasuredKernel& kernel : kernels)
    tasks[kernel.task][kernel.workload].add(kernel.time_us, modelled_us(kernel, device));
  return tasks;
}

/// What the fit makes small: differences between kernels of a workload first, and the level of each workload.
double loss(const std::vector<MeasuredKernel>& kernels, const ModelledDevice& device) {
  constexpr double k_level_weight = 0.3;
  std::vector<double> tasks;
  for (const auto& [task, workloads] : times_of(kernels, device)) {
    std::vector<double> losses;
    for (const auto& [workload, times] : workloads) {
      const std::vector<double> ratios = times.log_ratios();
      losses.push_back(k_level_weight * mean_distance(ratios, 0) + mean_distance(ratios, mean(ratios)));
    }
    tasks.push_back(mean(losses));
  }
  return mean(tasks);
}

/// About normal: the mean of uniform draws, with standard deviation 1.
double normal(Rng& rng) {
  constexpr int k_draws = 12;
  double sum = 0;
  for (int i = 0; i < k_draws; ++i) sum += static_cast<double>(rng.below(1u << 20)) / (1u << 20);
  return sum - k_draws / 2.0;
}

}  // namespace

std::vector<MeasuredKernel> load_measured(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) throw Error(fmt::format("{}: cannot be read", file.string()));
  std::vector<MeasuredKernel> kernels;
  for (std::string line; std::getline(in, line);) {
    if (line.empty()) continue;
    const Json json = Json::parse(line, nullptr, false);
    if (json.is_discarded()) throw Error(fmt::format("{}: a line is no JSON", file.string()));
    MeasuredKernel kernel{.task = json.at("task").get<std::string>(),
                          .workload = json.at("workload").get<std::string>(),
                          .arm = json.at("arm").get<std::string>(),
                          .time_us = json.at("us").get<double>()};
    for (const Json& launch : json.at("launches"))
      kernel.launches.push_back(worker::vgpu::work_from(launch.get<std::map<std::string, double>>()));
    kernels.push_back(std::move(kernel));
  }
  return kernels;
}

double modelled_us(const MeasuredKernel& kernel, const ModelledDevice& device) {
  double sum = 0;
  for (const worker::vgpu::LaunchWork& launch : kernel.launches)
    sum += worker::vgpu::modelled_time(launch, device).us;
  return sum;
}

double spearman(const std::vector<double>& a, const std::vector<double>& b) {
  const std::vector<double> x = ranks(a), y = ranks(b);
  const double mx = mean(x), my = mean(y);
  double xy = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - mx) * (y[i] - my);
    xx += (x[i] - mx) * (x[i] - mx);
    yy += (y[i] - my) * (y[i] - my);
  }
  return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : 0;
}

Ranking rank(const std::vector<MeasuredKernel>& kernels, const ModelledDevice& device) {
  Ranking ranking;
  Times pooled;
  std::vector<double> at_workloads, of_task, errors;
  for (const auto& [task, workloads] : times_of(kernels, device)) {
    Times all;
    std::vector<double> correlations;
    for (const auto& [workload, times] : workloads) {
      correlations.push_back(times.correlation());
      for (std::size_t i = 0; i < times.measured.size(); ++i) {
        all.add(times.measured[i], times.modelled[i]);
        pooled.add(times.measured[i], times.modelled[i]);
      }
    }
    ranking.tasks.push_back({.task = task,
                             .kernels = static_cast<int>(all.measured.size()),
                             .at_workloads = mean(correlations),
                             .of_task = all.correlation(),
                             .log_error = mean_distance(all.log_ratios(), 0)});
    at_workloads.push_back(ranking.tasks.back().at_workloads);
    of_task.push_back(ranking.tasks.back().of_task);
    errors.push_back(ranking.tasks.back().log_error);
  }
  if (kernels.empty()) return ranking;
  ranking.median_at_workloads = median(at_workloads);
  ranking.median_of_task = median(of_task);
  ranking.pooled = pooled.correlation();
  ranking.log_error = mean(errors);
  return ranking;
}

std::vector<PairAgreement> pair_agreement(const std::vector<MeasuredKernel>& kernels,
                                          const ModelledDevice& device) {
  std::vector<PairAgreement> rows{{1, 1.05}, {1.05, 1.15}, {1.15, 1.5}, {1.5, 1e9}};
  for (const auto& [task, workloads] : times_of(kernels, device))
    for (const auto& [workload, times] : workloads)
      for (std::size_t i = 0; i < times.measured.size(); ++i)
        for (std::size_t k = i + 1; k < times.measured.size(); ++k) {
          const double modelled = times.modelled[i] / times.modelled[k];
          const double apart = std::max(modelled, 1 / modelled);
          const bool is_agreed = (modelled > 1) == (times.measured[i] > times.measured[k]);
          for (PairAgreement& row : rows)
            if (apart >= row.from && apart < row.to) {
              ++row.pairs;
              row.agreed += is_agreed ? 1 : 0;
            }
        }
  return rows;
}

std::span<const FittedParameter> fitted_parameters() { return k_parameters; }

ModelledDevice guessed(ModelledDevice device) {
  for (const FittedParameter& parameter : k_parameters) device.*parameter.field = parameter.guess;
  return device;
}

ModelledDevice fitted(const std::vector<MeasuredKernel>& kernels, const ModelledDevice& device, int steps,
                      unsigned long long seed) {
  constexpr int k_shrink_every = 50;
  constexpr double k_shrink = 0.8, k_width_min = 0.03;
  Rng rng(seed);
  ModelledDevice best = device;
  double least = loss(kernels, best), width = 0.25;
  for (int step = 0; step < steps; ++step) {
    ModelledDevice next = best;
    for (std::uint64_t changes = 1 + rng.below(3); changes > 0; --changes) {
      const FittedParameter& parameter = k_parameters[rng.below(std::size(k_parameters))];
      const double moved = next.*parameter.field + normal(rng) * width * (parameter.high - parameter.low);
      next.*parameter.field = std::clamp(moved, parameter.low, parameter.high);
    }
    const double reached = loss(kernels, next);
    if (reached < least) {
      least = reached;
      best = next;
    }
    if (step % k_shrink_every == k_shrink_every - 1) width = std::max(k_width_min, width * k_shrink);
  }
  return best;
}

}  // namespace kernelites::bench
