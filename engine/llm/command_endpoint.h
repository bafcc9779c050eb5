// SPDX-License-Identifier: Apache-2.0
// A coding-agent program as the model: jailed sessions (command_session.h) behind the seam of model calls.
//
// The program gets the conversation on stdin and, in its working directory, as request.md and request.json (the format
// of spool_endpoint.h); its stdout is the answer, or a JSON document of which `reply` tells where the answer is. The
// working directory is also its HOME; it is made for the session and removed after it. Its environment is PATH, HOME,
// TMPDIR, LANG, TERM and the secrets that the configuration names.
//
// A request with tools starts a session that may call them (tool_channel.h). A tool call ends the model call with
// finish "tool_calls"; the request that brings its result goes on with the same process. If that is gone (the run was
// stopped meanwhile), a new one starts with the whole conversation.
#pragma once

#include <deque>
#include <list>
#include <map>
#include <memory>

#include "engine/llm/command_session.h"

namespace kernelites {

class CommandEndpoint : public Endpoint {
 public:
  /// `secrets`: name to value. REQUIRES: `command_problem` is "". Throws Error if the folder cannot be made.
  CommandEndpoint(CommandSettings settings, std::map<std::string, std::string> secrets, Clock clock);
  /// Kills what runs and waits until nothing is left.
  ~CommandEndpoint() override;

  std::string name() const override { return "command:" + settings_.model; }
  std::size_t capacity() const override { return settings_.in_flight_max; }
  /// REQUIRES: `id` consists of letters, digits, '-' and '_'.
  void submit(ModelRequest request) override;
  void cancel(const std::string& id) override;
  void wait(std::vector<pollfd>& others, std::chrono::milliseconds timeout) override;
  std::chrono::milliseconds due_in() const override;
  void pump() override;
  std::optional<ModelReply> take() override;
  /// A session is set aside whole when it starts: later calls of it cost no more.
  CostBound cost_max(const ModelRequest& request) const override;
  void end_conversation(std::uint64_t ordinal) override;

 private:
  struct Call {
    ModelRequest request;
    Clock::Steady submitted;
    CommandSession* session = nullptr;  ///< null: waits for a place
    bool is_first = true;               ///< of its session
  };

  CommandSession* session_of(const ModelRequest& request) const;
  bool start(Call& call);
  /// The reply if the call is over.
  std::optional<ModelReply> advance(Call& call, Clock::Steady now);
  void finish(const Call& call, ModelReply reply);
  void pump_idle(Clock::Steady now);
  bool has_call(const CommandSession& session) const;
  bool has_room() const { return sessions_.size() < settings_.in_flight_max; }
  /// It is no longer anyone's, and is watched until nothing is left of it.
  void let_go(CommandSession* session);

  CommandSettings settings_;
  std::map<std::string, std::string> secrets_;
  Clock clock_;
  ScratchRemover remover_;
  std::list<std::unique_ptr<CommandSession>> sessions_;  ///< with a call, or waiting for the next
  std::list<std::unique_ptr<CommandSession>> leaving_;
  std::list<Call> calls_;  ///< in the order in which they came
  std::deque<ModelReply> done_;
};

}  // namespace kernelites
