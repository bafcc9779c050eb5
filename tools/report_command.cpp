// SPDX-License-Identifier: Apache-2.0
// kernelites report: a run as one HTML page, written to a file or served live on loopback.
#include <fmt/format.h>

#include <memory>

#include "engine/core/error.h"
#include "tools/baseline_table.h"
#include "tools/command_line.h"
#include "tools/data_root.h"
#include "tools/inspect/morning_text.h"
#include "tools/inspect/run_reader.h"
#include "tools/report/report_page.h"
#include "tools/report/report_server.h"
#include "tools/terminal.h"

namespace kernelites {
namespace {

constexpr std::size_t k_file_columns = 100;

struct ReportOptions {
  std::string run;
  std::string out;
  bool is_served = false;
  bool can_steer = false;
  int port = 0;
  bool is_text = false;
  bool is_json = false;
};

/// Of the files of docs/measured the one of the run's kind of device; null where there is none.
Json libraries_of(const std::string& folder, const Program& program) {
  const RunReader run = read_run(folder);
  if (run.device.is_virtual) return {};
  try {
    const std::filesystem::path measured = find_data_root("", program.executable).measured();
    for (const std::filesystem::path& file : measured_files(measured)) {
      const MeasuredBaselines known = read_measured(file);
      const auto table = known.tasks.find(run.task.name);
      if (known.device.kind != run.device.kind || table == known.tasks.end()) continue;
      Json times = Json::array();
      for (const LibraryRow& row : table->second.rows)
        if (const LibraryArm* const arm = fastest(row, true))
          times.push_back({{"workload", row.workload},
                           {"name", arm->name},
                           {"us", arm->timing.time_us_median},
                           {"p10", arm->timing.time_us_p10},
                           {"p90", arm->timing.time_us_p90},
                           {"n", arm->timing.samples}});
      return {{"date", known.date}, {"torch", known.torch}, {"times", times}};
    }
  } catch (const ConfigError&) {
    // A program without its data still reports what the run holds.
  }
  return {};
}

void serve(const ReportOptions& options, Program& program) {
  const std::string token = options.can_steer ? fresh_token() : "";
  ReportServer server({.folder = options.run,
                       .port = options.port,
                       .token = token,
                       .libraries = libraries_of(options.run, program)});
  program.out << server.url() << (token.empty() ? "" : "#token=" + token) << "\n"
              << (token.empty() ? "read-only; --steer lets the page steer the run"
                                : "whoever has this address can steer the run: keep it to yourself")
              << "; Ctrl-C ends it\n"
              << std::flush;
  server.serve();
}

void write_report(const ReportOptions& options, Program& program) {
  const RunFacts facts = run_facts(options.run);
  const Json data = page_data(facts, {.libraries = libraries_of(options.run, program)});
  if (options.is_json) {
    program.out << data.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
    return;
  }
  const std::filesystem::path file = options.out.empty() ? std::filesystem::path(options.run) / "report.html"
                                                         : std::filesystem::path(options.out);
  write_text_atomically(file, report_page(data, {}));
  program.out << file.string() << "\n";
  if (facts.best && facts.best->speedup > 0)
    program.out << fmt::format("best: #{} at {:.3f}x, {}\n", facts.best->ordinal, facts.best->speedup,
                               facts.best->is_modelled ? "modelled" : "measured");
}

void write_text(const ReportOptions& options, Program& program) {
  const MorningFacts facts = morning_facts(options.run);
  if (options.out.empty()) {
    program.out << morning_text(facts, screen_columns(program, 0));
    return;
  }
  write_text_atomically(options.out, morning_text(facts, k_file_columns));
  program.out << options.out << "\n";
}

void report(const ReportOptions& options, Program& program) {
  if (options.can_steer && !options.is_served)
    throw ConfigError("--steer", "", "needs --serve: a file cannot steer");
  if (options.is_served && options.is_text)
    throw ConfigError("--text", "", "is one page on this terminal; --serve serves another one");
  if (!options.out.empty() && (options.is_served || options.is_json))
    throw ConfigError("--out", options.out, "goes with a file; --serve and --json write none");
  const std::filesystem::path folder = std::filesystem::path(options.out).parent_path();
  if (!folder.empty() && !std::filesystem::is_directory(folder))
    throw ConfigError("--out", options.out, fmt::format("there is no folder {}", folder.string()));
  if (options.is_text && !options.is_json)
    write_text(options, program);
  else if (options.is_served)
    serve(options, program);
  else
    write_report(options, program);
}

}  // namespace

void add_report_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<ReportOptions>();
  command.add_option("run", options->run, "The run folder")->required();
  command.add_option("--out", options->out, "The file to write; report.html in the run folder if not given");
  command.add_flag("--serve", options->is_served, "Serve the page on 127.0.0.1, following the run");
  command.add_option("--port", options->port, "With --serve: the port; 0 is any free one")
      ->check(CLI::Range(0, 65535));
  command.add_flag("--steer", options->can_steer, "With --serve: let the page steer the run, by a token");
  command.add_flag("--text", options->is_text,
                   "Print the run on one page of text instead: what won, why, what to do next");
  command.add_flag("--json", options->is_json, "Print what the page draws as JSON");
  command.footer("Example: kernelites report runs/first --out first.html");
  command.callback([options, &program] { report(*options, program); });
}

}  // namespace kernelites
