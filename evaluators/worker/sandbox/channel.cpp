// SPDX-License-Identifier: Apache-2.0
// Framing, descriptor passing and deadlines of a channel: non-blocking calls on the socket, poll in between.
#include "evaluators/worker/sandbox/channel.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "engine/core/error.h"
#include "engine/core/json_shape.h"

namespace kernelites::worker {
namespace {

using Clock = std::chrono::steady_clock;

struct Header {
  std::uint32_t magic = 0;
  std::uint32_t descriptors = 0;
  std::uint64_t body_bytes = 0;
  std::uint64_t payload_bytes = 0;
};
constexpr std::uint32_t k_magic = 0x6b656c31;
constexpr std::size_t k_chunk_bytes = std::size_t{1} << 20;

bool is_plausible(const Header& header) {
  return header.magic == k_magic && header.descriptors <= k_descriptors_max &&
         header.body_bytes <= k_body_bytes_max && header.payload_bytes <= k_payload_bytes_max;
}

Clock::time_point deadline_after(double seconds) {
  const double limited = std::clamp(seconds, 0.0, 1e8);  // three years: does not overflow the clock
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(limited));
}

/// What is already there is taken even where a caller does not want to wait, but not from a peer that never stops.
constexpr auto k_transfer_least = std::chrono::seconds(1);

/// When a transfer that keeps moving is given up: a peer that trickles must not outlast the deadline.
Clock::time_point end_of_transfer(Clock::time_point deadline) {
  return std::max(deadline, Clock::now() + k_transfer_least);
}

/// Waits for `events`. False: the deadline has passed.
bool wait_for(int fd, short events, Clock::time_point deadline) {
  for (;;) {
    const double left_ms = std::chrono::duration<double, std::milli>(deadline - Clock::now()).count();
    pollfd poll_entry{.fd = fd, .events = events, .revents = 0};
    const int ready = ::poll(&poll_entry, 1, static_cast<int>(std::ceil(std::clamp(left_ms, 0.0, 60e3))));
    if (ready > 0) return true;
    if (left_ms <= 0) return false;
  }
}

/// Room for the descriptors of one message.
union ControlBuffer {
  char bytes[CMSG_SPACE(sizeof(int) * k_descriptors_max)];
  cmsghdr alignment;
};

void attach(msghdr& message, ControlBuffer& buffer, std::span<const FileDescriptor> descriptors) {
  if (descriptors.empty()) return;
  message.msg_control = buffer.bytes;
  message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors.size());
  cmsghdr* control = CMSG_FIRSTHDR(&message);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
  for (std::size_t i = 0; i < descriptors.size(); ++i) {
    const int fd = descriptors[i].get();
    std::memcpy(CMSG_DATA(control) + i * sizeof fd, &fd, sizeof fd);
  }
}

void detach(msghdr& message, std::vector<FileDescriptor>& descriptors) {
  for (cmsghdr* control = CMSG_FIRSTHDR(&message); control; control = CMSG_NXTHDR(&message, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(control) + i * sizeof fd, sizeof fd);
      descriptors.emplace_back(fd);
    }
  }
}

/// JSON of untrusted origin: nothing on a syntax error or too deep nesting.
std::optional<Json> parse_body(const std::string& text) {
  if (!is_modest_json(text, k_body_depth_max)) return std::nullopt;
  Json body = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (body.is_discarded()) return std::nullopt;
  return body;
}

}  // namespace

/// A message on its way in: how much of header, body and payload is there.
struct Channel::Incoming {
  Header header;
  std::size_t header_bytes = 0;
  std::string body;
  std::vector<std::byte> payload;
  std::vector<FileDescriptor> descriptors;

  bool has_begun() const { return header_bytes > 0; }
  bool is_complete() const {
    return header_bytes == sizeof header && body.size() == header.body_bytes &&
           payload.size() == header.payload_bytes;
  }

  enum class Step { advanced, would_block, end, malformed, complete };

  /// Takes what the socket has, at most one chunk.
  Step advance(int socket) {
    if (header_bytes < sizeof header) return advance_header(socket);
    if (body.size() < header.body_bytes) return advance_bytes(socket, body, header.body_bytes);
    if (payload.size() < header.payload_bytes) return advance_bytes(socket, payload, header.payload_bytes);
    return Step::complete;
  }

 private:
  static Step failed_step(ssize_t received) {
    if (received < 0 && errno == EINTR) return Step::advanced;
    if (received < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Step::would_block;
    return Step::end;
  }

  Step advance_header(int socket) {
    iovec bytes{reinterpret_cast<char*>(&header) + header_bytes, sizeof header - header_bytes};
    ControlBuffer control;
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    const ssize_t received = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (received <= 0) return failed_step(received);
    detach(message, descriptors);
    header_bytes += static_cast<std::size_t>(received);
    if (message.msg_flags & MSG_CTRUNC || descriptors.size() > k_descriptors_max) return Step::malformed;
    if (header_bytes < sizeof header) return Step::advanced;
    const bool is_whole = is_plausible(header) && descriptors.size() == header.descriptors;
    return is_whole ? Step::advanced : Step::malformed;
  }

  /// Grows with what has come, so that a header's claim alone costs no memory. Descriptors that a hostile
  /// peer attaches here have no room and are closed by the kernel.
  template <typename Bytes>
  Step advance_bytes(int socket, Bytes& bytes, std::size_t wanted) {
    const std::size_t before = bytes.size();
    bytes.resize(before + std::min(wanted - before, k_chunk_bytes));
    const ssize_t received = ::recv(socket, bytes.data() + before, bytes.size() - before, MSG_DONTWAIT);
    bytes.resize(before + static_cast<std::size_t>(std::max<ssize_t>(received, 0)));
    return received > 0 ? Step::advanced : failed_step(received);
  }
};

std::string_view to_string(ChannelStatus status) {
  switch (status) {
    case ChannelStatus::ok:
      return "ok";
    case ChannelStatus::deadline:
      return "deadline";
    case ChannelStatus::closed:
      return "closed";
    case ChannelStatus::broken:
      return "broken";
  }
  return "unknown";
}

Channel::Channel(int fd) : socket_(fd), incoming_(std::make_unique<Incoming>()) {}
Channel::Channel(Channel&&) noexcept = default;
Channel& Channel::operator=(Channel&&) noexcept = default;
Channel::~Channel() = default;

bool Channel::fail(ChannelStatus status) {
  status_ = status;
  if (status == ChannelStatus::closed || status == ChannelStatus::broken) socket_.reset();
  return false;
}

bool Channel::send(const Message& message, double deadline_s) {
  if (!socket_) return false;
  const std::string body = message.body.dump(-1, ' ', false, Json::error_handler_t::replace);
  const Header header{.magic = k_magic,
                      .descriptors = static_cast<std::uint32_t>(message.descriptors.size()),
                      .body_bytes = body.size(),
                      .payload_bytes = message.payload.size()};
  KERNELITES_ASSERT(is_plausible(header));

  const Clock::time_point deadline = deadline_after(deadline_s), end = end_of_transfer(deadline);
  const std::size_t total = sizeof header + body.size() + message.payload.size();
  std::size_t sent = 0;
  while (sent < total) {
    // What is left of the three parts; the descriptors travel with the header's first byte.
    iovec parts[3];
    std::size_t part_count = 0, skip = sent;
    const auto add_part = [&](const void* data, std::size_t bytes) {
      const std::size_t skipped = std::min(skip, bytes);
      skip -= skipped;
      if (bytes > skipped)
        parts[part_count++] = {const_cast<char*>(static_cast<const char*>(data)) + skipped, bytes - skipped};
    };
    add_part(&header, sizeof header);
    add_part(body.data(), body.size());
    add_part(message.payload.data(), message.payload.size());

    ControlBuffer control;
    msghdr outgoing{};
    outgoing.msg_iov = parts;
    outgoing.msg_iovlen = part_count;
    if (sent == 0) attach(outgoing, control, message.descriptors);
    const ssize_t written = ::sendmsg(socket_.get(), &outgoing, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (written > 0) {
      sent += static_cast<std::size_t>(written);
      if (sent < total && Clock::now() > end) return fail(ChannelStatus::broken);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!wait_for(socket_.get(), POLLOUT, deadline))
        return fail(sent == 0 ? ChannelStatus::deadline : ChannelStatus::broken);
    } else if (errno != EINTR) {
      return fail(sent == 0 ? ChannelStatus::closed : ChannelStatus::broken);
    }
  }
  status_ = ChannelStatus::ok;
  return true;
}

std::optional<Message> Channel::receive(double deadline_s) {
  if (!socket_) return std::nullopt;
  const Clock::time_point deadline = deadline_after(deadline_s), end = end_of_transfer(deadline);
  for (;;) {
    switch (incoming_->advance(socket_.get())) {
      case Incoming::Step::advanced:
        if (Clock::now() > end && !incoming_->is_complete()) {
          fail(ChannelStatus::deadline);
          return std::nullopt;
        }
        break;
      case Incoming::Step::would_block:
        if (!wait_for(socket_.get(), POLLIN, deadline)) {
          fail(ChannelStatus::deadline);
          return std::nullopt;
        }
        break;
      case Incoming::Step::end:
        fail(incoming_->has_begun() ? ChannelStatus::broken : ChannelStatus::closed);
        return std::nullopt;
      case Incoming::Step::malformed:
        fail(ChannelStatus::broken);
        return std::nullopt;
      case Incoming::Step::complete: {
        const auto whole = std::exchange(incoming_, std::make_unique<Incoming>());
        auto body = parse_body(whole->body);
        if (!body) {
          fail(ChannelStatus::broken);
          return std::nullopt;
        }
        status_ = ChannelStatus::ok;
        return Message{std::move(*body), std::move(whole->payload), std::move(whole->descriptors)};
      }
    }
  }
}

std::pair<FileDescriptor, FileDescriptor> channel_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw Error(std::string("cannot make a local socket: ") + std::strerror(errno));
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

}  // namespace kernelites::worker
