// SPDX-License-Identifier: Apache-2.0
// From options and configuration to an evaluator, and one request with its reply.
#include "tools/worker_setup.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>

#include <algorithm>
#include <sstream>

#include "engine/core/error.h"
#include "tools/data_root.h"

namespace kernelites {

namespace {

WorkerGroup group_of(const WorkerLaunch& wanted, const WorkerSettings& settings, const std::string& device,
                     const std::filesystem::path& program) {
  WorkerGroup group;
  group.command = wanted.launch.empty() ? settings.launch : wanted.launch;
  group.launcher = fmt::format("{}", fmt::join(group.command, " "));
  group.command.push_back(wanted.program.empty() ? program.string() : wanted.program);
  group.command.insert(group.command.end(), {"--device", device});
  group.count = static_cast<std::size_t>(wanted.count > 0 ? wanted.count : settings.count);
  return group;
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

}  // namespace

std::unique_ptr<WorkerPool> start_workers(const WorkerSettings& settings, const std::string& device,
                                          const std::filesystem::path& program,
                                          const std::filesystem::path& error_log, int stop_descriptor,
                                          const std::string& wanted_kind) {
  WorkerPoolOptions options;
  for (const WorkerLaunch& wanted : settings.groups)
    options.groups.push_back(group_of(wanted, settings, device, program));
  if (settings.groups.empty()) options.groups.push_back(group_of({}, settings, device, program));
  options.requests_per_worker = static_cast<std::size_t>(settings.requests_each);
  options.error_log = error_log;
  options.greeting_deadline_s = settings.greeting_s;
  options.restart.outage_s = settings.outage_s;
  options.stop_descriptor = stop_descriptor;
  options.wanted_kind = wanted_kind;
  return std::make_unique<WorkerPool>(std::move(options));
}

std::filesystem::path worker_program(const WorkerSettings& settings,
                                     const std::filesystem::path& executable) {
  const bool is_launched_by_default = !settings.launch.empty();
  const auto is_launched = [&](const WorkerLaunch& group) {
    return is_launched_by_default || !group.launch.empty();
  };
  const auto names_program = [](const WorkerLaunch& group) { return !group.program.empty(); };
  const auto& groups = settings.groups;
  for (std::size_t i = 0; i < groups.size(); ++i)
    if (settings.program.empty() && is_launched(groups[i]) && !names_program(groups[i]))
      throw ConfigError(
          "workers.groups", fmt::format("{}", i),
          fmt::format("is launched by \"{}\" and names no program: give the path of kernelites-worker "
                      "there, in the group or as --worker for all",
                      fmt::join(groups[i].launch.empty() ? settings.launch : groups[i].launch, " ")));
  const bool is_elsewhere =
      groups.empty() ? is_launched_by_default : std::all_of(groups.begin(), groups.end(), is_launched);
  if (!is_elsewhere) return find_worker(settings.program, executable);
  if (settings.program.empty() && groups.empty())
    throw ConfigError("--worker", "", "is needed with --launch: the path of kernelites-worker there");
  return settings.program;
}

void set_launch(const std::vector<std::string>& prefixes, WorkerSettings& settings) {
  settings.launch.clear();
  settings.groups.clear();
  if (prefixes.size() == 1)
    settings.launch = words_of(prefixes.front());
  else
    for (const std::string& prefix : prefixes)
      settings.groups.push_back({.launch = words_of(prefix), .program = {}});
}

std::string kind_of_results(const std::optional<Archive>& archive) {
  const std::optional<Provenance> first = archive ? archive->first_provenance() : std::nullopt;
  return first ? first->device.kind : "";
}

std::string device_of(const Provenance& provenance) { return provenance.device.is_virtual ? "vgpu" : "gpu"; }

Reply ask_worker(Evaluator& evaluator, const Request& request) {
  evaluator.submit(request);
  for (;;) {
    evaluator.pump(std::chrono::steady_clock::now());
    if (auto reply = evaluator.take()) {
      if (!reply->error.empty()) throw Error(reply->error);
      return *reply;
    }
    std::vector<pollfd> descriptors = evaluator.poll_descriptors();
    poll(descriptors.data(), descriptors.size(), 100);
  }
}

Request request_for(const Task& task, const std::string& device, const std::string& id, double deadline_s) {
  Request request;
  request.id = id;
  request.device = device;
  request.task_document = task.document;
  request.reference_source = task.reference_source;
  request.deadline_s = deadline_s;
  return request;
}

}  // namespace kernelites
