// SPDX-License-Identifier: Apache-2.0
// A server on loopback that reads a request, says a given beginning of an answer, and then nothing or
// goodbye.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

namespace kernelites {

/// Serves one connection. Knows when the client has hung up, which is how a test sees that a time-out ended
/// the work.
class StallingServer {
 public:
  explicit StallingServer(std::string beginning = "", bool hangs_up = false)
      : beginning_(std::move(beginning)), hangs_up_(hangs_up) {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0 || ::listen(listener_, 8) != 0)
      std::abort();
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~StallingServer() {
    is_stopping_ = true;
    thread_.join();
    ::close(listener_);
  }

  std::string base_url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/v1"; }
  /// A request has arrived and the beginning has been said.
  bool has_request() const { return has_request_; }
  /// Waits up to five seconds for the client to close the connection.
  bool sees_hang_up() const {
    for (int i = 0; i < 500 && !has_hung_up_; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return has_hung_up_;
  }

 private:
  bool is_readable(int descriptor) const {
    pollfd entry{descriptor, POLLIN, 0};
    while (!is_stopping_) {
      if (::poll(&entry, 1, 20) > 0) return true;
    }
    return false;
  }

  void serve() {
    if (!is_readable(listener_)) return;
    const int connection = ::accept(listener_, nullptr, nullptr);
    std::string text;
    char buffer[4096];
    while (is_readable(connection)) {
      const ssize_t count = ::recv(connection, buffer, sizeof buffer, 0);
      if (count <= 0) {
        has_hung_up_ = true;
        break;
      }
      text.append(buffer, static_cast<std::size_t>(count));
      if (has_request_ || text.find("\r\n\r\n") == std::string::npos) continue;
      if (!beginning_.empty()) (void)!::send(connection, beginning_.data(), beginning_.size(), MSG_NOSIGNAL);
      has_request_ = true;
      if (hangs_up_) break;
    }
    ::close(connection);
  }

  std::string beginning_;
  bool hangs_up_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> is_stopping_{false};
  std::atomic<bool> has_request_{false};
  std::atomic<bool> has_hung_up_{false};
  std::thread thread_;
};

}  // namespace kernelites
