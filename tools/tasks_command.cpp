// SPDX-License-Identifier: Apache-2.0
// kernelites tasks: what there is to speed up.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include "engine/core/device_names.h"
#include "engine/core/error.h"
#include "tools/baseline_markdown.h"
#include "tools/command_line.h"
#include "tools/control_table.h"
#include "tools/data_root.h"
#include "tools/inspect/text_table.h"
#include "tools/readable_json.h"
#include "tools/seed_table.h"
#include "tools/task_markdown.h"
#include "tools/task_status.h"

namespace kernelites {
namespace {

struct TasksOptions {
  std::string name;
  std::string data;
  bool is_json = false;
  bool has_controls = false;
  bool has_seeds = false;
  bool is_markdown = false;
  bool has_baselines = false;
  std::vector<std::string> measured;
  std::string date = date_today();
  ControlOptions controls;
};

Json task_json(const Task& task) {
  Json bench = Json::array();
  for (const Workload& workload : task.bench)
    bench.push_back({{"name", workload.name},
                     {"dims", workload.dims},
                     {"weight", workload.weight},
                     {"source", workload.source}});
  return {{"name", task.name},     {"title", task.title},   {"formula", task.formula},
          {"source", task.source}, {"family", task.family}, {"digest", task.digest},
          {"bench", bench}};
}

void print_task(const Task& task, std::ostream& out) {
  out << fmt::format("{}: {}\n{}\n{}\n\n", task.name, task.title, task.formula, task.source);
  std::vector<std::vector<std::string>> rows{{"workload", "weight", "dims", "GB", "GFLOP"}};
  for (const Workload& workload : task.bench) {
    const RooflineCounts counts = roofline_counts(task, workload);
    std::vector<std::string> dims;
    for (const auto& [name, value] : workload.dims) dims.push_back(fmt::format("{}={}", name, value));
    rows.push_back({workload.name, fmt::format("{:g}", workload.weight),
                    fmt::format("{}", fmt::join(dims, " ")), fmt::format("{:.4g}", counts.bytes * 1e-9),
                    fmt::format("{:.4g}", counts.flops * 1e-9)});
  }
  out << text_table(rows);
}

std::vector<Task> all_tasks(const DataRoot& data) {
  std::vector<Task> tasks;
  for (const std::string& name : list_tasks(data.tasks())) tasks.push_back(load_task(data.tasks() / name));
  return tasks;
}

void print_measured(const TasksOptions& options, const DataRoot& data, Program& program) {
  std::map<std::string, Task> known;
  for (Task& task : all_tasks(data)) known.emplace(task.name, std::move(task));
  DeviceStatus status =
      status_of_replies({options.measured.begin(), options.measured.end()}, known, options.date);
  const std::string& record = options.controls.record;
  if (record.empty()) {
    program.out << readable_json(to_json(status));
    return;
  }
  if (const auto before = find_device_status(record)) status = updated(*before, status);
  write_text_atomically(record, readable_json(to_json(status)));
}

void list(const TasksOptions& options, Program& program) {
  const DataRoot data = find_data_root(options.data, program.executable);
  if (!options.measured.empty()) {
    print_measured(options, data, program);
    return;
  }
  if (!options.name.empty()) {
    const Task task = find_task(options.name, data, "task");
    if (options.has_seeds) {
      run_seeds({task}, data, options.controls, program);
      return;
    }
    if (options.has_controls) {
      ControlOptions controls = options.controls;
      controls.is_json = options.is_json;
      run_controls(task, data, controls, program);
      return;
    }
    if (options.is_json)
      program.out << task_json(task).dump(2) << "\n";
    else
      print_task(task, program.out);
    return;
  }
  if (options.has_seeds || options.is_markdown || options.has_baselines) {
    if (options.is_markdown)
      program.out << task_markdown(all_tasks(data), data);
    else if (options.has_baselines)
      program.out << baseline_markdown(all_tasks(data), data,
                                       read_measured(data.measured() / "baselines_h100.json"));
    else
      run_seeds(all_tasks(data), data, options.controls, program);
    return;
  }
  Json all = Json::array();
  std::vector<std::vector<std::string>> rows{{"task", "title", "workloads", "seeds"}};
  for (const std::string& name : list_tasks(data.tasks())) {
    const Task task = load_task(data.tasks() / name);
    std::size_t seeds = 0;
    try {
      seeds = find_seeds(task, data).size();
    } catch (const ConfigError&) {  // a task without seeds is still a task
    }
    all.push_back(task_json(task));
    rows.push_back({name, task.title, fmt::to_string(task.bench.size()), fmt::to_string(seeds)});
  }
  if (options.is_json)
    program.out << all.dump(2) << "\n";
  else
    program.out << text_table(rows);
}

}  // namespace

void add_tasks_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<TasksOptions>();
  command.add_option("name", options->name, "A task, to see its workloads");
  command.add_option("--data", options->data, "Folder that holds tasks/, kernels_seed/ and prompts/");
  command.add_flag(
      "--controls", options->has_controls,
      "Run the task's wrong kernels, all of which must be rejected: which input family shows each");
  command.add_flag("--seeds", options->has_seeds,
                   "Examine the seeds of the task, or of all tasks, at their small shapes, quickly");
  command.add_option("--device", options->controls.device, "For --controls and --seeds: auto, gpu or vgpu")
      ->check(CLI::IsMember(device_names()));
  command.add_option("--worker", options->controls.worker, "For --controls and --seeds: the worker program");
  command.add_option("--log", options->controls.log,
                     "For --controls and --seeds: file for the worker's messages");
  command.add_option("--record", options->controls.record,
                     "For --seeds and --measured: keep the outcome in this file, as docs/measured has them; "
                     "what it holds of other "
                     "tasks stays");
  command.add_option("--measured", options->measured,
                     "Reply files of batches about seeds: what docs/measured keeps of them, as JSON");
  command.add_option("--date", options->date, "For --measured and --record: the day of the measurement");
  command.add_flag("--markdown", options->is_markdown,
                   "The table of all tasks, as docs/task_table.md holds it");
  command.add_flag("--baselines", options->has_baselines,
                   "The tables of seeds beside libraries, as docs/baseline_table.md holds them");
  command.add_flag("--json", options->is_json, "Print JSON");
  command.footer("Example: kernelites tasks rmsnorm --controls --device vgpu");
  command.callback([options, &program] {
    options->controls.date = options->date;
    list(*options, program);
  });
}

}  // namespace kernelites
