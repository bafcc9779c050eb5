// SPDX-License-Identifier: Apache-2.0
// Lines from a descriptor, with a limit on their length and on how long one waits for them.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace kernelites {

enum class LineState {
  line,
  too_long,  ///< what was longer than the limit is gone up to its newline; the text is empty
  end,       ///< nobody writes any more; a last line without a newline is a line
  silent     ///< nothing came in time
};

class LineInput {
 public:
  /// Borrows the descriptor.
  LineInput(int descriptor, std::size_t bytes_max) : descriptor_(descriptor), bytes_max_(bytes_max) {}
  /// Waits for the next line for at most `patience`; its text, without the newline, goes into `text`.
  LineState next(std::string& text, std::chrono::milliseconds patience);

 private:
  int descriptor_;
  std::size_t bytes_max_;
  std::string buffer_;
  bool is_skipping_ = false, has_ended_ = false;
};

}  // namespace kernelites
