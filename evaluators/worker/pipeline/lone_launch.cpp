// SPDX-License-Identifier: Apache-2.0
// Both ends of a lone launch.
#include "evaluators/worker/pipeline/lone_launch.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/error.h"
#include "evaluators/worker/pipeline/bound_plan.h"
#include "evaluators/worker/pipeline/child_messages.h"
#include "evaluators/worker/sandbox/child.h"

namespace kernelites::worker {
namespace {

constexpr double k_message_s_max = 30;
constexpr double k_launch_s_max = 60;
/// Uninitialised reads are another tool's business: some bits are there.
constexpr std::uint8_t k_stale_byte = 0xA5;

Message run_alone(Message& image, Message& job) {
  const auto kind = job.body.at("device").get<std::string>();
  const std::unique_ptr<Device> device = kind == "gpu" ? make_gpu_device() : make_vgpu_device(1);
  const ModuleId module = device->load(detach_image(image));
  std::vector<Buffer> tensors, workspaces;
  std::size_t at = 0;
  for (const Json& spec : job.body.at("tensors")) {
    const auto bytes = spec.at("bytes").get<std::int64_t>();
    tensors.push_back(device->allocate(bytes, spec.at("name").get<std::string>()));
    if (spec.at("is_written").get<bool>()) {
      device->fill(tensors.back(), k_stale_byte);
      continue;
    }
    const auto size = static_cast<std::size_t>(bytes);
    if (size > job.payload.size() - at) throw Error("the contents are shorter than the tensors");
    device->write(tensors.back(), 0, std::span(job.payload).subspan(at, size));
    at += size;
  }
  const auto plan = job.body.at("plan").get<LaunchPlan>();
  for (const Workspace& workspace : plan.workspaces) {
    workspaces.push_back(device->allocate(std::max<std::int64_t>(workspace.bytes, 1),
                                          fmt::format("workspace {}", workspaces.size())));
    device->fill(workspaces.back(), workspace.kind == WorkspaceKind::poisoned ? k_stale_byte : 0);
  }
  const auto lowered = job.body.at("lowered").get<std::map<std::string, std::string>>();
  const std::vector<BoundLaunch> launches = bind_plan(
      plan, {.module = module, .lowered_names = lowered, .tensors = tensors, .workspaces = workspaces});
  const SequenceOutcome outcome = device->run({}, launches, RunMode::full, k_launch_s_max);
  if (outcome.fault) return fault_reply(*outcome.fault);
  return {.body = {{"ok", true}}};
}

Message job_message(const std::string& device, const LaunchPlan& plan,
                    const std::map<std::string, std::string>& lowered,
                    const std::vector<LoneTensor>& tensors) {
  Message job{.body = {{"device", device}, {"plan", plan}, {"lowered", lowered}, {"tensors", Json::array()}}};
  for (const LoneTensor& tensor : tensors) {
    job.body["tensors"].push_back(
        {{"name", tensor.name}, {"bytes", tensor.bytes}, {"is_written", tensor.contents.empty()}});
    job.payload.insert(job.payload.end(), tensor.contents.begin(), tensor.contents.end());
  }
  return job;
}

}  // namespace

int lone_launch_main(Channel& channel) {
  std::optional<Message> image = channel.receive(k_message_s_max), job = channel.receive(k_message_s_max);
  if (!image || !job) return 4;
  Message reply;
  try {
    reply = run_alone(*image, *job);
  } catch (const std::exception& error) {
    reply = fault_reply({.reason = "error", .message = error.what()});
  }
  return channel.send(reply, k_message_s_max) ? 0 : 4;
}

LoneOutcome launch_alone(const std::vector<std::string>& tool, const std::string& device,
                         const ModuleImage& image, const LaunchPlan& plan,
                         const std::map<std::string, std::string>& lowered,
                         const std::vector<LoneTensor>& tensors, double deadline_s) {
  // Memory of the virtual GPU is files, and tools write some of their own.
  const ChildLimits limits{.file_bytes = UINT64_MAX, .open_files = 1024};
  Child child =
      tool.empty() ? Child::start(k_lone_role, limits) : Child::start_under(tool, k_lone_role, limits);
  Message module;
  attach_image(module, image);
  const bool is_sent = child.channel().send(module, k_message_s_max) &&
                       child.channel().send(job_message(device, plan, lowered, tensors), k_message_s_max);
  const std::optional<Message> reply = is_sent ? child.channel().receive(deadline_s) : std::nullopt;
  LoneOutcome outcome;
  if (reply) {
    outcome.fault = fault_of(reply->body);
  } else if (child.channel().status() == ChannelStatus::deadline) {
    outcome.fault = DeviceFault{.reason = "deadline", .message = "it did not end in time"};
    child.kill();
  }
  // The tool counts its findings after its process has ended.
  const std::optional<ChildEnd> end = child.wait(deadline_s);
  if (end) outcome.exit_code = end->exit_code;
  if (!reply && !outcome.fault) {
    outcome.fault = DeviceFault{.reason = "child_died",
                                .message = end ? end->words : std::string("it ended without an answer")};
  }
  return outcome;
}

}  // namespace kernelites::worker
