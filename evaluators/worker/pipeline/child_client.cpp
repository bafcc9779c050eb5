// SPDX-License-Identifier: Apache-2.0
// Calls to children: one command at a time, one deadline for each, and what their end is called.
#include "evaluators/worker/pipeline/child_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "engine/core/error.h"
#include "evaluators/worker/pipeline/python_reference.h"

namespace kernelites::worker {
namespace {

/// Creating a CUDA context on a busy machine.
constexpr double k_open_s_max = 60;
constexpr double k_command_s_max = 60;
/// What a real device may take beyond its own deadline to report it. The virtual one stops by a count of instructions,
/// so that a verdict does not depend on how busy the machine is; the clock is only its backstop.
constexpr double k_grace_s = 3;
constexpr double k_virtual_grace_s = 240;

ChildLimits limits_of(const std::string& device) {
  // No limit on processor time: a referee lives for the night, and every command has a deadline. A CUDA context
  // reserves terabytes of address space; the virtual GPU needs what its tensors need.
  if (device == "gpu") return {.open_files = 1024};
  return {.address_space_bytes = std::uint64_t{256} << 30, .file_bytes = UINT64_MAX, .open_files = 1024};
}

void append_bytes(std::vector<std::byte>& payload, const void* data, std::size_t bytes) {
  const auto* first = static_cast<const std::byte*>(data);
  payload.insert(payload.end(), first, first + bytes);
}

Message open_command(const std::string& device, unsigned threads, bool is_measuring,
                     const Defences& defences = {}) {
  return {.body = {{"command", "open"},
                   {"device", device},
                   {"threads", threads},
                   {"measure", is_measuring},
                   {"without", defences.off()}}};
}

}  // namespace

DeviceFacts probe_device(const std::string& kind) {
  Child child = Child::start("executor", limits_of(kind));
  std::optional<Message> reply;
  if (child.channel().send(open_command(kind, 1, true), k_transfer_s_max))
    reply = child.channel().receive(k_open_s_max);
  if (!reply) throw Error("the child that looks for the device ended");
  if (const auto fault = fault_of(reply->body)) throw Error(fault->message);
  return reply->body.at("facts").get<DeviceFacts>();
}

ChildClient::ChildClient(const std::string& role, const DeviceChoice& device, bool counts)
    : child_(Child::start(role, limits_of(device.kind))) {
  Message open = open_command(device.kind, device.threads, false, device.defences);
  if (counts) open.body["count_with"] = device.count_with;
  const Message opened = expect(std::move(open), k_open_s_max);
  facts_ = opened.body.at("facts").get<DeviceFacts>();
  Message harness{.body = {{"command", "harness"}}};
  attach_image(harness, *device.harness);
  expect(std::move(harness), k_command_s_max);
}

Message ChildClient::expect(Message command, double deadline_s) {
  auto result = call(std::move(command), deadline_s);
  if (const auto* fault = std::get_if<DeviceFault>(&result)) {
    throw Error(fmt::format("{} cannot work: {}", child_.role(), fault->message));
  }
  return std::move(std::get<Message>(result));
}

std::variant<Message, DeviceFault> ChildClient::call(Message command, double deadline_s) {
  if (end_) return *end_;
  Channel& channel = child_.channel();
  std::optional<Message> reply;
  if (channel.send(command, k_transfer_s_max)) reply = channel.receive(deadline_s);
  if (reply) {
    const auto fault = fault_of(reply->body);
    if (!fault) return std::move(*reply);
    if (fault->reason != k_no_reply) return *fault;
    // A child may have been taken over: what is no proper reply ends it.
    child_.kill();
    end_ = DeviceFault{.reason = fault->reason, .message = "the " + child_.role() + " sent what is no reply"};
    return *end_;
  }
  const bool is_late = channel.status() == ChannelStatus::deadline;
  const std::optional<ChildEnd> ended = is_late ? std::nullopt : child_.wait(1.0);
  child_.kill();
  const auto name = command.body.value("command", "?");
  end_ = is_late
             ? DeviceFault{.reason = "deadline",
                           .message = fmt::format("the {} did not answer '{}' within {:.1f} s and was killed",
                                                  child_.role(), name, deadline_s)}
             : DeviceFault{.reason = "child_died",
                           .message = fmt::format("the {} ended during '{}': {}", child_.role(), name,
                                                  ended ? ended->words : "connection lost")};
  return *end_;
}

// --- referee ---

Referee::Referee(const DeviceChoice& device) : client_("referee", device) {}
Referee::~Referee() = default;

Message Referee::call(Message command, double deadline_s) {
  const auto name = command.body.value("command", "?");
  auto result = client_.call(std::move(command), deadline_s);
  if (const auto* fault = std::get_if<DeviceFault>(&result)) {
    is_usable_ = false;
    throw Error(fmt::format("referee, {}: {}", name, fault->message));
  }
  return std::move(std::get<Message>(result));
}

void Referee::use_reference(const ModuleImage& image, const std::string& digest) {
  if (digest == reference_digest_) return;
  Message command{.body = {{"command", "reference"}}};
  attach_image(command, image);
  call(std::move(command), k_command_s_max);
  reference_digest_ = digest;
}

void Referee::use_inputs(const InputsProgram& program) {
  inputs_ = &program;
  if (program.digest == inputs_digest_) return;
  Message command{.body = {{"command", "inputs"}}};
  attach_image(command, program.image);
  call(std::move(command), k_command_s_max);
  inputs_digest_ = program.digest;
}

void Referee::compute_inputs(int slot, const std::map<std::string, std::int64_t>& dims,
                             const std::array<std::int64_t, 4>& draw) {
  const auto plan = inputs_ ? inputs_->plans.find(dims) : decltype(inputs_->plans.find(dims)){};
  if (!inputs_ || plan == inputs_->plans.end())
    throw Error("the task's computed inputs have no plan for this shape");
  Message command{
      .body = {
          {"command", "compute"}, {"slot", slot}, {"plan", plan->second}, {"lowered", inputs_->lowered}}};
  append_bytes(command.payload, draw.data(), sizeof draw);
  call(std::move(command), k_command_s_max);
}

Referee::Allocation Referee::allocate(const std::vector<Tensor>& tensors) {
  Message command{.body = {{"command", "allocate"}, {"tensors", Json::array()}}};
  for (const Tensor& tensor : tensors) {
    command.body["tensors"].push_back({{"name", tensor.name},
                                       {"bytes", tensor.bytes},
                                       {"seen_bytes", std::max(tensor.bytes, tensor.seen_bytes)}});
  }
  Message reply = call(std::move(command), k_command_s_max);
  if (reply.descriptors.size() != tensors.size()) throw Error("referee: a descriptor is missing");
  return {.slot = reply.body.at("slot").get<int>(), .descriptors = std::move(reply.descriptors)};
}

void Referee::release(int slot) { call({.body = {{"command", "release"}, {"slot", slot}}}, k_command_s_max); }

void Referee::fill(int slot, const std::vector<Filling>& fillings) {
  Message command{.body = {{"command", "fill"}, {"slot", slot}, {"fills", Json::array()}}};
  for (const Filling& filling : fillings) {
    command.body["fills"].push_back({{"tensor", filling.tensor},
                                     {"unit", filling.fill.unit},
                                     {"entries", filling.fill.map.size()},
                                     {"has_invalid", filling.fill.has_invalid}});
    append_bytes(command.payload, &filling.fill.order, sizeof filling.fill.order);
  }
  for (const Filling& filling : fillings)
    append_bytes(command.payload, filling.fill.map.data(), filling.fill.map.size() * sizeof(LeadingEntry));
  call(std::move(command), k_command_s_max);
}

void Referee::write(int slot, int tensor, std::vector<std::byte> bytes) {
  call({.body = {{"command", "write"}, {"slot", slot}, {"tensor", tensor}}, .payload = std::move(bytes)},
       k_command_s_max);
}

std::vector<std::byte> Referee::read(int slot, int tensor) {
  return call({.body = {{"command", "read"}, {"slot", slot}, {"tensor", tensor}}}, k_command_s_max).payload;
}

void Referee::place(int slot, std::uint64_t placement, std::uint64_t seed) {
  call({.body = {{"command", "place"}, {"slot", slot}, {"placement", placement}, {"seed", seed}}},
       k_command_s_max);
}

void Referee::seal(int slot, const std::vector<std::size_t>& inputs) {
  call({.body = {{"command", "seal"}, {"slot", slot}, {"inputs", inputs}}}, k_command_s_max);
}

std::vector<std::size_t> Referee::changed_inputs(int slot) {
  return call({.body = {{"command", "inspect"}, {"slot", slot}}}, k_command_s_max)
      .body.at("changed")
      .get<std::vector<std::size_t>>();
}

namespace {

/// Outputs with their orders, then the lists of rows.
void attach_outputs(Message& command, const std::vector<Referee::Output>& outputs,
                    const std::vector<std::vector<std::int64_t>>& rows) {
  command.body["groups"] = Json::array();
  command.body["outputs"] = Json::array();
  for (const Referee::Output& output : outputs) {
    command.body["outputs"].push_back({{"tensor", output.tensor}, {"group", output.group}});
    append_bytes(command.payload, &output.order, sizeof output.order);
  }
  for (const auto& list : rows) {
    command.body["groups"].push_back(list.size());
    append_bytes(command.payload, list.data(), list.size() * sizeof(std::int64_t));
  }
}

/// What the referee said of every output.
std::vector<Referee::Comparison> comparisons_of(const Message& reply,
                                                const std::vector<Referee::Output>& outputs,
                                                const std::vector<std::vector<std::int64_t>>& rows,
                                                bool wants_all) {
  std::vector<Referee::Comparison> comparisons(outputs.size());
  std::size_t at = 0;
  const auto take = [&](void* to, std::size_t bytes) {
    if (bytes > reply.payload.size() - at) throw Error("referee: results of another size");
    std::memcpy(to, reply.payload.data() + at, bytes);
    at += bytes;
  };
  for (Referee::Comparison& comparison : comparisons) take(&comparison.worst, sizeof comparison.worst);
  for (std::size_t i = 0; wants_all && i < outputs.size(); ++i) {
    const auto parts = static_cast<std::size_t>(outputs[i].order.parts);
    comparisons[i].all.resize(rows.at(outputs[i].group).size() * parts);
    take(comparisons[i].all.data(), comparisons[i].all.size() * sizeof(RowResult));
  }
  return comparisons;
}

}  // namespace

std::vector<Referee::Comparison> Referee::check(int slot, const LaunchPlan& plan,
                                                const std::map<std::string, std::string>& lowered,
                                                const std::vector<Output>& outputs,
                                                const std::vector<std::vector<std::int64_t>>& rows,
                                                bool wants_all) {
  Message command{
      .body = {
          {"command", "check"}, {"slot", slot}, {"plan", plan}, {"lowered", lowered}, {"all", wants_all}}};
  attach_outputs(command, outputs, rows);
  return comparisons_of(call(std::move(command), 2 * k_command_s_max), outputs, rows, wants_all);
}

std::vector<Referee::Comparison> Referee::compare(int slot, const std::vector<Output>& outputs,
                                                  const std::vector<std::vector<std::int64_t>>& rows,
                                                  const std::vector<std::vector<double>>& gold,
                                                  bool wants_all) {
  Message command{.body = {{"command", "compare"}, {"slot", slot}, {"all", wants_all}}};
  attach_outputs(command, outputs, rows);
  for (const auto& values : gold)
    append_bytes(command.payload, values.data(), values.size() * sizeof(double));
  return comparisons_of(call(std::move(command), k_command_s_max), outputs, rows, wants_all);
}

PythonReference& Referee::python(const Task& task) {
  if (!python_ || python_->digest() != task.digest) python_ = std::make_unique<PythonReference>(task);
  return *python_;
}
// --- executor ---

Message ExecutorClient::call(Message command, double deadline_s) {
  if (fault_) return {.body = Json::object()};
  auto result = client_.call(std::move(command), deadline_s);
  if (const auto* fault = std::get_if<DeviceFault>(&result)) {
    fault_ = *fault;
    return {.body = Json::object()};
  }
  return std::move(std::get<Message>(result));
}

int ExecutorClient::load(const ModuleImage& image) {
  Message command{.body = {{"command", "load"}}};
  attach_image(command, image);
  return call(std::move(command), k_command_s_max).body.value("module", -1);
}

int ExecutorClient::bind(const std::vector<Referee::Tensor>& tensors, const std::vector<bool>& is_writable,
                         const std::vector<FileDescriptor>& descriptors) {
  Message command{.body = {{"command", "bind"}, {"tensors", Json::array()}}};
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    command.body["tensors"].push_back({{"name", tensors[i].name},
                                       {"bytes", tensors[i].bytes},
                                       {"writable", static_cast<bool>(is_writable[i])}});
    command.descriptors.emplace_back(::dup(descriptors[i].get()));
  }
  return call(std::move(command), k_command_s_max).body.value("slot", -1);
}

void ExecutorClient::unbind(int slot) {
  call({.body = {{"command", "unbind"}, {"slot", slot}}}, k_command_s_max);
}

int ExecutorClient::plan(int slot, int module, const LaunchPlan& plan,
                         const std::map<std::string, std::string>& lowered,
                         const std::vector<int>& poisoned) {
  Message command{.body = {{"command", "plan"},
                           {"slot", slot},
                           {"module", module},
                           {"plan", plan},
                           {"lowered", lowered},
                           {"poison", poisoned}}};
  return call(std::move(command), k_command_s_max).body.value("plan", -1);
}

ExecutorClient::SampledRows ExecutorClient::sample(const Sample& sample) {
  Json layouts = Json::array();
  for (const std::vector<RowAxis>& axes : sample.layouts) {
    Json layout = Json::array();
    for (const RowAxis& axis : axes) layout.push_back(Json::array({axis.extent, axis.counts_rows}));
    layouts.push_back(std::move(layout));
  }
  Message command{.body = {{"command", "sample"},
                           {"plan", sample.plan},
                           {"seed", sample.seed},
                           {"timed_seed", sample.timed_seed ? Json(*sample.timed_seed) : Json(nullptr)},
                           {"layouts", std::move(layouts)},
                           {"checks_races", sample.checks_races},
                           {"instructions_max", sample.instructions_max}}};
  const Message reply = call(std::move(command), k_virtual_grace_s);
  return {.rows = reply.body.value("rows", std::vector<std::int64_t>{}),
          .lacks_rows = reply.body.value("lacks_rows", false),
          .is_barren = reply.body.value("is_barren", false),
          .is_cut = reply.body.value("is_cut", false),
          .blocks = reply.body.value("blocks", std::uint64_t{0}),
          .instructions = reply.body.value("instructions", std::uint64_t{0}),
          .launch_instructions = reply.body.value("launch_instructions", std::vector<double>{})};
}

namespace {

Json run_body(const char* name, const ExecutorClient::Run& run) {
  return {{"command", name},
          {"plan", run.plan},
          {"mode", run.mode == RunMode::timing ? "timing" : "full"},
          {"placement", run.placement},
          {"poison_seed", run.poison_seed},
          {"poison_kind", run.poison_kind},
          {"schedule_seed", run.schedule_seed},
          {"repeats", run.repeats},
          {"samples", run.samples},
          {"checks_races", run.checks_races},
          {"adds_exactly", run.adds_exactly},
          {"deadline_s", run.deadline_s}};
}

}  // namespace

ExecutorClient::Ran ExecutorClient::run(const Run& run) {
  const double grace = client_.facts().is_virtual ? k_virtual_grace_s : k_grace_s;
  const Message reply = call({.body = run_body("run", run)}, run.deadline_s + grace);
  modelled_ = reply.body.value("modelled", std::vector<ModelledLaunch>{});
  remarks_ = reply.body.value("remarks", std::vector<std::string>{});
  const auto clock = reply.body.value("clock_ghz", std::array<double, 3>{});
  return {.elapsed_us = reply.body.value("elapsed_us", 0.0),
          .samples = reply.body.value("samples", 0),
          .late = reply.body.value("late", 0),
          .clock_ghz = clock[0],
          .clock_ghz_min = clock[1],
          .clock_ghz_max = clock[2]};
}

CounterValues ExecutorClient::count(const Run& run, CounterGroup group) {
  Json body = run_body("count", run);
  body["group"] = static_cast<int>(group);
  const Message reply = call({.body = std::move(body)}, k_command_s_max);
  return {.values = reply.body.value("values", std::map<std::string, double>{}),
          .problem = reply.body.value("problem", std::string())};
}

}  // namespace kernelites::worker
