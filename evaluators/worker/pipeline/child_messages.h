// SPDX-License-Identifier: Apache-2.0
// What supervisor, referee and executor say to each other: a command name, JSON arguments, bytes,
// descriptors.
//
// A command is {"command": name, ...}; its reply is {"ok": true, ...} or {"ok": false, "reason", "message",
// "line"}. One command is under way at a time. Device modules travel as one payload, PTX first, then the
// cubin.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "evaluators/worker/device/device.h"
#include "evaluators/worker/sandbox/channel.h"

namespace kernelites::worker {

/// Appends an image to a message: sizes in the body, bytes in the payload.
void attach_image(Message& message, const ModuleImage& image);
/// Inverse of `attach_image`. Throws Error if sizes and payload disagree, or are not there.
ModuleImage detach_image(const Message& message);

/// A reply that reports a fault, and its inverse, which never throws: the reason of what is no reply is k_no_reply.
inline constexpr std::string_view k_no_reply = "bad_reply";
Message fault_reply(const DeviceFault& fault);
std::optional<DeviceFault> fault_of(const Json& reply);

using CommandTable = std::map<std::string, std::function<Message(Message&)>>;
/// Serves commands until the other side closes: the main loop of referee and executor. A command that throws
/// Error replies with the reason "error" and its words.
int serve_commands(Channel& channel, const CommandTable& commands);

/// A child that waits longer than this for its next command ends: its supervisor has forgotten it.
inline constexpr double k_idle_s_max = 7 * 24 * 3600;
/// A child must take or give a message within this time.
inline constexpr double k_transfer_s_max = 60;

}  // namespace kernelites::worker
