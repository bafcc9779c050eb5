// SPDX-License-Identifier: Apache-2.0
// The executor's commands. What it keeps: modules, bound tensors, plans.
#include "evaluators/worker/pipeline/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "engine/core/error.h"
#include "evaluators/worker/contract/cubin.h"
#include "evaluators/worker/pipeline/child_messages.h"
#include "evaluators/worker/pipeline/launch_counters.h"
#include "evaluators/worker/pipeline/launch_surroundings.h"
#include "evaluators/worker/pipeline/open_device.h"

namespace kernelites::worker {
namespace {

/// Tensors of one workload, mapped from the referee.
struct Slot {
  std::vector<Buffer> tensors;
};

/// A plan that can run.
struct ReadyPlan {
  int slot = 0;
  ModuleId module = 0;
  LaunchPlan plan;
  std::map<std::string, std::string> lowered;
  std::vector<int> written;
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
            {"count", [this](Message& m) { return count(m); }},
            {"sample", [this](Message& m) { return sample(m); }},
            {"unbind", [this](Message& m) { return unbind(m); }}};
  }

 private:
  Message open(Message& command) {
    Message reply;
    defences_ = defences_of(command);
    const auto folders = command.body.value("count_with", std::vector<std::string>{});
    device_ = open_device(command, reply, [&] {
      if (!folders.empty())
        counters_.emplace(std::vector<std::filesystem::path>(folders.begin(), folders.end()));
    });
    return reply;
  }

  Message harness(Message& command) {
    surroundings_.emplace(device(), device().load(detach_image(command)), defences_);
    return {};
  }

  Message load(Message& command) {
    const ModuleImage image = detach_image(command);
    if (const auto cubin = parse_cubin(image.cubin)) {
      for (const auto& [name, kernel] : cubin->kernels)
        surroundings().expect_local_memory(kernel.frame_bytes);
    }
    try {
      return {.body = {{"module", device().load(image)}}};
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
                    .module = command.body.at("module").get<int>(),
                    .plan = command.body.at("plan").get<LaunchPlan>(),
                    .lowered = command.body.at("lowered").get<std::map<std::string, std::string>>(),
                    .written = command.body.at("poison").get<std::vector<int>>()};
    try {
      surroundings().reserve(ready.plan.workspaces);
    } catch (const Error& error) {
      return fault_reply({.reason = "workspace_too_large", .message = error.what()});
    }
    plans_[next_id_] = std::move(ready);
    return {.body = {{"plan", next_id_++}}};
  }

  /// What a "run" or "count" command asks for. Borrows the plan and the slot's tensors.
  ArmRun arm_run(const Message& command) {
    const auto found = plans_.find(command.body.at("plan").get<int>());
    if (found == plans_.end()) throw Error("no such plan");
    const ReadyPlan& ready = found->second;
    return {.plan = ready.plan,
            .module = ready.module,
            .lowered = ready.lowered,
            .tensors = slot(ready.slot).tensors,
            .written = ready.written,
            .placement = command.body.at("placement").get<std::uint64_t>(),
            .poison_seed = command.body.at("poison_seed").get<std::uint64_t>(),
            .poison_kind = command.body.at("poison_kind").get<int>(),
            .schedule_seed = command.body.at("schedule_seed").get<std::uint64_t>(),
            .repeats = command.body.at("repeats").get<std::size_t>(),
            .samples = command.body.at("samples").get<int>(),
            .mode = command.body.at("mode") == "timing" ? RunMode::timing : RunMode::full,
            .deadline_s = command.body.at("deadline_s").get<double>()};
  }

  Message run(Message& command) {
    device().choose_checks({.uninitialised = true,
                            .races = command.body.at("checks_races").get<bool>(),
                            .adds_exactly = command.body.at("adds_exactly").get<bool>()});
    const RunOutcome outcome = surroundings().run(arm_run(command));
    if (outcome.fault) return fault_reply(*outcome.fault);
    return {.body = {{"elapsed_us", outcome.elapsed_us},
                     {"samples", outcome.samples},
                     {"late", outcome.late},
                     {"modelled", outcome.modelled},
                     {"remarks", outcome.remarks},
                     {"clock_ghz", {outcome.clock_ghz, outcome.clock_ghz_min, outcome.clock_ghz_max}}}};
  }

  Message count(Message& command) {
    if (!counters_) throw Error("this process does not count");
    std::optional<DeviceFault> fault;
    // The number of groups stands for none of them: the trace.
    const auto group = static_cast<CounterGroup>(command.body.at("group").get<int>());
    const CounterValues counted = group == CounterGroup::count_
                                      ? counters_->trace(surroundings(), arm_run(command), fault)
                                      : counters_->count(group, surroundings(), arm_run(command), fault);
    if (fault) return fault_reply(*fault);
    return {.body = {{"values", counted.values}, {"problem", counted.problem}}};
  }

  /// Outputs of a few blocks (block_sample.h). Tells at most so many rows: the supervisor draws among them.
  Message sample(Message& command) {
    constexpr std::size_t k_rows_told_max = 256;
    const auto found = plans_.find(command.body.at("plan").get<int>());
    if (found == plans_.end()) throw Error("no such plan");
    const ReadyPlan& ready = found->second;
    const Json& timed_seed = command.body.at("timed_seed");
    std::vector<std::vector<RowAxis>> layouts;
    for (const Json& axes : command.body.at("layouts")) {
      layouts.emplace_back();
      for (const Json& axis : axes)
        layouts.back().push_back({axis.at(0).get<std::int64_t>(), axis.at(1).get<bool>()});
    }
    device().choose_checks({.uninitialised = true, .races = command.body.at("checks_races").get<bool>()});
    BlockSampleOutcome outcome = surroundings().sample(
        {.plan = ready.plan,
         .module = ready.module,
         .lowered = ready.lowered,
         .tensors = slot(ready.slot).tensors,
         .written = ready.written,
         .poison_seed = command.body.at("seed").get<std::uint64_t>()},
        layouts, command.body.at("instructions_max").get<std::uint64_t>(),
        timed_seed.is_null() ? std::nullopt : std::optional(timed_seed.get<std::uint64_t>()));
    if (outcome.fault) return fault_reply(*outcome.fault);
    if (outcome.rows.size() > k_rows_told_max) outcome.rows.resize(k_rows_told_max);
    return {.body = {{"rows", outcome.rows},
                     {"lacks_rows", outcome.lacks_rows},
                     {"is_barren", outcome.is_barren},
                     {"is_cut", outcome.is_cut},
                     {"blocks", outcome.blocks},
                     {"instructions", outcome.instructions},
                     {"launch_instructions", outcome.launch_instructions}}};
  }

  Message unbind(Message& command) {
    const int id = command.body.at("slot").get<int>();
    std::erase_if(plans_, [id](const auto& entry) { return entry.second.slot == id; });
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

  LaunchSurroundings& surroundings() {
    if (!surroundings_) throw Error("the harness is not loaded");
    return *surroundings_;
  }

  Defences defences_;
  std::unique_ptr<Device> device_;
  std::optional<LaunchSurroundings> surroundings_;
  std::optional<LaunchCounters> counters_;  ///< of a process that profiles
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
