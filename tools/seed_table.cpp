// SPDX-License-Identifier: Apache-2.0
// One examination per seed, of a task cut down to its small shapes.
#include "tools/seed_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "engine/core/error.h"
#include "engine/core/rng.h"
#include "tools/evaluation_requests.h"
#include "tools/readable_json.h"
#include "tools/task_status.h"
#include "tools/worker_setup.h"

namespace kernelites {
namespace {

constexpr double k_seed_deadline_s = 300;

std::int64_t elements(const Task& task, const Workload& workload) {
  std::int64_t sum = 0;
  for (const TensorSpec& tensor : task.tensors) sum += element_count(tensor, workload);
  return sum;
}

/// Of the families after the first those that are not kept.
std::set<std::string> dropped_families(const Task& task, const Key& key) {
  std::set<std::string> dropped;
  for (std::size_t i = 1; i < task.families.size(); ++i) dropped.insert(task.families[i].name);
  for (const Property& property : task.properties) dropped.erase(property.family);
  if (dropped.empty()) return dropped;
  const std::uint64_t drawn = Rng(key.derive("family").seed()).below(dropped.size());
  dropped.erase(std::next(dropped.begin(), static_cast<std::ptrdiff_t>(drawn)));
  return dropped;
}

/// What became of a seed.
struct SeedLine {
  std::string outcome, stage, message;
  double seconds = 0;
};

SeedLine line_of(const Reply& reply) {
  if (!reply.error.empty() || !reply.examination)
    return {.outcome = "FAILED", .stage = "", .message = reply.error};
  const Examination& examination = *reply.examination;
  const Verdict& verdict = examination.verdict;
  SeedLine line{.outcome = "passed", .stage = verdict.stage, .message = verdict.message};
  for (const StageReport& stage : examination.stages) line.seconds += stage.wall_s;
  if (!verdict.is_passed)
    line.outcome = verdict.reason == "unsupported_instruction" ? "not executable here" : "FAILED";
  return line;
}

/// No seeds rather than an error where a task has none.
std::vector<Seed> seeds_of(const Task& task, const DataRoot& data) {
  try {
    return find_seeds(task, data);
  } catch (const ConfigError&) {
    return {};
  }
}

}  // namespace

Task small_task(const Task& task, const Key& key) {
  Json document = task.document;
  const auto smallest = std::min_element(
      task.check.begin(), task.check.end(),
      [&](const Workload& a, const Workload& b) { return elements(task, a) < elements(task, b); });
  for (const Json& workload : task.document.at("check")) {
    if (workload.at("name") == smallest->name) document["bench"] = Json::array({workload});
  }
  document["bench"][0].update({{"name", "smallest"}, {"source", "the smallest check shape"}});
  // Formulas that need not hold for shapes so small; nothing is timed.
  document["roofline"] = {{"flops", "1"}, {"bytes", "1"}, {"exponentials", "0"}};
  for (const std::string& family : dropped_families(task, key)) document["families"].erase(family);
  return parse_task(document, task.reference_source, task.name);
}

void run_seeds(const std::vector<Task>& tasks, const DataRoot& data, const ControlOptions& options,
               Program& program) {
  WorkerSettings settings;
  if (options.device == "vgpu") settings.count = std::clamp<int>(std::thread::hardware_concurrency(), 1, 8);
  const auto pool =
      start_workers(settings, options.device, find_worker(options.worker, program.executable), options.log);
  const std::string device = device_of(pool->provenance());
  // Read before the examinations: a file that cannot be updated is told at once.
  std::optional<DeviceStatus> before;
  if (!options.record.empty()) before = find_device_status(options.record);
  if (before) updated(*before, {.device = pool->provenance().device.kind, .date = "", .tasks = {}});
  std::map<std::string, Request> requests;
  for (const Task& task : tasks) {
    for (const Seed& seed : seeds_of(task, data)) {
      const std::string id = task.name + "/" + seed.name;
      const Key key = Key::fixed(id);
      Request request = request_for(small_task(task, key), device, id, k_seed_deadline_s);
      request.examine = ExamineRequest{.candidate = seed.candidate, .key = key};
      requests.emplace(id, std::move(request));
    }
  }
  int passed = 0, failed = 0;
  for (const Task& task : tasks) {
    if (!seeds_of(task, data).empty()) continue;
    program.out << fmt::format("FAILED {}: there are no seeds\n", task.name);
    ++failed;
  }
  std::map<std::string, Task> known;
  for (const Task& task : tasks) known.emplace(task.name, task);
  DeviceStatus status{.device = "", .date = options.date, .copy_gb_per_s = 0, .tasks = {}};
  ask_all(*pool, requests, [&](const Reply& reply) {
    const SeedLine line = line_of(reply);
    status.add(reply, known);
    passed += line.outcome == "passed" ? 1 : 0;
    failed += line.outcome == "FAILED" ? 1 : 0;
    program.out << fmt::format("{} {} ({:.1f} s){}\n", line.outcome, reply.id, line.seconds,
                               line.message.empty() ? "" : fmt::format(": {}: {}", line.stage, line.message))
                << std::flush;
  });
  if (failed > 0) program.exit_code = exit_failed;
  program.out << fmt::format("{} passed, {} failed\n", passed, failed);
  if (options.record.empty()) return;
  if (device == "vgpu") status.copy_gb_per_s = 0;                               // a model's
  for (auto& [name, task] : status.tasks) task.digest = known.at(name).digest;  // not of the one cut down
  if (before) status = updated(*before, status);
  write_text_atomically(options.record, readable_json(to_json(status)));
}

}  // namespace kernelites
