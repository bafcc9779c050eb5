// SPDX-License-Identifier: Apache-2.0
// kernelites doctor: tries what a run would depend on, and says what to do about what does not work.
#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "engine/core/device_names.h"
#include "engine/core/error.h"
#include "engine/core/fresh_folder.h"
#include "engine/llm/endpoint_check.h"
#include "tools/command_line.h"
#include "tools/data_root.h"
#include "tools/doctor_checks.h"
#include "tools/worker_setup.h"

namespace kernelites {
namespace {

struct DoctorOptions {
  std::string endpoint;
  double timeout_s = 60;
  std::string device = "auto";
  std::string task = "softmax_row";
  std::string worker;
  std::string data;
  std::string log = "/dev/null";
  bool skips_machine = false;
  bool is_json = false;
};

const char* word_of(CheckState state) {
  switch (state) {
    case CheckState::good:
      return "ok";
    case CheckState::warning:
      return "warn";
    case CheckState::bad:
      return "bad";
    case CheckState::skipped:
      return "skip";
  }
  return "";
}

std::vector<DoctorLine> check_endpoints(const DoctorOptions& options) {
  if (options.endpoint.empty())
    return {{"endpoint", CheckState::skipped, "none was named", "try one with --endpoint before a run"}};
  if (options.endpoint == "none")  // as in `run`
    return {{"endpoint", CheckState::skipped, "none: the tuner alone, no model", ""}};
  const EndpointConfig config = endpoint_config_from_option(options.endpoint);
  HttpLoop http;
  const FreshFolder folder("doctor");  // for what an endpoint writes while it is tried
  const EndpointContext context{.http = http, .run_folder = folder.path()};
  const auto timeout = std::chrono::milliseconds(static_cast<std::int64_t>(options.timeout_s * 1000));
  return check_endpoint(config, context, timeout);
}

/// What needs a worker that works. A machine on which none does has said why already.
std::vector<DoctorLine> check_worker(const DoctorOptions& options, const std::filesystem::path& worker,
                                     const DataRoot& data) {
  try {
    const auto pool = start_workers({}, options.device, worker, options.log);
    const Task task = find_task(options.task, data);
    const DeviceFacts& facts = pool->provenance().device;
    std::vector<DoctorLine> lines{
        {"worker", CheckState::good,
         fmt::format("evaluates on {}{}", facts.kind, facts.is_virtual ? ", times are modelled" : ""), ""}};
    lines.push_back(check_verdicts(*pool, task, data));
    lines.push_back(check_noise(*pool, task, data));
    return lines;
  } catch (const Error& error) {
    return {{"worker", CheckState::bad, error.what(), "see the lines above, and --log"}};
  }
}

std::vector<DoctorLine> all_lines(const DoctorOptions& options, Program& program) {
  std::vector<DoctorLine> lines;
  const auto append = [&](std::vector<DoctorLine> more) {
    lines.insert(lines.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  };
  if (!options.skips_machine) {
    const DataRoot data = find_data_root(options.data, program.executable);
    const std::filesystem::path worker = find_worker(options.worker, program.executable);
    append({check_disk(std::filesystem::current_path())});
    append(check_machine({worker.string(), "--device", options.device}, options.log));
    append(check_worker(options, worker, data));
  }
  append(check_endpoints(options));
  return lines;
}

void examine(const DoctorOptions& options, Program& program) {
  const std::vector<DoctorLine> lines = all_lines(options, program);
  Json all = Json::array();
  for (const DoctorLine& line : lines) {
    if (line.state == CheckState::bad) program.exit_code = exit_failed;
    all.push_back({{"subject", line.subject},
                   {"state", word_of(line.state)},
                   {"found", line.found},
                   {"remedy", line.remedy}});
  }
  if (options.is_json) {
    program.out << all.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
    return;
  }
  for (const DoctorLine& line : lines) {
    program.out << fmt::format("{:6}{:15}{}\n", word_of(line.state), line.subject, line.found);
    if (!line.remedy.empty()) program.out << fmt::format("{:21}-> {}\n", "", line.remedy);
  }
}

}  // namespace

void add_doctor_command(CLI::App& command, Program& program) {
  const auto options = std::make_shared<DoctorOptions>();
  command.add_option("--endpoint", options->endpoint,
                     "as in run; a few tiny calls are made, which cost a little");
  command.add_option("--timeout", options->timeout_s, "seconds for each call")
      ->check(CLI::Range(1.0, 3600.0));
  command.add_flag("--endpoint-only", options->skips_machine, "nothing but the endpoint");
  command.add_option("--device", options->device, "auto, gpu, vgpu or vgpu:rtx4090")
      ->check(CLI::IsMember(device_names()));
  command.add_option("--task", options->task, "the task that verdicts and timing are tried with");
  command.add_option("--worker", options->worker, "The worker program");
  command.add_option("--log", options->log, "File for the worker's messages");
  command.add_option("--data", options->data, "Folder that holds tasks/, kernels_seed/ and prompts/");
  command.add_flag("--json", options->is_json, "machine-readable");
  command.footer(
      "Example: kernelites doctor --endpoint openai:qwen3-coder@http://localhost:8080/v1\n"
      "Exit code 0: usable, perhaps with warnings; 1: not usable.");
  command.callback([options, &program] { examine(*options, program); });
}

}  // namespace kernelites
