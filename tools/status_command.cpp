// SPDX-License-Identifier: Apache-2.0
// kernelites status: where a run stands, what it has used of its limits, and what each arm cost and brought.
#include <fmt/format.h>

#include <memory>

#include "archive/qd_metrics.h"
#include "engine/search/recorded_config.h"
#include "engine/search/run_folder.h"
#include "tools/command_line.h"
#include "tools/inspect/arm_table.h"
#include "tools/inspect/qd_text.h"
#include "tools/inspect/run_end.h"
#include "tools/inspect/run_reader.h"
#include "tools/inspect/screen_text.h"
#include "tools/inspect/text_table.h"
#include "tools/inspect/triage_tally.h"

namespace kernelites {
namespace {

struct StatusOptions {
  std::string run;
  bool is_json = false;
};

std::string of_limit(const std::string& used, double limit) {
  return limit > 0 ? fmt::format("{} of {}", used, limit) : used + " (no limit)";
}

Json status_json(const RunReader& run, const RunConfig& config, const ArmTable& arms, const RunEnd& end) {
  const RunRecord record = run.archive.run();
  const Spent spent = run.archive.spent();
  const Counters counters = run.archive.counters();
  const Grid grid = run.archive.grid();
  const auto best = grid.best();
  Json json{{"task", record.task},
            {"state", end.state},
            {"end", {{"reason", end.reason}, {"words", end.words}}},
            {"device", run.device.kind},
            {"counters",
             {{"variations", counters.variations},
              {"rejections", counters.rejections},
              {"candidates", counters.candidates},
              {"examined", counters.examined},
              {"passed", counters.passed},
              {"dueled", counters.dueled},
              {"told", counters.told},
              {"distinct_codes", counters.distinct_codes},
              {"duplicate_codes", counters.duplicate_codes}}},
            {"spent",
             {{"candidates", spent.candidates - spent.seeds},
              {"model_calls", spent.model_calls},
              {"input_tokens", spent.input_tokens},
              {"cached_input_tokens", spent.cached_input_tokens},
              {"cache_write_tokens", spent.cache_write_tokens},
              {"output_tokens", spent.output_tokens},
              {"reasoning_tokens", spent.reasoning_tokens},
              {"usd", spent.usd},
              {"worker_s", spent.worker_s},
              {"device_s", spent.device_s},
              {"wall_s", spent.wall_s}}},
            {"limits", run_config_json(config).at("budget")},
            {"elites", grid.elite_count()},
            {"best_speedup", best ? best->speedup : 0},
            {"arms", arms_json(arms)}};
  if (config.triage.mode != "off") {
    const TriageTally tally = triage_tally(run.archive);
    json["triage"] = {{"mode", config.triage.mode},
                      {"modelled", tally.modelled},
                      {"left_out", tally.left_out},
                      {"timed", tally.timed},
                      {"wrong", tally.wrong}};
  }
  json.update(Json(qd_metrics(grid)));
  json.update(stagnation_json(arms));
  return json;
}

void status(const StatusOptions& options, Program& program) {
  const RunReader run = read_run(options.run);
  const RunRecord record = run.archive.run();
  const RunConfig config = recorded_run_config(record.configuration, options.run + ": configuration");
  const ArmTable arms = arm_table(run, config, options.run);
  const Spent spent = run.archive.spent();
  Database rows(RunFolder{options.run}.database(), Database::Mode::read_only);
  const RunEnd end = run_end(rows, options.run, record, spent, config);
  if (options.is_json) {
    program.out << status_json(run, config, arms, end).dump(2) << "\n";
    return;
  }
  const Counters counters = run.archive.counters();
  const Grid grid = run.archive.grid();
  const BudgetLimits& limits = config.budget;
  program.out << fmt::format("{} on {}: {}\n", clean_line(record.task),
                             run.device.kind.empty() ? "?" : clean_line(run.device.kind),
                             clean_line(end.state));
  if (!end.words.empty()) program.out << "end         " << end.words << "\n";
  program.out << fmt::format(
      "candidates  {}, and {} seeds; {} told in all; {} of {} passed so far; {} {} refused\n",
      of_limit(fmt::to_string(spent.candidates - spent.seeds), static_cast<double>(limits.candidates)),
      spent.seeds, counters.told, counters.passed, spent.candidates, counters.rejections,
      spent.model_calls > 0 ? "replies" : "proposals");
  program.out << fmt::format(
      "codes       {} different ones compiled; {} candidates repeated one and were not timed\n",
      counters.distinct_codes, counters.duplicate_codes);
  if (config.triage.mode != "off")
    program.out << fmt::format("triage      {}\n", triage_words(triage_tally(run.archive), config.triage));
  program.out << fmt::format("money       {} USD, {} calls\n",
                             of_limit(fmt::format("{:.4f}", spent.usd), limits.usd), spent.model_calls);
  program.out << fmt::format(
      "tokens      {}: {} in ({} cached), {} out ({} thought)\n",
      of_limit(fmt::to_string(spent.input_tokens + spent.output_tokens), static_cast<double>(limits.tokens)),
      spent.input_tokens, spent.cached_input_tokens, spent.output_tokens, spent.reasoning_tokens);
  program.out << fmt::format("device      {} s; workers {:.1f} s\n",
                             of_limit(fmt::format("{:.1f}", spent.device_s), limits.device_s),
                             spent.worker_s);
  program.out << fmt::format("wall clock  {} min\n",
                             of_limit(fmt::format("{:.1f}", spent.wall_s / 60), limits.minutes));
  const auto best = grid.best();
  program.out << fmt::format(
      "elites      {}; best {}\n", qd_text(grid),
      best ? fmt::format("#{} at {:.3f}x", best->ordinal, best->speedup) : std::string("none"));
  program.out << stagnation_text(arms) << "\n" << arms_text(arms);
}

}  // namespace

void add_status_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<StatusOptions>();
  command.add_option("run", options->run, "The run folder")->required();
  command.add_flag("--json", options->is_json, "Print JSON");
  command.footer("Example: kernelites status runs/first");
  command.callback([options, &program] { status(*options, program); });
}

}  // namespace kernelites
