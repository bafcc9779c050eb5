// SPDX-License-Identifier: Apache-2.0
// The supervisor's end of referee and executor: calls with a deadline; death and hanging are faults with a
// name.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "evaluators/worker/contract/defences.h"
#include "evaluators/worker/counters/range_profiler.h"
#include "evaluators/worker/pipeline/block_sample.h"
#include "evaluators/worker/pipeline/child_messages.h"
#include "evaluators/worker/pipeline/harness_launch.h"
#include "evaluators/worker/sandbox/child.h"

namespace kernelites::worker {

/// What the children of one device need to start.
struct DeviceChoice {
  std::string kind;                      ///< "gpu" or "vgpu"
  unsigned threads = 1;                  ///< of the virtual GPU
  const ModuleImage* harness = nullptr;  ///< borrowed; outlives the children
  Defences defences;
  std::vector<std::string> count_with = {};  ///< folders in which CUPTI may lie; used by profiling executors
};

/// Facts of a device with its measured copy rate, learned by a child that opens it and ends. Throws Error with the
/// reason if it cannot be used.
DeviceFacts probe_device(const std::string& kind);

/// A child and the calls to it.
class ChildClient {
 public:
  /// `counts`: it opens the device's counters, too.
  ChildClient(const std::string& role, const DeviceChoice& device, bool counts = false);

  /// Sends a command and waits for its reply. A child that dies or is late is killed; every later call fails
  /// alike.
  std::variant<Message, DeviceFault> call(Message command, double deadline_s);
  /// The device's facts, from the reply to "open".
  const DeviceFacts& facts() const { return facts_; }
  /// False once it died, was killed, or ended by itself.
  bool is_alive() { return !end_ && !child_.wait(0); }

 private:
  Message expect(Message command, double deadline_s);

  Child child_;
  DeviceFacts facts_;
  std::optional<DeviceFault> end_;
};

/// The task's own kernels that compute inputs from drawn ones, and their plans by the shapes' dims.
struct InputsProgram {
  ModuleImage image;
  std::string digest;
  std::map<std::string, std::string> lowered;
  std::map<std::map<std::string, std::int64_t>, LaunchPlan> plans;
};

class PythonReference;

/// The referee as functions. Trouble with it is trouble of the worker: Error.
class Referee {
 public:
  explicit Referee(const DeviceChoice& device);
  ~Referee();
  const DeviceFacts& facts() const { return client_.facts(); }
  /// False after any failed call: its device may be beyond repair.
  bool is_usable() { return is_usable_ && client_.is_alive(); }

  /// Loads the reference unless it is the one with this digest already.
  void use_reference(const ModuleImage& image, const std::string& digest);

  /// Loads what computes inputs, unless it is loaded already. Borrows `program` until the next call.
  void use_inputs(const InputsProgram& program);
  /// Computes the computed inputs of a slot at a shape. `draw`: seed, variant, family, rotation. REQUIRES: `use_inputs`
  /// of a program that has a plan for these dims.
  void compute_inputs(int slot, const std::map<std::string, std::int64_t>& dims,
                      const std::array<std::int64_t, 4>& draw);

  struct Tensor {
    std::string name;
    std::int64_t bytes = 0;
    std::int64_t seen_bytes = 0;  ///< more than `bytes`: kernels see it repeated up to this (virtual GPU)
  };
  struct Allocation {
    int slot = 0;
    std::vector<FileDescriptor> descriptors;
  };
  Allocation allocate(const std::vector<Tensor>& tensors);
  void release(int slot);

  /// A tensor and what is drawn into it.
  struct Filling {
    int tensor = 0;
    TensorFill fill;
  };
  void fill(int slot, const std::vector<Filling>& fillings);
  void write(int slot, int tensor, std::vector<std::byte> bytes);
  std::vector<std::byte> read(int slot, int tensor);
  /// Places all tensors anew in their mappings (placed_tensors), before they are filled; `seed` makes the noise around
  /// them.
  void place(int slot, std::uint64_t placement, std::uint64_t seed);
  /// Remembers what `inputs` hold, and says later which of them changed.
  void seal(int slot, const std::vector<std::size_t>& inputs);
  std::vector<std::size_t> changed_inputs(int slot);

  struct Output {
    int tensor = 0;
    std::size_t group = 0;  ///< which list of rows
    CompareOrder order;
  };
  /// What of an output was found wrong; `all` parts of its rows only if they were asked for.
  struct Comparison {
    WorstResult worst;
    std::vector<RowResult> all;
  };
  /// One comparison per output. `rows`: one list per row group of the task.
  std::vector<Comparison> check(int slot, const LaunchPlan& plan,
                                const std::map<std::string, std::string>& lowered,
                                const std::vector<Output>& outputs,
                                const std::vector<std::vector<std::int64_t>>& rows, bool wants_all = false);
  /// The same against `gold` instead of a reference: per output all rows, then the columns of a row; behind them the
  /// emulated values of those outputs that have some.
  std::vector<Comparison> compare(int slot, const std::vector<Output>& outputs,
                                  const std::vector<std::vector<std::int64_t>>& rows,
                                  const std::vector<std::vector<double>>& gold, bool wants_all = false);

  /// The process of a task's reference.py, which lives on until another task is asked for.
  PythonReference& python(const Task& task);

 private:
  Message call(Message command, double deadline_s);

  ChildClient client_;
  std::unique_ptr<PythonReference> python_;
  bool is_usable_ = true;
  std::string reference_digest_;
  std::string inputs_digest_;
  const InputsProgram* inputs_ = nullptr;  ///< borrowed
};

/// An executor as functions. Its first fault sticks: later calls do nothing, so that a stage reads straight
/// down and looks at `fault` once.
class ExecutorClient {
 public:
  /// `counts`: one that reads counters and must time nothing.
  explicit ExecutorClient(const DeviceChoice& device, bool counts = false)
      : client_("executor", device, counts) {}
  const std::optional<DeviceFault>& fault() const { return fault_; }
  bool is_alive() { return client_.is_alive(); }
  /// What others found out about a launch: sticks as a fault of its own does.
  void report(const DeviceFault& fault) {
    if (!fault_) fault_ = fault;
  }

  int load(const ModuleImage& image);
  int bind(const std::vector<Referee::Tensor>& tensors, const std::vector<bool>& is_writable,
           const std::vector<FileDescriptor>& descriptors);
  void unbind(int slot);
  int plan(int slot, int module, const LaunchPlan& plan, const std::map<std::string, std::string>& lowered,
           const std::vector<int>& poisoned);

  struct Run {
    int plan = 0;
    RunMode mode = RunMode::full;
    std::uint64_t placement = 0;  ///< the referee's for this fill
    std::uint64_t poison_seed = 0;
    int poison_kind = 0;
    double deadline_s = 10;
    std::uint64_t schedule_seed = 0;  ///< 0: the device's own order
    int repeats = 1;                  ///< launches of the whole plan, back to back
    int samples = 1;                  ///< of everything, each timed by itself (gpu)
    bool checks_races = false;        ///< vgpu: costs a third of the time of a launch
    bool adds_exactly = false;        ///< vgpu: no roundings on the way in floating-point sums by atomics
  };
  /// What a run took. The clock is unknown (0) on the virtual GPU.
  struct Ran {
    double elapsed_us = 0;  ///< 0 after a fault
    int samples = 0;        ///< that the time is the mean of
    int late = 0;           ///< left out, because the host was late
    double clock_ghz = 0, clock_ghz_min = 0, clock_ghz_max = 0;
  };
  Ran run(const Run& run);
  /// Of the last run; empty on a real device.
  const std::vector<ModelledLaunch>& modelled() const { return modelled_; }
  /// Of the last run: what the virtual GPU remarks of its launches.
  const std::vector<std::string>& remarks() const { return remarks_; }
  /// Counters of one group. Trouble with counters is its `problem`; a fault of the launches is a fault. REQUIRES: it
  /// was started to count.
  CounterValues count(const Run& run, CounterGroup group);

  struct Sample {
    int plan = 0;
    std::uint64_t seed = 0;
    std::optional<std::uint64_t> timed_seed =
        std::nullopt;                                ///< the blocks of a timed run, if they complete rows
    std::vector<std::vector<RowAxis>> layouts = {};  ///< where the rows of each output lie
    std::uint64_t instructions_max = 0;
    bool checks_races = false;  ///< in shared memory
  };
  /// Rows that a few drawn blocks completed, and what that took.
  struct SampledRows {
    std::vector<std::int64_t> rows;
    bool lacks_rows = false;                 ///< fewer than are the share of the blocks
    bool is_barren = false, is_cut = false;  ///< block_sample.h
    std::uint64_t blocks = 0;
    std::uint64_t instructions = 0;
    std::vector<double> launch_instructions;  ///< block_sample.h
  };
  /// REQUIRES: the virtual GPU.
  SampledRows sample(const Sample& sample);

 private:
  Message call(Message command, double deadline_s);

  ChildClient client_;
  std::optional<DeviceFault> fault_;
  std::vector<ModelledLaunch> modelled_;
  std::vector<std::string> remarks_;
};

}  // namespace kernelites::worker
