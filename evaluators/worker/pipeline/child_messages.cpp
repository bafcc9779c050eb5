// SPDX-License-Identifier: Apache-2.0
// Encoding of images and faults, and the command loop of the children.
#include "evaluators/worker/pipeline/child_messages.h"

#include <fmt/format.h>

#include <cstring>

#include "engine/core/error.h"

namespace kernelites::worker {

void attach_image(Message& message, const ModuleImage& image) {
  message.body["ptx_bytes"] = image.ptx.size();
  message.body["cubin_bytes"] = image.cubin.size();
  message.body["registers"] = image.registers;
  const auto* text = reinterpret_cast<const std::byte*>(image.ptx.data());
  message.payload.assign(text, text + image.ptx.size());
  message.payload.insert(message.payload.end(), image.cubin.begin(), image.cubin.end());
}

ModuleImage detach_image(const Message& message) try {
  const auto ptx = message.body.at("ptx_bytes").get<std::size_t>();
  const auto cubin = message.body.at("cubin_bytes").get<std::size_t>();
  if (ptx > message.payload.size() || cubin != message.payload.size() - ptx)
    throw Error("module image of another size");
  const auto* bytes = message.payload.data();
  return {.ptx = std::string(reinterpret_cast<const char*>(bytes), ptx),
          .cubin = std::vector<std::byte>(bytes + ptx, bytes + ptx + cubin),
          .registers = message.body.at("registers").get<std::map<std::string, int>>()};
} catch (const Json::exception& error) {
  throw Error(fmt::format("no module image: {}", error.what()));
}

Message fault_reply(const DeviceFault& fault) {
  return {
      .body = {{"ok", false}, {"reason", fault.reason}, {"message", fault.message}, {"line", fault.line}}};
}

std::optional<DeviceFault> fault_of(const Json& reply) try {
  if (reply.value("ok", false)) return std::nullopt;
  return DeviceFault{.reason = reply.value("reason", "error"),
                     .message = reply.value("message", "no reason given"),
                     .line = reply.value("line", 0)};
} catch (const Json::exception&) {
  return DeviceFault{.reason = std::string(k_no_reply), .message = "what came is no reply"};
}

int serve_commands(Channel& channel, const CommandTable& commands) {
  for (;;) {
    std::optional<Message> message = channel.receive(k_idle_s_max);
    if (!message) return channel.status() == ChannelStatus::closed ? 0 : 4;
    Message reply;
    try {
      const auto name = message->body.at("command").get<std::string>();
      const auto command = commands.find(name);
      if (command == commands.end()) throw Error(fmt::format("unknown command '{}'", name));
      reply = command->second(*message);
      if (!reply.body.contains("ok")) reply.body["ok"] = true;
    } catch (const std::exception& error) {
      reply = fault_reply({.reason = "error", .message = error.what()});
    }
    if (!channel.send(reply, k_transfer_s_max)) return 4;
  }
}

}  // namespace kernelites::worker
