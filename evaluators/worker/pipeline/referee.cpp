// SPDX-License-Identifier: Apache-2.0
// The referee's commands.
#include "evaluators/worker/pipeline/referee.h"

#include <fmt/format.h>

#include <cstring>
#include <map>

#include "engine/core/error.h"
#include "evaluators/worker/pipeline/bound_plan.h"
#include "evaluators/worker/pipeline/child_messages.h"
#include "evaluators/worker/pipeline/harness_launch.h"
#include "evaluators/worker/pipeline/input_seal.h"
#include "evaluators/worker/pipeline/launch_surroundings.h"
#include "evaluators/worker/pipeline/open_device.h"

namespace kernelites::worker {
namespace {

/// The reference is trusted, but a wrong one must not hang the worker.
constexpr double k_reference_s_max = 60;

class Referee {
 public:
  CommandTable commands() {
    return {{"open", [this](Message& m) { return open(m); }},
            {"harness", [this](Message& m) { return harness(m); }},
            {"reference", [this](Message& m) { return reference(m); }},
            {"allocate", [this](Message& m) { return allocate(m); }},
            {"fill", [this](Message& m) { return fill(m); }},
            {"write", [this](Message& m) { return write(m); }},
            {"place", [this](Message& m) { return place(m); }},
            {"seal", [this](Message& m) { return seal(m); }},
            {"inspect", [this](Message& m) { return inspect(m); }},
            {"check", [this](Message& m) { return check(m); }},
            {"read", [this](Message& m) { return read(m); }},
            {"release", [this](Message& m) { return release(m); }}};
  }

 private:
  Message open(Message& command) {
    Message reply;
    device_ = open_device(command, reply);
    return reply;
  }

  Message harness(Message& command) {
    harness_ = device().load(detach_image(command));
    return {};
  }

  Message reference(Message& command) {
    const ModuleId loaded = device().load(detach_image(command));
    if (reference_ >= 0) device().unload(reference_);
    reference_ = loaded;
    return {};
  }

  Message allocate(Message& command) {
    Message reply;
    std::vector<Buffer> tensors;
    for (const Json& spec : command.body.at("tensors")) {
      tensors.push_back(
          device().allocate(spec.at("bytes").get<std::int64_t>(), spec.at("name").get<std::string>()));
      reply.descriptors.emplace_back(device().share(tensors.back()));
    }
    slots_[next_slot_] = std::move(tensors);
    reply.body["slot"] = next_slot_++;
    return reply;
  }

  /// Where the tensors lie in their mappings from now on; what lies around them becomes noise.
  Message place(Message& command) {
    std::vector<Buffer>& tensors = slot(command);
    tensors = placed_tensors(tensors, command.body.at("placement").get<std::uint64_t>());
    if (device().facts().is_virtual) return {};
    std::vector<BoundLaunch> launches;
    for (std::size_t i = 0; i < tensors.size(); ++i)
      launches.push_back(
          slack_launch(harness_, tensors[i], command.body.at("seed").get<std::uint64_t>() + i, 0));
    run(launches);
    return {};
  }

  /// Takes digests of the tensors that no launch may write.
  Message seal(Message& command) {
    seals_[command.body.at("slot").get<int>()] = InputSeal(
        device(), harness_, slot(command), command.body.at("inputs").get<std::vector<std::size_t>>());
    return {};
  }

  /// Which of them are no longer as they were.
  Message inspect(Message& command) {
    const auto found = seals_.find(command.body.at("slot").get<int>());
    if (found == seals_.end()) throw Error("the inputs were never sealed");
    return {.body = {{"changed", found->second.changed(device(), harness_, slot(command))}}};
  }

  Message fill(Message& command) {
    std::vector<BoundLaunch> launches;
    for (const Json& spec : command.body.at("fills")) {
      const DeviceFill fill{.kind = spec.at("kind").get<int>(),
                            .p0 = spec.at("p0").get<float>(),
                            .p1 = spec.at("p1").get<float>()};
      const auto dtype = static_cast<Dtype>(spec.at("dtype").get<int>());
      const auto shape = spec.at("shape").get<std::vector<std::int64_t>>();
      const int lengths = spec.at("lengths").get<int>();
      const Buffer& buffer = tensor(command, spec);
      launches.push_back(
          fill_launch(harness_, buffer, dtype, shape, fill, spec.at("seed").get<std::uint64_t>()));
      if (lengths < 0) continue;
      const Buffer& valid = slot(command).at(static_cast<std::size_t>(lengths));
      launches.push_back(invalid_launch(harness_, buffer, dtype, shape, valid));
    }
    run(launches);
    return {};
  }

  Message write(Message& command) {
    device().write(tensor(command, command.body), 0, command.payload);
    return {};
  }

  Message read(Message& command) {
    const Buffer& buffer = tensor(command, command.body);
    Message reply;
    reply.payload.resize(static_cast<std::size_t>(buffer.bytes));
    device().read(buffer, 0, reply.payload);
    return reply;
  }

  Message check(Message& command) {
    const auto rows = static_cast<std::int64_t>(command.payload.size() / sizeof(std::int64_t));
    const auto plan = command.body.at("plan").get<LaunchPlan>();
    const Json& outputs = command.body.at("outputs");
    std::vector<Buffer> owned;
    auto scratch = [&](std::int64_t bytes, const char* name) {
      owned.push_back(device().allocate(bytes, name));
      return owned.back();
    };

    std::vector<Buffer> tensors = slot(command);
    std::vector<BoundLaunch> compares;
    const Buffer row_list = scratch(rows * 8, "row list");
    device().write(row_list, 0, command.payload);
    const auto result_bytes = rows * static_cast<std::int64_t>(sizeof(RowResult));
    const Buffer results = scratch(result_bytes * static_cast<std::int64_t>(outputs.size()), "row results");
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const Json& output = outputs[i];
      const auto columns = output.at("columns").get<std::int64_t>();
      const auto index = output.at("tensor").get<std::size_t>();
      const Buffer gold = scratch(rows * columns * 8, "reference output");
      Buffer slice = results;
      slice.address += i * static_cast<std::size_t>(result_bytes);
      compares.push_back(compare_launch(harness_, tensors.at(index),
                                        static_cast<Dtype>(output.at("dtype").get<int>()), gold, row_list,
                                        rows, columns,
                                        {.ulp = output.at("ulp").get<double>(),
                                         .rms_factor = output.at("rms_factor").get<double>(),
                                         .absolute = output.at("absolute").get<double>()},
                                        slice));
      tensors.at(index) = gold;
    }
    tensors.push_back(row_list);

    std::vector<Buffer> workspaces;
    for (const Workspace& workspace : plan.workspaces)
      workspaces.push_back(scratch(workspace.bytes, "reference workspace"));
    const auto lowered = command.body.at("lowered").get<std::map<std::string, std::string>>();
    std::vector<BoundLaunch> launches = bind_plan(
        plan, {.module = reference_, .lowered_names = lowered, .tensors = tensors, .workspaces = workspaces});
    launches.insert(launches.end(), compares.begin(), compares.end());
    run(launches);

    Message reply;
    reply.payload.resize(static_cast<std::size_t>(result_bytes) * outputs.size());
    device().read(results, 0, reply.payload);
    for (const Buffer& buffer : owned) device().release(buffer);
    return reply;
  }

  Message release(Message& command) {
    for (const Buffer& buffer : slot(command)) device().release(buffer);
    slots_.erase(command.body.at("slot").get<int>());
    seals_.erase(command.body.at("slot").get<int>());
    return {};
  }

  void run(const std::vector<BoundLaunch>& launches) {
    const SequenceOutcome outcome = device().run({}, launches, RunMode::full, k_reference_s_max);
    if (outcome.fault) {
      throw Error(fmt::format("the reference failed: {} ({}, line {})", outcome.fault->message,
                              outcome.fault->reason, outcome.fault->line));
    }
  }

  Device& device() {
    if (!device_) throw Error("no device is open");
    return *device_;
  }
  std::vector<Buffer>& slot(const Message& command) {
    const auto found = slots_.find(command.body.at("slot").get<int>());
    if (found == slots_.end()) throw Error("no such slot");
    return found->second;
  }
  const Buffer& tensor(const Message& command, const Json& spec) {
    return slot(command).at(spec.at("tensor").get<std::size_t>());
  }

  std::unique_ptr<Device> device_;
  ModuleId harness_ = -1;
  ModuleId reference_ = -1;
  std::map<int, std::vector<Buffer>> slots_;
  std::map<int, InputSeal> seals_;  ///< by slot
  int next_slot_ = 1;
};

}  // namespace

int referee_main(Channel& channel) {
  Referee referee;
  return serve_commands(channel, referee.commands());
}

}  // namespace kernelites::worker
