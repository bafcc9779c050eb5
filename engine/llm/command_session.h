// SPDX-License-Identifier: Apache-2.0
// One run of a coding agent in its jail: folder, process, and the channel through which it calls tools.
//
// It outlives the model calls of a conversation: a tool call of the program ends one, and the results that the next one
// brings are handed to the program, which has been waiting for them.
#pragma once

#include <memory>
#include <optional>
#include <set>

#include "engine/core/clock.h"
#include "engine/llm/command_settings.h"
#include "engine/llm/endpoint.h"
#include "engine/llm/scratch_folder.h"
#include "engine/llm/tool_channel.h"

namespace kernelites {

class CommandSession {
 public:
  /// Starts the program with the request's conversation; it may call tools if the request has some. `name` is the
  /// scratch folder's and unique among sessions. Throws Error if there is no folder or no process to be had.
  CommandSession(const CommandSettings& settings, const std::map<std::string, std::string>& secrets,
                 const ModelRequest& request, std::string name, Clock::Steady now);
  CommandSession(const CommandSession&) = delete;

  std::uint64_t ordinal() const { return ordinal_; }
  const std::filesystem::path& scratch() const { return scratch_; }
  void add_descriptors(std::vector<pollfd>& descriptors) const { process_->add_descriptors(descriptors); }

  /// Moves bytes, measures, kills what is over a limit. Never blocks.
  void pump(Clock::Steady now);
  /// New calls of the program to tools that `request` offers; others are refused at once. Their ids are unique.
  std::vector<ToolCall> take_calls(const ModelRequest& request);
  /// True if the message answers a call that the program is waiting for.
  bool waits_for(const ChatMessage& message) const { return waiting_.contains(message.tool_call_id); }
  /// Hands over the results at the end of the request's conversation, and what was said after them.
  void continue_with(const ModelRequest& request);
  /// The conversation is over: the program is told so, and has a moment to end.
  void close(Clock::Steady now);
  void kill() { process_->kill(); }

  /// True once nothing of it is left.
  bool has_ended() const { return process_->has_ended(); }
  /// The end as a reply, without what the endpoint knows. REQUIRES: has_ended().
  ModelReply reply(const ModelRequest& request, const CommandSettings& settings) const;
  /// True if a call was told that the session had been paid for.
  bool is_booked = false;

 private:
  void end_for(std::string failure, std::string message);
  void answer(const std::string& id, const std::string& text);

  std::uint64_t ordinal_;
  std::string prefix_;  ///< of tool call ids
  std::filesystem::path scratch_;
  std::uint64_t scratch_bytes_max_;
  Clock::Steady deadline_;
  std::chrono::milliseconds total_;
  bool is_closed_ = false;
  std::unique_ptr<ToolChannel> channel_;
  std::unique_ptr<JailedProcess> process_;
  ScratchMeter meter_;
  Clock::Steady next_measure_;
  std::set<std::string> waiting_;  ///< tool calls that were taken and not answered
  std::string failure_, message_;  ///< why it was killed
};

}  // namespace kernelites
