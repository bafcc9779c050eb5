// SPDX-License-Identifier: Apache-2.0
// Reading fenced blocks line by line; nothing in them is interpreted.
#include "engine/variation/fenced_blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "engine/variation/text_rules.h"

namespace kernelites {
namespace {

constexpr std::size_t k_title_bytes_max = 80;
constexpr int k_parts_max = 16;

/// Length of the fence at the start of `line` (three or more backticks, at most three blanks before them), else 0.
std::size_t fence_length(std::string_view line, std::string_view* rest) {
  std::size_t at = 0;
  while (at < line.size() && at < 3 && line[at] == ' ') ++at;
  std::size_t ticks = 0;
  while (at + ticks < line.size() && line[at + ticks] == '`') ++ticks;
  if (ticks < 3) return 0;
  *rest = line.substr(at + ticks);
  return ticks;
}

FencedBlock opened(std::string_view rest) {
  const std::string line = single_line(rest.substr(0, k_title_bytes_max), k_title_bytes_max);
  const std::size_t blank = line.find(' ');
  FencedBlock block;
  block.language = line.substr(0, blank);
  if (blank != std::string::npos) block.title = line.substr(blank + 1);
  for (char& c : block.language) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return block;
}

struct Part {
  int number = 0;
  int count = 0;
};

/// "part 2 of 3", "Part 2/3" in `text`.
std::optional<Part> part_in(std::string_view text) {
  std::string lower(text.substr(0, k_title_bytes_max));
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  std::size_t at = lower.find("part ");
  if (at == std::string::npos) return std::nullopt;
  at += 5;
  const auto number = [&]() {
    int value = 0;
    for (; at < lower.size() && std::isdigit(static_cast<unsigned char>(lower[at])) != 0 && value < 100; ++at)
      value = 10 * value + (lower[at] - '0');
    return value;
  };
  Part part;
  part.number = number();
  if (lower.compare(at, 4, " of ") == 0)
    at += 4;
  else if (lower.compare(at, 1, "/") == 0)
    at += 1;
  else
    return std::nullopt;
  part.count = number();
  if (part.number < 1 || part.count < 2) return std::nullopt;
  return part;
}

std::optional<Part> part_of(const FencedBlock& block) {
  if (auto part = part_in(block.title)) return part;
  const std::string_view first = std::string_view(block.text).substr(0, block.text.find('\n'));
  return first.starts_with("//") ? part_in(first) : std::nullopt;
}

/// The parts joined; nothing if no block is numbered.
std::optional<std::variant<std::string, Rejection>> joined_parts(const std::vector<FencedBlock>& blocks) {
  std::string text;
  int next = 1;
  int count = 0;
  for (const FencedBlock& block : blocks) {
    const auto part = is_cuda_block(block) ? part_of(block) : std::nullopt;
    if (!part) continue;
    if (count == 0) count = part->count;
    if (part->number != next || part->count != count || count > k_parts_max)
      return Rejection{"parts_are_incomplete",
                       fmt::format("part {} of {} comes where part {} of {} was expected", part->number,
                                   part->count, next, count)};
    text += block.text;
    ++next;
  }
  if (count == 0) return std::nullopt;
  if (next != count + 1)
    return Rejection{"parts_are_incomplete", fmt::format("only {} of {} parts are there", next - 1, count)};
  return text;
}

}  // namespace

std::vector<FencedBlock> fenced_blocks(std::string_view reply) {
  std::vector<FencedBlock> blocks;
  std::size_t open_ticks = 0;
  for (std::string_view line : split_lines(reply)) {
    std::string_view rest;
    const std::size_t ticks = fence_length(line, &rest);
    if (open_ticks == 0) {
      if (ticks == 0) continue;
      open_ticks = ticks;
      blocks.push_back(opened(rest));
    } else if (ticks >= open_ticks && single_line(rest, 8).empty()) {
      blocks.back().is_closed = true;
      open_ticks = 0;
    } else {
      blocks.back().text.append(line).append("\n");
    }
  }
  return blocks;
}

bool is_fence(std::string_view line) {
  std::string_view rest;
  return fence_length(line, &rest) > 0;
}

bool is_cuda_block(const FencedBlock& block) {
  static constexpr std::array<std::string_view, 6> k_names{"cuda", "cu", "cpp", "c++", "c", ""};
  return std::find(k_names.begin(), k_names.end(), block.language) != k_names.end();
}

std::variant<std::string, Rejection> file_of_blocks(std::string_view reply) {
  const std::vector<FencedBlock> blocks = fenced_blocks(reply);
  if (blocks.empty())
    return Rejection{"no_code_block", "the reply has neither a ```cuda block nor SEARCH/REPLACE edits"};
  if (!blocks.back().is_closed)
    return Rejection{"reply_is_torn",
                     "the last code block is not closed: the reply was cut off; write a shorter file "
                     "or use SEARCH/REPLACE edits"};
  if (auto joined = joined_parts(blocks)) return std::move(*joined);
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block)
    if (is_cuda_block(*block) && block->text.find("__global__") != std::string::npos) return block->text;
  return Rejection{"no_kernel",
                   "no ```cuda block of the reply holds a __global__ kernel; send the whole file"};
}

}  // namespace kernelites
