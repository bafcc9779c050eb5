// SPDX-License-Identifier: Apache-2.0
// Which call belongs to which session, and what each costs.
#include "engine/llm/command_endpoint.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>

#include "engine/core/error.h"
#include "engine/llm/poll_wait.h"
#include "engine/llm/request_text.h"
#include "engine/llm/secret_text.h"
#include "engine/llm/utf8_text.h"

namespace kernelites {
namespace {

using std::chrono::milliseconds;

/// Tool results at the end of the conversation.
std::vector<const ChatMessage*> new_results(const ModelRequest& request) {
  std::vector<const ChatMessage*> results;
  for (const ChatMessage& message : request.messages) {
    if (message.role == "assistant") results.clear();
    if (message.role == "tool") results.push_back(&message);
  }
  return results;
}

/// What a call of a session adds to its conversation: the results that it brings, the tool calls that it ends with.
CallCost added_cost(const ModelRequest& request, bool is_first, const std::vector<ToolCall>& calls) {
  ModelRequest added;
  for (const ChatMessage* result : new_results(request)) added.messages.push_back(*result);
  std::string said;
  for (const ToolCall& call : calls) said += call.name + call.arguments;
  return estimated_cost(is_first ? request : added, said);
}

}  // namespace

CommandEndpoint::CommandEndpoint(CommandSettings settings, std::map<std::string, std::string> secrets,
                                 Clock clock)
    : settings_(std::move(settings)), secrets_(std::move(secrets)), clock_(std::move(clock)) {
  std::filesystem::create_directories(settings_.folder);
}

CommandEndpoint::~CommandEndpoint() {
  for (auto* list : {&sessions_, &leaving_}) {
    for (const auto& session : *list) session->kill();
    for (auto& session : *list) {
      const std::filesystem::path scratch = session->scratch();
      session.reset();
      remover_.add(scratch);
    }
  }
}

CommandSession* CommandEndpoint::session_of(const ModelRequest& request) const {
  for (const ChatMessage* result : new_results(request))
    for (const auto& session : sessions_)
      if (session->ordinal() == request.ordinal && session->waits_for(*result)) return session.get();
  return nullptr;
}

CostBound CommandEndpoint::cost_max(const ModelRequest& request) const {
  CostBound most = Endpoint::cost_max(request);
  most.usd = session_of(request) != nullptr ? 0 : settings_.usd_max;
  return most;
}

void CommandEndpoint::submit(ModelRequest request) {
  KERNELITES_ASSERT(is_file_safe(request.id));
  Call& call = calls_.emplace_back(Call{.request = std::move(request), .submitted = clock_.steady()});
  call.session = session_of(call.request);
  if (call.session != nullptr) {
    call.is_first = false;
    call.session->continue_with(call.request);
  } else {
    start(call);
  }
}

void CommandEndpoint::cancel(const std::string& id) {
  const auto found =
      std::find_if(calls_.begin(), calls_.end(), [&](const Call& call) { return call.request.id == id; });
  if (found == calls_.end()) return;
  ModelReply reply{.failure = "cancelled", .message = "the call was cancelled"};
  if (found->session != nullptr) {
    reply.cost = added_cost(found->request, found->is_first, {});
    reply.cost.usd = found->is_first ? settings_.usd_max : 0;
    found->session->kill();
    let_go(found->session);
  }
  finish(*found, std::move(reply));
  calls_.erase(found);
}

void CommandEndpoint::end_conversation(std::uint64_t ordinal) {
  std::vector<CommandSession*> over;
  for (const auto& session : sessions_)
    if (session->ordinal() == ordinal && !has_call(*session)) over.push_back(session.get());
  for (CommandSession* session : over) {
    session->close(clock_.steady());
    let_go(session);
  }
}

void CommandEndpoint::wait(std::vector<pollfd>& others, milliseconds timeout) {
  const std::size_t theirs = others.size();
  for (const auto* list : {&sessions_, &leaving_})
    for (const auto& session : *list) session->add_descriptors(others);
  poll_wait(others, std::min(timeout, due_in()));
  others.resize(theirs);
}

milliseconds CommandEndpoint::due_in() const {
  if (!done_.empty()) return milliseconds(0);
  // Tool calls are files, and the end of a program shows on pipes that another endpoint may not wait for.
  constexpr milliseconds k_look{50};
  const bool is_idle = calls_.empty() && sessions_.empty() && leaving_.empty() && remover_.is_idle();
  return is_idle ? milliseconds(std::chrono::hours(1)) : k_look;
}

void CommandEndpoint::pump() {
  const Clock::Steady now = clock_.steady();
  pump_idle(now);
  for (auto call = calls_.begin(); call != calls_.end();) {
    std::optional<ModelReply> reply = advance(*call, now);
    if (reply) finish(*call, std::move(*reply));
    call = reply ? calls_.erase(call) : std::next(call);
  }
  remover_.step();
}

std::optional<ModelReply> CommandEndpoint::take() {
  if (done_.empty()) return std::nullopt;
  ModelReply reply = std::move(done_.front());
  done_.pop_front();
  return reply;
}

bool CommandEndpoint::start(Call& call) {
  if (!has_room()) return false;
  sessions_.push_back(
      std::make_unique<CommandSession>(settings_, secrets_, call.request, call.request.id, clock_.steady()));
  call.session = sessions_.back().get();
  return true;
}

std::optional<ModelReply> CommandEndpoint::advance(Call& call, Clock::Steady now) {
  if (call.session == nullptr && !start(call)) {
    if (now < call.submitted + settings_.total) return std::nullopt;
    return ModelReply{.failure = "timeout", .message = "no place for another command became free in time"};
  }
  CommandSession& session = *call.session;
  session.pump(now);
  const std::vector<ToolCall> wanted = session.take_calls(call.request);
  if (!wanted.empty()) {
    ModelReply reply{.tool_calls = wanted,
                     .finish = "tool_calls",
                     .cost = added_cost(call.request, call.is_first, wanted)};
    // What a session spends it tells at its end, if at all: all that it may spend is booked with its first call.
    if (!session.is_booked) reply.cost.usd = settings_.usd_max;
    session.is_booked = true;
    return reply;
  }
  if (!session.has_ended()) return std::nullopt;
  ModelReply reply = session.reply(call.request, settings_);
  if (session.is_booked) reply.cost.usd = std::max(0.0, reply.cost.usd - settings_.usd_max);
  let_go(&session);
  return reply;
}

void CommandEndpoint::finish(const Call& call, ModelReply reply) {
  reply.id = call.request.id;
  reply.model = reply.model.empty() ? settings_.model : one_line(reply.model, k_model_bytes_max);
  reply.latency_s = std::chrono::duration<double>(clock_.steady() - call.submitted).count();
  for (const auto& [name, secret] : secrets_) {
    blot_out(reply.text, secret);
    blot_out(reply.message, secret);
    for (ToolCall& wanted : reply.tool_calls) blot_out(wanted.arguments, secret);
  }
  done_.push_back(std::move(reply));
}

/// Sessions between two calls, and those that are on their way out.
void CommandEndpoint::pump_idle(Clock::Steady now) {
  for (const auto& session : sessions_)
    if (!has_call(*session)) session->pump(now);
  for (auto session = leaving_.begin(); session != leaving_.end();) {
    (*session)->pump(now);
    if (!(*session)->has_ended()) {
      ++session;
      continue;
    }
    remover_.add((*session)->scratch());
    session = leaving_.erase(session);
  }
}

bool CommandEndpoint::has_call(const CommandSession& session) const {
  return std::any_of(calls_.begin(), calls_.end(),
                     [&](const Call& call) { return call.session == &session; });
}

void CommandEndpoint::let_go(CommandSession* session) {
  const auto found =
      std::find_if(sessions_.begin(), sessions_.end(), [&](const auto& one) { return one.get() == session; });
  leaving_.splice(leaving_.end(), sessions_, found);
}

}  // namespace kernelites
