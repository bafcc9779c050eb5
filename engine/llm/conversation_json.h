// SPDX-License-Identifier: Apache-2.0
// Conversations as this project stores them: in recordings, spool folders and the database.
//
// A message is {"role": "...", "text": "..."} and, only where it has them,
//   "tool_calls": [{"id": "...", "name": "...", "arguments": "<JSON text>"}], "tool_call_id": "...".
// What a request asks for besides is {"tools": [{"name", "description", "parameters": <schema>}], "tool_choice",
// "answer_schema": {"name", "schema": <schema>}, "reasoning_effort", "stable_messages"}, each only where it is used.
#pragma once

#include <string>
#include <vector>

#include "engine/core/json.h"
#include "engine/llm/endpoint.h"

namespace kernelites {

void to_json(Json& json, const ToolCall& call);
void to_json(Json& json, const ChatMessage& message);

/// Reads a list of messages, refusing unknown members. Throws ConfigError naming the member.
std::vector<ChatMessage> parse_messages(const Json& json, const std::string& where, const std::string& path);
/// Reads a list of tool calls; arguments may be an object instead of its text, a missing id becomes "call_<index>".
/// Throws ConfigError.
std::vector<ToolCall> parse_tool_calls(const Json& json, const std::string& where, const std::string& path);

/// Everything of the request that is neither a message nor a limit; an empty object for a plain one. A schema that is
/// not JSON is shown as the text it is.
Json request_extras(const ModelRequest& request);
/// Sets what `request_extras` shows. Throws ConfigError.
void apply_request_extras(ModelRequest& request, const Json& extras, const std::string& where);

}  // namespace kernelites
