// SPDX-License-Identifier: Apache-2.0
// kernelites archive: care of a run's database - verify, compact, merge, prune.
#include <fmt/format.h>

#include <memory>

#include "archive/run_check.h"
#include "archive/run_merge.h"
#include "archive/run_prune.h"
#include "engine/core/error.h"
#include "tools/inspect/change_text.h"
#include "tools/inspect/run_reader.h"
#include "tools/reading_commands.h"

namespace kernelites {
namespace {

struct ArchiveOptions {
  std::string run;
  std::vector<std::string> runs;
  std::string out;
  bool is_dry = false;
  bool is_json = false;
};

std::string size_text(std::int64_t bytes) { return amount_text(static_cast<double>(bytes), "bytes"); }

void verify(const ArchiveOptions& options, Program& program) {
  const std::vector<RunCheck> checks = check_run(options.run);
  if (!is_whole(checks)) program.exit_code = exit_trouble;
  if (options.is_json) {
    Json json{{"is_whole", is_whole(checks)}, {"checks", Json::array()}};
    for (const RunCheck& check : checks)
      json["checks"].push_back({{"rule", check.rule},
                                {"checked", check.checked},
                                {"problem_count", check.problem_count},
                                {"problems", check.problems}});
    program.out << json.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
    return;
  }
  for (const RunCheck& check : checks) {
    program.out << fmt::format("{} {} ({})\n", check.problem_count == 0 ? "ok    " : "BROKEN", check.rule,
                               check.checked);
    for (const std::string& problem : check.problems) program.out << "       " << problem << "\n";
    if (check.problem_count > static_cast<std::int64_t>(check.problems.size()))
      program.out << fmt::format("       and {} more\n",
                                 check.problem_count - static_cast<std::int64_t>(check.problems.size()));
  }
  program.out << (is_whole(checks)
                      ? "the run is whole\n"
                      : "the run is damaged: keep a copy of run.db before anything else is done to it\n");
}

Json compact_json(const CompactReport& report) {
  return {{"bytes_before", report.bytes_before},
          {"bytes_after", report.bytes_after},
          {"version_before", report.version_before}};
}

void compact(const ArchiveOptions& options, Program& program) {
  const CompactReport report = compact_run(options.run, options.is_dry);
  if (options.is_json)
    program.out << compact_json(report).dump(2) << "\n";
  else
    program.out << fmt::format("{} {} {}\n", size_text(report.bytes_before),
                               options.is_dry ? "would become" : "became", size_text(report.bytes_after));
}

void prune(const ArchiveOptions& options, Program& program) {
  const PruneReport report = prune_run(options.run, options.is_dry);
  if (options.is_json) {
    program.out << Json{{"kept_whole", report.kept_whole},
                        {"pruned", report.pruned},
                        {"evaluations", report.evaluations},
                        {"model_calls", report.model_calls},
                        {"messages", report.messages},
                        {"bytes", report.bytes},
                        {"compacted", compact_json(report.compacted)}}
                       .dump(2)
                << "\n";
    return;
  }
  program.out << fmt::format(
      "{} candidates are kept whole: elites of any time, champions, seeds, what they came from, and "
      "unfinished ones\n"
      "of {} others {} {} of text: details of {} evaluations, prompts and replies of {} calls, {} messages\n",
      report.kept_whole, report.pruned, options.is_dry ? "would go" : "went", size_text(report.bytes),
      report.evaluations, report.model_calls, report.messages);
  if (!options.is_dry)
    program.out << fmt::format("{} became {}\n", size_text(report.compacted.bytes_before),
                               size_text(report.compacted.bytes_after));
}

/// Speed-ups of two runs compare only if they are over the same kernel.
void check_baselines(const std::vector<std::string>& runs) {
  std::string first;
  for (const std::string& run : runs) {
    const std::string baseline = read_run(run).baseline_id;
    if (baseline.empty())
      throw ConfigError(run, "baseline", "is not known yet: its seeds were not timed; resume it first");
    if (first.empty()) first = baseline;
    if (baseline != first)
      throw ConfigError(run, "baseline",
                        "is another seed than the first run's, so that speed-ups do not compare");
  }
}

void merge(const ArchiveOptions& options, Program& program) {
  check_baselines(options.runs);
  const MergeReport report =
      merge_runs({options.runs.begin(), options.runs.end()}, options.out, options.is_dry);
  if (options.is_json) {
    program.out << Json{{"candidates", report.candidates},
                        {"common", report.common},
                        {"elites", report.elites},
                        {"contested", report.contested},
                        {"reopened", report.reopened}}
                       .dump(2)
                << "\n";
    return;
  }
  program.out << fmt::format(
      "{} candidates ({} of several runs), {} elites; {} cells and workloads were held in several runs: the "
      "greater "
      "speed-up over the common baseline holds them, and {} candidates {} dueled again when the run goes "
      "on\n",
      report.candidates, report.common, report.elites, report.contested, report.reopened,
      options.is_dry ? "would be" : "are");
  if (!options.is_dry)
    program.out << fmt::format(
        "kernelites run --out {} goes on with it; its budget is the first run's, and what all have spent "
        "counts: raise it with --budget-candidates and its like\n",
        options.out);
}

using Action = void (*)(const ArchiveOptions&, Program&);

CLI::App& add_action(CLI::App& command, Program& program, const char* name, const char* purpose,
                     Action action, const std::shared_ptr<ArchiveOptions>& options) {
  CLI::App& sub = *command.add_subcommand(name, purpose);
  sub.add_flag("--json", options->is_json, "Print JSON");
  sub.callback([options, action, &program] { action(*options, program); });
  return sub;
}

}  // namespace

void add_archive_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<ArchiveOptions>();
  command.require_subcommand(1);
  CLI::App& checking =
      add_action(command, program, "verify", "Whether the database is whole", verify, options);
  checking.add_option("run", options->run, "The run folder")->required();
  checking.footer("Example: kernelites archive verify runs/first");
  CLI::App& compacting = add_action(command, program, "compact",
                                    "Today's format, no unused space, an empty log", compact, options);
  compacting.add_option("run", options->run, "The run folder")->required();
  compacting.add_flag("--dry-run", options->is_dry, "Only say what would become of it");
  compacting.footer("Example: kernelites archive compact runs/first");
  CLI::App& pruning =
      add_action(command, program, "prune", "Drop long texts of candidates that led nowhere", prune, options);
  pruning.add_option("run", options->run, "The run folder")->required();
  pruning.add_flag("--dry-run", options->is_dry, "Only say what would go");
  pruning.footer("Example: kernelites archive prune runs/first --dry-run");
  CLI::App& merging =
      add_action(command, program, "merge", "Several runs of one task on one kind of device as a new run",
                 merge, options);
  merging.add_option("runs", options->runs, "The run folders")->required()->expected(2, 64);
  merging.add_option("--out", options->out, "The new run's folder")->required();
  merging.add_flag("--dry-run", options->is_dry, "Only say what would come of it");
  merging.footer("Example: kernelites archive merge runs/monday runs/tuesday --out runs/both");
  command.footer("Example: kernelites archive verify runs/first");
}

}  // namespace kernelites
