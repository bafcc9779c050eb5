// SPDX-License-Identifier: Apache-2.0
// Replies to a status, and a status to JSON and back.
#include "tools/task_status.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <sstream>

#include "engine/core/error.h"
#include "engine/core/roofline.h"

namespace kernelites {
namespace {

/// The task and the seeds that a reply is about; empty if its id is none of ours.
std::optional<std::pair<std::string, std::vector<std::string>>> subject_of(const std::string& id) {
  std::istringstream words(id);
  std::string verb, task, seeds;
  if (words >> verb >> task >> seeds) {
    if (verb != "examine" && verb != "duel" && verb != "honest") return {};
  } else {
    const std::size_t slash = id.find('/');
    if (slash == std::string::npos) return {};
    task = id.substr(0, slash);
    seeds = id.substr(slash + 1);
  }
  std::vector<std::string> names;
  std::istringstream parts(seeds);
  for (std::string name; std::getline(parts, name, '+');) names.push_back(name);
  return std::pair{task, names};
}

void add_times(TaskStatus& status, const Reply& reply, const Task& task) {
  for (const auto& [name, arms] : reply.duel->timing) {
    const Workload* workload = task.find_workload(name);
    if (!workload) continue;
    for (std::size_t arm = 0; arm < arms.size() && arm < reply.duel->arms.size(); ++arm) {
      const std::string& seed = reply.duel->arms[arm];
      if (!seed.ends_with(".cu")) continue;  // other tunables than the seed's own
      const RooflineShare share = roofline_share(counts_on(reply.provenance.device, task, *workload),
                                                 reply.provenance.device, arms[arm].time_us_median);
      std::erase_if(status.times,
                    [&](const SeedTime& time) { return time.workload == name && time.seed == seed; });
      status.times.push_back({.workload = name,
                              .seed = seed,
                              .time_us = arms[arm].time_us_median,
                              .samples = arms[arm].samples,
                              .of_copy = share.of_memory,
                              .of_floor = share.of_floor,
                              .limit = std::string(share.limit)});
    }
  }
}

/// So that a file has the digits that count.
double rounded(double value, int digits) { return std::stod(fmt::format("{:.{}f}", value, digits)); }

}  // namespace

void DeviceStatus::add(const Reply& reply, const std::map<std::string, Task>& known) {
  const auto subject = subject_of(reply.id);
  const auto task = subject ? known.find(subject->first) : known.end();
  if (task == known.end() || subject->second.empty()) return;
  if (reply.provenance.device.kind.empty()) return;  // the worker could not even say where it is
  device = reply.provenance.device.kind;
  copy_gb_per_s = reply.provenance.device.memory_gb_per_s;
  TaskStatus& status = tasks[subject->first];
  if (!reply.provenance.task_digest.empty()) status.digest = reply.provenance.task_digest;
  if (reply.examination) {
    const Verdict& verdict = reply.examination->verdict;
    status.seeds[subject->second.front()] =
        verdict.is_passed ? "passed" : verdict.stage + "/" + verdict.reason;
  }
  if (reply.duel && reply.duel->verdict.is_passed) add_times(status, reply, task->second);
}

DeviceStatus updated(const DeviceStatus& before, const DeviceStatus& now) {
  if (before.device != now.device)
    throw ConfigError("--record", "",
                      fmt::format("the file tells of {}, this is {}", before.device, now.device));
  DeviceStatus result = now;
  for (const auto& [name, task] : before.tasks) {
    const auto [kept, is_new] = result.tasks.try_emplace(name, task);
    if (is_new || kept->second.digest != task.digest) continue;
    kept->second.seeds.insert(task.seeds.begin(), task.seeds.end());
    if (kept->second.times.empty()) kept->second.times = task.times;
  }
  return result;
}

Json to_json(const DeviceStatus& status) {
  Json tasks = Json::object();
  for (const auto& [name, task] : status.tasks) {
    Json times = Json::array();
    for (const SeedTime& time : task.times)
      times.push_back({{"workload", time.workload},
                       {"seed", time.seed},
                       {"time_us", rounded(time.time_us, 2)},
                       {"samples", time.samples},
                       {"of_copy", rounded(time.of_copy, 3)},
                       {"of_floor", rounded(time.of_floor, 3)},
                       {"limit", time.limit}});
    tasks[name] = {{"digest", task.digest}, {"seeds", task.seeds}, {"times", times}};
  }
  return {{"device", status.device},
          {"date", status.date},
          {"copy_gb_per_s", rounded(status.copy_gb_per_s, 0)},
          {"tasks", tasks}};
}

DeviceStatus read_device_status(const std::filesystem::path& file) {
  const Json json = read_json(file);
  ObjectReader root(json, file.string());
  DeviceStatus status{.device = root.required<std::string>("device"),
                      .date = root.required<std::string>("date"),
                      .copy_gb_per_s = root.required<double>("copy_gb_per_s"),
                      .tasks = {}};
  for (const auto& [name, entry] : root.member("tasks").items()) {
    ObjectReader reader(entry, file.string(), "tasks." + name);
    TaskStatus& task = status.tasks[name];
    task.digest = reader.required<std::string>("digest");
    task.seeds = reader.required<std::map<std::string, std::string>>("seeds");
    for (const Json& line : reader.member("times")) {
      ObjectReader time(line, file.string(), fmt::format("tasks.{}.times", name));
      task.times.push_back({.workload = time.required<std::string>("workload"),
                            .seed = time.required<std::string>("seed"),
                            .time_us = time.required<double>("time_us"),
                            .samples = time.required<int>("samples"),
                            .of_copy = time.required<double>("of_copy"),
                            .of_floor = time.required<double>("of_floor"),
                            .limit = time.required<std::string>("limit")});
      time.finish();
    }
    reader.finish();
  }
  root.finish();
  return status;
}

std::optional<DeviceStatus> find_device_status(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return {};
  return read_device_status(file);
}

DeviceStatus status_of_replies(const std::vector<std::filesystem::path>& files,
                               const std::map<std::string, Task>& known, const std::string& date) {
  DeviceStatus status{.device = "", .date = date, .copy_gb_per_s = 0, .tasks = {}};
  for (const std::filesystem::path& file : files) {
    std::istringstream lines(read_text(file));
    std::size_t before = 0, told = 0;
    for (std::string line; std::getline(lines, line); ++before) {
      if (!Json::accept(line)) continue;  // torn
      try {
        status.add(decode_reply(line), known);
        ++told;
      } catch (const Error& error) {
        throw ConfigError(fmt::format("{}, line {}", file.string(), before + 1), "", error.what());
      }
    }
    if (told == 0) throw ConfigError(file.string(), "", "expected reply lines of a batch");
  }
  if (status.tasks.empty()) throw ConfigError("--measured", "", "no reply tells of a seed of a task here");
  return status;
}

std::string date_today() { return fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::time(nullptr))); }

}  // namespace kernelites
