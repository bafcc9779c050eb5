// SPDX-License-Identifier: Apache-2.0
// One workload's tensors, shared between referee and executor: fill, run an arm, compare.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/core/digest.h"
#include "engine/core/task.h"
#include "evaluators/worker/contract/compiled_candidate.h"
#include "evaluators/worker/pipeline/child_client.h"
#include "evaluators/worker/pipeline/row_sample.h"

namespace kernelites::worker {

/// How the reference of a task answers at a workload (reference_library.h makes it).
struct ReferencePlan {
  LaunchPlan plan = {};
  const std::map<std::string, std::string>* lowered = nullptr;  ///< borrowed
  bool is_python = false;                                       ///< no plan: the task's reference.py is asked
};

/// The error of one output over the compared rows, as shares of its gates: above 1 fails.
struct OutputError {
  std::string output;
  double worst_row = 0;  ///< rms(e)/rms(g) of the worst row
  double row_share = 0;  ///< worst_row / gate
  double element_share = 0;
  double mismatches = 0;  ///< elements that are not finite where the reference is, or the other way round
  std::int64_t worst_index = 0;       ///< index into the list of rows, of the row that decides
  std::vector<RowResult> parts = {};  ///< of all rows, if they were asked for
  bool is_passed() const { return row_share <= 1 && element_share <= 1 && mismatches == 0; }
};

/// Borrows everything; releases the tensors at its end. Faults of the executor stick in it; trouble of the
/// referee is an Error.
class WorkloadSession {
 public:
  /// `is_modelled`: the shape is too large for the virtual GPU, which runs some blocks of it only; large inputs are
  /// then a block of drawn values over and over.
  WorkloadSession(Referee& referee, ExecutorClient& executor, const Task& task, const Workload& workload,
                  bool is_modelled = false);
  ~WorkloadSession();
  WorkloadSession(const WorkloadSession&) = delete;
  WorkloadSession& operator=(const WorkloadSession&) = delete;

  /// Draws all inputs by `family`, one of the task's, and the metadata by its `rotation`-th contents, and moves every
  /// tensor within its mapping.
  void fill(const InputFamily& family, std::size_t rotation, const Key& key);
  /// Makes a loaded module runnable at this workload. The result is an arm for `run`.
  int add_arm(int module, const LaunchPlan& plan, const std::map<std::string, std::string>& lowered);
  /// Poisons outputs, runs the arm, returns microseconds. In full mode inputs are compared with what they were: a fault
  /// of the executor if one changed.
  double run(int arm, RunMode mode, std::uint64_t poison_seed, int poison_kind, double deadline_s);
  /// The same with everything that a run can be told. `order.plan` is an arm; its placement is the last fill's.
  ExecutorClient::Ran run(ExecutorClient::Run order);
  /// Counters of such a run, which does not look at the inputs. REQUIRES: an executor that counts.
  CounterValues count(ExecutorClient::Run order, CounterGroup group);
  /// All bytes of all outputs, in the task's order.
  std::vector<std::vector<std::byte>> outputs();
  /// REQUIRES: a fill. Compares all outputs on `rows` with the reference; and inputs as `run` does.
  std::vector<OutputError> check(const ReferencePlan& reference, const RowLists& rows,
                                 bool wants_parts = false);

  /// Compares `outputs` on all rows with `expected` values, by gates that the caller chooses. They replace what the
  /// device holds.
  std::vector<OutputError> compare(const std::map<std::string, std::vector<double>>& outputs,
                                   const std::map<std::string, std::vector<double>>& expected,
                                   const std::map<std::string, Precision>& gates);
  /// What the host drew for the last fill.
  const MetadataContents& metadata() const { return metadata_; }
  /// Contents of the task's `tensor`-th tensor, and new ones.
  std::vector<std::byte> read(int tensor) { return referee_.read(referee_slot_, tensor); }
  void write(int tensor, std::vector<std::byte> bytes) {
    referee_.write(referee_slot_, tensor, std::move(bytes));
  }
  /// Inputs as they are now are those that no launch may change. After `write`.
  void seal() { referee_.seal(referee_slot_, inputs_); }

 private:
  bool is_repeated(const TensorSpec& tensor) const;
  void inspect_inputs();
  void compute_inputs(std::size_t rotation, const Key& key);
  std::vector<Referee::Comparison> check_by_python(const std::vector<Referee::Output>& outputs,
                                                   const RowLists& rows, bool wants_parts);

  Referee& referee_;
  ExecutorClient& executor_;
  const Task& task_;
  const Workload& workload_;
  const bool is_modelled_;
  int referee_slot_ = -1;
  int executor_slot_ = -1;
  const InputFamily* family_ = nullptr;  ///< of the last fill: it may have gates of its own
  MetadataContents metadata_;            ///< of the last fill
  std::vector<int> outputs_;             ///< tensor indexes
  std::vector<std::size_t> inputs_;
  bool is_inspected_ = false;  ///< the inputs, since the last launch
  std::uint64_t fills_ = 0;
  std::uint64_t placement_ = 0;  ///< of the last fill
};

/// What a device loads of a compiled candidate.
ModuleImage image_of(const CompiledCandidate& compiled);
/// Whether the computed inputs of a task are there at a shape that is only modelled: lists and offsets, which decide
/// what is read, of a bounded size. Computed values (the output of a forward pass) would cost more than the model is
/// worth: they stay zero.
bool computes_when_modelled(const Task& task, const Workload& workload);
/// Number of different metadata contents of a task: at least 1.
std::size_t metadata_rotations(const Task& task);
/// Bytes of all tensors of a workload.
std::int64_t workload_bytes(const Task& task, const Workload& workload);

}  // namespace kernelites::worker
