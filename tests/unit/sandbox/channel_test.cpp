// SPDX-License-Identifier: Apache-2.0
// Messages over a local socket: descriptors, deadlines, and peers that break off or lie.
#include "evaluators/worker/sandbox/channel.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>

#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

struct Pair {
  Channel left, right;
};

Pair connected() {
  auto [left, right] = channel_pair();
  return {Channel(std::move(left)), Channel(std::move(right))};
}

/// A channel whose other end is a raw socket that a test writes to by hand.
struct RawPair {
  Channel channel;
  FileDescriptor raw;
};

RawPair with_raw_peer() {
  auto [ours, theirs] = channel_pair();
  return {Channel(std::move(ours)), std::move(theirs)};
}

/// The wire's header as channel.cpp defines it.
struct WireHeader {
  std::uint32_t magic = 0x6b656c31;
  std::uint32_t descriptors = 0;
  std::uint64_t body_bytes = 0;
  std::uint64_t payload_bytes = 0;
};

void write_raw(const FileDescriptor& socket, const void* data, std::size_t bytes) {
  REQUIRE(::send(socket.get(), data, bytes, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes));
}

Message text_message(const std::string& text) {
  Message message;
  message.body = text;
  return message;
}

/// Receives from a peer that wrote `header` and `body`; the channel must end as `expected`.
void check_refused(const WireHeader& header, const std::string& body, ChannelStatus expected) {
  RawPair pair = with_raw_peer();
  write_raw(pair.raw, &header, sizeof header);
  if (!body.empty()) write_raw(pair.raw, body.data(), body.size());
  pair.raw.reset();
  CHECK_FALSE(pair.channel.receive(5));
  CHECK(pair.channel.status() == expected);
}

}  // namespace

TEST_CASE("a message arrives as it was sent") {
  Pair pair = connected();
  Message sent;
  sent.body = {{"verb", "run"}, {"count", 3}};
  sent.payload = {std::byte{1}, std::byte{0}, std::byte{255}};
  REQUIRE(pair.left.send(sent, 5));
  const auto received = pair.right.receive(5);
  REQUIRE(received);
  CHECK(received->body == sent.body);
  CHECK(received->payload == sent.payload);
  CHECK(received->descriptors.empty());
}

TEST_CASE("a payload larger than the socket's buffer arrives whole") {
  Pair pair = connected();
  Message sent;
  sent.payload.resize(std::size_t{9} << 20);
  for (std::size_t i = 0; i < sent.payload.size(); ++i) sent.payload[i] = static_cast<std::byte>(i * 31 >> 4);
  std::thread sender([&] { CHECK(pair.left.send(sent, 30)); });
  const auto received = pair.right.receive(30);
  sender.join();
  REQUIRE(received);
  CHECK(received->payload == sent.payload);
}

TEST_CASE("two messages sent at once are received one by one") {
  Pair pair = connected();
  REQUIRE(pair.left.send(text_message("first"), 5));
  REQUIRE(pair.left.send(text_message("second"), 5));
  CHECK(pair.right.receive(5)->body == "first");
  CHECK(pair.right.receive(5)->body == "second");
}

TEST_CASE("a descriptor that travels refers to the same file") {
  Pair pair = connected();
  Message sent;
  sent.descriptors.emplace_back(::memfd_create("test", MFD_CLOEXEC));
  sent.descriptors.emplace_back(::memfd_create("other", MFD_CLOEXEC));
  REQUIRE(::write(sent.descriptors[0].get(), "shared", 6) == 6);
  REQUIRE(pair.left.send(sent, 5));
  const auto received = pair.right.receive(5);
  REQUIRE(received);
  REQUIRE(received->descriptors.size() == 2);
  char text[6];
  REQUIRE(::pread(received->descriptors[0].get(), text, 6, 0) == 6);
  CHECK(std::string(text, 6) == "shared");
  CHECK(::pread(received->descriptors[1].get(), text, 6, 0) == 0);
}

TEST_CASE("descriptors stay with the message that carried them") {
  Pair pair = connected();
  REQUIRE(pair.left.send(text_message("none"), 5));
  Message with;
  with.descriptors.emplace_back(::memfd_create("test", MFD_CLOEXEC));
  REQUIRE(pair.left.send(with, 5));
  CHECK(pair.right.receive(5)->descriptors.empty());
  CHECK(pair.right.receive(5)->descriptors.size() == 1);
}

TEST_CASE("receive gives up at its deadline and the channel stays usable") {
  Pair pair = connected();
  const auto start = std::chrono::steady_clock::now();
  CHECK_FALSE(pair.right.receive(0.05));
  CHECK(pair.right.status() == ChannelStatus::deadline);
  CHECK(std::chrono::steady_clock::now() - start >= std::chrono::milliseconds(50));
  REQUIRE(pair.left.send(text_message("late"), 5));
  CHECK(pair.right.receive(5)->body == "late");
}

TEST_CASE("receive goes on with a message that was half there at the deadline") {
  RawPair pair = with_raw_peer();
  const WireHeader header{.body_bytes = 6};
  write_raw(pair.raw, &header, sizeof header);
  write_raw(pair.raw, "\"ab", 3);
  CHECK_FALSE(pair.channel.receive(0.01));
  CHECK(pair.channel.status() == ChannelStatus::deadline);
  write_raw(pair.raw, "cd\"", 3);
  const auto received = pair.channel.receive(5);
  REQUIRE(received);
  CHECK(received->body == "abcd");
}

TEST_CASE("a closed peer is told from a deadline") {
  Pair pair = connected();
  { const Channel gone = std::move(pair.left); }
  CHECK_FALSE(pair.right.receive(5));
  CHECK(pair.right.status() == ChannelStatus::closed);
  CHECK_FALSE(pair.right.send(text_message("anyone"), 5));
  CHECK(pair.right.status() == ChannelStatus::closed);
}

TEST_CASE("what a peer sent before it closed is still received") {
  Pair pair = connected();
  REQUIRE(pair.left.send(text_message("last words"), 5));
  { const Channel gone = std::move(pair.left); }
  const auto received = pair.right.receive(5);
  REQUIRE(received);
  CHECK(received->body == "last words");
}

TEST_CASE("a peer that ends within a message breaks the channel") {
  check_refused({.body_bytes = 10}, "\"tor", ChannelStatus::broken);
}

TEST_CASE("a peer that ends within a header breaks the channel") {
  RawPair pair = with_raw_peer();
  write_raw(pair.raw, "1lek", 4);
  pair.raw.reset();
  CHECK_FALSE(pair.channel.receive(5));
  CHECK(pair.channel.status() == ChannelStatus::broken);
}

TEST_CASE("bytes that are no message break the channel") {
  check_refused({.magic = 0x12345678, .body_bytes = 4}, "null", ChannelStatus::broken);
}

TEST_CASE("a body that is no JSON breaks the channel") {
  check_refused({.body_bytes = 4}, "nul}", ChannelStatus::broken);
}

TEST_CASE("a header that claims too large a body is refused before it is read") {
  check_refused({.body_bytes = k_body_bytes_max + 1}, "", ChannelStatus::broken);
}

TEST_CASE("a header that claims too large a payload is refused before it is read") {
  check_refused({.body_bytes = 4, .payload_bytes = k_payload_bytes_max + 1}, "null", ChannelStatus::broken);
}

TEST_CASE("a header that claims descriptors which did not come is refused") {
  check_refused({.descriptors = 1, .body_bytes = 4}, "null", ChannelStatus::broken);
}

TEST_CASE("JSON nested beyond the limit is refused") {
  const std::string nested = std::string(100, '[') + std::string(100, ']');
  check_refused({.body_bytes = nested.size()}, nested, ChannelStatus::broken);
}

TEST_CASE("a send that nobody takes ends at its deadline and breaks the channel") {
  Pair pair = connected();
  Message large;
  large.payload.resize(std::size_t{16} << 20);
  CHECK_FALSE(pair.left.send(large, 0.05));
  CHECK(pair.left.status() == ChannelStatus::broken);
  CHECK_FALSE(pair.left.send(text_message("again"), 5));
}

TEST_CASE("a peer that trickles does not outlast the deadline") {
  RawPair pair = with_raw_peer();
  const WireHeader header{.body_bytes = 2, .payload_bytes = std::uint64_t{1} << 30};
  write_raw(pair.raw, &header, sizeof header);
  write_raw(pair.raw, "{}", 2);
  std::atomic<bool> is_over = false;
  std::thread peer([&] {
    const char byte = 0;
    // At most ten seconds: a channel that waits for ever fails the test instead of hanging it.
    for (int i = 0; i < 100'000 && !is_over; ++i) {
      if (::send(pair.raw.get(), &byte, 1, MSG_NOSIGNAL) != 1) break;
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  });
  const auto start = std::chrono::steady_clock::now();
  CHECK_FALSE(pair.channel.receive(0.1));
  const double waited_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  is_over = true;
  peer.join();
  CHECK(pair.channel.status() == ChannelStatus::deadline);
  CHECK(waited_s < 3);
}
