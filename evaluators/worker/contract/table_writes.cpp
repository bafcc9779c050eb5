// SPDX-License-Identifier: Apache-2.0
// Follows table addresses through the registers of each function.
#include "evaluators/worker/contract/table_writes.h"

#include <algorithm>
#include <map>
#include <set>
#include <span>
#include <string_view>

namespace kernelites::worker {
namespace {

using Names =
    std::map<std::string_view, std::string_view>;  ///< register or symbol -> table whose address it holds

/// One instruction: opcode, guard and operands, the latter split at top-level commas.
struct Instruction {
  std::string_view opcode;
  std::string_view guard;
  std::vector<std::span<const PtxToken>> operands;
};

bool is_opcode(std::string_view word) { return !word.empty() && word[0] >= 'a' && word[0] <= 'z'; }

/// The instruction that begins at token `at`; sets `at` behind its semicolon.
Instruction read_instruction(const std::vector<PtxToken>& tokens, std::size_t& at, std::size_t end) {
  Instruction instruction;
  if (tokens[at].text == "@") {
    if (++at < end && tokens[at].text == "!") ++at;
    if (at < end) instruction.guard = tokens[at++].text;
  }
  if (at < end) instruction.opcode = tokens[at++].text;
  int depth = 0;
  std::size_t begin = at;
  for (; at < end; ++at) {
    const std::string_view word = tokens[at].text;
    const bool is_end = depth == 0 && word == ";";
    if (is_end || (depth == 0 && word == ",")) {
      if (at > begin) instruction.operands.push_back({tokens.data() + begin, at - begin});
      begin = at + 1;
    }
    if (is_end) break;
    if (word == "{" || word == "[" || word == "(") ++depth;
    if (word == "}" || word == "]" || word == ")") --depth;
  }
  if (at < end) ++at;
  return instruction;
}

std::string_view table_in(std::span<const PtxToken> operand, const Names& names) {
  for (const PtxToken& token : operand) {
    if (const auto found = names.find(token.text); found != names.end()) return found->second;
  }
  return {};
}

/// What an instruction lets out: the table that it could write or whose address it stores or passes on.
std::string_view escaping_table(const Instruction& instruction, const Names& names) {
  const auto starts = [&](std::string_view prefix) { return instruction.opcode.starts_with(prefix); };
  // An asynchronous copy may read a table: only its destination, the first operand, counts.
  if (starts("cp.async") || starts("cp.reduce")) {
    return instruction.operands.empty() ? std::string_view() : table_in(instruction.operands[0], names);
  }
  if (!starts("st") && !starts("red") && !starts("atom") && !starts("call") && !starts("mbarrier") &&
      !starts("mapa"))
    return {};
  for (const auto& operand : instruction.operands) {
    if (const auto table = table_in(operand, names); !table.empty()) return table;
  }
  return {};
}

/// Adds what the instruction's destination then holds. True if that is new.
bool propagate(const Instruction& instruction, Names& names) {
  const std::string_view op = instruction.opcode;
  // What is loaded is a table's content, and content may go anywhere; the others have no destination register.
  static constexpr std::string_view k_without[] = {"ld",       "st",  "red", "cp.", "tex",
                                                   "prefetch", "bra", "brx", "bar"};
  const bool has_no_copy = std::any_of(std::begin(k_without), std::end(k_without),
                                       [&](std::string_view prefix) { return op.starts_with(prefix); });
  if (has_no_copy || instruction.operands.size() < 2) return false;
  std::string_view table;
  if (const auto guard = names.find(instruction.guard); guard != names.end()) table = guard->second;
  for (std::size_t i = 1; i < instruction.operands.size() && table.empty(); ++i) {
    table = table_in(instruction.operands[i], names);
  }
  if (table.empty()) return false;
  bool is_new = false;
  for (const PtxToken& token : instruction.operands[0]) {
    const char c = token.text[0];
    const bool is_name = c == '%' || c == '_' || c == '$' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (is_name && token.text != "_") is_new |= names.emplace(token.text, table).second;
  }
  return is_new;
}

/// All instructions between the braces of one function.
std::vector<Instruction> read_body(const std::vector<PtxToken>& tokens, std::size_t begin, std::size_t end) {
  std::vector<Instruction> instructions;
  for (std::size_t at = begin; at < end;) {
    const std::string_view word = tokens[at].text;
    const bool is_label = at + 1 < end && tokens[at + 1].text == ":";
    if (word == "@" || (is_opcode(word) && !is_label && !tokens[at].is_string)) {
      instructions.push_back(read_instruction(tokens, at, end));
    } else {
      ++at;
    }
  }
  return instructions;
}

std::optional<std::string> check_body(const std::vector<Instruction>& instructions, const Names& tables) {
  Names names = tables;
  for (bool is_changed = true; is_changed;) {
    is_changed = false;
    for (const Instruction& instruction : instructions) is_changed |= propagate(instruction, names);
  }
  for (const Instruction& instruction : instructions) {
    if (const auto table = escaping_table(instruction, names); !table.empty()) return std::string(table);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> find_writable_table(const std::vector<PtxToken>& tokens, const PtxModule& module) {
  Names tables;
  for (const PtxVariable& variable : module.variables) {
    if (!variable.is_constant && variable.is_referenced) tables.emplace(variable.name, variable.name);
  }
  if (tables.empty()) return std::nullopt;
  std::map<std::string_view, int> outside;  // uses beyond the declaration that no function explains
  for (std::size_t at = 0; at < tokens.size(); ++at) {
    const std::string_view word = tokens[at].text;
    if (word == ".entry" || word == ".func") {
      while (at < tokens.size() && tokens[at].text != "{" && tokens[at].text != ";") ++at;
      if (at >= tokens.size() || tokens[at].text == ";") continue;
      const std::size_t begin = at + 1;
      int depth = 1;
      for (++at; at < tokens.size() && depth > 0; ++at) {
        if (tokens[at].text == "{") ++depth;
        if (tokens[at].text == "}") --depth;
      }
      --at;
      if (auto table = check_body(read_body(tokens, begin, at), tables)) return table;
    } else if (tables.contains(word) && ++outside[word] > 1) {
      return std::string(word);  // its address lies in another table, where nothing follows it
    }
  }
  return std::nullopt;
}

}  // namespace kernelites::worker
