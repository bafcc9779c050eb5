// SPDX-License-Identifier: Apache-2.0
// Bytes in, lines out: the reading half of JSON lines over a pipe, with a limit on the length of a line.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace kernelites {

class LineBuffer {
 public:
  explicit LineBuffer(std::size_t line_bytes_max) : line_bytes_max_(line_bytes_max) {}

  /// Appends bytes. False if a line has become longer than allowed; the buffer is then useless.
  [[nodiscard]] bool append(std::string_view bytes) {
    text_.append(bytes);
    if (text_.find('\n', searched_) == std::string::npos) {
      searched_ = text_.size();
      return text_.size() - at_ <= line_bytes_max_;
    }
    return true;
  }
  /// The next whole line, without its newline.
  std::optional<std::string> take() {
    const std::size_t end = text_.find('\n', at_);
    if (end == std::string::npos) {
      text_.erase(0, at_);
      searched_ = text_.size();
      at_ = 0;
      return std::nullopt;
    }
    std::string line = text_.substr(at_, end - at_);
    at_ = end + 1;
    return line;
  }

 private:
  std::size_t line_bytes_max_;
  std::string text_;
  std::size_t at_ = 0;        // first byte not taken
  std::size_t searched_ = 0;  // no newline before this
};

}  // namespace kernelites
