// SPDX-License-Identifier: Apache-2.0
// The fenced code blocks of a reply, as Markdown has them, and a file that was sent in numbered parts.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/variation/operator.h"

namespace kernelites {

/// A fenced block: the first word behind the opening fence in lower case, the rest of that line, and the lines.
struct FencedBlock {
  std::string language;
  std::string title;
  std::string text;
  bool is_closed = false;
};

/// All blocks, in order. Only the last can be open: the reply ended in it.
std::vector<FencedBlock> fenced_blocks(std::string_view reply);

/// True if the line opens or closes a block (three or more backticks).
bool is_fence(std::string_view line);

/// True if the block's language is one under which models send CUDA ("cuda", "cu", "cpp", "c++", "c", none).
bool is_cuda_block(const FencedBlock& block);

/// The file of the reply: the last CUDA block that holds a kernel, or all parts of one that is sent as "part 1 of 3"
/// (behind the fence's language, or in a comment on the block's first line). Rejections: no_code_block, no_kernel,
/// reply_is_torn (the last block is open), parts_are_incomplete.
std::variant<std::string, Rejection> file_of_blocks(std::string_view reply);

}  // namespace kernelites
