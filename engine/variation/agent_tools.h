// SPDX-License-Identifier: Apache-2.0
// The tools of an agent, as a table: names, arguments, and reading what a model wrote into them.
//
// One contract for all models: an HTTP endpoint sends these as its native tools, a program in a jail calls them
// through engine/llm/tool_channel. The descriptions are prompts/tools/<name>.md.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/llm/endpoint.h"
#include "engine/variation/operator.h"
#include "engine/variation/source_edit.h"
#include "engine/variation/tuning.h"

namespace kernelites {

class PromptLibrary;

enum class AgentAction {
  read_parent,
  read_lineage,
  read_lessons,
  read_playbook,
  compile,
  check,
  time,
  profile,
  submit
};

/// One row of the table.
struct AgentTool {
  std::string_view name;
  AgentAction action;
  std::string_view parameters;  ///< JSON schema of the arguments
};

std::span<const AgentTool> agent_tools();
/// nullptr: there is none of that name.
const AgentTool* find_agent_tool(std::string_view name);
/// As a request carries them; `only_submit`: nothing else is left to do.
std::vector<ToolSpec> agent_tool_specs(const PromptLibrary& library, bool only_submit = false);

/// What a call says. Members that a tool does not know are refused.
struct ToolArguments {
  std::string candidate;              ///< label of a known one ("parent", "c2"); empty: a new one follows
  std::optional<std::string> source;  ///< a whole file
  std::string base = "parent";        ///< label of what `edits` and `tuning` change
  std::vector<SourceEdit> edits;
  Tuning tuning;
  std::string note;  ///< one line: what and why
  int tier = 0;      ///< of the playbook; 0: its table of contents
};

/// Reads the arguments. A Rejection ("bad_arguments") says what to write instead.
std::variant<ToolArguments, Rejection> read_tool_arguments(const AgentTool& tool, std::string_view text);

}  // namespace kernelites
