// SPDX-License-Identifier: Apache-2.0
// Setting up a worker and answering one request.
#include "evaluators/worker/pipeline/supervisor.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "engine/core/device_names.h"
#include "engine/core/digest.h"
#include "engine/core/error.h"
#include "evaluators/protocol/device_unfit.h"
#include "evaluators/worker/device/virtual_profile.h"
#include "evaluators/worker/health/nvml_reader.h"
#include "evaluators/worker/health/watched_evaluation.h"
#include "evaluators/worker/pipeline/examine.h"
#include "evaluators/worker/pipeline/harness_launch.h"
#include "evaluators/worker/pipeline/launch_counters.h"

namespace kernelites::worker {
namespace {

constexpr int k_jobs_max = 4;
constexpr double k_harness_compile_s_max = 60;
constexpr std::size_t k_tasks_cached_max = 16;

/// The harness's kernels for the device's own architecture: PTX for the virtual GPU, a cubin for the real one.
ModuleImage compile_harness(Compiler& compiler, const std::string& architecture) {
  const CompileOutput output =
      compiler.compile({.source = harness_source(),
                        .file_name = "harness.cu",
                        .options = {"-arch=" + architecture, "--std=c++20", "-default-device"}},
                       k_harness_compile_s_max);
  if (!output.ok)
    throw Error(fmt::format("the harness's kernels do not compile ({}): {}", output.failure, output.log));
  return {.ptx = output.ptx, .cubin = output.cubin};
}

/// "auto" means the GPU if there is one. The supervisor itself never holds a CUDA context: a child looks.
std::pair<std::string, DeviceFacts> choose_device(const std::string& wanted) {
  if (wanted == "auto") {
    try {
      return {"gpu", probe_device("gpu")};
    } catch (const Error&) {
      return {"vgpu", probe_device("vgpu")};
    }
  }
  return {wanted, probe_device(wanted)};
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// What fresh processes meet on the device; empty: they can use it.
std::string sticky_error_of(const std::string& device) {
  try {
    probe_device(device);
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

/// Watches the first real device. Throws Error if it has failed.
std::unique_ptr<DeviceWatch> watch_device() {
  std::string problem;
  auto watch = std::make_unique<DeviceWatch>(nvml_reader(first_device_bus_id(), problem), [](double s) {
    std::this_thread::sleep_for(std::chrono::duration<double>(s));
  });
  if (const std::string why = watch->quarantine(); !why.empty())
    throw Error(std::string(k_device_unfit) + why);
  return watch;
}

/// The virtual GPU beside a real one: with its profile if there is one.
std::string virtual_twin(const DeviceFacts& device) {
  const std::string_view profile = profile_of(device);
  return profile.empty() ? "vgpu" : fmt::format("vgpu:{}", profile);
}

int default_jobs() {
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, k_jobs_max);
}

}  // namespace

Supervisor::Supervisor(const WorkerOptions& options)
    : jobs_(options.jobs > 0 ? options.jobs : default_jobs()),
      compiler_(std::make_unique<Compiler>(find_toolkit(options.toolkit), "/proc/self/exe", options.defences,
                                           options.allows_weak_jail)) {
  const auto [device, facts] = choose_device(options.device);
  device_ = device_kind(device);
  harness_ = std::make_unique<ModuleImage>(compile_harness(*compiler_, facts.architecture));
  DeviceChoice choice{.kind = device, .threads = 1, .harness = harness_.get(), .defences = options.defences};
  for (const auto& folder : cupti_folders(compiler_->toolkit().library))
    choice.count_with.push_back(folder.string());
  // Before the first context of our own, so that whoever is on the device now is somebody else.
  if (device_ == "gpu") watch_ = watch_device();
  stations_ =
      std::make_unique<StationPool>(choice, facts, device_ == "gpu" ? 1 : jobs_, options.waits_for_turn);
  if (device_ != "vgpu") {
    const std::string twin = virtual_twin(facts);
    const DeviceChoice virtual_choice{.kind = twin, .threads = 1, .harness = harness_.get()};
    sanitizers_ = std::make_unique<StationPool>(virtual_choice, probe_device(twin), jobs_);
  }
  provenance_ = {.harness_version = k_harness_version,
                 .toolkit = compiler_->toolkit().version,
                 .device = stations_->facts()};
}

Supervisor::~Supervisor() = default;

std::shared_ptr<const Task> Supervisor::task_of(const Request& request) {
  const std::string key = digest_parts({request.task_document.dump(), request.reference_source});
  const std::lock_guard lock(tasks_mutex_);
  const auto found = tasks_.find(key);
  if (found != tasks_.end()) return found->second;
  auto task =
      std::make_shared<Task>(parse_task(request.task_document, request.reference_source, "task.json"));
  if (tasks_.size() >= k_tasks_cached_max) tasks_.clear();
  return tasks_[key] = std::move(task);
}

Reply Supervisor::handle(const Request& request) {
  const auto start = std::chrono::steady_clock::now();
  const auto within = [&](double deadline_s) {
    Reply reply{.id = request.id, .provenance = provenance_};
    evaluate(request, deadline_s, reply);
    return reply;
  };
  Reply reply = watch_ ? evaluate_watched(*watch_, request.deadline_s,
                                          {.evaluate = within,
                                           .sticky_error = [this] { return sticky_error_of(device_); },
                                           .now_s = [start] { return seconds_since(start); }})
                       : within(request.deadline_s);
  if (is_device_unfit(reply)) {  // also of what was never evaluated
    reply.id = request.id;
    reply.provenance = provenance_;
  }
  reply.worker_s = seconds_since(start);
  return reply;
}

void Supervisor::evaluate(const Request& request, double deadline_s, Reply& reply) {
  try {
    if (request.device != device_) {
      throw Error(
          fmt::format("the request is for device '{}', this worker has '{}'", request.device, device_));
    }
    const std::shared_ptr<const Task> task = task_of(request);
    reply.provenance.task_digest = task->digest;
    const Workshop workshop{*compiler_, *stations_, sanitizers_ ? *sanitizers_ : *stations_, proven_};
    if (request.examine) {
      reply.examination = examine(workshop, *request.examine, *task, deadline_s, reply.device_s);
    } else if (request.duel) {
      reply.duel = duel(workshop, *request.duel, *task, deadline_s, reply.device_s);
    } else if (request.calibrate) {
      reply.calibration = calibrate(workshop, *request.calibrate, *task, deadline_s, reply.device_s);
    } else if (request.profile) {
      reply.profile = profile(workshop, *request.profile, *task, deadline_s, reply.device_s);
    } else {
      throw Error("the request asks for nothing");
    }
  } catch (const std::exception& error) {
    reply.error = error.what();
  }
}

}  // namespace kernelites::worker
