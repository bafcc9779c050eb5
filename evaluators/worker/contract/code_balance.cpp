// SPDX-License-Identifier: Apache-2.0
// Shapes and types are suffixes of opcodes: "ld.global.nc.v4.f32", "mma.sync.aligned.m16n8k16.row.col.f32...".
#include "evaluators/worker/contract/code_balance.h"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace kernelites::worker {
namespace {

std::vector<std::string_view> parts_of(std::string_view opcode) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 0; at <= opcode.size();) {
    const std::size_t end = std::min(opcode.find('.', at), opcode.size());
    std::string_view part = opcode.substr(at, end - at);
    parts.push_back(part.substr(0, part.find(':')));  // shared::cta
    at = end + 1;
  }
  return parts;
}

bool has_part(const std::vector<std::string_view>& parts, std::string_view wanted) {
  return std::find(parts.begin(), parts.end(), wanted) != parts.end();
}

double number_in(std::string_view text) {
  int value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// M * N * K of a part such as "m16n8k16"; 0 for any other.
double shape_product(std::string_view part) {
  const std::size_t n = part.find('n'), k = part.find('k');
  if (part.empty() || part[0] != 'm' || n == std::string_view::npos || k == std::string_view::npos || k < n)
    return 0;
  return number_in(part.substr(1, n - 1)) * number_in(part.substr(n + 1, k - n - 1)) *
         number_in(part.substr(k + 1));
}

/// Floating-point operations of one thread's share of a tensor-core instruction.
double matrix_flops(const std::vector<std::string_view>& parts) {
  const double threads = parts[0] == "wgmma" ? 128 : 32;
  for (std::string_view part : parts)
    if (const double product = shape_product(part); product > 0) return 2 * product / threads;
  return 0;
}

double scalar_flops(const std::vector<std::string_view>& parts) {
  const std::string_view type = parts.back();
  const bool is_real = type.starts_with("f") || type.starts_with("bf");
  if (!is_real) return 0;
  const double lanes = type.ends_with("x2") ? 2 : 1;
  constexpr std::string_view k_single[] = {"add",  "sub",   "mul", "min", "max", "div", "rcp",
                                           "sqrt", "rsqrt", "ex2", "lg2", "sin", "cos", "tanh"};
  if (parts[0] == "fma" || parts[0] == "mad") return 2 * lanes;
  return std::find(std::begin(k_single), std::end(k_single), parts[0]) != std::end(k_single) ? lanes : 0;
}

double access_width(const std::vector<std::string_view>& parts) {
  double lanes = 1;
  for (std::string_view part : parts)
    if (part == "v2" || part == "v4" || part == "v8") lanes = number_in(part.substr(1));
  return lanes * static_cast<double>(ptx_type_bytes(parts.back()));
}

/// The size operand of "cp.async.ca.shared.global [to], [from], 16": the first number behind the second address.
double async_width(const std::vector<PtxToken>& tokens, std::size_t at) {
  constexpr std::size_t k_reach = 32;  // tokens of one instruction
  int brackets = 0;
  for (std::size_t i = at + 1; i < tokens.size() && i < at + k_reach && tokens[i].text != ";"; ++i) {
    if (tokens[i].text == "]") ++brackets;
    const char first = tokens[i].text.empty() ? ' ' : tokens[i].text[0];
    if (brackets == 2 && first >= '0' && first <= '9') return number_in(tokens[i].text);
  }
  return 16;
}

}  // namespace

std::vector<std::size_t> opcode_positions(const std::vector<PtxToken>& tokens) {
  std::vector<std::size_t> positions;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::string_view word = tokens[i].text;
    if (tokens[i].is_string || word.empty() || word[0] < 'a' || word[0] > 'z') continue;
    const std::string_view before = i > 0 ? tokens[i - 1].text : std::string_view(";");
    const bool is_guarded = i >= 2 && (tokens[i - 2].text == "@" || tokens[i - 2].text == "!");
    const bool begins =
        tokens[i].begins_line || before == ";" || before == "{" || before == "}" || before == ":";
    const bool is_label = i + 1 < tokens.size() && tokens[i + 1].text == ":";
    if ((begins || is_guarded) && !is_label) positions.push_back(i);
  }
  return positions;
}

CodeBalance balance_of(const std::vector<PtxToken>& tokens, double bulk_bytes, double threads) {
  CodeBalance balance;
  const auto moves = [&](double bytes, double share) {
    balance.global_bytes += bytes * share;
    balance.access_bytes = std::max(balance.access_bytes, bytes);
  };
  for (const std::size_t at : opcode_positions(tokens)) {
    const std::string_view opcode = tokens[at].text;
    const std::vector<std::string_view> parts = parts_of(opcode);
    if (opcode.starts_with("cp.async.bulk") || opcode.starts_with("cp.reduce.async.bulk")) {
      const bool is_copy = has_part(parts, "global");
      if (is_copy) moves(bulk_bytes, 1 / std::max(threads, 1.0));
    } else if (opcode.starts_with("cp.async.ca") || opcode.starts_with("cp.async.cg")) {
      moves(async_width(tokens, at), 1);
    } else if (parts[0] == "mma" || parts[0] == "wmma" || parts[0] == "wgmma") {
      balance.flops += matrix_flops(parts);
    } else if ((parts[0] == "ld" || parts[0] == "st" || parts[0] == "atom" || parts[0] == "red") &&
               has_part(parts, "global")) {
      moves(access_width(parts), 1);
    } else {
      balance.flops += scalar_flops(parts);
    }
  }
  return balance;
}

}  // namespace kernelites::worker
