// SPDX-License-Identifier: Apache-2.0
// The sequence around a launch, and what is looked at afterwards.
#include "evaluators/worker/pipeline/launch_surroundings.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/error.h"
#include "engine/core/statistics.h"
#include "evaluators/worker/pipeline/bound_plan.h"
#include "evaluators/worker/pipeline/harness_launch.h"

namespace kernelites::worker {
namespace {

/// Tensors and workspaces whose slack can be watched in one run.
constexpr std::size_t k_watched_max = 64;
constexpr double k_verify_s_max = 10;
/// Samples of one run: their probes fit into the ring of the clock's log.
constexpr int k_samples_max = 64;
static_assert(k_samples_max + 1 <= k_clock_slots);
/// Sets the poison of workspaces apart from that of tensors.
constexpr std::uint64_t k_tensor_stride = 7919, k_workspace_stride = 104729;

std::int64_t allocated_bytes(const Workspace& workspace) {
  return std::max<std::int64_t>(workspace.bytes, 1);
}

}  // namespace

std::vector<Buffer> placed_tensors(const std::vector<Buffer>& tensors, std::uint64_t placement) {
  std::vector<Buffer> result;
  for (std::size_t i = 0; i < tensors.size(); ++i)
    result.push_back(
        placed(tensors[i], static_cast<Placement>((placement + i) % k_placements), k_tensor_alignment));
  return result;
}

/// One run, laid out.
struct LaunchSurroundings::Trial {
  std::vector<Buffer> tensors, workspaces;
  struct Watched {
    Buffer buffer;
    std::uint64_t seed = 0;
  };
  std::vector<Watched> watched;  ///< mappings that are poisoned from end to end
  std::vector<BoundLaunch> before, timed;
};

LaunchSurroundings::LaunchSurroundings(Device& device, ModuleId harness, const Defences& defences)
    : device_(device), harness_(harness), defences_(defences), is_virtual_(device.facts().is_virtual) {
  if (is_virtual_) return;
  // Twice the L2, so that one pass leaves nothing of the arms behind.
  flush_ = device_.allocate(2 * device_.facts().l2_bytes, "flush buffer");
  device_.fill(flush_, 0);
  counts_ = device_.allocate(static_cast<std::int64_t>(sizeof(std::uint32_t) * (2 * k_watched_max + 1)),
                             "slack counts");
  clock_log_ = device_.allocate(k_clock_log_bytes, "clock log");
  device_.fill(clock_log_, 0);
}

void LaunchSurroundings::expect_local_memory(std::int64_t frame_bytes) {
  frame_bytes_ = std::max(frame_bytes_, frame_bytes);
}

void LaunchSurroundings::reserve(const std::vector<Workspace>& workspaces) {
  for (std::size_t i = 0; i < workspaces.size(); ++i) {
    const std::int64_t bytes = allocated_bytes(workspaces[i]);
    if (i == pool_.size()) {
      pool_.push_back(device_.allocate(bytes, fmt::format("workspace {}", i)));
    } else if (pool_[i].bytes < bytes || is_virtual_) {
      // The virtual GPU's mappings have the exact size: an access beyond this plan's must be a fault.
      if (pool_[i].bytes == bytes) continue;
      const Buffer larger = device_.allocate(bytes, fmt::format("workspace {}", i));
      device_.release(pool_[i]);
      pool_[i] = larger;
    }
  }
}

std::vector<Buffer> LaunchSurroundings::placed_workspaces(const ArmRun& arm) const {
  std::vector<Buffer> result;
  for (std::size_t i = 0; i < arm.plan.workspaces.size(); ++i) {
    const Workspace& workspace = arm.plan.workspaces[i];
    Buffer buffer = pool_.at(i);
    buffer.bytes = allocated_bytes(workspace);
    const auto trial = static_cast<Placement>((arm.placement + 1 + 2 * i) % k_placements);
    result.push_back(placed(buffer, trial, workspace.alignment));
  }
  return result;
}

/// Whole mappings, those of workspaces that this plan does not use included.
void LaunchSurroundings::add_poison(const ArmRun& arm, Trial& trial) {
  for (const int index : arm.written) {
    if (!defences_.has("device:poison")) break;
    const Buffer& tensor = trial.tensors.at(static_cast<std::size_t>(index));
    trial.watched.push_back({tensor, arm.poison_seed + static_cast<std::uint64_t>(index) * k_tensor_stride});
  }
  for (std::size_t i = 0; i < pool_.size(); ++i) {
    const bool is_used = i < trial.workspaces.size();
    if (is_virtual_ && (!is_used || arm.plan.workspaces[i].kind != WorkspaceKind::poisoned)) continue;
    Buffer buffer = is_used ? trial.workspaces[i] : pool_[i];
    if (!is_used) buffer.bytes = 0;
    trial.watched.push_back({buffer, arm.poison_seed + k_workspace_stride + i});
  }
  if (trial.watched.size() > k_watched_max) throw Error("more tensors and workspaces than can be watched");
  for (const Trial::Watched& watched : trial.watched)
    trial.before.push_back(poison_launch(harness_, watched.buffer, watched.seed, arm.poison_kind));
  for (std::size_t i = 0; i < trial.workspaces.size(); ++i) {
    const WorkspaceKind kind = arm.plan.workspaces[i].kind;
    // Zero before every launch of every plan that shares the pool; that it was left zero is looked at afterwards.
    if (kind == WorkspaceKind::self_clearing) {
      if (is_virtual_)
        device_.fill(trial.workspaces[i], 0);
      else
        trial.before.push_back(clear_launch(harness_, trial.workspaces[i]));
    }
    if (kind == WorkspaceKind::zeroed) trial.timed.push_back(clear_launch(harness_, trial.workspaces[i]));
  }
}

/// The flush comes after the scrub, as it always has: what a launch finds set on the SMs does not depend on the scrub.
void LaunchSurroundings::add_scrub_and_flush(const ArmRun& arm, Trial& trial) const {
  if (is_virtual_) return;
  const std::uint64_t seed = arm.poison_seed;
  trial.before.push_back(clear_launch(harness_, counts_));
  if (frame_bytes_ > 0 && defences_.has("device:scrub")) {
    const std::uint64_t sink = counts_.address + 2 * k_watched_max * sizeof(std::uint32_t);
    trial.before.push_back(local_scrub_launch(harness_, device_.facts(), frame_bytes_, seed, sink));
  }
  if (defences_.has("device:scrub")) trial.before.push_back(scrub_launch(harness_, device_.facts(), ~seed));
  if (defences_.has("device:flush")) {
    for (BoundLaunch& launch : flush_launches(harness_, flush_)) trial.before.push_back(std::move(launch));
  }
  // The hardware's own order of blocks cannot be chosen, but it can be disturbed: a rival that is there already.
  if (arm.schedule_seed != 0 && defences_.has("device:rival"))
    trial.before.push_back(rival_launch(harness_, device_.facts(), flush_, arm.schedule_seed));
  trial.before.push_back(clock_launch(harness_, clock_log_));
}

LaunchSurroundings::Trial LaunchSurroundings::lay_out(const ArmRun& arm) {
  reserve(arm.plan.workspaces);
  Trial trial{.tensors = placed_tensors(arm.tensors, arm.placement), .workspaces = placed_workspaces(arm)};
  add_poison(arm, trial);
  add_scrub_and_flush(arm, trial);
  for (BoundLaunch& launch : bind_plan(arm.plan, {.module = arm.module,
                                                 .lowered_names = arm.lowered,
                                                 .tensors = trial.tensors,
                                                 .workspaces = trial.workspaces}))
    trial.timed.push_back(std::move(launch));

  // Back to back, with nothing but the plan's own clearing in between.
  const std::size_t once = trial.timed.size();
  for (std::size_t i = once; i < once * arm.repeats; ++i) trial.timed.push_back(trial.timed[i - once]);
  return trial;
}

RunOutcome LaunchSurroundings::run(const ArmRun& arm) {
  const Trial trial = lay_out(arm);
  device_.seed_samples(arm.poison_seed);
  device_.seed_schedule(arm.schedule_seed);
  const SequenceOutcome ran = is_virtual_ ? run_virtual(arm, trial)
                                          : device_.run(trial.before, trial.timed, arm.mode, arm.deadline_s,
                                                        std::min(arm.samples, k_samples_max));
  RunOutcome outcome{.fault = ran.fault,
                     .elapsed_us = ran.elapsed_us,
                     .samples = std::max(1, static_cast<int>(ran.samples_us.size())),
                     .late = ran.late,
                     .modelled = ran.modelled,
                     .remarks = ran.remarks};
  if (!outcome.fault) outcome.fault = verify(arm, trial);
  if (!outcome.fault && !is_virtual_) read_clock(arm.samples, outcome);
  return outcome;
}

SequenceOutcome LaunchSurroundings::run_before(const ArmRun& arm) {
  return device_.run(lay_out(arm).before, {}, arm.mode, arm.deadline_s);
}

SequenceOutcome LaunchSurroundings::run_timed(const ArmRun& arm) {
  return device_.run({}, lay_out(arm).timed, arm.mode, arm.deadline_s);
}

SequenceOutcome LaunchSurroundings::run_whole(const ArmRun& arm, std::size_t& timed_launches) {
  const Trial trial = lay_out(arm);
  timed_launches = trial.timed.size();
  return device_.run(trial.before, trial.timed, arm.mode, arm.deadline_s);
}

/// What a run must have left as it was.
std::optional<DeviceFault> LaunchSurroundings::verify(const ArmRun& arm, const Trial& trial) {
  if (!is_virtual_) {
    std::vector<BoundLaunch> after{clock_launch(harness_, clock_log_)};
    for (std::size_t i = 0; i < trial.watched.size(); ++i)
      after.push_back(verify_launch(harness_, trial.watched[i].buffer, trial.watched[i].seed, arm.poison_kind,
                                    counts_.address + 2 * i * sizeof(std::uint32_t)));
    const SequenceOutcome verified = device_.run({}, after, RunMode::full, k_verify_s_max);
    if (verified.fault) return verified.fault;
    if (auto fault = overrun(trial)) return fault;
  }
  return uncleared(arm, trial);
}

/// The probes before each sample and the one after the last: the newest in the ring.
void LaunchSurroundings::read_clock(int samples, RunOutcome& outcome) {
  std::vector<std::uint64_t> log(1 + 2 * k_clock_slots);
  device_.read(clock_log_, 0, std::as_writable_bytes(std::span(log)));
  const std::uint64_t probes = std::min<std::uint64_t>(
      {log[0], static_cast<std::uint64_t>(samples) + 1, std::uint64_t{k_samples_max} + 1});
  std::vector<double> ghz;
  for (std::uint64_t i = log[0] - probes; i < log[0]; ++i) {
    const std::uint64_t slot = i % k_clock_slots;
    const auto cycles = static_cast<double>(log[1 + 2 * slot]), ns = static_cast<double>(log[2 + 2 * slot]);
    if (ns > 0) ghz.push_back(cycles / ns);
  }
  if (ghz.empty()) return;
  outcome.clock_ghz = median(ghz);
  outcome.clock_ghz_min = *std::min_element(ghz.begin(), ghz.end());
  outcome.clock_ghz_max = *std::max_element(ghz.begin(), ghz.end());
}

BlockSampleOutcome LaunchSurroundings::sample(const ArmRun& arm,
                                              const std::vector<std::vector<RowAxis>>& layouts,
                                              std::uint64_t instructions_max,
                                              std::optional<std::uint64_t> timed_seed) {
  reserve(arm.plan.workspaces);
  const std::vector<Buffer> tensors = placed_tensors(arm.tensors, arm.placement),
                            workspaces = placed_workspaces(arm);
  const std::vector<BoundLaunch> launches = bind_plan(
      arm.plan,
      {.module = arm.module, .lowered_names = arm.lowered, .tensors = tensors, .workspaces = workspaces});
  std::vector<SampledOutput> outputs;
  for (std::size_t i = 0; i < arm.written.size(); ++i) {
    const Buffer& tensor = tensors.at(static_cast<std::size_t>(arm.written[i]));
    SampledOutput output{.buffer = tensor, .piece_bytes = 0, .axes = layouts.at(i)};
    output.piece_bytes = std::max<std::int64_t>(tensor.bytes / (output.rows() * output.pieces_of_row()), 1);
    outputs.push_back(std::move(output));
  }
  // Zeros as before a timed run: what a kernel might find out about its surroundings is the same.
  const std::function<void()> refresh = [&] {
    for (const SampledOutput& output : outputs) {
      if (timed_seed) device_.fill(output.buffer, 0);
      device_.mark_unwritten(output.buffer);
    }
    for (std::size_t i = 0; i < workspaces.size(); ++i) {
      const bool is_poisoned = arm.plan.workspaces[i].kind == WorkspaceKind::poisoned;
      if (timed_seed || !is_poisoned) device_.fill(workspaces[i], 0);
      if (is_poisoned) device_.mark_unwritten(workspaces[i]);
    }
  };
  return sample_blocks(device_, {.launches = launches,
                                 .outputs = outputs,
                                 .refresh = refresh,
                                 .seed = arm.poison_seed,
                                 .timed_seed = timed_seed,
                                 .instructions_max = instructions_max});
}

/// The virtual GPU can tell what the candidate itself wrote: poison does not count as written. Where its time is
/// modelled, nothing of what ran before is there: how far a kernel goes may depend on what it reads.
SequenceOutcome LaunchSurroundings::run_virtual(const ArmRun& arm, const Trial& trial) {
  if (arm.mode == RunMode::timing) {
    for (const int index : arm.written) device_.fill(trial.tensors.at(static_cast<std::size_t>(index)), 0);
    for (const Buffer& workspace : trial.workspaces) device_.fill(workspace, 0);
    return device_.run({}, trial.timed, arm.mode, arm.deadline_s);
  }
  SequenceOutcome outcome = device_.run(trial.before, {}, arm.mode, arm.deadline_s);
  if (outcome.fault) return outcome;
  for (const int index : arm.written)
    device_.mark_unwritten(trial.tensors.at(static_cast<std::size_t>(index)));
  for (std::size_t i = 0; i < trial.workspaces.size(); ++i) {
    if (arm.plan.workspaces[i].kind == WorkspaceKind::poisoned) device_.mark_unwritten(trial.workspaces[i]);
  }
  return device_.run({}, trial.timed, arm.mode, arm.deadline_s);
}

std::optional<DeviceFault> LaunchSurroundings::overrun(const Trial& trial) {
  std::vector<std::uint32_t> counts(2 * trial.watched.size());
  device_.read(counts_, 0, std::as_writable_bytes(std::span(counts)));
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0 || !defences_.has("out_of_bounds")) continue;
    return DeviceFault{
        .reason = "out_of_bounds",
        .message = fmt::format("writes {} {}", i % 2 == 0 ? "before the start of" : "behind the end of",
                               trial.watched[i / 2].buffer.name)};
  }
  return std::nullopt;
}

/// A self-clearing workspace must be all zero after every launch; a sampled launch of the virtual GPU cannot tell.
std::optional<DeviceFault> LaunchSurroundings::uncleared(const ArmRun& arm, const Trial& trial) {
  if (is_virtual_ && arm.mode == RunMode::timing) return std::nullopt;
  for (std::size_t i = 0; i < trial.workspaces.size(); ++i) {
    if (arm.plan.workspaces[i].kind != WorkspaceKind::self_clearing) continue;
    std::vector<std::byte> contents(static_cast<std::size_t>(trial.workspaces[i].bytes));
    device_.read(trial.workspaces[i], 0, contents);
    if (std::all_of(contents.begin(), contents.end(), [](std::byte byte) { return byte == std::byte{0}; }))
      continue;
    return DeviceFault{
        .reason = "workspace_not_cleared",
        .message = fmt::format("self-clearing workspace {} is not all zero after the launch", i)};
  }
  return std::nullopt;
}

}  // namespace kernelites::worker
