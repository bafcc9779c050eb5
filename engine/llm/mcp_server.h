// SPDX-License-Identifier: Apache-2.0
// Tools as a Model Context Protocol server: JSON-RPC 2.0, one message a line. The transport is the caller's.
//
// Methods: initialize, ping, tools/list, tools/call; notifications are taken and not answered. Protocol revisions that
// clients ask for are echoed, since nothing that changed between them is used here (modelcontextprotocol.io,
// specification 2025-06-18, sections Lifecycle and Tools).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/llm/endpoint.h"
#include "engine/llm/tool_client.h"

namespace kernelites {

using ToolRunner = std::function<ToolResult(const std::string& name, const std::string& arguments)>;

/// The answer to one line, without newline; nothing where none is due. Never throws for what the line holds.
std::optional<std::string> mcp_answer(std::string_view line, const std::vector<ToolSpec>& tools,
                                      const ToolRunner& run);

}  // namespace kernelites
