// SPDX-License-Identifier: Apache-2.0
// A coding-agent program as the model: one jailed process per call (engine/jail/jailed_process.h).
//
// The program gets the conversation on stdin and, in its working directory, as request.md and request.json (the format
// of spool_endpoint.h); its stdout is the answer, or a JSON document of which `reply` tells where the answer is. The
// working directory is also its HOME; it is made for the call and removed after it. Its environment is PATH, HOME,
// TMPDIR, LANG, TERM and the secrets that the configuration names.
#pragma once

#include <deque>
#include <map>
#include <memory>

#include "engine/core/clock.h"
#include "engine/jail/jailed_process.h"
#include "engine/llm/endpoint.h"

namespace kernelites {

/// JSON pointers into the program's stdout; without `text` all of stdout is the answer.
struct CommandReplyFields {
  std::string text, model, usd, input_tokens, output_tokens;
};

struct CommandSettings {
  std::vector<std::string> command;
  std::vector<std::string> environment;  ///< NAMES of secrets that it is given
  std::vector<std::filesystem::path>
      readable;  ///< besides the system's folders: where the program is installed
  CommandReplyFields reply;
  std::string model = "command";
  bool allows_network = true;
  std::filesystem::path folder;  ///< where working directories are made
  std::chrono::milliseconds total{3'600'000};
  std::uint64_t output_bytes_max = 8 * 1024 * 1024;
  std::uint64_t scratch_bytes_max = 1024ull * 1024 * 1024;
  double usd_max = 0;  ///< what one call can cost at most, as far as the user knows
  std::size_t in_flight_max = 2;
};

/// Why commands cannot be jailed here, or "": starts a small program in the jail that tries to read and write outside.
std::string command_problem(const CommandSettings& settings);

class CommandEndpoint : public Endpoint {
 public:
  /// `secrets`: name to value. REQUIRES: `command_problem` is "". Throws Error if the folder cannot be made.
  CommandEndpoint(CommandSettings settings, std::map<std::string, std::string> secrets, Clock clock);
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
  double usd_max(const ModelRequest&) const override { return settings_.usd_max; }

 private:
  struct Call {
    ModelRequest request;
    std::filesystem::path scratch;
    Clock::Steady submitted;
    Clock::Steady next_measure;  ///< of the scratch folder's size
    std::unique_ptr<JailedProcess> process;
  };

  void start(Call& call);
  /// The reply if the call is over.
  std::optional<ModelReply> advance(Call& call, Clock::Steady now);
  ModelReply read_reply(const Call& call) const;
  void finish(const Call& call, ModelReply reply);
  std::size_t running() const;

  CommandSettings settings_;
  std::map<std::string, std::string> secrets_;
  Clock clock_;
  std::deque<std::unique_ptr<Call>> calls_;  ///< in the order in which they came
  std::deque<ModelReply> done_;
};

}  // namespace kernelites
