// SPDX-License-Identifier: Apache-2.0
// kernelites elites: the grid of a run as a table and a heat map.
#include <fmt/format.h>

#include <cmath>
#include <memory>

#include "engine/core/axes.h"
#include "engine/search/judgements.h"
#include "tools/command_line.h"
#include "tools/run_reader.h"
#include "tools/text_table.h"

namespace kernelites {
namespace {

struct ElitesOptions {
  std::string run;
  bool is_json = false;
};

/// A cell's colour by speed-up against the best: the 256-colour ramp from dark green to yellow.
std::string painted(const std::string& text, double share, bool has_color) {
  if (!has_color) return text;
  constexpr int k_ramp[] = {22, 28, 34, 70, 106, 142, 178, 220};
  const int step = std::min(7, static_cast<int>(share * 8));
  return fmt::format("\x1b[30;48;5;{}m{}\x1b[0m", k_ramp[step], text);
}

/// Rows: movement and compute; columns: split. Empty cells are dots.
void print_heat_map(const Grid& grid, bool has_color, std::ostream& out) {
  const double best = grid.best() ? grid.best()->speedup : 1;
  out << fmt::format("{:<22}", "");
  for (std::string_view split : k_axes[2].labels) out << fmt::format("{:>13}", split);
  out << "\n";
  for (std::string_view movement : k_axes[0].labels)
    for (std::string_view compute : k_axes[1].labels) {
      out << fmt::format("{:<22}", fmt::format("{} / {}", movement, compute));
      for (std::string_view split : k_axes[2].labels) {
        const Elite* elite = grid.find(fmt::format("{}/{}/{}", movement, compute, split));
        if (elite == nullptr)
          out << fmt::format("{:>13}", ".");
        else
          out << "    "
              << painted(fmt::format("{:>8.3f}x", elite->speedup), elite->speedup / best, has_color);
      }
      out << "\n";
    }
}

void print_elites(const ElitesOptions& options, Program& program) {
  const RunReader run = read_run(options.run);
  const Grid grid = run.archive.grid();
  const std::vector<Champion> champions = run.archive.champions();
  if (options.is_json) {
    Json json{{"task", run.task.name},       {"device", run.device},        {"coverage", grid.coverage()},
              {"qd_score", grid.qd_score()}, {"baseline", run.baseline_id}, {"elites", Json::array()},
              {"champions", Json::array()}};
    for (const Elite& elite : grid.elites())
      json["elites"].push_back({{"cell", elite.cell},
                                {"ordinal", elite.ordinal},
                                {"id", elite.candidate_id},
                                {"speedup", elite.speedup},
                                {"fitness", elite.fitness},
                                {"is_modelled", elite.is_modelled}});
    for (const Champion& champion : champions)
      json["champions"].push_back({{"workload", champion.workload},
                                   {"ordinal", champion.ordinal},
                                   {"id", champion.candidate_id},
                                   {"speedup", champion.speedup},
                                   {"time_us_median", champion.timing.time_us_median},
                                   {"samples", champion.timing.samples},
                                   {"is_modelled", champion.timing.is_modelled}});
    program.out << json.dump(2) << "\n";
    return;
  }
  const Counters counters = run.archive.counters();
  const auto baseline = run.baseline_id.empty() ? std::nullopt : run.archive.find_candidate(run.baseline_id);
  program.out << fmt::format(
      "{} on {}: {} candidates told, {} passed; speed-ups {} over {}\n\n", run.task.name, run.device.kind,
      counters.told, counters.passed, run.device.is_virtual ? "are modelled," : "are measured,",
      baseline ? fmt::format("#{} ({})", baseline->ordinal, baseline->summary) : "no baseline yet");
  print_heat_map(grid, program.has_color, program.out);
  std::string flags;
  std::vector<std::vector<std::string>> rows{{"cell", "#", "id", "operator", "speed-up", "summary"}};
  for (const Elite& elite : grid.elites()) {
    const auto record = run.archive.candidate(elite.ordinal);
    rows.push_back({elite.cell, fmt::to_string(elite.ordinal), elite.candidate_id.substr(0, 8),
                    record ? record->operator_name : "", fmt::format("{:.3f}", elite.speedup),
                    record ? record->summary.substr(0, 48) : ""});
    if (const std::string words = judgement_words(run.archive, elite.ordinal);
        words.starts_with(k_opinion_flagged))
      flags += fmt::format("#{} {}\n", elite.ordinal, words);
  }
  program.out << "\n" << text_table(rows);
  if (!flags.empty()) program.out << "\nA model has doubts (kernelites judge); it may be wrong:\n" << flags;
  rows = {{"workload", "champion", "id", "time us", "samples", "speed-up"}};
  for (const Champion& champion : champions)
    rows.push_back({champion.workload, fmt::to_string(champion.ordinal), champion.candidate_id.substr(0, 8),
                    fmt::format("{:.2f}", champion.timing.time_us_median),
                    fmt::to_string(champion.timing.samples), fmt::format("{:.3f}", champion.speedup)});
  program.out << "\n" << text_table(rows);
  program.out << fmt::format("\n{} of {} cells ({:.1f} %), QD score {:.2f}\n", grid.elite_count(),
                             grid.cell_count(), 100 * grid.coverage(), grid.qd_score());
}

}  // namespace

void add_elites_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<ElitesOptions>();
  command.add_option("run", options->run, "The run folder")->required();
  command.add_flag("--json", options->is_json, "Print JSON");
  command.footer("Example: kernelites elites runs/first");
  command.callback([options, &program] { print_elites(*options, program); });
}

}  // namespace kernelites
