// SPDX-License-Identifier: Apache-2.0
// kernelites calibrate: how the errors of honest kernels lie to a task's gates.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "engine/core/device_names.h"
#include "engine/core/error.h"
#include "engine/core/negative_control.h"
#include "tools/command_line.h"
#include "tools/data_root.h"
#include "tools/inspect/text_table.h"
#include "tools/worker_setup.h"

namespace kernelites {
namespace {

struct CalibrateOptions {
  std::string task;
  std::string device = "auto";
  std::string kernels;
  std::string out;
  std::string worker;
  std::string data;
  std::string log = "/dev/null";
  int seeds = 20;
  double minutes = 10;
  std::vector<std::string> families;
  bool is_bench = false;
  bool has_controls = false;
  bool is_json = false;
};

/// A kernel to measure.
struct Specimen {
  std::string name;
  Candidate candidate;
};

std::vector<Specimen> specimens(const CalibrateOptions& options, const Task& task, const DataRoot& data) {
  std::vector<Specimen> kernels;
  for (Seed& seed : find_seeds(task, data)) kernels.push_back({seed.name, std::move(seed.candidate)});
  if (!options.kernels.empty()) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(options.kernels)) {
      if (entry.path().extension() == ".cu") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    for (const auto& file : files) kernels.push_back({file.filename().string(), load_candidate(file)});
  }
  if (!options.has_controls) return kernels;
  for (const NegativeControl& control : load_controls(task.folder, data.folder / "kernels_seed" / task.name))
    kernels.push_back({"control " + control.name, control.candidate});
  return kernels;
}

/// The task as the worker is to calibrate it: `families` only, if any are named; bench shapes for check shapes, if
/// asked for. Properties, which may need either, are left out: nothing here tries them.
Task calibrated_task(const Task& task, const CalibrateOptions& options) {
  Json document = task.document;
  document.erase("properties");
  if (!options.families.empty()) {
    Json families = Json::object();
    for (const std::string& name : options.families) {
      if (!document["families"].contains(name))
        throw ConfigError("--family", "", fmt::format("{} has no family of inputs '{}'", task.name, name));
      families[name] = document["families"][name];
    }
    document["families"] = std::move(families);
  }
  if (options.is_bench) {
    document["check"] = Json::array();
    for (const Workload& workload : task.bench) {
      Json dims = Json::object();
      for (const auto& [name, value] : workload.dims) {
        if (!task.document["dims"][name].contains("constant")) dims[name] = value;
      }
      document["check"].push_back({{"name", "at_" + workload.name}, {"dims", std::move(dims)}});
    }
  }
  Task result = parse_task(document, task.reference_source, task.name);
  result.folder = task.folder;
  return result;
}

Calibration measure(Evaluator& pool, const Task& task, const std::string& device, const Specimen& specimen,
                    const CalibrateOptions& options) {
  Request request = request_for(task, device, specimen.name, options.minutes * 60);
  request.calibrate =
      CalibrateRequest{.candidate = specimen.candidate, .draws = options.seeds, .key = Key::random()};
  const Reply reply = ask_worker(pool, request);
  if (!reply.calibration) throw Error("the worker's reply holds no calibration");
  return *reply.calibration;
}

/// One row per kernel, family and output; shares of the gates, so that 1 is the gate.
std::string table(const std::vector<std::pair<std::string, Calibration>>& results) {
  std::vector<std::vector<std::string>> rows{{"kernel", "family", "output", "class", "trials", "rows",
                                              "row p50", "p99", "max", "element p50", "p99", "max",
                                              "mismatches"}};
  const auto share = [](double value) { return fmt::format("{:.3f}", value); };
  for (const auto& [name, calibration] : results) {
    for (const CalibrationRow& row : calibration.rows) {
      rows.push_back({name, row.family, row.output, row.gates, fmt::to_string(row.trials),
                      fmt::to_string(row.rows), share(row.row_p50), share(row.row_p99), share(row.row_max),
                      share(row.element_p50), share(row.element_p99), share(row.element_max),
                      fmt::to_string(row.mismatches)});
    }
    if (!calibration.problem.empty()) rows.push_back({name, "-", calibration.problem});
    rows.back().resize(rows.front().size());
  }
  return text_table(rows);
}

void calibrate(const CalibrateOptions& options, Program& program) {
  const DataRoot data = find_data_root(options.data, program.executable);
  const Task whole = find_task(options.task, data);
  const std::vector<Specimen> kernels = specimens(options, whole, data);
  const Task task = calibrated_task(whole, options);
  const auto pool =
      start_workers({}, options.device, find_worker(options.worker, program.executable), options.log);
  const std::string device = device_of(pool->provenance());
  std::vector<std::pair<std::string, Calibration>> results;
  Json json{{"task", task.name},
            {"task_digest", whole.digest},
            {"device", pool->provenance().device},
            {"seeds", options.seeds},
            {"kernels", Json::array()}};
  for (const Specimen& kernel : kernels) {
    results.emplace_back(kernel.name, measure(*pool, task, device, kernel, options));
    json["kernels"].push_back({{"name", kernel.name}, {"calibration", results.back().second}});
    if (!options.out.empty()) write_text_atomically(options.out, json.dump(1) + "\n");
  }
  program.out << (options.is_json ? json.dump(1) + "\n" : table(results));
}

}  // namespace

void add_calibrate_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<CalibrateOptions>();
  command.add_option("--task", options->task, "Task name or folder")->required();
  command.add_option("--device", options->device, "auto, gpu, vgpu or vgpu:rtx4090")
      ->check(CLI::IsMember(device_names()));
  command.add_option("--seeds", options->seeds, "Draws of every input family")->check(CLI::Range(1, 100000));
  command.add_option("--kernels", options->kernels, "Folder of further honest kernels");
  command.add_flag("--controls", options->has_controls, "Measure the task's negative controls too");
  command.add_option("--family", options->families, "Only these families of inputs");
  command.add_flag("--bench", options->is_bench,
                   "At the bench shapes, on a sample of their rows, instead of the small check shapes (gpu)");
  command.add_option("--minutes", options->minutes, "At most so long for each kernel");
  command.add_option("--out", options->out, "File for the result as JSON, written as it grows");
  command.add_option("--worker", options->worker, "The worker program");
  command.add_option("--log", options->log, "File for the worker's messages");
  command.add_option("--data", options->data, "Folder that holds tasks/, kernels_seed/ and prompts/");
  command.add_flag("--json", options->is_json, "Print JSON");
  command.footer("Example: kernelites calibrate --task rmsnorm --device vgpu --seeds 5");
  command.callback([options, &program] { calibrate(*options, program); });
}

}  // namespace kernelites
