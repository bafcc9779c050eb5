// SPDX-License-Identifier: Apache-2.0
// The referee's commands.
#include "evaluators/worker/pipeline/referee.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <span>

#include "engine/core/error.h"
#include "evaluators/worker/pipeline/bound_plan.h"
#include "evaluators/worker/pipeline/child_messages.h"
#include "evaluators/worker/pipeline/harness_host.h"
#include "evaluators/worker/pipeline/harness_launch.h"
#include "evaluators/worker/pipeline/input_seal.h"
#include "evaluators/worker/pipeline/launch_surroundings.h"
#include "evaluators/worker/pipeline/open_device.h"
#include "evaluators/worker/pipeline/scratch_memory.h"

namespace kernelites::worker {
namespace {

/// The reference is trusted, but a wrong one must not hang the worker.
constexpr double k_reference_s_max = 60;
/// So many runs of a reference are looked at for races and unwritten reads on the virtual GPU: who writes a task hears
/// of them, and who only uses it does not pay for them all night.
constexpr int k_watched_references = 3;

/// Takes values off the front of a payload. Throws Error if there are fewer.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::span<const std::byte> take_bytes(std::size_t count) {
    if (count > bytes_.size()) throw Error("a command's payload is too short");
    const auto taken = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return taken;
  }
  template <typename T>
  T take() {
    T value;
    std::memcpy(&value, take_bytes(sizeof value).data(), sizeof value);
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
};

class Referee {
 public:
  CommandTable commands() {
    return {{"open", [this](Message& m) { return open(m); }},
            {"harness", [this](Message& m) { return harness(m); }},
            {"reference", [this](Message& m) { return reference(m); }},
            {"inputs", [this](Message& m) { return inputs(m); }},
            {"compute", [this](Message& m) { return compute(m); }},
            {"allocate", [this](Message& m) { return allocate(m); }},
            {"fill", [this](Message& m) { return fill(m); }},
            {"write", [this](Message& m) { return write(m); }},
            {"place", [this](Message& m) { return place(m); }},
            {"seal", [this](Message& m) { return seal(m); }},
            {"inspect", [this](Message& m) { return inspect(m); }},
            {"check", [this](Message& m) { return check(m); }},
            {"compare", [this](Message& m) { return compare(m); }},
            {"read", [this](Message& m) { return read(m); }},
            {"release", [this](Message& m) { return release(m); }}};
  }

 private:
  Message open(Message& command) {
    Message reply;
    device_ = open_device(command, reply);
    memory_.emplace(*device_);
    device_->choose_checks({.uninitialised = false, .races = false});
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
    watched_left_ = k_watched_references;
    return {};
  }

  Message inputs(Message& command) {
    const ModuleId loaded = device().load(detach_image(command));
    if (inputs_ >= 0) device().unload(inputs_);
    inputs_ = loaded;
    return {};
  }

  /// The task's kernels write its computed inputs.
  Message compute(Message& command) {
    Scratch scratch(memory());
    const auto plan = command.body.at("plan").get<LaunchPlan>();
    std::vector<Buffer> tensors = slot(command), workspaces;
    tensors.push_back(scratch.take(static_cast<std::int64_t>(command.payload.size()), "draw"));
    device().write(tensors.back(), 0, command.payload);
    for (const Workspace& workspace : plan.workspaces)
      workspaces.push_back(scratch.take(workspace.bytes, "inputs workspace"));
    const auto lowered = command.body.at("lowered").get<std::map<std::string, std::string>>();
    run(bind_plan(
        plan, {.module = inputs_, .lowered_names = lowered, .tensors = tensors, .workspaces = workspaces}));
    return {};
  }

  Message allocate(Message& command) {
    Message reply;
    std::vector<Buffer> tensors;
    for (const Json& spec : command.body.at("tensors")) {
      tensors.push_back(
          device().allocate(spec.at("bytes").get<std::int64_t>(), spec.at("name").get<std::string>()));
      reply.descriptors.emplace_back(device().share(tensors.back()));
      seen_bytes_[next_slot_].push_back(spec.at("seen_bytes").get<std::int64_t>());
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
        memory(), harness_, slot(command), command.body.at("inputs").get<std::vector<std::size_t>>());
    return {};
  }

  /// Which of them are no longer as they were.
  Message inspect(Message& command) {
    const auto found = seals_.find(command.body.at("slot").get<int>());
    if (found == seals_.end()) throw Error("the inputs were never sealed");
    return {.body = {{"changed", found->second.changed(memory(), harness_, slot(command))}}};
  }

  Message fill(Message& command) {
    const Json& fills = command.body.at("fills");
    ByteReader payload(command.payload);
    std::vector<FillOrder> orders;
    for (std::size_t i = 0; i < fills.size(); ++i) orders.push_back(payload.take<FillOrder>());
    Scratch scratch(memory());
    std::vector<BoundLaunch> launches;
    for (std::size_t i = 0; i < fills.size(); ++i) {
      const std::span<const std::byte> map =
          payload.take_bytes(fills[i].at("entries").get<std::size_t>() * sizeof(LeadingEntry));
      std::uint64_t map_address = 0;
      if (!map.empty()) {
        const Buffer entries = scratch.take(static_cast<std::int64_t>(map.size()), "map of sequences");
        device().write(entries, 0, map);
        map_address = entries.address;
      }
      for (BoundLaunch& launch :
           fill_launches(harness_, tensor(command, fills[i]), orders[i], fills[i].at("unit").get<float>(),
                         fills[i].at("has_invalid").get<bool>(), map_address)) {
        launches.push_back(std::move(launch));
      }
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

  /// Private memory of one check, and the launches that compare.
  struct CheckLayout {
    std::vector<Buffer> tensors;  ///< of the reference plan
    std::vector<Buffer> results, worst, emulated;
    std::vector<BoundLaunch> compares;
  };

  Message check(Message& command) {
    Scratch scratch(memory());
    ByteReader payload(command.payload);
    const CheckLayout layout = lay_out(command, payload, scratch);
    const auto plan = command.body.at("plan").get<LaunchPlan>();
    std::vector<Buffer> workspaces;
    for (const Workspace& workspace : plan.workspaces)
      workspaces.push_back(scratch.take(workspace.bytes, "reference workspace"));
    const auto lowered = command.body.at("lowered").get<std::map<std::string, std::string>>();
    std::vector<BoundLaunch> launches = bind_plan(plan, {.module = reference_,
                                                         .lowered_names = lowered,
                                                         .tensors = layout.tensors,
                                                         .workspaces = workspaces});
    const bool is_watched = watched_left_-- > 0;
    device().choose_checks({.uninitialised = is_watched, .races = is_watched});
    run(launches);
    device().choose_checks({.uninitialised = false, .races = false});
    run(layout.compares);
    return results(layout, command);
  }

  /// A check against values of the supervisor's: no reference runs.
  Message compare(Message& command) {
    Scratch scratch(memory());
    ByteReader payload(command.payload);
    const CheckLayout layout = lay_out(command, payload, scratch);
    const auto take = [&](const Buffer& gold) {
      device().write(gold, 0, payload.take_bytes(static_cast<std::size_t>(gold.bytes)));
    };
    for (const Json& output : command.body.at("outputs"))
      take(layout.tensors.at(output.at("tensor").get<std::size_t>()));
    for (const Buffer& emulated : layout.emulated) take(emulated);
    run(layout.compares);
    return results(layout, command);
  }

  Message results(const CheckLayout& layout, const Message& command) {
    Message reply;
    const auto append = [&](const Buffer& buffer) {
      const std::size_t at = reply.payload.size();
      reply.payload.resize(at + static_cast<std::size_t>(buffer.bytes));
      device().read(buffer, 0, std::span(reply.payload).subspan(at));
    };
    for (const Buffer& worst : layout.worst) append(worst);
    if (command.body.value("all", false)) {
      for (const Buffer& results : layout.results) append(results);
    }
    return reply;
  }

  CheckLayout lay_out(Message& command, ByteReader& payload, Scratch& scratch) {
    CheckLayout layout{
        .tensors = seen(command, scratch), .results = {}, .worst = {}, .emulated = {}, .compares = {}};
    const Json& outputs = command.body.at("outputs");
    std::vector<CompareOrder> orders;
    for (std::size_t i = 0; i < outputs.size(); ++i) orders.push_back(payload.take<CompareOrder>());
    std::vector<Buffer> row_lists;
    for (const Json& rows : command.body.at("groups")) {
      const std::int64_t bytes = rows.get<std::int64_t>() * 8;
      row_lists.push_back(scratch.take(bytes, "row list"));
      device().write(row_lists.back(), 0, payload.take_bytes(static_cast<std::size_t>(bytes)));
    }
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      CompareOrder& order = orders[i];
      const Buffer& row_list = row_lists.at(outputs[i].at("group").get<std::size_t>());
      const std::int64_t rows = row_list.bytes / 8, gold_bytes = rows * order.columns * 8;
      Buffer& output = layout.tensors.at(outputs[i].at("tensor").get<std::size_t>());
      order.output = output.address;
      output = scratch.take(gold_bytes, "reference output");
      order.gold = output.address;
      order.rows = row_list.address;
      layout.results.push_back(
          scratch.take(rows * order.parts * static_cast<std::int64_t>(sizeof(RowResult)), "row results"));
      order.results = layout.results.back().address;
      if (order.emulated_factor > 0) {
        layout.emulated.push_back(scratch.take(gold_bytes, "emulated output"));
        order.emulated = layout.emulated.back().address;
      }
      if (order.chosen > 0) {
        // Marks are set in words of four bytes, none of which two rows share.
        const Buffer marks = scratch.take(rows * ((order.columns + 3) / 4 * 4), "marks of a selection");
        device().fill(marks, 0);
        order.marks = marks.address;
      }
      layout.worst.push_back(scratch.take(sizeof(WorstResult), "worst result"));
      for (BoundLaunch& launch : compare_launches(harness_, order, rows, layout.worst.back()))
        layout.compares.push_back(std::move(launch));
    }
    layout.tensors.insert(layout.tensors.end(), row_lists.begin(), row_lists.end());
    layout.tensors.insert(layout.tensors.end(), layout.emulated.begin(), layout.emulated.end());
    return layout;
  }

  Message release(Message& command) {
    for (const Buffer& buffer : slot(command)) device().release(buffer);
    slots_.erase(command.body.at("slot").get<int>());
    seals_.erase(command.body.at("slot").get<int>());
    seen_bytes_.erase(command.body.at("slot").get<int>());
    return {};
  }

  /// The tensors as the candidate sees them: those that repeat are mapped at full length.
  std::vector<Buffer> seen(Message& command, Scratch& scratch) {
    std::vector<Buffer> tensors = slot(command);
    const std::vector<std::int64_t>& bytes = seen_bytes_.at(command.body.at("slot").get<int>());
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (bytes[i] <= tensors[i].bytes) continue;
      tensors[i] = scratch.keep(
          device().map(device().share(tensors[i]), bytes[i], Access::read_only, tensors[i].name));
    }
    return tensors;
  }

  /// In order. What the host can do itself is not interpreted.
  void run(const std::vector<BoundLaunch>& launches) {
    std::span<const BoundLaunch> left(launches);
    while (!left.empty()) {
      const auto own = std::find_if(left.begin(), left.end(), [this](const BoundLaunch& launch) {
        return launch.module == harness_ && device().facts().is_virtual && runs_on_host(launch.kernel);
      });
      const auto before = static_cast<std::size_t>(own - left.begin());
      if (before > 0) run_on_device(left.first(before));
      left = left.subspan(before);
      if (left.empty()) return;
      run_on_host(device(), left.front());
      left = left.subspan(1);
    }
  }

  void run_on_device(std::span<const BoundLaunch> launches) {
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
  ScratchMemory& memory() {
    if (!memory_) throw Error("no device is open");
    return *memory_;
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
  std::optional<ScratchMemory> memory_;
  ModuleId harness_ = -1;
  ModuleId reference_ = -1;
  ModuleId inputs_ = -1;
  int watched_left_ = 0;  ///< runs of the reference with all checks
  std::map<int, std::vector<Buffer>> slots_;
  std::map<int, InputSeal> seals_;                       ///< by slot
  std::map<int, std::vector<std::int64_t>> seen_bytes_;  ///< by slot
  int next_slot_ = 1;
};

}  // namespace

int referee_main(Channel& channel) {
  Referee referee;
  return serve_commands(channel, referee.commands());
}

}  // namespace kernelites::worker
