// SPDX-License-Identifier: Apache-2.0
// From what a program printed, and how it ended, to the reply of a call.
#pragma once

#include "engine/llm/command_settings.h"
#include "engine/llm/endpoint.h"

namespace kernelites {

/// REQUIRES: the process has ended by itself or for flooding. The cost is what the output tells; what it does not tell
/// is estimated, and the money is then `usd_max`, since a cap that counted nothing would never end a run.
ModelReply read_command_reply(const JailedProcess& process, const ModelRequest& request,
                              const CommandSettings& settings);

}  // namespace kernelites
