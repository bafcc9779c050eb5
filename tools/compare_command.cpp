// SPDX-License-Identifier: Apache-2.0
// kernelites compare: runs of one task side by side, by configuration.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <memory>

#include "tools/command_line.h"
#include "tools/inspect/screen_text.h"
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

std::string optional_words(const std::optional<Interval>& interval) {
  return interval ? words(*interval) : std::string("not comparable");
}

std::string kernel_text(const ComparedKernel& kernel) {
  return fmt::format("#{}{}{}", kernel.ordinal,
                     kernel.summary.empty() ? "" : " " + cut_to(clean_line(kernel.summary), 40),
                     kernel.code.empty() ? "" : fmt::format(" [{}]", kernel.code.substr(0, 8)));
}

/// That of the first run, and how many others have another one.
std::string baselines_text(const ComparedGroup& group) {
  const auto others =
      std::count_if(group.baselines.begin(), group.baselines.end(), [&](const auto& baseline) {
        return baseline.code != group.baselines.front().code &&
               !is_one_kernel(baseline, group.baselines.front());
      });
  return kernel_text(group.baselines.front()) +
         (others > 0 ? fmt::format(" (another one in {} of its runs)", others) : "");
}

std::string shortened(const Json& value) {
  constexpr std::size_t k_length = 60;
  const std::string text = value.dump();
  return text.size() <= k_length ? text : text.substr(0, k_length) + "...";
}

/// What its runs did that is not compared, and why one did no more; runs of one random seed.
std::string lengths_text(const Comparison& comparison, const ComparedGroup& group) {
  std::string text;
  std::map<std::uint64_t, std::vector<std::string>> by_seed;
  for (const RunLength& length : group.lengths) {
    by_seed[length.seed].push_back(length.folder);
    if (length.end.empty() && length.evaluations <= comparison.evaluations) continue;
    text += fmt::format("   {}: {} evaluations{}{}\n", length.folder, length.evaluations,
                        length.evaluations > comparison.evaluations
                            ? fmt::format(", of which {} are compared", comparison.evaluations)
                            : "",
                        length.end.empty() ? "" : "; " + length.end);
  }
  if (group.later)
    text += fmt::format("   found later and not compared: {} of {}, {:.3f} after {} evaluations\n",
                        kernel_text(group.later->kernel), group.later->run, group.later->best,
                        group.later->evaluations);
  for (const auto& [seed, folders] : by_seed)
    if (folders.size() > 1)
      text += fmt::format(
          "   {} have one random seed ({}): what chance decides is alike in them, so that they vary less "
          "than "
          "repetitions do\n",
          fmt::join(folders, ", "), seed);
  return text;
}

std::string repeats_text(const Comparison& comparison) {
  std::string text;
  for (const RepeatedRun& repeated : comparison.repeats)
    text += fmt::format("{} {} {}: it is counted once\n", repeated.folder,
                        repeated.is_copy ? "is a copy of" : "did, by the same random seed, the same steps as",
                        repeated.of);
  return text;
}

void print_groups(const Comparison& comparison, std::ostream& out) {
  for (const ComparedGroup& group : comparison.groups) {
    out << fmt::format("{}: {} run{}: {}\n", group.name, group.runs.size(), group.runs.size() == 1 ? "" : "s",
                       fmt::join(group.runs, " "));
    for (const auto& [key, value] : group.differences.items())
      out << fmt::format("   {} = {}\n", key, shortened(value));
    if (!group.best_run.empty())
      out << fmt::format("   baseline {}; best {}{}\n", baselines_text(group), kernel_text(group.best),
                         group.runs.size() > 1 ? " of " + group.best_run : "");
    out << lengths_text(comparison, group);
  }
}

/// Why figures of two groups may or may not be set against each other.
std::string basis_text(const Comparison& comparison, const ComparedGroup& group) {
  const std::string other = &group == &comparison.groups.front()
                                ? "one of its runs began with another baseline than the first"
                                : "its baseline is another kernel than A's";
  switch (group.basis) {
    case Basis::same:
      return "";
    case Basis::model:
      return fmt::format(
          "{}: {}. Such speed-ups are told over the first run's baseline here, by the model's times of "
          "both.\n",
          group.name, other);
    case Basis::none:
      return fmt::format(
          "{}: {}, and {}: such speed-ups are over their own baseline and NOT comparable with A's.\n",
          group.name, other,
          !comparison.has_one_harness ? "another harness timed it"
          : comparison.is_modelled && !comparison.has_one_model_key
              ? "the model saw other inputs and blocks there"
          : comparison.is_modelled ? "not all of its times are known"
                                   : "times of different processes decide nothing");
  }
  return "";
}

constexpr const char* k_other_process_words =
    "Measured in different processes: of one kernel such times lie within 0.5 % of each other in 78 % of "
    "pairs\n"
    "(docs/measurement.md), and no ratio of them proves anything.\n";
constexpr const char* k_other_inputs_words =
    "Modelled by other inputs and blocks in each run: of one kernel such times lie within 4.8 % in nine of "
    "ten cases, and\n"
    "farther apart in others (docs/measurement.md); ratios over one baseline move with them too.\n";

/// The best kernels' own times, where they are by one clock at least in name.
std::string times_text(const Comparison& comparison, const std::map<std::string, double>& weights) {
  const ComparedGroup& first = comparison.groups.front();
  std::vector<std::vector<std::string>> rows{{"best kernel of"}};
  std::string same;
  for (const auto& [workload, weight] : weights) rows.front().push_back(workload + " us");
  rows.front().push_back("over A's by these");
  for (const ComparedGroup& group : comparison.groups) {
    rows.push_back({fmt::format("{} (#{})", group.name, group.best.ordinal)});
    for (const auto& [workload, weight] : weights) {
      const auto time = group.best.time_us.find(workload);
      rows.back().push_back(time == group.best.time_us.end() ? "?" : fmt::format("{:.2f}", time->second));
    }
    const auto ratio = ratio_by_times(first.best, group.best, weights);
    rows.back().push_back(ratio ? fmt::format("{:.3f}", *ratio) : "?");
    if (&group != &first && is_one_kernel(group.best, first.best))
      same +=
          fmt::format("The best of {} and of A are {}.\n", group.name,
                      !group.best.id.empty() && group.best.id == first.best.id
                          ? "the same kernel: equal text and tunables"
                      : group.best.is_by_counts
                          ? "alike in counts of instructions, resources and launches: they may be one kernel"
                          : "the same kernel: equal machine code, equal launches");
  }
  if (!comparison.has_one_harness) return same;
  return "\n" + text_table(rows) +
         std::string(!comparison.is_modelled        ? k_other_process_words
                     : comparison.has_one_model_key ? ""
                                                    : k_other_inputs_words) +
         same;
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
                    optional_words(group.best_area_ratio), words(group.qd_area),
                    optional_words(group.qd_area_ratio)});
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
                             first.axes, comparison.evaluations)
              << repeats_text(comparison);
  print_groups(comparison, program.out);
  for (const ComparedGroup& group : comparison.groups) program.out << basis_text(comparison, group);
  print_figures(comparison, program.out);
  program.out << times_text(comparison, first.weights);
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
  command
      .add_option("--at", options->at,
                  "Compare after so many evaluations (default: as many as all runs have)")
      ->check(CLI::Range(1, 1'000'000'000));
  command.add_flag("--json", options->is_json, "Print JSON");
  command.footer("Example: kernelites compare runs/elites-1 runs/elites-2 runs/climb-1 runs/climb-2");
  command.callback([options, &program] { compare(*options, program); });
}

}  // namespace kernelites
