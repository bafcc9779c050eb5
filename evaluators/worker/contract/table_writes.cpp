// SPDX-License-Identifier: Apache-2.0
// Follows addresses of tables and parameters through the registers of each function.
#include "evaluators/worker/contract/table_writes.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <span>
#include <string_view>
#include <unordered_map>

#include "evaluators/worker/contract/parameter_space.h"

namespace kernelites::worker {
namespace {

using Operand = PtxOperand;
using Instruction = PtxInstruction;

/// What an opcode may do with an address.
enum class Use {
  none,        ///< nothing at all
  copy,        ///< hand it on, from operand 1 or 2
  add,         ///< hand it on, from one of operands 1 and 2; the other must be free of addresses
  subtract,    ///< hand it on, from operand 1
  accumulate,  ///< hand it on, from operand 3 of a multiply-add
  load,        ///< read through operand 1
  prefetch,    ///< name it as operand 0
  map,         ///< take it for the address of a tensor map
};
struct Rule {
  std::string_view prefix;
  Use use;
};
/// For tables, in this order: the first prefix that fits decides.
constexpr Rule k_table_rules[] = {
    {"ld.", Use::load},
    {"ldu.", Use::load},
    {"cp.async.bulk.tensor", Use::none},
    {"cp.async.bulk.prefetch", Use::none},
    {"cp.async.", Use::load},
    {"prefetch.", Use::prefetch},
    {"mov.u64", Use::copy},
    {"mov.b64", Use::copy},
    {"mov.s64", Use::copy},
    {"cvta.", Use::copy},
    {"selp.b64", Use::copy},
    {"selp.u64", Use::copy},
    {"selp.s64", Use::copy},
    {"add.s64", Use::add},
    {"add.u64", Use::add},
    {"sub.s64", Use::subtract},
    {"sub.u64", Use::subtract},
    {"mad.lo.s64", Use::accumulate},
    {"mad.lo.u64", Use::accumulate},
    {"mad.wide.s32", Use::accumulate},
    {"mad.wide.u32", Use::accumulate},
};

/// For parameters: numbers and pointers are loaded by name, and a tensor map's address goes to the copy as it is.
constexpr Rule k_parameter_rules[] = {
    {"ld.param.", Use::load},
    {"cp.async.bulk.tensor", Use::map},
    {"cp.async.bulk.prefetch.tensor", Use::map},
    {"cp.reduce.async.bulk.tensor", Use::map},
    {"prefetch.tensormap", Use::prefetch},
    {"mov.u64", Use::copy},
    {"mov.b64", Use::copy},
    {"cvta.", Use::copy},
    {"selp.b64", Use::copy},
    {"selp.u64", Use::copy},
};
using Rules = std::span<const Rule>;

Use use_of(std::string_view opcode, Rules rules) {
  for (const Rule& rule : rules) {
    const bool is_family = rule.prefix.ends_with('.') || opcode.size() == rule.prefix.size() ||
                           opcode.substr(0, rule.prefix.size() + 1).ends_with('.');
    if (opcode.starts_with(rule.prefix) && is_family) return rule.use;
  }
  return Use::none;
}

bool hands_on(Use use) {
  return use == Use::copy || use == Use::add || use == Use::subtract || use == Use::accumulate;
}

/// Whether an address may stand in operand `i` of an instruction with that use.
bool may_stand(Use use, std::size_t i) {
  switch (use) {
    case Use::none:
      return false;
    case Use::copy:
    case Use::add:
      return i == 1 || i == 2;
    case Use::subtract:
    case Use::load:
      return i == 1;
    case Use::accumulate:
      return i == 3;
    case Use::prefetch:
      return i == 0;
    case Use::map:
      return true;
  }
  return false;
}

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

/// Sets `at`, which is at ".loc", behind the directive: it ends with no semicolon, and an instruction may follow on its
/// line. ".loc 1 12 3, function_name $L__info_string0, inlined_at 1 40 5".
void skip_location(const std::vector<PtxToken>& tokens, std::size_t& at, std::size_t end) {
  const auto text = [&](std::size_t i) { return i < end ? tokens[i].text : std::string_view(); };
  at += 4;
  while (text(at) == ",") {
    if (text(at + 1) == "function_name") {
      at += text(at + 3) == "+" ? 5 : 3;
    } else if (text(at + 1) == "inlined_at") {
      at += 5;
    } else {
      break;
    }
  }
  at = std::min(at, end);
}

/// The instructions of one function, and the registers in it that hold the address of a table.
class Body {
 public:
  Body(std::vector<Instruction> instructions, const std::set<std::string_view>& tables, Rules rules)
      : instructions_(std::move(instructions)), rules_(rules) {
    for (const std::string_view table : tables) hold(table, table);
    for (std::size_t i = 0; i < instructions_.size(); ++i) {
      if (!hands_on(use_of(instructions_[i].opcode, rules_))) continue;
      for (std::size_t k = 1; k < instructions_[i].operands.size(); ++k) {
        for (const PtxToken& token : instructions_[i].operands[k]) readers_[token.text].push_back(i);
      }
    }
    follow();
  }

  /// A table whose address is used as no rule allows; empty if there is none.
  std::string_view escaping_table() const {
    for (const Instruction& instruction : instructions_) {
      if (const auto table = escaping_from(instruction); !table.empty()) return table;
    }
    return {};
  }

 private:
  void hold(std::string_view name, std::string_view table) {
    if (held_.emplace(name, table).second) fresh_.push_back(name);
  }

  /// Each name is taken from the work list once, so that the time is linear in the number of operands.
  void follow() {
    while (!fresh_.empty()) {
      const std::string_view name = fresh_.back();
      fresh_.pop_back();
      const auto readers = readers_.find(name);
      if (readers == readers_.end()) continue;
      for (const std::size_t i : readers->second) {
        for (const PtxToken& token : instructions_[i].operands[0]) hold(token.text, held_.at(name));
      }
    }
  }

  std::string_view table_in(Operand operand) const {
    for (const PtxToken& token : operand) {
      if (const auto found = held_.find(token.text); found != held_.end()) return found->second;
    }
    return {};
  }

  std::string_view escaping_from(const Instruction& instruction) const {
    if (const auto guard = held_.find(instruction.guard); guard != held_.end()) return guard->second;
    const Use use = use_of(instruction.opcode, rules_);
    // Operand 0 of these is a register that they set, all others are read.
    const bool has_destination = hands_on(use) || instruction.opcode.starts_with("ld");
    int addresses = 0;
    for (std::size_t i = 0; i < instruction.operands.size(); ++i) {
      const Operand operand = instruction.operands[i];
      const std::string_view table = table_in(operand);
      if (table.empty()) continue;
      // "{lo, hi}" takes an address apart.
      if (hands_on(use) && operand.front().text == "{") return table;
      if (i == 0 && has_destination) continue;
      if (!may_stand(use, i) || (use == Use::add && ++addresses > 1)) return table;
    }
    return {};
  }

  std::vector<Instruction> instructions_;
  Rules rules_;
  std::unordered_map<std::string_view, std::vector<std::size_t>> readers_;
  std::unordered_map<std::string_view, std::string_view> held_;  ///< register or symbol -> table
  std::vector<std::string_view> fresh_;                          ///< held, but its readers not yet visited
};

/// Walks over a module and judges one function after the other: its use of tables, or without any, of its parameters.
class Walk {
 public:
  Walk(const std::vector<PtxToken>& tokens, std::set<std::string_view> tables)
      : tokens_(tokens), tables_(std::move(tables)), is_of_parameters_(tables_.empty()) {}

  std::optional<std::string> find() {
    for (std::size_t at = 0; at < tokens_.size(); ++at) {
      const std::string_view word = tokens_[at].text;
      if (word != ".entry" && word != ".func") {
        if (note_outside(word)) return std::string(word);
        continue;
      }
      const bool is_entry = word == ".entry";
      const std::size_t signature = at;
      if (is_of_parameters_) tables_.clear();
      for (; at < tokens_.size() && tokens_[at].text != "{" && tokens_[at].text != ";"; ++at)
        if (is_of_parameters_ && is_entry && is_parameter(at)) tables_.insert(tokens_[at].text);
      if (at >= tokens_.size() || tokens_[at].text == ";") continue;
      const std::size_t begin = at + 1;
      int depth = 1;
      for (++at; at < tokens_.size() && depth > 0; ++at) {
        if (tokens_[at].text == "{") ++depth;
        if (tokens_[at].text == "}") --depth;
      }
      sizes_ = is_of_parameters_ && is_entry ? declared_parameters(tokens_, signature, at)
                                             : std::map<std::string_view, std::int64_t>();
      is_entry_ = is_entry;
      if (auto table = find_in_body(begin, --at)) return table;
    }
    return std::nullopt;
  }

 private:
  /// Whether token `at` of a signature is a parameter's name.
  bool is_parameter(std::size_t at) const {
    const std::string_view next = at + 1 < tokens_.size() ? tokens_[at + 1].text : std::string_view();
    const char first = tokens_[at].text.empty() ? '.' : tokens_[at].text[0];
    const bool is_name =
        first == '_' || first == '$' || first == '%' || std::isalpha(static_cast<unsigned char>(first));
    return is_name && (next == "," || next == ")" || next == "[");
  }

  /// True at a table's second name outside of instructions: the first declares it, the next puts its address into
  /// another table, where nothing follows it.
  bool note_outside(std::string_view word) { return tables_.contains(word) && ++outside_[word] > 1; }

  std::optional<std::string> find_in_body(std::size_t begin, std::size_t end) {
    const bool holds_loads_to_names = is_of_parameters_ && is_entry_;
    if (tables_.empty() && !holds_loads_to_names) return std::nullopt;
    std::vector<Instruction> instructions;
    for (std::size_t at = begin; at < end;) {
      const std::string_view word = tokens_[at].text;
      const bool is_label = (at + 1 < end && tokens_[at + 1].text == ":") || tables_.contains(word);
      const std::string_view before = at > begin ? tokens_[at - 1].text : std::string_view();
      const bool is_declared =
          before.starts_with(".") && (before == ".pred" || ptx_type_bytes(before.substr(1)) > 0);
      if (word == ".loc") {
        skip_location(tokens_, at, end);
        continue;
      }
      if (word == "@" || (is_opcode(word) && !is_label && !is_declared && !tokens_[at].is_string)) {
        if (++instructions_ > k_followed_instructions_max)
          return std::string(tables_.empty() ? word : *tables_.begin());
        instructions.push_back(read_instruction(tokens_, at, end));
      } else {
        if (note_outside(word)) return std::string(word);
        ++at;
      }
    }
    if (holds_loads_to_names) {
      const std::string_view opcode = number_as_parameter(instructions, sizes_);
      if (!opcode.empty()) return std::string(opcode);
    }
    const Body body(std::move(instructions), tables_,
                    is_of_parameters_ ? Rules(k_parameter_rules) : Rules(k_table_rules));
    const std::string_view table = body.escaping_table();
    return table.empty() ? std::nullopt : std::optional(std::string(table));
  }

  const std::vector<PtxToken>& tokens_;
  std::set<std::string_view> tables_;
  const bool is_of_parameters_;
  bool is_entry_ = false;
  std::map<std::string_view, std::int64_t> sizes_;  ///< of parameters that the function at hand may load
  std::map<std::string_view, int> outside_;
  std::size_t instructions_ = 0;
};

}  // namespace

std::optional<std::string> find_writable_table(const std::vector<PtxToken>& tokens, const PtxModule& module) {
  std::set<std::string_view> tables;
  for (const PtxVariable& variable : module.variables) {
    // Constants too: their bank is ordinary memory, and a generic address of it (cvta.const) can be written through.
    if (variable.is_referenced) tables.insert(variable.name);
  }
  if (tables.empty()) return std::nullopt;
  return Walk(tokens, tables).find();
}

std::optional<std::string> find_escaping_parameter(const std::vector<PtxToken>& tokens) {
  return Walk(tokens, {}).find();
}

}  // namespace kernelites::worker
