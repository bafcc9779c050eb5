// SPDX-License-Identifier: Apache-2.0
// The PTX tokeniser, and the parser of declarations.
#include "evaluators/worker/contract/ptx_text.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>
#include <unordered_map>

namespace kernelites::worker {
namespace {

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
         c == '$' || c == '%';
}

/// Skips blanks and comments from `at`; notes a line break.
std::size_t skip_blank(std::string_view ptx, std::size_t at, bool& begins_line) {
  while (at < ptx.size()) {
    if (ptx[at] == '\n') begins_line = true;
    if (ptx[at] == ' ' || ptx[at] == '\t' || ptx[at] == '\r' || ptx[at] == '\n') {
      ++at;
    } else if (ptx.substr(at, 2) == "//") {
      at = std::min(ptx.find('\n', at), ptx.size());
    } else if (ptx.substr(at, 2) == "/*") {
      const auto end = ptx.find("*/", at + 2);
      at = end == std::string_view::npos ? ptx.size() : end + 2;
    } else {
      break;
    }
  }
  return at;
}

std::int64_t number_of(std::string_view text) {
  std::int64_t value = 0;
  const bool is_hex = text.starts_with("0x") || text.starts_with("0X");
  const std::string_view digits = is_hex ? text.substr(2) : text;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, is_hex ? 16 : 10);
  // A size that is negative is as wrong as one that is too large.
  if (error == std::errc::result_out_of_range || value < 0) return std::numeric_limits<std::int64_t>::max();
  return error == std::errc() ? value : 0;
}

std::int64_t saturating_product(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<std::int64_t>::max() : product;
}

/// Reads declarations from a position in the tokens.
class Parser {
 public:
  explicit Parser(const std::vector<PtxToken>& tokens) : tokens_(tokens) {}

  PtxModule parse() {
    for (at_ = 0; at_ < tokens_.size(); ++at_) {
      const std::string_view word = tokens_[at_].is_string ? std::string_view() : tokens_[at_].text;
      if (word == ".entry") {
        entry();
      } else if (word == ".extern") {
        external();
      } else if ((word == ".global" || word == ".const") && text(at_ - 1) != ".ptr") {
        variable(false);
      }
    }
    note_references();
    return std::move(module_);
  }

 private:
  std::string_view text(std::size_t i) const {
    return i < tokens_.size() ? tokens_[i].text : std::string_view();
  }

  void entry() {
    PtxEntry entry;
    entry.name = std::string(text(++at_));
    entry.signature.lowered = entry.name;
    ++at_;
    if (text(at_) == "(") parameters(entry.signature);
    for (; at_ < tokens_.size() && text(at_) != "{" && text(at_) != ";"; ++at_) {
      if (text(at_) == ".maxntid") entry.signature.threads_max = product();
      if (text(at_) == ".reqntid") entry.signature.threads_required = product();
      if (text(at_) == ".reqnctapercluster") {
        for (int i = 0; i < 3; ++i) entry.signature.cluster_required[i] = 1;
        int axis = 0;
        for (std::size_t i = at_ + 1; axis < 3 && i < tokens_.size(); i += 2) {
          entry.signature.cluster_required[axis++] =
              static_cast<int>(std::min<std::int64_t>(number_of(text(i)), 1024));
          if (text(i + 1) != ",") break;
        }
      }
    }
    module_.entries.push_back(std::move(entry));
  }

  /// Product of the comma-separated numbers behind the current directive.
  int product() const {
    std::int64_t value = 1;
    for (std::size_t i = at_ + 1; i < tokens_.size(); i += 2) {
      value = saturating_product(value, number_of(text(i)));
      if (text(i + 1) != ",") break;
    }
    return static_cast<int>(std::min<std::int64_t>(value, std::numeric_limits<int>::max()));
  }

  /// From "(" to behind ")".
  void parameters(KernelSignature& signature) {
    KernelParameter parameter;
    bool is_open = false;
    for (++at_; at_ < tokens_.size(); ++at_) {
      const std::string_view word = text(at_);
      if (word == ")" || word == ",") {
        if (is_open) signature.parameters.push_back(parameter);
        parameter = {};
        is_open = false;
        if (word == ")") {
          ++at_;
          return;
        }
      } else if (word == "[") {
        parameter.bytes = saturating_product(parameter.bytes, number_of(text(at_ + 1)));
      } else if (word == ".ptr") {
        parameter.is_pointer = true;
      } else if (word.starts_with(".") && ptx_type_bytes(word.substr(1)) > 0) {
        parameter.bytes = ptx_type_bytes(word.substr(1));
        parameter.is_real = word == ".f32" || word == ".f64";
        is_open = true;
      }
    }
  }

  void external() {
    const std::string_view space = text(at_ + 1);
    if (space == ".global" || space == ".const") {
      ++at_;
      variable(true);
    } else if (space == ".func") {
      at_ += 2;
      if (text(at_) == "(") {
        while (at_ < tokens_.size() && text(at_) != ")") ++at_;
        ++at_;
      }
      module_.external_functions.emplace_back(text(at_));
    }
  }

  /// From the state space to before ";". Several variables may share one declaration.
  void variable(bool is_external) {
    PtxVariable declared;
    declared.is_constant = text(at_) == ".const";
    declared.is_external = is_external;
    std::int64_t element = 0, count = 1;
    const auto finish = [&] {
      if (declared.name.empty()) return;
      declared.bytes = saturating_product(element, count);
      module_.variables.push_back(declared);
      ++declarations_[declared.name];
      declared.name.clear();
      declared.has_initialiser = false;
      count = 1;
    };
    int depth = 0;
    for (++at_; at_ < tokens_.size(); ++at_) {
      const std::string_view word = text(at_);
      if (depth == 0 && word == ";") break;
      if (word == "{") ++depth;
      if (word == "}" && --depth < 0) break;
      if (depth > 0) continue;
      if (word == ",") {
        finish();
      } else if (word == "=") {
        declared.has_initialiser = true;
      } else if (word == ".align") {
        ++at_;
      } else if (word == ".attribute") {
        for (; at_ < tokens_.size() && text(at_) != ")"; ++at_)
          declared.is_managed |= text(at_) == ".managed";
      } else if (word == ".v2" || word == ".v4") {
        count = saturating_product(count, word == ".v2" ? 2 : 4);
      } else if (word.starts_with(".")) {
        element = std::max(element, ptx_type_bytes(word.substr(1)));
      } else if (word == "[") {
        count = saturating_product(count, number_of(text(at_ + 1)));
      } else if (declared.name.empty() && !declared.has_initialiser && word != "]") {
        declared.name = std::string(word);
      }
    }
    finish();
  }

  void note_references() {
    std::unordered_map<std::string_view, int> uses;
    for (const PtxVariable& variable : module_.variables) uses.emplace(variable.name, 0);
    if (uses.empty()) return;
    for (const PtxToken& token : tokens_) {
      if (const auto use = uses.find(token.text); use != uses.end()) ++use->second;
    }
    for (PtxVariable& variable : module_.variables) {
      variable.is_referenced = uses.at(variable.name) > declarations_.at(variable.name);
    }
  }

  const std::vector<PtxToken>& tokens_;
  std::size_t at_ = 0;
  PtxModule module_;
  std::map<std::string, int> declarations_;
};

}  // namespace

std::vector<PtxToken> tokenize_ptx(std::string_view ptx) {
  std::vector<PtxToken> tokens;
  tokens.reserve(ptx.size() / 4);
  bool begins_line = true;
  for (std::size_t at = skip_blank(ptx, 0, begins_line); at < ptx.size();) {
    std::size_t end = at + 1;
    if (ptx[at] == '"') {
      end = std::min(ptx.find('"', end), ptx.size());
      tokens.push_back({ptx.substr(at + 1, end - at - 1), true, begins_line});
      end = std::min(end + 1, ptx.size());
    } else {
      if (is_word(ptx[at])) {
        // "shared::cta" is one word, "label:" is two.
        while (end < ptx.size() && (is_word(ptx[end]) || ptx.substr(end, 2) == "::"))
          end += is_word(ptx[end]) ? 1 : 2;
      }
      tokens.push_back({ptx.substr(at, end - at), false, begins_line});
    }
    begins_line = false;
    at = skip_blank(ptx, end, begins_line);
  }
  return tokens;
}

PtxModule parse_ptx(const std::vector<PtxToken>& tokens) { return Parser(tokens).parse(); }

std::int64_t ptx_type_bytes(std::string_view type) {
  static constexpr std::pair<std::string_view, int> k_types[] = {
      {"b8", 1},   {"u8", 1},  {"s8", 1},  {"b16", 2},   {"u16", 2},    {"s16", 2},     {"f16", 2},
      {"bf16", 2}, {"b32", 4}, {"u32", 4}, {"s32", 4},   {"f32", 4},    {"f16x2", 4},   {"b64", 8},
      {"u64", 8},  {"s64", 8}, {"f64", 8}, {"b128", 16}, {"texref", 8}, {"surfref", 8}, {"samplerref", 8}};
  for (const auto& [name, bytes] : k_types) {
    if (name == type) return bytes;
  }
  return 0;
}

}  // namespace kernelites::worker
