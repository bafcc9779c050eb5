// SPDX-License-Identifier: Apache-2.0
// A model that talks through files: a request is written, a person, an agent or a script answers.
//
// Format of a spool folder (docs/spool.md is the page for those who answer):
//   requests/<id>.md    the prompt, to be read
//   requests/<id>.json  {"version": 1, "id": "12-0", "ordinal": 12, "digest": "<prompt digest>",
//                        "output_tokens_max": 16384, "messages": [{"role": "user", "text": "..."}]}
//   replies/<id>.md     the answer as plain text, or
//                        and what conversation_json.h says about tools, schema and effort, where asked for
//   replies/<id>.json   {"text": "...", "model": "...", "usage": {...}}; model, usage (record.h), digest are
//                        optional, and so is the text beside "tool_calls": [{"name": "...", "arguments": {...}}]
// Both sides write under another name (<name>.tmp) and rename: a name that ends in .md or .json is complete.
// The .json of a request appears last. Files stay where they are, so that a resumed run finds what was asked
// and answered.
//
// A request that is already there with the same digest is not written again; with another digest (the folder
// served another run) its files, and the reply to them, are renamed to <id>.stale-<8 digits of the old
// digest>.<ext>.
#pragma once

#include <deque>
#include <filesystem>
#include <map>

#include "engine/core/clock.h"
#include "engine/llm/endpoint.h"

namespace kernelites {

struct SpoolSettings {
  std::filesystem::path folder;
  std::size_t in_flight_max = 64;                ///< requests that wait for replies together
  std::chrono::milliseconds poll_interval{200};  ///< two file look-ups per waiting request
};

class SpoolEndpoint : public Endpoint {
 public:
  /// Makes the folder. Throws Error if that fails.
  SpoolEndpoint(SpoolSettings settings, Clock clock);

  std::string name() const override { return "spool"; }
  std::size_t capacity() const override { return settings_.in_flight_max; }
  /// Writes the request unless it is there. Throws Error if the folder cannot be written.
  /// REQUIRES: `id` consists of letters, digits, '-' and '_'.
  void submit(ModelRequest request) override;
  /// Also removes the request's files: nobody should answer it in vain.
  void cancel(const std::string& id) override;
  void wait(std::vector<pollfd>& others, std::chrono::milliseconds timeout) override;
  void pump() override;
  std::optional<ModelReply> take() override;
  bool keeps_calls() const override { return true; }
  /// Not before it has looked for the replies that may be there already.
  bool is_waiting_outside() const override {
    return done_.empty() && !waiting_.empty() && clock_.steady() < next_look_;
  }

 private:
  struct Call {
    ModelRequest request;
    std::string digest;
    Clock::Steady submitted;
  };

  std::filesystem::path request_file(const std::string& id, const char* extension) const;
  std::filesystem::path reply_file(const std::string& id, const char* extension) const;
  /// True if the request is on disk with this digest; moves files of another digest aside.
  bool is_written(const Call& call) const;
  void write(const Call& call) const;
  std::optional<ModelReply> look(const Call& call) const;

  SpoolSettings settings_;
  Clock clock_;
  Clock::Steady next_look_{};
  std::map<std::string, Call> waiting_;
  std::deque<ModelReply> done_;
};

}  // namespace kernelites
