// SPDX-License-Identifier: Apache-2.0
// kernelites resolution: how small a difference timing resolves here, found out with kernels whose difference is known.
//
// One kernel is compared with itself, and with versions of itself whose tunables make it slower and faster by a known
// share. Every comparison is what a run does: a duel in a fresh process that may stop early, and a confirmation in
// another; the elite rule then decides.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>

#include "archive/elite_rule.h"
#include "engine/core/error.h"
#include "engine/core/statistics.h"
#include "tools/command_line.h"
#include "tools/data_root.h"
#include "tools/evaluation_requests.h"
#include "tools/inspect/text_table.h"
#include "tools/worker_setup.h"

namespace kernelites {
namespace {

struct ResolutionOptions {
  std::string file;
  std::string task;
  std::vector<std::string> workloads;
  std::vector<std::string> plants;  ///< "WORKLOAD=TUNABLE"
  double percent = 1;
  int comparisons = 20;
  int rounds = 60;
  std::string device = "auto";
  std::string worker;
  std::string data;
  std::string log = "/dev/null";
  bool is_json = false;
};

/// Arms beside the kernel itself, which is arm 0.
constexpr const char *k_same = "same", *k_slower = "slower", *k_faster = "faster";
/// By so much a tunable is changed to learn what it costs.
constexpr double k_trial_step = 0.1;
constexpr int k_calibration_rounds = 120;

struct Plant {
  std::string workload, tunable;
};

std::vector<Plant> plants_of(const ResolutionOptions& options, const Task& task, const Candidate& kernel) {
  std::vector<Plant> plants;
  const std::vector<Tunable> tunables = parse_tunables(kernel.source);
  for (const std::string& text : options.plants) {
    const std::size_t sign = text.find('=');
    if (sign == std::string::npos) throw ConfigError("--plant", text, "expected WORKLOAD=TUNABLE");
    Plant plant{text.substr(0, sign), text.substr(sign + 1)};
    if (!task.find_workload(plant.workload))
      throw ConfigError("--plant", text, "the task has no such workload");
    if (std::none_of(tunables.begin(), tunables.end(),
                     [&](const Tunable& tunable) { return tunable.name == plant.tunable; }))
      throw ConfigError("--plant", text, "the kernel declares no such tunable");
    plants.push_back(std::move(plant));
  }
  return plants;
}

/// The kernel with all tunables at their defaults.
Candidate complete(Candidate kernel) {
  for (const Tunable& tunable : parse_tunables(kernel.source))
    kernel.tuning.try_emplace(tunable.name, tunable.values.front());
  return kernel;
}

Duel measured(Evaluator& evaluator, const Task& task, const std::string& device, std::vector<DuelArm> arms,
              const std::vector<std::string>& workloads) {
  Request request =
      duel_request(task, device, "calibration", std::move(arms), k_calibration_rounds, workloads);
  request.duel->may_stop_early = false;
  const Reply reply = ask_worker(evaluator, request);
  if (!reply.duel || !reply.duel->verdict.is_passed)
    throw Error("the kernel cannot be timed: " + (reply.duel ? reply.duel->verdict.message : reply.error));
  return *reply.duel;
}

/// The ratio of arm `arm` over arm 0, as a logarithm.
double log_ratio_of(const Duel& duel, const std::string& workload, std::size_t arm) {
  return -duel.ratio.at(workload).at(arm - 1).log_ratio_median;
}

/// Kernels whose time differs by the planted share, and by how much it does when measured long.
struct Planted {
  std::vector<DuelArm> arms;  ///< the kernel, itself again, slower, faster
  Duel truth;
};

Planted plant(Evaluator& evaluator, const Task& task, const std::string& device, const Candidate& kernel,
              const std::vector<Plant>& plants, const std::vector<std::string>& workloads, double percent) {
  Planted planted{.arms = {{"kernel", kernel}, {k_same, kernel}}, .truth = {}};
  if (!plants.empty()) {
    Candidate trial = kernel;
    for (const Plant& plant : plants) {
      std::int64_t& value = trial.tuning.at(plant.tunable);
      value = std::llround(static_cast<double>(value) * (1 + k_trial_step));
    }
    const Duel tried = measured(evaluator, task, device, {{"kernel", kernel}, {"trial", trial}}, workloads);
    Candidate slower = kernel, faster = kernel;
    for (const Plant& plant : plants) {
      const std::int64_t step = trial.tuning.at(plant.tunable) - kernel.tuning.at(plant.tunable);
      const double cost = std::exp(log_ratio_of(tried, plant.workload, 1)) - 1;
      if (!(cost > 0.01))
        throw ConfigError("--plant", plant.tunable, "does not make the kernel slower at " + plant.workload);
      const std::int64_t change = std::llround(static_cast<double>(step) * percent / 100 / cost);
      slower.tuning[plant.tunable] += change;
      faster.tuning[plant.tunable] -= change;
    }
    planted.arms.push_back({k_slower, slower});
    planted.arms.push_back({k_faster, faster});
  }
  planted.truth = measured(evaluator, task, device, planted.arms, workloads);
  return planted;
}

/// One comparison: the first duel and its confirmation, both of all arms.
struct Comparison {
  std::optional<Duel> first, confirmation;
  double seconds = 0;  ///< of the device, both together
};

std::vector<Comparison> compare(Evaluator& evaluator, const Task& task, const std::string& device,
                                const Planted& planted, const ResolutionOptions& options,
                                const std::vector<std::string>& workloads) {
  std::map<std::string, Request> requests;
  for (int i = 0; i < options.comparisons; ++i) {
    for (const bool is_confirmation : {false, true}) {
      const std::string id = fmt::format("{:04}-{}", i, is_confirmation ? "confirmation" : "first");
      Request request = duel_request(task, device, id, planted.arms, options.rounds, workloads);
      const EliteRule rule;
      request.duel->may_stop_early = !is_confirmation;
      request.duel->confidence = is_confirmation ? rule.confirmation_confidence_min : rule.confidence_min;
      requests[id] = std::move(request);
    }
  }
  std::vector<Comparison> comparisons(static_cast<std::size_t>(options.comparisons));
  ask_all(evaluator, requests, [&](const Reply& reply) {
    if (!reply.duel) return;
    Comparison& comparison = comparisons.at(static_cast<std::size_t>(std::stoi(reply.id.substr(0, 4))));
    (reply.id.ends_with("first") ? comparison.first : comparison.confirmation) = reply.duel;
    comparison.seconds += reply.device_s;
  });
  return comparisons;
}

/// What became of the comparisons with one arm at one workload.
struct ResolutionRow {
  std::string workload, arm;
  double time_us = 0, planted = 0;  ///< of the kernel; log ratio of kernel to arm, measured long
  int comparisons = 0, significant = 0, replaced = 0;
  double error_median = 0, error_p95 = 0, error_max = 0;  ///< distance of the estimate from what was planted
  double half_width_median = 0;                           ///< of the first duel's interval
  double rounds_median = 0;
  int launches_each = 1;
  double between_processes = 0;  ///< largest over least of the kernel's median, less 1
  double discarded_share = 0, clock_ghz = 0;
};

ResolutionRow row_of(const Planted& planted, const std::vector<Comparison>& comparisons,
                     const std::string& workload, std::size_t arm, const EliteRule& rule) {
  ResolutionRow row{.workload = workload, .arm = planted.arms[arm].label};
  if (row.arm != k_same) row.planted = -log_ratio_of(planted.truth, workload, arm);
  std::vector<double> errors, widths, rounds, times, clocks;
  double discarded = 0, samples = 0;
  for (const Comparison& comparison : comparisons) {
    if (!comparison.first || !comparison.confirmation) continue;
    if (!comparison.first->verdict.is_passed || !comparison.confirmation->verdict.is_passed) continue;
    const PairedRatio& first = comparison.first->ratio.at(workload).at(arm - 1);
    const PairedRatio& second = comparison.confirmation->ratio.at(workload).at(arm - 1);
    ++row.comparisons;
    const bool is_significant = is_significant_gain(first, rule);
    row.significant += is_significant;
    row.replaced += is_significant && is_confirmed_gain(second, rule);
    errors.push_back(std::abs(std::expm1(first.log_ratio_median - row.planted)));
    widths.push_back((first.log_ratio_high - first.log_ratio_low) / 2);
    rounds.push_back(first.rounds);
    for (const Duel* duel : {&*comparison.first, &*comparison.confirmation}) {
      const ArmTiming& timing = duel->timing.at(workload).front();
      times.push_back(timing.time_us_median);
      clocks.push_back(timing.clock_ghz);
      discarded += timing.discarded;
      samples += timing.samples;
      row.launches_each = timing.launches_each;
    }
  }
  if (errors.empty()) return row;
  row.time_us = median(times);
  row.error_median = median(errors);
  row.error_p95 = quantile(errors, 0.95);
  row.error_max = quantile(errors, 1);
  row.half_width_median = median(widths);
  row.rounds_median = median(rounds);
  row.between_processes = quantile(times, 1) / quantile(times, 0) - 1;
  row.discarded_share = discarded / (discarded + samples);
  row.clock_ghz = median(clocks);
  return row;
}

std::string table_of(const std::vector<ResolutionRow>& rows) {
  std::vector<std::vector<std::string>> cells{{"workload", "time us", "against", "planted %", "n", "replaced",
                                               "|error| % median", "p95", "max", "half width %", "rounds",
                                               "launches", "processes apart %", "thrown away %", "GHz"}};
  for (const ResolutionRow& row : rows)
    cells.push_back({row.workload, fmt::format("{:.2f}", row.time_us), row.arm,
                     fmt::format("{:+.2f}", 100 * std::expm1(row.planted)), fmt::to_string(row.comparisons),
                     fmt::to_string(row.replaced), fmt::format("{:.3f}", 100 * row.error_median),
                     fmt::format("{:.3f}", 100 * row.error_p95), fmt::format("{:.3f}", 100 * row.error_max),
                     fmt::format("{:.3f}", 100 * row.half_width_median),
                     fmt::format("{:.0f}", row.rounds_median), fmt::to_string(row.launches_each),
                     fmt::format("{:.2f}", 100 * row.between_processes),
                     fmt::format("{:.1f}", 100 * row.discarded_share), fmt::format("{:.3f}", row.clock_ghz)});
  return text_table(cells);
}

Json json_of(const ResolutionRow& row) {
  return {{"workload", row.workload},
          {"against", row.arm},
          {"time_us", row.time_us},
          {"planted", std::expm1(row.planted)},
          {"comparisons", row.comparisons},
          {"significant", row.significant},
          {"replaced", row.replaced},
          {"error", {{"median", row.error_median}, {"p95", row.error_p95}, {"max", row.error_max}}},
          {"half_width_median", row.half_width_median},
          {"rounds_median", row.rounds_median},
          {"launches_each", row.launches_each},
          {"between_processes", row.between_processes},
          {"discarded_share", row.discarded_share},
          {"clock_ghz", row.clock_ghz}};
}

Candidate kernel_of(const ResolutionOptions& options, const Task& task, const DataRoot& data) {
  if (!options.file.empty()) return complete(load_candidate(options.file));
  return complete(find_seeds(task, data).front().candidate);
}

void resolution(const ResolutionOptions& options, Program& program) {
  const DataRoot data = find_data_root(options.data, program.executable);
  const Task task = find_task(options.task, data);
  const Candidate kernel = kernel_of(options, task, data);
  const std::vector<Plant> plants = plants_of(options, task, kernel);
  std::vector<std::string> workloads = options.workloads;
  for (const Plant& plant : plants) {
    if (std::find(workloads.begin(), workloads.end(), plant.workload) == workloads.end())
      workloads.push_back(plant.workload);
  }
  if (workloads.empty()) workloads.push_back(task.bench.front().name);
  const auto pool = start_workers({.requests_each = 4}, options.device,
                                  find_worker(options.worker, program.executable), options.log);
  const std::string device = device_of(pool->provenance());
  if (device != "gpu")
    throw ConfigError("--device", options.device, "timing needs a GPU: nothing is measured here");

  const Planted planted = plant(*pool, task, device, kernel, plants, workloads, options.percent);
  const std::vector<Comparison> comparisons = compare(*pool, task, device, planted, options, workloads);
  std::vector<ResolutionRow> rows;
  for (const std::string& workload : workloads) {
    for (std::size_t arm = 1; arm < planted.arms.size(); ++arm) {
      const bool is_planted = std::any_of(plants.begin(), plants.end(),
                                          [&](const Plant& plant) { return plant.workload == workload; });
      if (arm > 1 && !is_planted) continue;
      rows.push_back(row_of(planted, comparisons, workload, arm, {}));
    }
  }
  std::vector<double> seconds;
  for (const Comparison& comparison : comparisons) seconds.push_back(comparison.seconds);
  const double per_arm_s =
      median(seconds) / static_cast<double>(workloads.size() * (planted.arms.size() - 1));
  if (options.is_json) {
    Json json{{"task", task.name}, {"device", pool->provenance().device}, {"device_s_each", per_arm_s}};
    for (const ResolutionRow& row : rows) json["rows"].push_back(json_of(row));
    program.out << json.dump(2) << "\n";
    return;
  }
  program.out << fmt::format(
                     "{} on {}, measured; each comparison is a duel of at most {} rounds and a confirmation "
                     "of as many, "
                     "together {:.2f} s of the device for each arm and workload\n",
                     task.name, pool->provenance().device.kind, options.rounds, per_arm_s)
              << table_of(rows);
}

}  // namespace

void add_resolution_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<ResolutionOptions>();
  command.add_option("file", options->file, "A kernel file; the first seed of the task if there is none");
  command.add_option("--task", options->task, "Task name or folder")->required();
  command.add_option("--workload", options->workloads, "These bench workloads; the first if none is named");
  command.add_option("--plant", options->plants,
                     "WORKLOAD=TUNABLE: a tunable whose value is in proportion to the kernel's time there");
  command.add_option("--percent", options->percent, "Planted difference")->check(CLI::Range(0.1, 50.0));
  command.add_option("--comparisons", options->comparisons, "How many of each kind")
      ->check(CLI::Range(1, 1000));
  command.add_option("--rounds", options->rounds, "Rounds of a duel, at most")->check(CLI::Range(10, 1000));
  command.add_option("--device", options->device, "auto or gpu")->check(CLI::IsMember({"auto", "gpu"}));
  command.add_option("--worker", options->worker, "The worker program");
  command.add_option("--log", options->log, "File for the worker's messages");
  command.add_option("--data", options->data, "Folder that holds tasks/, kernels_seed/ and prompts/");
  command.add_flag("--json", options->is_json, "Print JSON");
  command.footer("Example: kernelites resolution --task tests/measure/steps --plant about_10us=STEPS_10US");
  command.callback([options, &program] { resolution(*options, program); });
}

}  // namespace kernelites
