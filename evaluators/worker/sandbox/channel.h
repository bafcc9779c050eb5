// SPDX-License-Identifier: Apache-2.0
// Messages between the supervisor and its children: JSON, bytes and file descriptors over a local stream
// socket.
//
// Wire: a fixed header (magic, descriptor count, body bytes, payload bytes) that carries the descriptors as
// SCM_RIGHTS, then the body as JSON text, then the payload. Both ends are this program, but a child may have
// been taken over: nothing that arrives is trusted, every length has a limit, and memory grows only with
// bytes that came.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/core/json.h"
#include "evaluators/worker/sandbox/file_descriptor.h"

namespace kernelites::worker {

/// What travels. A received message owns its descriptors: `release()` those that are kept.
struct Message {
  Json body;
  std::vector<std::byte> payload;
  std::vector<FileDescriptor> descriptors;
};

inline constexpr std::size_t k_body_bytes_max = std::size_t{32} << 20;
inline constexpr std::size_t k_payload_bytes_max = std::size_t{1} << 30;
inline constexpr std::size_t k_descriptors_max = 64;
/// Deeper JSON is refused: it would be an attack on the parser.
inline constexpr std::size_t k_body_depth_max = 64;

/// How a call on a channel ended.
/// - ok: the message was sent or received;
/// - deadline: not in time; `receive` may be called again and goes on where it was, a `send` that had begun
/// breaks
///   the channel;
/// - closed: the other end is gone, between two messages;
/// - broken: the other end is gone within a message, or sent what is no message. Nothing more can be
/// exchanged.
enum class ChannelStatus { ok, deadline, closed, broken };

/// "deadline", ...
std::string_view to_string(ChannelStatus status);

/// One end of a connection. Not thread-safe. A failed call is a value, never an exception: what ends a
/// channel is the death of a child, and that is for the caller to name.
class Channel {
 public:
  /// Takes over a connected AF_UNIX stream socket.
  explicit Channel(int fd);
  explicit Channel(FileDescriptor socket) : Channel(socket.release()) {}
  Channel(Channel&&) noexcept;
  Channel& operator=(Channel&&) noexcept;
  ~Channel();

  /// Sends within `deadline_s` seconds from now. Copies of `message.descriptors` travel; the caller keeps its
  /// own. False: see `status`. REQUIRES: the message is within the limits above.
  [[nodiscard]] bool send(const Message& message, double deadline_s);
  /// The next message, at most `deadline_s` seconds from now (0: only what is there). Empty: see `status`.
  [[nodiscard]] std::optional<Message> receive(double deadline_s);

  /// How the last call ended.
  ChannelStatus status() const { return status_; }
  /// To wait for several channels with poll: readable when `receive` has something to do.
  int poll_descriptor() const { return socket_.get(); }

 private:
  struct Incoming;

  bool fail(ChannelStatus status);

  FileDescriptor socket_;
  ChannelStatus status_ = ChannelStatus::ok;
  std::unique_ptr<Incoming> incoming_;  ///< what has arrived of the next message
};

/// Both ends of a new connection, closed on exec. Throws Error if the system refuses.
std::pair<FileDescriptor, FileDescriptor> channel_pair();

}  // namespace kernelites::worker
