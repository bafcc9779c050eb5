// SPDX-License-Identifier: Apache-2.0
// kernelites export: the winners of a run as a library, an extension or a file that others use.
#include "tools/export_command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>

#include "engine/core/error.h"
#include "tools/bindings/flashinfer_target.h"
#include "tools/bindings/torch_target.h"
#include "tools/command_line.h"
#include "tools/data_root.h"
#include "tools/exporting/export_session.h"
#include "tools/exporting/manifest.h"
#include "tools/exporting/measured_files.h"
#include "tools/inspect/run_reader.h"
#include "tools/inspect/screen_text.h"

namespace kernelites {
namespace {

/// What --as may be. A further target is one row here.
constexpr ExportTarget k_targets[] = {
    {"cpp", "C++ library with a C interface, CMake package, test and bench", cpp_files,
     "README.md has the CMake lines and a whole program"},
    {"cu", "each kernel as one annotated file", annotated_files,
     "README.md says how to compile and launch the kernels"},
    {"torch", "PyTorch package with the operator, for pip", torch_files,
     "pip install --no-build-isolation in it, then its test/test_*.py"},
    {"flashinfer-bench", "trace set of FlashInfer-Bench", flashinfer_files,
     "python check.py in it has FlashInfer-Bench read every file"},
};

struct ExportOptions {
  std::string run, to, as = "cpp", elite, plans = "code";
  std::vector<std::string> architectures, domain, shapes, scalars;
  std::string confirm, tested, fallback_times;
  std::optional<double> gain_min;
  std::size_t proof_shapes = 10000;
  std::string host_compiler = "c++", worker, toolkit;
  bool may_replace = false;
};

const ExportTarget& target_of(const std::string& name) {
  std::vector<std::string> names;
  for (const ExportTarget& target : k_targets) {
    if (name == target.name) return target;
    names.emplace_back(target.name);
  }
  throw ConfigError("--as", name, fmt::format("is unknown; known are {}", fmt::join(names, ", ")));
}

/// "B=1,S=4096" by dim.
std::map<std::string, std::int64_t> shape_from(const std::string& text, const Task& task) {
  std::map<std::string, std::int64_t> dims;
  for (const DimSpec& dim : task.dims)
    if (dim.constant) dims[dim.name] = *dim.constant;
  const std::vector<std::string> known = variable_dims(task);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size()), equals = text.find('=', at);
    std::int64_t value = 0;
    if (equals != std::string::npos && equals < end)
      std::from_chars(text.data() + equals + 1, text.data() + end, value);
    const std::string name = equals < end ? text.substr(at, equals - at) : "";
    if (value < 1 || std::find(known.begin(), known.end(), name) == known.end())
      throw ConfigError(
          "--shape", text,
          fmt::format("expected extents of {}, as \"{}=1,...\"", fmt::join(known, ", "), known[0]));
    dims[name] = value;
    at = end + 1;
  }
  return dims;
}

std::map<std::string, double> scalars_from(const std::vector<std::string>& texts, const Task& task) {
  std::map<std::string, double> scalars;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    double value = 0;
    const char* const end = text.data() + text.size();
    const bool is_known =
        equals != std::string::npos &&
        std::any_of(task.scalars.begin(), task.scalars.end(),
                    [&](const ScalarSpec& scalar) { return scalar.name == text.substr(0, equals); });
    if (!is_known || std::from_chars(text.data() + equals + 1, end, value).ptr != end)
      throw ConfigError("--scalar", text, "expected NAME=VALUE, with a scalar of the task");
    scalars[text.substr(0, equals)] = value;
  }
  return scalars;
}

ExportOrder order_of(const ExportOptions& options, const Task& task, const Program& program) {
  ExportOrder order{.plans = options.plans == "table" ? PlanMode::table : PlanMode::code,
                    .architectures = options.architectures,
                    .domain = options.domain,
                    .shapes = {},
                    .scalars = scalars_from(options.scalars, task),
                    .proof_shapes = options.proof_shapes,
                    .host_compiler = options.host_compiler,
                    .worker = find_worker(options.worker, program.executable),
                    .toolkit = options.toolkit};
  if (order.plans == PlanMode::code && !(options.shapes.empty() && options.scalars.empty()))
    throw ConfigError(options.shapes.empty() ? "--scalar" : "--shape", "",
                      "is for --plans table: code takes every shape");
  for (const std::string& shape : options.shapes) order.shapes.push_back(shape_from(shape, task));
  return order;
}

void print_portfolio(const Portfolio& portfolio, std::ostream& out) {
  std::vector<std::string> labels;
  for (const PortfolioArm& arm : portfolio.arms) {
    labels.push_back(arm.label);
    out << fmt::format("{}: #{} {} ({:.3f}x the baseline over all bench workloads): {}\n", arm.label,
                       arm.ordinal, arm.candidate_id.substr(0, 8), arm.speedup,
                       cut_to(clean_line(arm.summary), 80));
  }
  for (const DispatchRule& rule : portfolio.dispatch.rules) out << "  " << rule_words(rule, labels) << "\n";
  out << fmt::format("  everywhere else -> {}\n",
                     labels[static_cast<std::size_t>(portfolio.dispatch.default_arm)]);
  for (const auto& [workload, gain] : dispatch_gains(portfolio.dispatch, portfolio.shapes))
    if (gain != 1)
      out << fmt::format("  {}: {:.3f}x the best single kernel{}\n", workload, gain,
                         model_words(portfolio, gain));
  for (const LeftOut& champion : portfolio.left_out)
    out << fmt::format("  {}{}\n", portfolio.is_confirmed ? "left out before it was measured: " : "",
                       left_out_words(champion));
  out << fmt::format("times are {}\n", times_words(portfolio));
  if (const std::string words = evidence_words(portfolio); !words.empty()) out << words << "\n";
}

void export_run(const ExportOptions& options, Program& program) {
  const ExportTarget& target = target_of(options.as);
  check_export_folder(options.to);
  check_architectures(options.architectures);
  const RunReader run = read_run(options.run);
  PortfolioChoice choice{.only = {}, .gain_min = options.gain_min, .fallback_us = {}};
  if (!options.elite.empty()) choice.only = find_candidate(run, options.elite).ordinal;
  if (!options.fallback_times.empty())
    choice.fallback_us = read_fallback_times(options.fallback_times, run.task);
  Portfolio portfolio = read_portfolio(run.archive, run.task, choice);
  if (portfolio.is_modelled && !options.fallback_times.empty() && options.confirm.empty())
    throw ConfigError(
        "--fallback-times", options.fallback_times,
        "are measured and the run's times are modelled: measure the export's kernels with its bench, "
        "then give both files");
  if (!options.may_replace)
    check_same_export(options.to, {target.name, run.task.name, portfolio.run_started});
  ExportOrder order = order_of(options, run.task, program);
  if (!options.tested.empty()) order.tested = read_findings(options.tested);
  if (!options.confirm.empty()) {
    MeasuredBench bench = read_bench(options.confirm, portfolio, run.task);
    order.measured = std::move(bench.document);
    portfolio = with_measured(std::move(portfolio), std::move(bench.shapes), options.gain_min);
  }
  print_portfolio(portfolio, program.out);
  const ExportInputs inputs = make_export(run.task, portfolio, order, [&](const std::string& line) {
    program.out << line << "\n" << std::flush;
  });
  std::vector<ExportFile> files = target.make(inputs);
  files.push_back(manifest_file(manifest_json(portfolio, run.task, target.name, inputs.facts, files)));
  const std::string before = export_words(options.to);
  write_export(options.to, files);
  if (!before.empty())
    program.out << fmt::format("{} held {}, which this one replaces\n", options.to, before);
  program.out << fmt::format("{} files in {}: {}\n", files.size(), options.to, target.next);
  if (inputs.has_host_plans && options.as != "cu")
    program.out << "src/plan_*.cpp say what the kernels' plans say, in this program's words (README.md); "
                   "--plans table "
                   "ships data instead\n";
}

}  // namespace

void add_export_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<ExportOptions>();
  command.add_option("run", options->run, "The run folder")->required();
  command
      .add_option("--to", options->to,
                  "The folder to be made; an older export of the run, as the same, is replaced")
      ->required();
  command.add_flag("--replace", options->may_replace, "Also replace an export of another run, task or kind");
  std::string targets;
  for (const ExportTarget& target : k_targets)
    targets += fmt::format("{}{}: {}", targets.empty() ? "" : "; ", target.name, target.purpose);
  command.add_option("--as", options->as, targets);
  command.add_option("--elite", options->elite,
                     "This candidate alone (number or id) instead of all champions");
  command
      .add_option("--plans", options->plans,
                  "code: plans are written anew as host code and proven; table: data for listed shapes")
      ->check(CLI::IsMember({"code", "table"}));
  command
      .add_option("--arch", options->architectures,
                  "Architectures to compile for (sm_90a,...); by default the run's")
      ->delimiter(',');
  command.add_option("--domain", options->domain, "Another range of a dim: S=1:262144 (repeatable)");
  command.add_option("--shape", options->shapes,
                     "With --plans table: a further shape, B=1,S=4096 (repeatable)");
  command.add_option("--scalar", options->scalars,
                     "With --plans table: the value of a scalar, scale=0.0884 (repeatable)");
  command
      .add_option("--proof-shapes", options->proof_shapes,
                  "Shapes at which host code is compared with the evaluated plans")
      ->check(CLI::Range(1, 100000));
  command.add_option("--confirm", options->confirm,
                     "What the exported bench printed: the dispatch is made from it");
  command.add_option("--tested", options->tested,
                     "What the exported regression test printed, for the manifest");
  command.add_option(
      "--fallback-times", options->fallback_times,
      "JSON, workload -> microseconds of your own kernel: where it is faster, the dispatcher calls it");
  command
      .add_option(
          "--gain", options->gain_min,
          "Share of the time that a kernel must save at a workload to be called there (default: 0.01; of "
          "modelled times what the model can tell, 0.13)")
      ->check(CLI::Range(0.0, 1.0));
  command.add_option("--host-compiler", options->host_compiler,
                     "What compiles plans for the proof, in a jail");
  command.add_option("--worker", options->worker, "The worker program");
  command.add_option("--toolkit", options->toolkit, "Folder of a CUDA toolkit (include, lib64)");
  command.footer("Example: kernelites export runs/first --to attention --as cpp");
  command.callback([options, &program] { export_run(*options, program); });
}

}  // namespace kernelites
