// SPDX-License-Identifier: Apache-2.0
// Sizes of parameters, and registers that hold nothing but their names.
#include "evaluators/worker/contract/parameter_space.h"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <string>
#include <unordered_map>

namespace kernelites::worker {
namespace {

constexpr std::int64_t k_parameter_bytes_max = 1 << 20;

std::int64_t literal_in(std::string_view text) {
  const std::string digits(text);
  char* end = nullptr;
  const long long number = std::strtoll(digits.c_str(), &end, 0);
  return digits.empty() || *end != '\0' ? -1 : number;
}

/// How many bytes "ld.param.v2.u64" reads.
std::int64_t loaded_bytes(std::string_view opcode) {
  const std::size_t dot = opcode.rfind('.');
  const std::int64_t count = opcode.find(".v2.") != std::string_view::npos   ? 2
                             : opcode.find(".v4.") != std::string_view::npos ? 4
                             : opcode.find(".v8.") != std::string_view::npos ? 8
                                                                             : 1;
  return count * ptx_type_bytes(opcode.substr(dot + 1));
}

/// Whether `operand` is "[name]" or "[name+4]" of a parameter, and `bytes` from there lie in it.
bool is_within_parameter(PtxOperand operand, std::int64_t bytes,
                         const std::map<std::string_view, std::int64_t>& sizes) {
  if (operand.size() < 3 || operand.front().text != "[" || operand.back().text != "]") return false;
  const auto found = sizes.find(operand[1].text);
  if (found == sizes.end() || bytes <= 0) return false;
  std::int64_t offset = 0;
  if (operand.size() != 3) {
    if (operand.size() != 5 || operand[2].text != "+") return false;
    offset = literal_in(operand[3].text);
  }
  return offset >= 0 && bytes <= found->second && offset <= found->second - bytes;
}

}  // namespace

std::map<std::string_view, std::int64_t> declared_parameters(const std::vector<PtxToken>& tokens,
                                                             std::size_t begin, std::size_t end) {
  std::map<std::string_view, std::int64_t> sizes;
  for (std::size_t at = begin; at < end; ++at) {
    if (tokens[at].text != ".param") continue;
    std::int64_t bytes = 0;
    for (++at; at < end && bytes == 0; ++at) {
      const std::string_view word = tokens[at].text;
      if (word.starts_with(".")) bytes = ptx_type_bytes(word.substr(1));
    }
    // Behind the type may stand ".ptr .global .align 1".
    while (at + 1 < end && tokens[at].text.starts_with(".")) at += tokens[at].text == ".align" ? 2 : 1;
    if (at >= end) break;
    if (at + 2 < end && tokens[at + 1].text == "[") {
      const std::int64_t count = literal_in(tokens[at + 2].text);
      bytes = count >= 0 && count <= k_parameter_bytes_max ? bytes * count : 0;
    }
    sizes[tokens[at].text] = bytes;
  }
  return sizes;
}

std::string_view number_as_parameter(const std::vector<PtxInstruction>& instructions,
                                     const std::map<std::string_view, std::int64_t>& sizes) {
  std::unordered_map<std::string_view, std::vector<const PtxInstruction*>> definitions;
  std::vector<std::string_view> unknown;
  for (const PtxInstruction& instruction : instructions) {
    if (instruction.operands.empty()) continue;
    const bool is_address = instruction.operands[0].front().text == "[";
    for (const PtxToken& token : instruction.operands[0])
      if (!is_address) definitions[token.text].push_back(&instruction);
  }
  // A name is one if all its definitions copy names; what reads anything else is taken out, and so are its readers.
  std::set<std::string_view> others;
  const auto is_name = [&](PtxOperand operand) {
    if (operand.size() != 1) return false;
    const std::string_view word = operand.front().text;
    return sizes.contains(word) || (definitions.contains(word) && !others.contains(word));
  };
  const auto copies_names = [&](const PtxInstruction& instruction) {
    const std::string_view opcode = instruction.opcode;
    const bool is_move = opcode == "mov.u64" || opcode == "mov.b64";
    const bool is_choice = opcode == "selp.b64" || opcode == "selp.u64";
    return (is_move && instruction.operands.size() == 2 && is_name(instruction.operands[1])) ||
           (is_choice && instruction.operands.size() == 4 && is_name(instruction.operands[1]) &&
            is_name(instruction.operands[2]));
  };
  std::unordered_map<std::string_view, std::vector<std::string_view>> readers;
  for (const auto& [name, by] : definitions) {
    for (const PtxInstruction* definition : by) {
      // Operand 3 of a choice is its predicate.
      for (std::size_t i = 1; i < std::min<std::size_t>(definition->operands.size(), 3); ++i)
        for (const PtxToken& token : definition->operands[i]) readers[token.text].push_back(name);
    }
    if (!std::all_of(by.begin(), by.end(), [&](const PtxInstruction* i) { return copies_names(*i); }))
      unknown.push_back(name);
  }
  while (!unknown.empty()) {
    const std::string_view name = unknown.back();
    unknown.pop_back();
    if (!others.insert(name).second) continue;
    for (const std::string_view reader : readers[name])
      if (!others.contains(reader)) unknown.push_back(reader);
  }
  for (const PtxInstruction& instruction : instructions) {
    const std::string_view opcode = instruction.opcode;
    const bool has_source = instruction.operands.size() >= 2;
    if (opcode.starts_with("cvta.param") && !(has_source && is_name(instruction.operands[1]))) return opcode;
    if (opcode.starts_with("ld.param") &&
        !(has_source && is_within_parameter(instruction.operands[1], loaded_bytes(opcode), sizes)))
      return opcode;
  }
  return {};
}

}  // namespace kernelites::worker
