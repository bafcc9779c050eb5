// SPDX-License-Identifier: Apache-2.0
// Polling a descriptor for lines.
#include "tools/dataset/line_input.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>

namespace kernelites {

LineState LineInput::next(std::string& text, std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  text.clear();
  for (;;) {
    const std::size_t newline = buffer_.find('\n');
    if (newline != std::string::npos || (has_ended_ && !buffer_.empty())) {
      const bool is_short = !is_skipping_ && std::min(newline, buffer_.size()) <= bytes_max_;
      if (is_short) text = buffer_.substr(0, newline);
      buffer_.erase(0, newline == std::string::npos ? newline : newline + 1);
      is_skipping_ = false;
      return is_short ? LineState::line : LineState::too_long;
    }
    if (has_ended_) return std::exchange(is_skipping_, false) ? LineState::too_long : LineState::end;
    if (buffer_.size() > bytes_max_) {
      is_skipping_ = true;
      buffer_.clear();
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0) return LineState::silent;
    pollfd ready{descriptor_, POLLIN, 0};
    constexpr std::int64_t k_poll_ms_max = 60'000;
    if (poll(&ready, 1, static_cast<int>(std::min<std::int64_t>(left.count(), k_poll_ms_max))) <= 0) continue;
    std::array<char, 65536> bytes{};
    const ssize_t count = read(descriptor_, bytes.data(), bytes.size());
    if (count > 0) buffer_.append(bytes.data(), static_cast<std::size_t>(count));
    if (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN)) has_ended_ = true;
  }
}

}  // namespace kernelites
