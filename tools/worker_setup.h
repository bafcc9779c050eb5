// SPDX-License-Identifier: Apache-2.0
// From options and configuration to an evaluator, and one request with its reply.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "archive/archive.h"
#include "engine/search/run_config.h"
#include "engine/search/run_folder.h"
#include "evaluators/worker_pool.h"

namespace kernelites {

/// Starts the workers that `settings` describe. `program` is the worker where a group names none. `stop_descriptor`:
/// becomes readable when the wait for the first is to end. `wanted_kind`: what their device must be; empty: any. Throws
/// Error if none can work.
std::unique_ptr<WorkerPool> start_workers(const WorkerSettings& settings, const std::string& device,
                                          const std::filesystem::path& program,
                                          const std::filesystem::path& error_log, int stop_descriptor = -1,
                                          const std::string& wanted_kind = {});

/// The worker's program for `start_workers`: on this machine, or by its path where it is launched; empty if every group
/// names its own. Throws ConfigError if one is launched elsewhere and nothing says where it is there: this machine's
/// path means nothing there.
std::filesystem::path worker_program(const WorkerSettings& settings, const std::filesystem::path& executable);

/// Sets launch prefixes, each as words with spaces between: one, or several, of which each starts a group.
void set_launch(const std::vector<std::string>& prefixes, WorkerSettings& settings);

/// The kind of device that a run's results are of; empty: it has none.
std::string kind_of_results(const std::optional<Archive>& archive);

/// "gpu" or "vgpu": what requests to these workers are for.
std::string device_of(const Provenance& provenance);

/// Sends one request and waits for its reply, which comes at the latest when the pool gives the request up. Throws
/// Error if the reply carries one.
Reply ask_worker(Evaluator& evaluator, const Request& request);

/// A request for `task` with a fresh key.
Request request_for(const Task& task, const std::string& device, const std::string& id, double deadline_s);

}  // namespace kernelites
