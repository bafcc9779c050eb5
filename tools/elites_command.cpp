// SPDX-License-Identifier: Apache-2.0
// kernelites elites: the grid of a run as a table and a heat map.
#include <fmt/format.h>

#include <memory>

#include "archive/qd_metrics.h"
#include "engine/search/judgements.h"
#include "tools/command_line.h"
#include "tools/inspect/heat_map.h"
#include "tools/inspect/qd_text.h"
#include "tools/inspect/run_reader.h"
#include "tools/inspect/screen_text.h"
#include "tools/inspect/text_table.h"
#include "tools/terminal.h"

namespace kernelites {
namespace {

struct ElitesOptions {
  std::string run;
  bool is_json = false;
};

Json axis_names(const Grid& grid) {
  Json names = Json::array();
  for (const Axis& axis : grid.axes()) names.push_back(axis.name);
  return names;
}

void print_elites(const ElitesOptions& options, Program& program) {
  const RunReader run = read_run(options.run);
  const Grid grid = run.archive.grid();
  const std::vector<Champion> champions = run.archive.champions();
  if (options.is_json) {
    Json json(qd_metrics(grid));
    json.update({{"task", run.task.name},
                 {"device", run.device},
                 {"axes", axis_names(grid)},
                 {"baseline", run.baseline_id},
                 {"elites", Json::array()},
                 {"champions", Json::array()}});
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
      "{} on {}: {} candidates told; {} of {} passed so far; speed-ups {} over {}\n\n",
      clean_line(run.task.name), clean_line(run.device.kind), counters.told, counters.passed,
      counters.candidates, run.device.is_virtual ? "are modelled," : "are measured,",
      baseline ? fmt::format("#{} ({})", baseline->ordinal, cut_to(clean_line(baseline->summary), 80))
               : "no baseline yet");
  for (const std::string& line : heat_map_lines(grid, screen_columns(program, 0), program.has_color))
    program.out << line << "\n";
  std::string flags;
  const std::vector<Judgement> judged = judgements(run.archive);
  std::vector<std::vector<std::string>> rows{{"cell", "#", "id", "operator", "speed-up", "summary"}};
  for (const Elite& elite : grid.elites()) {
    const auto record = run.archive.candidate(elite.ordinal);
    rows.push_back({elite.cell, fmt::to_string(elite.ordinal), elite.candidate_id.substr(0, 8),
                    record ? record->operator_name : "", fmt::format("{:.3f}", elite.speedup),
                    record ? cut_to(clean_line(record->summary), 48) : ""});
    if (const std::string words = judgement_words(judged, elite.ordinal);
        words.starts_with(k_opinion_flagged))
      flags += fmt::format("#{} {}\n", elite.ordinal, clean_line(words));
  }
  program.out << "\n" << text_table(rows);
  if (!flags.empty()) program.out << "\nA model has doubts (kernelites judge); it may be wrong:\n" << flags;
  rows = {{"workload", "champion", "id", "time us", "samples", "speed-up"}};
  for (const Champion& champion : champions)
    rows.push_back({champion.workload, fmt::to_string(champion.ordinal), champion.candidate_id.substr(0, 8),
                    fmt::format("{:.2f}", champion.timing.time_us_median),
                    fmt::to_string(champion.timing.samples), fmt::format("{:.3f}", champion.speedup)});
  program.out << "\n" << text_table(rows);
  program.out << "\n" << qd_text(grid) << "\n";
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
