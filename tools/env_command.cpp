// SPDX-License-Identifier: Apache-2.0
// kernelites env: the harness as an environment for trainers, in JSON lines on stdin and stdout.
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "engine/core/device_names.h"
#include "engine/core/error.h"
#include "engine/variation/operator_table.h"
#include "tools/command_line.h"
#include "tools/data_root.h"
#include "tools/dataset/device_turn.h"
#include "tools/dataset/episode.h"
#include "tools/dataset/line_input.h"
#include "tools/worker_setup.h"

namespace kernelites {
namespace {

struct EnvOptions {
  std::string task;
  std::string device = "auto";
  std::string operator_name = "refine";
  std::vector<std::string> starts;
  int steps = 8;
  int rounds = 30;
  double examine_s = 180;
  double duel_s = 300;
  double idle_s = 3600;
  std::string lock;
  bool is_untimed = false;
  std::string worker;
  std::string data;
  std::string log = "/dev/null";
};

/// Those whose prompt needs nothing but a parent.
void check_operator(const std::string& name) {
  const OperatorRow* row = find_operator(name);
  if (row == nullptr || !row->needs_model || row->is_scheduled || row->evaluates_inside ||
      row->parent != ParentKind::elite || row->wants_target_cell || row->wants_target_workload)
    throw ConfigError("--operator", name,
                      "expected an operator that asks a model about one parent: refine, edit");
}

/// Waiting for a turn on a GPU that other environments use may take as long as their evaluations.
constexpr std::chrono::minutes k_turn_patience{30};

void write_line(Program& program, const Json& answer) {
  program.out << answer.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n" << std::flush;
}

void serve(Episodes& episodes, const EnvOptions& options, Program& program) {
  LineInput input(STDIN_FILENO, k_episode_line_bytes_max);
  const auto patience = std::chrono::milliseconds(static_cast<std::int64_t>(options.idle_s * 1000));
  while (!episodes.is_closed() && program.out.good()) {
    std::string line;
    const LineState state = input.next(line, patience);
    if (state == LineState::end) return;
    if (state == LineState::silent)
      throw Error("no request came for " + std::to_string(options.idle_s) + " seconds");
    if (state == LineState::too_long)
      write_line(program,
                 {{"event", "error"}, {"is_request_wrong", true}, {"error", "the line is too long"}});
    else if (line.find_first_not_of(" \t\r") != std::string::npos)
      write_line(program, episodes.answer(line));
  }
}

void run_env(const EnvOptions& options, Program& program) {
  check_operator(options.operator_name);
  const DataRoot data = find_data_root(options.data, program.executable);
  const Task task = find_task(options.task, data);
  const PromptLibrary prompts = PromptLibrary::load(data.prompts());
  std::vector<Seed> seeds;
  for (const std::string& file : options.starts)
    seeds.push_back({std::filesystem::path(file).filename().string(), load_candidate(file)});
  if (seeds.empty()) seeds = find_seeds(task, data);
  const auto pool =
      start_workers({}, options.device, find_worker(options.worker, program.executable), options.log);
  const DeviceFacts device = pool->provenance().device;
  std::filesystem::path lock = options.lock == "none" ? "" : options.lock;
  if (lock.empty() && options.lock.empty() && !device.is_virtual && !options.is_untimed)
    lock = device_turn_file();
  Episodes episodes({.task = task,
                     .prompts = prompts,
                     .seeds = std::move(seeds),
                     .device = device,
                     .operator_name = options.operator_name,
                     .steps_max = options.steps,
                     .rounds = options.rounds,
                     .examine_deadline_s = options.examine_s,
                     .duel_deadline_s = options.duel_s,
                     .is_timed = !options.is_untimed},
                    [&](const Request& request) {
                      const DeviceTurn turn(lock, k_turn_patience);
                      return ask_worker(*pool, request);
                    });
  write_line(program,
             {{"event", "ready"}, {"kernelites_env", 1}, {"task", task.name}, {"device", device.kind}});
  serve(episodes, options, program);
}

}  // namespace

void add_env_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<EnvOptions>();
  command.add_option("--task", options->task, "Task name or folder")->required();
  command.add_option("--device", options->device, "auto, gpu, vgpu or vgpu:rtx4090")
      ->check(CLI::IsMember(device_names()));
  command.add_option("--operator", options->operator_name, "Whose prompt observations show");
  command.add_option("--from", options->starts,
                     "Kernel files that episodes begin with; else the task's seeds");
  command.add_option("--steps", options->steps, "Steps of an episode")->check(CLI::Range(1, 10000));
  command.add_option("--rounds", options->rounds, "Rounds of timing, at most")->check(CLI::Range(2, 1000));
  command.add_option("--examine-seconds", options->examine_s, "Deadline of a proof")
      ->check(CLI::Range(1.0, 3600.0));
  command.add_option("--duel-seconds", options->duel_s, "Deadline of a timing")
      ->check(CLI::Range(1.0, 3600.0));
  command.add_option("--idle-seconds", options->idle_s, "Ends when no request came for so long")
      ->check(CLI::Range(1.0, 1e6));
  command.add_option(
      "--lock", options->lock,
      "Environments with one lock file evaluate in turn (a GPU has one by itself); none: never wait");
  command.add_flag("--no-timing", options->is_untimed, "Verdicts alone");
  command.add_option("--worker", options->worker, "The worker program");
  command.add_option("--log", options->log, "File for the worker's messages");
  command.add_option("--data", options->data, "Folder that holds tasks/, kernels_seed/ and prompts/");
  command.footer("Example: echo '{\"command\": \"reset\"}' | kernelites env --task rmsnorm");
  command.callback([options, &program] { run_env(*options, program); });
}

}  // namespace kernelites
