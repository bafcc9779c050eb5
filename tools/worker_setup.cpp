// SPDX-License-Identifier: Apache-2.0
// From options and configuration to an evaluator, and one request with its reply.
#include "tools/worker_setup.h"

#include <poll.h>

#include "engine/core/error.h"

namespace kernelites {

std::unique_ptr<WorkerPool> start_workers(const WorkerSettings& settings, const std::string& device,
                                          const std::filesystem::path& program,
                                          const std::filesystem::path& error_log) {
  WorkerPoolOptions options;
  options.command = settings.launch;
  options.command.push_back(program.string());
  options.command.insert(options.command.end(), {"--device", device});
  options.workers = static_cast<std::size_t>(settings.count);
  options.requests_per_worker = static_cast<std::size_t>(settings.requests_each);
  options.error_log = error_log;
  return std::make_unique<WorkerPool>(std::move(options));
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
