// SPDX-License-Identifier: Apache-2.0
// What is done around every launch of a candidate, verified or timed: the same work in the same order (invariant 3).
//
//   before   poison of outputs and workspaces from guard to guard, noise in shared memory, registers and local memory,
//            eviction of the L2, a wait in which the host enqueues the rest and the clock is measured
//   timed    zeros in workspaces of that kind, the plan's launches
//   after    the slack around outputs and workspaces is as it was; self-clearing workspaces are zero
//
// Workspaces are one pool, which all plans of an executor use in turn: when a plan runs, there is no memory in which
// another one's intermediate results could be left. The virtual GPU checks every access itself: there it is poison,
// what counts as unwritten, and the plan's launches.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "evaluators/worker/contract/defences.h"
#include "evaluators/worker/device/device.h"
#include "evaluators/worker/pipeline/block_sample.h"

namespace kernelites::worker {

/// What tensors of tasks are aligned to (docs/tasks.md).
inline constexpr std::int64_t k_tensor_alignment = 256;

/// `tensors` where trial `placement` has them: of three trials in a row, each tensor is once at the start of its
/// mapping, once at the end and once amid, and not all are alike. Referee and executor must name the same trial.
std::vector<Buffer> placed_tensors(const std::vector<Buffer>& tensors, std::uint64_t placement);

/// A plan with what it runs on. Borrows its members.
struct ArmRun {
  const LaunchPlan& plan;
  ModuleId module = 0;
  const std::map<std::string, std::string>& lowered;  ///< name expression -> symbol
  const std::vector<Buffer>& tensors;                 ///< as mapped, in the order of the task's tensors
  const std::vector<int>& written;                    ///< indexes of tensors that launches write
  std::uint64_t placement = 0;
  std::uint64_t poison_seed = 0;
  int poison_kind = 0;
  std::uint64_t schedule_seed =
      0;                    ///< 0: the device's own order of blocks and warps; gpu: disturbed by a rival
  std::size_t repeats = 1;  ///< of all that is timed, back to back
  int samples = 1;          ///< of everything, what is done before included; each timed by itself
  RunMode mode = RunMode::full;
  double deadline_s = 10;
};

/// What a run took, and how fast the multiprocessors were clocked meanwhile.
struct RunOutcome {
  std::optional<DeviceFault> fault;
  double elapsed_us = 0;
  int samples = 0;                                             ///< that the time is the mean of
  int late = 0;                                                ///< left out, because the host was late
  double clock_ghz = 0, clock_ghz_min = 0, clock_ghz_max = 0;  ///< median and range; 0: unknown
  std::vector<ModelledLaunch> modelled;                        ///< virtual GPU only
  std::vector<std::string> remarks;                            ///< the same
};

class LaunchSurroundings {
 public:
  /// `device` outlives it. Throws Error if there is no memory for the flush.
  LaunchSurroundings(Device& device, ModuleId harness, const Defences& defences = {});
  LaunchSurroundings(const LaunchSurroundings&) = delete;
  LaunchSurroundings& operator=(const LaunchSurroundings&) = delete;

  /// Code with frames of `frame_bytes` of local memory will run.
  void expect_local_memory(std::int64_t frame_bytes);
  /// Makes room for the workspaces of a plan. Throws Error if there is not enough.
  void reserve(const std::vector<Workspace>& workspaces);
  /// One run of a plan with all that belongs around it. Besides the device's faults: `out_of_bounds` (a write beside
  /// a tensor or workspace, within its mapping) and `workspace_not_cleared`.
  RunOutcome run(const ArmRun& arm);
  /// The same in two halves, for whoever counts what happens in the second: what is done before the timed launches, and
  /// those launches alone. Nothing is looked at afterwards. REQUIRES: a real device.
  SequenceOutcome run_before(const ArmRun& arm);
  SequenceOutcome run_timed(const ArmRun& arm);
  /// Both in one, and how many launches at the end are timed.
  SequenceOutcome run_whole(const ArmRun& arm, std::size_t& timed_launches);
  /// Which rows of the outputs a few blocks complete: those of a timed run with `timed_seed`, or else blocks drawn by
  /// `arm.poison_seed`. `layouts`: of each written tensor. REQUIRES: the virtual GPU.
  BlockSampleOutcome sample(const ArmRun& arm, const std::vector<std::vector<RowAxis>>& layouts,
                            std::uint64_t instructions_max,
                            std::optional<std::uint64_t> timed_seed = std::nullopt);

 private:
  struct Trial;

  Trial lay_out(const ArmRun& arm);
  std::vector<Buffer> placed_workspaces(const ArmRun& arm) const;
  void add_poison(const ArmRun& arm, Trial& trial);
  void add_scrub_and_flush(const ArmRun& arm, Trial& trial) const;
  SequenceOutcome run_virtual(const ArmRun& arm, const Trial& trial);
  std::optional<DeviceFault> verify(const ArmRun& arm, const Trial& trial);
  void read_clock(int samples, RunOutcome& outcome);
  std::optional<DeviceFault> overrun(const Trial& trial);
  std::optional<DeviceFault> uncleared(const ArmRun& arm, const Trial& trial);

  Device& device_;
  ModuleId harness_;
  const Defences defences_;
  const bool is_virtual_;
  Buffer flush_;
  Buffer counts_;             ///< two words for each watched mapping, and the scrubs' sink
  Buffer clock_log_;          ///< of harness_clock
  std::vector<Buffer> pool_;  ///< workspace i of every plan
  std::int64_t frame_bytes_ = 0;
};

}  // namespace kernelites::worker
