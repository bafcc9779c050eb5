// SPDX-License-Identifier: Apache-2.0
// kernelites agent-tools: what a coding agent runs in its scratch folder to compile, check, time and submit.
#include <fmt/format.h>

#include <iostream>
#include <memory>

#include "engine/core/error.h"
#include "engine/core/json.h"
#include "engine/llm/mcp_server.h"
#include "engine/llm/tool_channel.h"
#include "engine/llm/tool_client.h"
#include "tools/command_line.h"

namespace kernelites {
namespace {

struct AgentToolsOptions {
  std::string tool;
  std::string channel;
  std::string source;
  std::string candidate;
  std::string base;
  std::string edits;
  std::string note;
  std::string arguments;
  int tier = 0;
  double deadline_s = 3600;
  bool is_json = false;
};

/// The arguments as the tools take them; files are read here, in the agent's own folder.
std::string arguments_of(const AgentToolsOptions& options) {
  if (!options.arguments.empty()) return options.arguments;
  Json json = Json::object();
  if (!options.source.empty()) json["source"] = read_text(options.source);
  if (!options.candidate.empty()) json["candidate"] = options.candidate;
  if (!options.base.empty()) json["base"] = options.base;
  if (!options.edits.empty()) json["edits"] = read_text(options.edits);
  if (!options.note.empty()) json["note"] = options.note;
  if (options.tier > 0) json["tier"] = options.tier;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void serve(ToolClient& client, const AgentToolsOptions& options, Program& program) {
  const std::chrono::milliseconds deadline(static_cast<std::int64_t>(1000 * options.deadline_s));
  for (std::string line; std::getline(std::cin, line);) {
    const auto answer =
        mcp_answer(line, client.tools(), [&](const std::string& name, const std::string& arguments) {
          return client.call(name, arguments, deadline);
        });
    if (answer) program.out << *answer << std::endl;
  }
}

/// The channel of this folder, or of the nearest one above that has one: agents like to work in folders of their own.
std::filesystem::path channel_of(const AgentToolsOptions& options) {
  if (!options.channel.empty()) return options.channel;
  constexpr int k_levels_max = 32;
  std::error_code ignored;
  std::filesystem::path folder = std::filesystem::current_path(ignored);
  for (int level = 0; level < k_levels_max && folder != folder.parent_path(); ++level) {
    if (std::filesystem::exists(folder / k_tool_channel_folder / "channel.json", ignored))
      return folder / k_tool_channel_folder;
    folder = folder.parent_path();
  }
  return k_tool_channel_folder;
}

void agent_tools(const AgentToolsOptions& options, Program& program) {
  ToolClient client(channel_of(options));
  if (options.tool == "mcp") {
    serve(client, options, program);
    return;
  }
  if (options.tool == "list") {
    for (const ToolSpec& tool : client.tools())
      program.out << fmt::format("{}\n  {}  arguments: {}\n", tool.name, tool.description, tool.parameters);
    return;
  }
  const ToolResult result =
      client.call(options.tool, arguments_of(options),
                  std::chrono::milliseconds(static_cast<std::int64_t>(1000 * options.deadline_s)));
  if (options.is_json)
    program.out << Json{{"text", result.text}, {"is_error", result.is_error}}.dump() << "\n";
  else
    program.out << result.text << "\n";
  program.exit_code = result.is_error || result.text.starts_with("error") ? exit_failed : exit_done;
}

}  // namespace

void add_agent_tools_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<AgentToolsOptions>();
  command
      .add_option("tool", options->tool,
                  "A tool's name (compile, check, time, profile, submit, read_playbook, ...), list, or mcp: "
                  "serve the "
                  "Model Context Protocol on stdin and stdout")
      ->required();
  command.add_option("--channel", options->channel,
                     "The channel's folder (default: .kernelites of this folder or of one above)");
  command.add_option("--source", options->source, "A kernel file");
  command.add_option("--candidate", options->candidate, "The label of a kernel that was sent before");
  command.add_option("--base", options->base, "The label of the kernel that --edits change (default parent)");
  command.add_option("--edits", options->edits, "A file with SEARCH/REPLACE blocks");
  command.add_option("--note", options->note, "One line: what changed and why");
  command.add_option("--tier", options->tier, "Of the playbook");
  command.add_option("--arguments", options->arguments, "All arguments as one JSON object instead");
  command.add_option("--deadline-s", options->deadline_s, "Longest wait for an answer");
  command.add_flag("--json", options->is_json, "Print JSON");
  command.footer("Example: kernelites agent-tools check --source kernel.cu --note \"16-byte loads\"");
  command.callback([options, &program] { agent_tools(*options, program); });
}

}  // namespace kernelites
