// SPDX-License-Identifier: Apache-2.0
// JSON-RPC in, JSON-RPC out.
#include "engine/llm/mcp_server.h"

#include <algorithm>

#include "engine/llm/foreign_json.h"

namespace kernelites {
namespace {

constexpr int k_parse_error = -32700;
constexpr int k_invalid_request = -32600;
constexpr int k_method_not_found = -32601;
constexpr int k_invalid_params = -32602;
constexpr std::size_t k_line_bytes_max = 4 * 1024 * 1024;
constexpr const char* k_revision = "2025-06-18";

std::string text_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string failure(const Json& id, int code, const std::string& message) {
  return text_of({{"jsonrpc", "2.0"}, {"id", id}, {"error", {{"code", code}, {"message", message}}}});
}

std::string success(const Json& id, const Json& result) {
  return text_of({{"jsonrpc", "2.0"}, {"id", id}, {"result", result}});
}

Json tool_list(const std::vector<ToolSpec>& tools) {
  Json list = Json::array();
  for (const ToolSpec& tool : tools) {
    Json schema = parse_foreign_json(tool.parameters);
    if (!schema.is_object()) schema = {{"type", "object"}};
    list.push_back({{"name", tool.name}, {"description", tool.description}, {"inputSchema", schema}});
  }
  return {{"tools", list}};
}

std::string call_tool(const Json& id, const Json& params, const std::vector<ToolSpec>& tools,
                      const ToolRunner& run) {
  if (!params.is_object() || !params.contains("name") || !params["name"].is_string())
    return failure(id, k_invalid_params, "params.name must be a string");
  const std::string name = params["name"].get<std::string>();
  if (std::none_of(tools.begin(), tools.end(), [&](const ToolSpec& tool) { return tool.name == name; }))
    return failure(id, k_invalid_params, "there is no tool of that name");
  const Json arguments = params.contains("arguments") ? params["arguments"] : Json::object();
  const ToolResult result = run(name, text_of(arguments));
  return success(id, {{"content", Json::array({Json{{"type", "text"}, {"text", result.text}}})},
                      {"isError", result.is_error}});
}

}  // namespace

std::optional<std::string> mcp_answer(std::string_view line, const std::vector<ToolSpec>& tools,
                                      const ToolRunner& run) {
  if (line.find_first_not_of(" \t\r\n") == std::string_view::npos) return std::nullopt;
  if (line.size() > k_line_bytes_max) return failure(nullptr, k_parse_error, "the message is too long");
  const Json message = parse_foreign_json(line);
  if (message.is_discarded()) return failure(nullptr, k_parse_error, "the message is not JSON");
  const bool is_request = message.is_object() && message.contains("method") && message["method"].is_string();
  if (!is_request) return failure(nullptr, k_invalid_request, "expected an object with a method");
  if (!message.contains("id")) return std::nullopt;  // a notification
  const Json& id = message["id"];
  if (!id.is_string() && !id.is_number_integer())
    return failure(nullptr, k_invalid_request, "the id must be a string or a whole number");
  const std::string method = message["method"].get<std::string>();
  const Json params = message.contains("params") ? message["params"] : Json::object();
  if (method == "initialize") {
    const bool has_revision =
        params.is_object() && params.contains("protocolVersion") && params["protocolVersion"].is_string();
    return success(id, {{"protocolVersion", has_revision ? params["protocolVersion"] : Json(k_revision)},
                        {"capabilities", {{"tools", Json::object()}}},
                        {"serverInfo", {{"name", "kernelites"}, {"version", "1"}}}});
  }
  if (method == "ping") return success(id, Json::object());
  if (method == "tools/list") return success(id, tool_list(tools));
  if (method == "tools/call") return call_tool(id, params, tools, run);
  return failure(id, k_method_not_found, "unknown method");
}

}  // namespace kernelites
