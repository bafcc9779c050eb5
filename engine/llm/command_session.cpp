// SPDX-License-Identifier: Apache-2.0
// The life of a session: a folder, a process, tool calls and their answers, one end.
#include "engine/llm/command_session.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>

#include "engine/core/digest.h"
#include "engine/core/json.h"
#include "engine/llm/command_reply.h"
#include "engine/llm/request_text.h"

namespace kernelites {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr milliseconds k_measure_interval{100};  // of one step
constexpr milliseconds k_last_moment{3000};
/// Tool calls that one model call hands on; the program waits with the rest.
constexpr std::size_t k_calls_at_once = 8;

constexpr const char* k_how_to_call =
    "<!-- How to call the tools named below: in this folder, `kernelites agent-tools NAME --source FILE "
    "--note "
    "\"...\"` (see `kernelites agent-tools --help`; `kernelites agent-tools list` lists them), or through "
    "the MCP "
    "server that .kernelites/mcp.json configures. Each call prints its result and may take minutes. Hand "
    "your kernel "
    "in with the tool `submit`. -->\n";

/// What clients of the Model Context Protocol take as their configuration.
std::string mcp_configuration(const fs::path& program) {
  return Json{{"mcpServers",
               {{"kernelites", {{"command", program.string()}, {"args", {"agent-tools", "mcp"}}}}}}}
             .dump(1) +
         "\n";
}

}  // namespace

CommandSession::CommandSession(const CommandSettings& settings,
                               const std::map<std::string, std::string>& secrets, const ModelRequest& request,
                               std::string name, Clock::Steady now)
    : ordinal_(request.ordinal),
      prefix_(name + "_"),
      scratch_(make_scratch(settings.folder, name)),
      scratch_bytes_max_(settings.scratch_bytes_max),
      deadline_(now + settings.total),
      total_(settings.total),
      meter_(scratch_),
      next_measure_(now + k_measure_interval) {
  const bool has_tools = !request.tools.empty() && !settings.tool_program.empty();
  if (has_tools) {
    channel_ = std::make_unique<ToolChannel>(scratch_, Key::random().hex(), request.tools);
    write_text_atomically(scratch_ / k_tool_channel_folder / "mcp.json",
                          mcp_configuration(settings.tool_program));
  }
  const std::string text = (has_tools ? k_how_to_call : "") + request_markdown(request);
  write_text_atomically(scratch_ / "request.md", text);
  write_text_atomically(scratch_ / "request.json", request_json(request, prompt_digest(request)));
  JailedCommand command = jailed_command(settings, scratch_);
  for (const auto& [variable, value] : secrets) command.environment[variable] = value;
  command.input = text;
  process_ = std::make_unique<JailedProcess>(std::move(command));
}

void CommandSession::pump(Clock::Steady now) {
  process_->pump();
  if (process_->has_ended()) return;
  if (now >= deadline_)
    end_for("timeout", fmt::format("the command did not end within {} s and was killed",
                                   std::chrono::duration<double>(total_).count()));
  if (now < next_measure_) return;
  next_measure_ = now + k_measure_interval;
  if (meter_.exceeds(scratch_bytes_max_))
    end_for("reply_too_big",
            fmt::format("the command filled its folder with more than {} bytes and was killed",
                        scratch_bytes_max_));
}

void CommandSession::end_for(std::string failure, std::string message) {
  if (failure_.empty()) {
    failure_ = std::move(failure);
    message_ = std::move(message);
  }
  process_->kill();
}

std::vector<ToolCall> CommandSession::take_calls(const ModelRequest& request) {
  std::vector<ToolCall> calls;
  if (!channel_) return calls;
  while (calls.size() < k_calls_at_once) {
    std::optional<ToolCall> call = channel_->poll();
    if (!call) break;
    const bool is_offered = std::any_of(request.tools.begin(), request.tools.end(),
                                        [&](const ToolSpec& tool) { return tool.name == call->name; });
    if (!is_offered) {
      channel_->answer(
          call->id, fmt::format("error: the tool \"{}\" is not offered now", call->name.substr(0, 40)), true);
      continue;
    }
    call->id = prefix_ + call->id;
    waiting_.insert(call->id);
    calls.push_back(std::move(*call));
  }
  return calls;
}

void CommandSession::answer(const std::string& id, const std::string& text) {
  channel_->answer(id.substr(prefix_.size()), text, text.starts_with("error"));
  waiting_.erase(id);
}

void CommandSession::continue_with(const ModelRequest& request) {
  std::string said;  // by the run after the results
  std::string last;
  std::map<std::string, std::string> results;
  for (const ChatMessage& message : request.messages) {
    if (message.role == "assistant") said.clear();
    if (message.role == "user") said += "\n" + message.text;
    if (!waits_for(message)) continue;
    results[message.tool_call_id] = message.text;
    last = message.tool_call_id;
  }
  for (const auto& [id, text] : results) answer(id, id == last ? text + said : text);
  for (const std::string& id : std::set<std::string>(waiting_)) answer(id, "error: not carried out");
}

void CommandSession::close(Clock::Steady now) {
  if (is_closed_ || has_ended()) return;
  is_closed_ = true;
  for (const std::string& id : std::set<std::string>(waiting_)) answer(id, "The run has taken it; end now.");
  deadline_ = std::min(deadline_, now + k_last_moment);
}

ModelReply CommandSession::reply(const ModelRequest& request, const CommandSettings& settings) const {
  if (failure_.empty()) return read_command_reply(*process_, request, settings);
  ModelReply reply{.failure = failure_, .message = message_, .cost = estimated_cost(request, "")};
  reply.cost.usd = settings.usd_max;
  return reply;
}

}  // namespace kernelites
