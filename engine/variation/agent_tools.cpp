// SPDX-License-Identifier: Apache-2.0
// The table of tools and the reading of arguments; both sides of a schema that models follow only mostly.
#include "engine/variation/agent_tools.h"

#include <fmt/format.h>

#include <array>

#include "engine/llm/foreign_json.h"
#include "engine/variation/json_reply.h"
#include "engine/variation/prompt_library.h"
#include "engine/variation/reply_parser.h"
#include "engine/variation/text_rules.h"

namespace kernelites {
namespace {

constexpr std::string_view k_nothing = R"({"type":"object","properties":{},"additionalProperties":false})";

constexpr std::string_view k_tier =
    R"({"type":"object","properties":{"tier":{"type":"integer","minimum":0,"maximum":6}},)"
    R"("additionalProperties":false})";

constexpr std::string_view k_known =
    R"({"type":"object","properties":{"candidate":{"type":"string"}},"required":["candidate"],)"
    R"("additionalProperties":false})";

constexpr std::string_view k_candidate =
    R"({"type":"object","properties":{"candidate":{"type":"string"},"source":{"type":"string"},)"
    R"("base":{"type":"string"},"edits":{"type":"array","items":{"type":"object","properties":)"
    R"({"search":{"type":"string"},"replace":{"type":"string"}},"required":["search","replace"]}},)"
    R"("tuning":{"type":"object","additionalProperties":{"type":"integer"}},"note":{"type":"string"}},)"
    R"("additionalProperties":false})";

constexpr std::array k_tools{
    AgentTool{"read_parent", AgentAction::read_parent, k_nothing},
    AgentTool{"read_lineage", AgentAction::read_lineage, k_nothing},
    AgentTool{"read_lessons", AgentAction::read_lessons, k_nothing},
    AgentTool{"read_playbook", AgentAction::read_playbook, k_tier},
    AgentTool{"compile", AgentAction::compile, k_candidate},
    AgentTool{"check", AgentAction::check, k_candidate},
    AgentTool{"time", AgentAction::time, k_candidate},
    AgentTool{"profile", AgentAction::profile, k_known},
    AgentTool{"submit", AgentAction::submit, k_candidate},
};

bool takes_candidate(AgentAction action) {
  return action == AgentAction::compile || action == AgentAction::check || action == AgentAction::time ||
         action == AgentAction::submit;
}

Rejection bad(const std::string& what) { return {"bad_arguments", what}; }

/// Why the member cannot be used; empty if it was read.
std::string read_member(const std::string& key, const Json& value, ToolArguments& arguments) {
  if (key == "candidate" || key == "base" || key == "note" || key == "source") {
    if (!value.is_string()) return fmt::format("\"{}\" must be a string", key);
    const std::string text = value.get<std::string>();
    if (key == "candidate") arguments.candidate = single_line(text, 32);
    if (key == "base") arguments.base = single_line(text, 32);
    if (key == "note") arguments.note = single_line(text, k_summary_bytes_max);
    if (key == "source") arguments.source = text;
    return "";
  }
  if (key == "tier") {
    const auto tier = whole_number_in<std::int64_t>(value);
    if (!tier) return "\"tier\" must be a whole number";
    arguments.tier = static_cast<int>(std::clamp<std::int64_t>(*tier, 0, 100));
    return "";
  }
  if (key == "tuning") {
    if (!value.is_object()) return "\"tuning\" must be an object of name: value";
    for (const auto& [name, choice] : value.items()) {
      const auto number = whole_number_in<std::int64_t>(choice);
      if (!number) return fmt::format("the value of tunable \"{}\" must be a whole number", name);
      arguments.tuning[name] = *number;
    }
    return "";
  }
  // Edits as a list, or as the text with markers that the same model uses elsewhere.
  auto edits = value.is_string() ? read_edits(value.get<std::string>()) : edits_from_json(value);
  if (auto* rejection = std::get_if<Rejection>(&edits)) return rejection->message;
  arguments.edits = std::get<std::vector<SourceEdit>>(std::move(edits));
  return arguments.edits.empty() ? "\"edits\" holds no edit" : "";
}

}  // namespace

std::span<const AgentTool> agent_tools() { return k_tools; }

const AgentTool* find_agent_tool(std::string_view name) {
  for (const AgentTool& tool : k_tools)
    if (tool.name == name) return &tool;
  return nullptr;
}

std::vector<ToolSpec> agent_tool_specs(const PromptLibrary& library, bool only_submit) {
  std::vector<ToolSpec> specs;
  for (const AgentTool& tool : k_tools)
    if (!only_submit || tool.action == AgentAction::submit)
      specs.push_back({.name = std::string(tool.name),
                       .description = library.render("tools/" + std::string(tool.name), {}),
                       .parameters = std::string(tool.parameters)});
  return specs;
}

std::variant<ToolArguments, Rejection> read_tool_arguments(const AgentTool& tool, std::string_view text) {
  if (text.size() > k_reply_bytes_max) return bad("the arguments are too long");
  const bool is_empty = text.find_first_not_of(" \t\r\n") == std::string_view::npos;
  const Json json = is_empty ? Json::object() : parse_foreign_json(text);
  if (!json.is_object()) return bad("the arguments must be one JSON object");
  const Json schema = Json::parse(tool.parameters);
  ToolArguments arguments;
  for (const auto& [key, value] : json.items()) {
    if (!schema.at("properties").contains(key)) {
      std::string known;
      for (const auto& [name, ignored] : schema.at("properties").items()) known += " " + name;
      return bad(fmt::format("there is no argument \"{}\"; known are{}", single_line(key, 40),
                             known.empty() ? " none" : known));
    }
    if (const std::string problem = read_member(key, value, arguments); !problem.empty()) return bad(problem);
  }
  const int ways = (arguments.candidate.empty() ? 0 : 1) + (arguments.source ? 1 : 0) +
                   (arguments.edits.empty() && arguments.tuning.empty() ? 0 : 1);
  const bool is_source_with_tuning =
      arguments.source && arguments.candidate.empty() && arguments.edits.empty();
  if (takes_candidate(tool.action) && ways != 1 && !is_source_with_tuning)
    return bad(
        "name exactly one kernel: \"candidate\" (a label such as c2), or \"source\" (a whole file), or "
        "\"edits\" and "
        "\"tuning\" of \"base\"");
  if (tool.action == AgentAction::profile && arguments.candidate.empty())
    return bad("\"candidate\" is missing");
  return arguments;
}

}  // namespace kernelites
