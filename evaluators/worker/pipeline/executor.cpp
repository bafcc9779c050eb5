// SPDX-License-Identifier: Apache-2.0
// The executor's commands. What it keeps: modules, bound tensors, plans with their workspaces.
#include "evaluators/worker/pipeline/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "engine/core/error.h"
#include "evaluators/worker/pipeline/bound_plan.h"
#include "evaluators/worker/pipeline/child_messages.h"
#include "evaluators/worker/pipeline/harness_launch.h"
#include "evaluators/worker/pipeline/open_device.h"

namespace kernelites::worker {
namespace {

/// Tensors of one workload, mapped from the referee.
struct Slot {
  std::vector<Buffer> tensors;
};

/// A plan that can run: its launches, and what is done around them.
struct ReadyPlan {
  int slot = 0;
  std::vector<Buffer> workspaces;
  std::vector<Workspace> workspace_specs;
  std::vector<int> poisoned_tensors;
  std::vector<BoundLaunch> launches;
};

class Executor {
 public:
  CommandTable commands() {
    return {{"open", [this](Message& m) { return open(m); }},
            {"harness", [this](Message& m) { return harness(m); }},
            {"load", [this](Message& m) { return load(m); }},
            {"bind", [this](Message& m) { return bind(m); }},
            {"plan", [this](Message& m) { return plan(m); }},
            {"run", [this](Message& m) { return run(m); }},
            {"unbind", [this](Message& m) { return unbind(m); }}};
  }

 private:
  Message open(Message& command) {
    Message reply;
    defences_ = defences_of(command);
    device_ = open_device(command, reply);
    // Twice the L2, so that one pass leaves nothing of the arms behind.
    flush_ = device_->facts().is_virtual ? Buffer{}
                                         : device_->allocate(2 * device_->facts().l2_bytes, "flush buffer");
    return reply;
  }

  Message harness(Message& command) {
    harness_ = device().load(detach_image(command));
    if (flush_.bytes > 0) device().fill(flush_, 0);
    return {};
  }

  Message load(Message& command) {
    try {
      return {.body = {{"module", device().load(detach_image(command))}}};
    } catch (const Error& error) {
      return fault_reply({.reason = "module_rejected", .message = error.what()});
    }
  }

  Message bind(Message& command) {
    const Json& specs = command.body.at("tensors");
    if (specs.size() != command.descriptors.size()) throw Error("one descriptor is needed for each tensor");
    Slot slot;
    for (std::size_t i = 0; i < specs.size(); ++i) {
      const bool is_writable = specs[i].at("writable").get<bool>() || !defences_.has("device:read_only");
      slot.tensors.push_back(device().map(
          command.descriptors[i].release(), specs[i].at("bytes").get<std::int64_t>(),
          is_writable ? Access::read_write : Access::read_only, specs[i].at("name").get<std::string>()));
    }
    slots_[next_id_] = std::move(slot);
    return {.body = {{"slot", next_id_++}}};
  }

  Message plan(Message& command) {
    ReadyPlan ready{.slot = command.body.at("slot").get<int>(),
                    .poisoned_tensors = command.body.at("poison").get<std::vector<int>>()};
    const auto plan = command.body.at("plan").get<LaunchPlan>();
    ready.workspace_specs = plan.workspaces;
    try {
      for (std::size_t i = 0; i < plan.workspaces.size(); ++i) {
        ready.workspaces.push_back(
            device().allocate(plan.workspaces[i].bytes, fmt::format("workspace {}", i)));
        device().fill(ready.workspaces.back(),
                      plan.workspaces[i].kind == WorkspaceKind::self_clearing ? 0 : 0xA5);
      }
    } catch (const Error& error) {
      for (const Buffer& workspace : ready.workspaces) device().release(workspace);
      return fault_reply({.reason = "workspace_too_large", .message = error.what()});
    }
    const auto lowered = command.body.at("lowered").get<std::map<std::string, std::string>>();
    ready.launches = bind_plan(plan, {.module = command.body.at("module").get<int>(),
                                      .lowered_names = lowered,
                                      .tensors = slot(ready.slot).tensors,
                                      .workspaces = ready.workspaces});
    plans_[next_id_] = std::move(ready);
    return {.body = {{"plan", next_id_++}}};
  }

  Message run(Message& command) {
    const auto found = plans_.find(command.body.at("plan").get<int>());
    if (found == plans_.end()) throw Error("no such plan");
    const ReadyPlan& ready = found->second;
    const auto seed = command.body.at("poison_seed").get<std::uint64_t>();
    const int kind = command.body.at("poison_kind").get<int>();

    std::vector<BoundLaunch> before, timed;
    for (const int tensor : ready.poisoned_tensors) {
      if (!defences_.has("device:poison")) break;
      before.push_back(poison_launch(harness_, slot(ready.slot).tensors.at(static_cast<std::size_t>(tensor)),
                                     seed + static_cast<std::uint64_t>(tensor) * 7919, kind));
    }
    for (std::size_t i = 0; i < ready.workspaces.size(); ++i) {
      const WorkspaceKind workspace = ready.workspace_specs[i].kind;
      if (workspace == WorkspaceKind::poisoned) {
        before.push_back(poison_launch(harness_, ready.workspaces[i], seed + 104729 + i, kind));
      } else if (workspace == WorkspaceKind::zeroed) {
        timed.push_back(clear_launch(harness_, ready.workspaces[i]));
      }
    }
    if (flush_.bytes > 0) before.push_back(flush_launch(harness_, flush_));
    timed.insert(timed.end(), ready.launches.begin(), ready.launches.end());
    // Back to back, with nothing but the plan's own clearing in between.
    const std::size_t once = timed.size(), repeats = command.body.at("repeats").get<std::size_t>();
    for (std::size_t i = once; i < once * repeats; ++i) timed.push_back(timed[i - once]);

    const RunMode mode = command.body.at("mode") == "timing" ? RunMode::timing : RunMode::full;
    const double deadline_s = command.body.at("deadline_s").get<double>();
    device().seed_samples(seed);
    device().seed_schedule(command.body.at("schedule_seed").get<std::uint64_t>());
    const SequenceOutcome outcome = device().facts().is_virtual
                                        ? run_virtual(ready, before, timed, mode, deadline_s)
                                        : device().run(before, timed, mode, deadline_s);
    if (outcome.fault) return fault_reply(*outcome.fault);
    if (const auto fault = uncleared(ready, mode)) return fault_reply(*fault);
    return {.body = {{"elapsed_us", outcome.elapsed_us}}};
  }

  /// The virtual GPU can tell what the candidate itself wrote: poison does not count as written.
  SequenceOutcome run_virtual(const ReadyPlan& ready, const std::vector<BoundLaunch>& before,
                              const std::vector<BoundLaunch>& timed, RunMode mode, double deadline_s) {
    if (mode == RunMode::timing) return device().run({}, timed, mode, deadline_s);
    SequenceOutcome outcome = device().run(before, {}, mode, deadline_s);
    if (outcome.fault) return outcome;
    for (const int tensor : ready.poisoned_tensors) {
      device().mark_unwritten(slot(ready.slot).tensors.at(static_cast<std::size_t>(tensor)));
    }
    for (std::size_t i = 0; i < ready.workspaces.size(); ++i) {
      if (ready.workspace_specs[i].kind == WorkspaceKind::poisoned)
        device().mark_unwritten(ready.workspaces[i]);
    }
    return device().run({}, timed, mode, deadline_s);
  }

  /// A self-clearing workspace must be all zero after every launch; a sampled launch of the virtual GPU cannot tell.
  std::optional<DeviceFault> uncleared(const ReadyPlan& ready, RunMode mode) {
    if (device().facts().is_virtual && mode == RunMode::timing) return std::nullopt;
    for (std::size_t i = 0; i < ready.workspaces.size(); ++i) {
      if (ready.workspace_specs[i].kind != WorkspaceKind::self_clearing) continue;
      std::vector<std::byte> contents(static_cast<std::size_t>(ready.workspaces[i].bytes));
      device().read(ready.workspaces[i], 0, contents);
      if (std::all_of(contents.begin(), contents.end(), [](std::byte byte) { return byte == std::byte{0}; }))
        continue;
      return DeviceFault{
          .reason = "workspace_not_cleared",
          .message = fmt::format("self-clearing workspace {} is not all zero after the launch", i)};
    }
    return std::nullopt;
  }

  Message unbind(Message& command) {
    const int id = command.body.at("slot").get<int>();
    for (auto it = plans_.begin(); it != plans_.end();) {
      if (it->second.slot != id) {
        ++it;
        continue;
      }
      for (const Buffer& workspace : it->second.workspaces) device().release(workspace);
      it = plans_.erase(it);
    }
    for (const Buffer& tensor : slot(id).tensors) device().release(tensor);
    slots_.erase(id);
    return {};
  }

  Device& device() {
    if (!device_) throw Error("no device is open");
    return *device_;
  }
  Slot& slot(int id) {
    const auto found = slots_.find(id);
    if (found == slots_.end()) throw Error("no such slot");
    return found->second;
  }

  Defences defences_;
  std::unique_ptr<Device> device_;
  ModuleId harness_ = -1;
  Buffer flush_;
  std::map<int, Slot> slots_;
  std::map<int, ReadyPlan> plans_;
  int next_id_ = 1;
};

}  // namespace

int executor_main(Channel& channel) {
  Executor executor;
  return serve_commands(channel, executor.commands());
}

}  // namespace kernelites::worker
