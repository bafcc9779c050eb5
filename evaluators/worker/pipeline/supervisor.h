// SPDX-License-Identifier: Apache-2.0
// The supervisor: takes request lines, runs several evaluations at once, writes reply lines.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "evaluators/protocol/protocol.h"
#include "evaluators/worker/health/device_watch.h"
#include "evaluators/worker/nvrtc/compile_child.h"
#include "evaluators/worker/pipeline/compiled_cache.h"
#include "evaluators/worker/pipeline/station.h"

namespace kernelites::worker {

/// How a worker is set up (the options of kernelites-worker).
struct WorkerOptions {
  std::string device = "auto";  ///< "auto" (gpu if there is one), "gpu", "vgpu"
  int jobs = 0;                 ///< evaluations at once; 0: the number of processors, at most 4
  ToolkitSearch toolkit;
  bool allows_weak_jail = false;  ///< see Compiler
  bool waits_for_turn = false;    ///< see StationPool: a batch does
  Defences defences;              ///< all; only the test of the defences themselves switches one off
};

/// Evaluates requests. `handle` is thread-safe; the device of a request must be the worker's.
class Supervisor {
 public:
  /// Opens toolkit and device. Throws Error that says what is missing.
  explicit Supervisor(const WorkerOptions& options);
  ~Supervisor();

  int jobs() const { return jobs_; }
  Provenance provenance() const { return provenance_; }
  /// Never throws: trouble becomes `Reply::error`, a candidate's trouble its verdict.
  Reply handle(const Request& request);

 private:
  std::shared_ptr<const Task> task_of(const Request& request);
  void evaluate(const Request& request, double deadline_s, Reply& reply);

  int jobs_ = 1;
  std::unique_ptr<Compiler> compiler_;
  std::unique_ptr<ModuleImage> harness_;
  std::unique_ptr<StationPool> stations_;
  std::unique_ptr<StationPool> sanitizers_;  ///< null where the stations are virtual themselves
  std::unique_ptr<DeviceWatch> watch_;       ///< of a real device
  CompiledCache proven_;
  std::string device_;
  Provenance provenance_;
  std::mutex tasks_mutex_;
  std::map<std::string, std::shared_ptr<const Task>> tasks_;  ///< parsed, by digest of document and reference
};

/// Serves lines from `input` to `output` until end of input: greeting, then replies as they are ready.
/// Returns the exit code.
int serve_lines(const WorkerOptions& options, int input, int output);

/// Evaluates a batch: every request line of `in` that has no reply in `out` yet; replies are appended as they
/// come. Throws ConfigError if `in` cannot be read, and Error with the reason as soon as the device is unfit: what has
/// no reply then gets it when the same batch is served again.
int serve_batch(const WorkerOptions& options, const std::filesystem::path& in,
                const std::filesystem::path& out);

}  // namespace kernelites::worker
