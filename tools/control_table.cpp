// SPDX-License-Identifier: Apache-2.0
// One examination per control.
#include "tools/control_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/error.h"
#include "engine/core/negative_control.h"
#include "tools/inspect/text_table.h"
#include "tools/worker_setup.h"

namespace kernelites {

void run_controls(const Task& task, const DataRoot& data, const ControlOptions& options, Program& program) {
  const auto controls = load_controls(task.folder, seed_folder(task, data));
  if (controls.empty())
    throw ConfigError(task.name, "negative/controls.json", "expected a file with controls");
  const auto pool =
      start_workers({}, options.device, find_worker(options.worker, program.executable), options.log);
  const std::string device = device_of(pool->provenance());
  std::vector<std::vector<std::string>> rows{{"control", "mistake", "rejected", "stage", "what showed it"}};
  Json json = Json::array();
  for (const NegativeControl& control : controls) {
    Request request = request_for(task, device, control.name, 600);
    request.examine = ExamineRequest{.candidate = control.candidate, .key = Key::random()};
    const Reply reply = ask_worker(*pool, request);
    if (!reply.examination) throw Error("the worker's reply holds no examination");
    const Verdict& verdict = reply.examination->verdict;
    const bool is_right = !verdict.is_passed && std::find(control.stages.begin(), control.stages.end(),
                                                          verdict.stage) != control.stages.end();
    if (!is_right) program.exit_code = exit_failed;
    rows.push_back({control.name, control.mistake, is_right ? "yes" : "NO", verdict.stage, verdict.message});
    json.push_back({{"name", control.name},
                    {"mistake", control.mistake},
                    {"is_rejected", is_right},
                    {"verdict", verdict}});
  }
  program.out << (options.is_json ? json.dump(2) + "\n" : text_table(rows));
}

}  // namespace kernelites
