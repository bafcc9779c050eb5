// SPDX-License-Identifier: Apache-2.0
// Lines between controller and worker, and the binary channel between the worker and its children.
#include "evaluators/protocol/protocol.h"

#include <sys/socket.h>
#include <unistd.h>

#include "evaluators/worker/pipeline/child_messages.h"
#include "tests/fuzz/fuzzed_parser.h"

namespace kernelites::fuzz {
namespace {

/// What was decoded is encoded, and decoded again it is the same.
template <typename Decode>
void fuzz_line(std::string_view input, Decode decode) {
  std::string line;
  if (!is_taken([&] { line = encode(decode(input)); })) return;
  std::string again;
  const bool is_read = is_taken([&] { again = encode(decode(line)); });
  demand(is_read && again == line, "a line is read back as it was written");
  demand(line.find('\n') == std::string::npos, "a message is one line");
}

}  // namespace

void fuzz_protocol(std::string_view input) {
  request_id_of(input);
  fuzz_line(input, decode_request);
  fuzz_line(input, decode_reply);
  fuzz_line(input, decode_greeting);
}

void fuzz_channel(std::string_view input) {
  auto [ours, theirs] = worker::channel_pair();
  worker::Channel channel(std::move(ours));
  if (send(theirs.get(), input.data(), input.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) return;
  theirs = {};
  for (std::size_t left = input.size() + 1; left > 0; --left) {
    const auto message = channel.receive(0);
    if (!message) break;
    is_taken([&] { worker::detach_image(*message); });
    is_taken([&] { worker::fault_of(message->body); });
  }
  demand(
      channel.status() == worker::ChannelStatus::closed || channel.status() == worker::ChannelStatus::broken,
      "a channel ends with its other end");
}

}  // namespace kernelites::fuzz
