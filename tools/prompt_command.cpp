// SPDX-License-Identifier: Apache-2.0
// kernelites prompt: exactly what a model was sent for a candidate, or would be sent with it as the parent.
#include <fmt/format.h>

#include <memory>

#include "engine/core/error.h"
#include "engine/llm/conversation_json.h"
#include "engine/search/lesson_book.h"
#include "engine/search/model_calls.h"
#include "engine/search/recorded_config.h"
#include "engine/search/variation_inputs.h"
#include "engine/variation/agent_tools.h"
#include "engine/variation/operator_prompt.h"
#include "engine/variation/operator_table.h"
#include "tools/clean_output.h"
#include "tools/command_line.h"
#include "tools/data_root.h"
#include "tools/inspect/run_reader.h"

namespace kernelites {
namespace {

struct PromptOptions {
  std::string run;
  std::string id;
  std::string as_parent_of;
  std::string data;
  bool wants_versions = false;
  bool is_json = false;
};

/// One call, as a person reads it.
void print_request(const ModelRequest& request, std::ostream& out) {
  for (const ChatMessage& message : request.messages) {
    out << fmt::format("===== {}{} =====\n{}\n", message.role,
                       message.tool_call_id.empty() ? "" : " (result of " + message.tool_call_id + ")",
                       message.text);
    for (const ToolCall& call : message.tool_calls)
      out << fmt::format("----- calls {} ({}): {}\n", call.name, call.id, call.arguments);
  }
  if (!request.tools.empty()) {
    out << "===== tools (choice: " << request.tool_choice << ") =====\n";
    for (const ToolSpec& tool : request.tools)
      out << fmt::format("{}: {}\n  {}\n", tool.name, tool.description, tool.parameters);
  }
  if (const AnswerSchema& answer = request.answer_schema; !answer.schema.empty())
    out << fmt::format("===== the answer must be JSON of the schema {} =====\n{}\n", answer.name,
                       answer.schema);
  if (!request.reasoning_effort.empty())
    out << fmt::format("===== reasoning effort: {} =====\n", request.reasoning_effort);
}

Json request_json(const ModelRequest& request, const Json& cuts) {
  Json json{{"id", request.id},
            {"digest", prompt_digest(request)},
            {"tokens_estimated", estimated_tokens(request)},
            {"cuts", cuts},
            {"messages", messages_json(request.messages)}};
  json.update(request_extras(request));
  return json;
}

void print_sent(const RunReader& run, std::uint64_t ordinal, const PromptOptions& options, Program& program) {
  const std::vector<ModelCallRecord> calls = run.archive.model_calls(ordinal);
  if (calls.empty())
    throw ConfigError("ID", options.id,
                      "no model was called for it; --as-parent-of OPERATOR shows what would be sent");
  Json list = Json::array();
  for (const ModelCallRecord& call : calls) {
    const ModelRequest request = request_from(call);
    Json json = request_json(request, call.cuts);
    json["digest"] = call.prompt_digest;
    json["state"] = call.state;
    list.push_back(std::move(json));
    if (options.is_json) continue;
    program.out << fmt::format("##### call {} to {}, {}; about {} tokens, {} in fact; cut: {}\n",
                               call.request_id, call.endpoint, call.state, call.tokens_estimated,
                               call.input_tokens, call.cuts.dump());
    print_request(request, program.out);
  }
  if (options.is_json) program.out << list.dump(2) << "\n";
}

/// The first call that the operator would make, by the prompt files of now.
void print_next(const RunReader& run, const CandidateRecord& parent, const PromptOptions& options,
                Program& program) {
  const OperatorRow* row = find_operator(options.as_parent_of);
  if (row == nullptr || !row->needs_model || row->is_scheduled)
    throw ConfigError("--as-parent-of", options.as_parent_of, "names no operator that calls a model");
  const DataRoot data = find_data_root(options.data, program.executable);
  const PromptLibrary library = PromptLibrary::load(data.prompts());
  const RunConfig config =
      recorded_run_config(run.archive.run().configuration, options.run + ": configuration");
  VariationRecord record{.operator_name = std::string(row->name), .parents = {parent.id}};
  for (const Elite& elite : run.archive.grid().elites())
    if (elite.candidate_id != parent.id && static_cast<int>(record.inspirations.size()) < row->inspirations)
      record.inspirations.push_back(elite.candidate_id);
  record.decision = feedback_decision(run.archive, parent.id);
  LessonBook book(run.archive, run.task, config.effect_min);
  const LessonReader lessons = config.knowledge.empty() ? LessonReader() : book.reader();
  record.decision["lessons_told"] = run.archive.last_told();
  const VariationInput input = variation_input({.archive = run.archive,
                                                .task = run.task,
                                                .config = config,
                                                .lessons = lessons,
                                                .device = run.device,
                                                .baseline_id = run.baseline_id},
                                               record);
  const std::unique_ptr<Operator> worker = row->make(*row, input, library, Rng(0));
  const Action first = worker->next(Started{});
  const CallModel& call = std::get<CallModel>(first);
  if (options.is_json) {
    program.out << request_json(call.request, cuts_json(call.cuts)).dump(2) << "\n";
    return;
  }
  program.out << fmt::format("##### would be sent by {}; about {} tokens; cut: {}\n", row->name,
                             estimated_tokens(call.request), cuts_json(call.cuts).dump());
  print_request(call.request, program.out);
}

/// Prompts that the run's models wrote, with the texts of their regions.
void print_versions(const RunReader& run, const PromptOptions& options, Program& program) {
  Json list = Json::array();
  for (const PromptVersionRecord& version : run.archive.prompt_versions()) {
    list.push_back({{"version", version.version},
                    {"operator", version.operator_name},
                    {"parent", version.parent},
                    {"ordinal", version.ordinal},
                    {"state", version.state},
                    {"regions", version.regions}});
    if (options.is_json) continue;
    program.out << fmt::format("##### {} of {}, {}, written by variation {} from {}\n", version.version,
                               version.operator_name, version.state, version.ordinal, version.parent);
    for (const auto& [name, text] : version.regions.items())
      program.out << fmt::format("===== region {} =====\n{}\n", name, text.get<std::string>());
  }
  if (options.is_json) program.out << list.dump(2) << "\n";
}

void prompt(const PromptOptions& options, Program& program) {
  const RunReader run = read_run(options.run);
  if (options.wants_versions) {
    print_versions(run, options, program);
    return;
  }
  if (options.id.empty()) throw ConfigError("ID", "", "expected a candidate or variation, or --versions");
  if (!options.as_parent_of.empty()) {
    print_next(run, find_candidate(run, options.id), options, program);
    return;
  }
  // A variation that was rejected, or is open, has a number and no candidate.
  if (const auto ordinal = ordinal_from(options.id); ordinal && run.archive.variation(*ordinal))
    print_sent(run, *ordinal, options, program);
  else
    print_sent(run, find_candidate(run, options.id).variation, options, program);
}

}  // namespace

void add_prompt_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<PromptOptions>();
  command.add_option("run", options->run, "The run folder")->required();
  command.add_option("id", options->id,
                     "The candidate or variation: its number, or the first characters of an id");
  command.add_flag("--versions", options->wants_versions,
                   "List the prompts that models wrote in this run (docs/operators.md)");
  command.add_option(
      "--as-parent-of", options->as_parent_of,
      "Show what this operator would send with the candidate as its parent, and the best elites of other "
      "cells as inspirations (a run draws all but the first)");
  command.add_option("--data", options->data, "Folder that holds tasks/, kernels_seed/ and prompts/");
  command.add_flag("--json", options->is_json, "Print JSON");
  command.footer(
      "Example: kernelites prompt runs/first 12\n         kernelites prompt runs/first 12 --as-parent-of "
      "edit");
  command.callback([options, &program] {
    if (options->is_json) return prompt(*options, program);
    print_clean(program, [&](Program& screen) { prompt(*options, screen); });
  });
}

}  // namespace kernelites
