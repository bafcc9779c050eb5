// SPDX-License-Identifier: Apache-2.0
// kernelites compare: runs of one task side by side, by configuration.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include "tools/command_line.h"
#include "tools/inspect/text_table.h"
#include "tools/run_comparison.h"

namespace kernelites {
namespace {

struct CompareOptions {
  std::vector<std::string> runs;
  std::int64_t at = 0;
  bool is_json = false;
};

std::string words(const Interval& interval, int digits = 3) {
  if (!interval.low) return fmt::format("{:.{}f}", interval.value, digits);
  return fmt::format("{:.{}f} ({:.{}f} to {:.{}f})", interval.value, digits, *interval.low, digits,
                     *interval.high, digits);
}

std::string shortened(const Json& value) {
  constexpr std::size_t k_length = 60;
  const std::string text = value.dump();
  return text.size() <= k_length ? text : text.substr(0, k_length) + "...";
}

void print_groups(const Comparison& comparison, std::ostream& out) {
  for (const ComparedGroup& group : comparison.groups) {
    out << fmt::format("{}: {} run{}: {}\n", group.name, group.runs.size(), group.runs.size() == 1 ? "" : "s",
                       fmt::join(group.runs, " "));
    for (const auto& [key, value] : group.differences.items())
      out << fmt::format("   {} = {}\n", key, shortened(value));
  }
}

void print_figures(const Comparison& comparison, std::ostream& out) {
  std::vector<std::vector<std::string>> rows{
      {"", "n", "best", "QD score", "coverage %", "mean best", "over A", "mean QD", "over A"}};
  for (const ComparedGroup& group : comparison.groups) {
    Interval percent = group.end.coverage;
    percent.value *= 100;
    if (percent.low) {
      *percent.low *= 100;
      *percent.high *= 100;
    }
    rows.push_back({group.name, fmt::to_string(group.runs.size()), words(group.end.best),
                    words(group.end.qd_score), words(percent, 1), words(group.best_area),
                    words(group.best_area_ratio), words(group.qd_area), words(group.qd_area_ratio)});
  }
  out << "\n" << text_table(rows);
}

void print_curves(const Comparison& comparison, std::ostream& out) {
  std::vector<std::vector<std::string>> rows{{"evaluations"}};
  for (const ComparedGroup& group : comparison.groups)
    for (const char* figure : {" best", " QD score"}) rows[0].push_back(group.name + figure);
  for (std::size_t at = 0; at < comparison.groups.front().curve.size(); ++at) {
    rows.push_back({fmt::to_string(comparison.groups.front().curve[at].evaluations)});
    for (const ComparedGroup& group : comparison.groups) {
      rows.back().push_back(words(group.curve[at].best));
      rows.back().push_back(words(group.curve[at].qd_score));
    }
  }
  out << "\n" << text_table(rows);
}

void compare(const CompareOptions& options, Program& program) {
  std::vector<ComparedRun> runs;
  for (const std::string& folder : options.runs) runs.push_back(compared_run(folder));
  const Comparison comparison = compare_runs(runs, options.at);
  const ComparedRun& first = runs.front();
  if (options.is_json) {
    Json json(comparison);
    json.update({{"task", first.task},
                 {"device", first.device},
                 {"is_modelled", first.is_modelled},
                 {"axes", first.axes}});
    program.out << json.dump(2) << "\n";
    return;
  }
  program.out << fmt::format("{} on {}, times {}, grid {}; after {} evaluations beyond the seeds\n",
                             first.task, first.device, first.is_modelled ? "modelled" : "measured",
                             first.axes, comparison.evaluations);
  print_groups(comparison, program.out);
  print_figures(comparison, program.out);
  print_curves(comparison, program.out);
  program.out << fmt::format(
      "\nMeans over runs with {:.0f} % bootstrap intervals ({} resamples); best: highest fitness of an "
      "elite, the "
      "speed-up\nover the baseline that elites are ranked by; mean best, mean QD: areas under the curves per "
      "evaluation.\n",
      100 * k_interval_confidence, k_resamples);
}

}  // namespace

void add_compare_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<CompareOptions>();
  command.add_option("runs", options->runs, "Run folders; those of one configuration are repetitions")
      ->required();
  command.add_option("--at", options->at,
                     "Compare after so many evaluations (default: as many as all runs have)");
  command.add_flag("--json", options->is_json, "Print JSON");
  command.footer("Example: kernelites compare runs/elites-1 runs/elites-2 runs/climb-1 runs/climb-2");
  command.callback([options, &program] { compare(*options, program); });
}

}  // namespace kernelites
