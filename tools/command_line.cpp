// SPDX-License-Identifier: Apache-2.0
// The command line as a function: arguments in, text and an exit code out.
#include "tools/command_line.h"

#include <fmt/format.h>

#include <fmt/ranges.h>

#include <algorithm>
#include <span>

#include "engine/core/error.h"
#include "engine/core/nearest_name.h"
#include "tools/export_command.h"
#include "tools/inspect/screen_text.h"
#include "tools/last_words.h"
#include "tools/reading_commands.h"

namespace kernelites {
namespace {

constexpr CommandRow k_commands[] = {
    {"run", "Start a run, or go on with it", add_run_command},
    {"elites", "The grid of a run: table and heat map", add_elites_command},
    {"show", "One candidate of a run: source, verdict, timing, lineage", add_show_command},
    {"lineage", "Who came from whom, as a tree with what each step gained", add_lineage_command},
    {"diff", "Two candidates side by side: times, plan, code, counters, source", add_diff_command},
    {"explain", "Why a candidate is faster than its parent, and the way from its seed", add_explain_command},
    {"log", "What happened in a run, event by event; with --follow as it happens", add_log_command},
    {"status", "Where a run stands, and what each arm cost and brought", add_status_command},
    {"report", "A run as one HTML page: a file that needs no network, or live on loopback",
     add_report_command},
    {"compare", "Runs of one task side by side: best-so-far, QD score, coverage, with intervals",
     add_compare_command},
    {"rank", "Where a model's GPU time goes by its profile, and which tasks cover it", add_rank_command},
    {"archive", "Care of a run's database: verify, compact, merge, prune", add_archive_command},
    {"knowledge", "What runs have learned: list, show, import, export, forget", add_knowledge_command},
    {"prompt", "Exactly what a model was, or would be, sent", add_prompt_command},
    {"evaluate", "One kernel file through all stages; the exit code says the verdict", add_evaluate_command},
    {"bench", "Time the seeds of a task, or other files, against each other and the roofline",
     add_bench_command},
    {"profile", "Hardware counters of a kernel file, in plain terms", add_profile_command},
    {"resolution", "How small a difference timing resolves here, by kernels whose difference is known",
     add_resolution_command},
    {"tune", "Sweep the tunables that a kernel file declares", add_tune_command},
    {"tasks", "The tasks, or one in detail", add_tasks_command},
    {"new-task", "A folder with a commented task of your own, which passes as it is", add_new_task_command},
    {"adopt", "What a kernel of yours still needs to become a seed, or make it one", add_adopt_command},
    {"calibrate", "How the errors of honest kernels lie to a task's gates", add_calibrate_command},
    {"judge", "Ask a model about suspicious winners of a run; its answer can only flag", add_judge_command},
    {"agent-tools", "For coding agents: the tools of a run, as a command and as an MCP server",
     add_agent_tools_command},
    {"export", "The winners of a run as a C++ library, or as files", add_export_command},
    {"dump", "The canonical text of a run, or its signature", add_dump_command},
    {"dataset", "Runs as step-centric records for training, with splits and a schema", add_dataset_command},
    {"env", "The harness as an environment for trainers, in JSON lines", add_env_command},
    {"doctor", "Whether machine, worker and endpoint work, and what to do if not", add_doctor_command},
};

/// CLI11 only says that a command is missing when the one given is unknown.
void check_command(const CLI::App& app, std::span<const std::string> arguments) {
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  if (commands.empty() || arguments.empty() || arguments[0].empty() || arguments[0][0] == '-') return;
  std::vector<std::string> known;
  for (const CLI::App* command : commands) {
    if (arguments[0] == command->get_name()) return check_command(*command, arguments.subspan(1));
    known.push_back(command->get_name());
  }
  const std::string near = surely_meant(arguments[0], known);
  throw ConfigError(app.get_parent() == nullptr ? "command" : app.get_name(), arguments[0],
                    near.empty() ? fmt::format("is unknown; commands are {}", fmt::join(known, ", "))
                                 : "is unknown" + near + " (see --help)");
}

/// The innermost command that was named.
const CLI::App& named_command(const CLI::App& app) {
  const CLI::App* asked = &app;
  while (!asked->get_subcommands().empty()) asked = asked->get_subcommands().front();
  return *asked;
}

/// What CLI11 could not place, in the order given, and what the first of it may have been meant to be.
std::string extras_text(const CLI::App& app, const std::vector<std::string>& arguments) {
  std::vector<std::string> extras = app.remaining(true), in_order;
  for (const std::string& argument : arguments)
    if (const auto extra = std::find(extras.begin(), extras.end(), argument); extra != extras.end()) {
      in_order.push_back(argument);
      extras.erase(extra);
    }
  std::vector<std::string> options;
  for (const CLI::Option* option : named_command(app).get_options()) options.push_back(option->get_name());
  const bool is_option = !in_order.empty() && in_order.front().starts_with("--");
  return fmt::format(
      "{}{}", fmt::join(in_order, " "),
      is_option ? did_you_mean(in_order.front().substr(0, in_order.front().find('=')), options) : "");
}

/// "--budget-candidates: abc: expected a whole number": CLI11 says "Could not convert: --budget-candidates = abc".
std::string conversion_text(const CLI::App& app, const std::string& words) {
  for (const CLI::Option* option : named_command(app).get_options()) {
    const std::string name = option->get_name();
    const std::size_t at = words.find(name + " = ");
    if (at == std::string::npos) continue;
    const std::string type = option->get_type_name();
    const bool is_whole = type.starts_with("INT") || type.starts_with("UINT");
    const bool is_number = is_whole || type.starts_with("FLOAT");
    return fmt::format("{}: {}: expected {}", name, words.substr(at + name.size() + 3),
                       is_whole    ? "a whole number"
                       : is_number ? "a number"
                                   : type);
  }
  return words;
}

}  // namespace

int run_program(const std::vector<std::string>& arguments, Program& program) {
  CLI::App app("Kernelites finds faster CUDA kernels for attention and the KV cache.", "kernelites");
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 done (evaluate: passed), 1 the candidate failed, 2 wrong input, 3 the run or machine is "
      "in trouble.");
  for (const CommandRow& row : k_commands) row.add(*app.add_subcommand(row.name, row.purpose), program);
  try {
    check_command(app, arguments);
    std::vector<std::string> reversed(arguments.rbegin(),
                                      arguments.rend());  // CLI11 takes them from the back
    app.parse(reversed);
    return program.exit_code;
  } catch (const CLI::CallForHelp&) {
    program.out << named_command(app).help();
    return exit_done;
  } catch (const CLI::ExtrasError&) {  // what went wrong may quote a file, a server or a model
    program.err << fmt::format("kernelites: not expected: {} (see --help)\n",
                               clean_text(extras_text(app, arguments)));
    return exit_wrong;
  } catch (const CLI::ConversionError& error) {
    program.err << fmt::format("kernelites: {} (see --help)\n",
                               clean_text(conversion_text(app, error.what())));
    return exit_wrong;
  } catch (const CLI::ParseError& error) {
    // An option that is missing may be there and misspelt.
    const bool is_misspelt = dynamic_cast<const CLI::RequiredError*>(&error) && !app.remaining(true).empty();
    const std::string words =
        is_misspelt ? fmt::format("{}; not expected: {}", error.what(), extras_text(app, arguments))
                    : std::string(error.what());
    program.err << fmt::format("kernelites: {} (see --help)\n", clean_text(words));
    return exit_wrong;
  } catch (const ConfigError& error) {
    program.err << fmt::format("kernelites: {}\n", clean_text(error.what()));
    return exit_wrong;
  } catch (const std::bad_alloc&) {
    program.err << k_out_of_memory_words;
    return exit_trouble;
  } catch (const std::exception& error) {
    program.err << fmt::format("kernelites: {}\n", clean_text(error.what()));
    return exit_trouble;
  }
}

}  // namespace kernelites
