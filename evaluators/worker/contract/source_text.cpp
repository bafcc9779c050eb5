// SPDX-License-Identifier: Apache-2.0
// One pass over the characters of a source, splices taken out on the way.
#include "evaluators/worker/contract/source_text.h"

#include <algorithm>

namespace kernelites::worker {
namespace {

constexpr std::string_view k_raw_words =
    "this raw string could be read in two ways: begin and end it plainly, with no # line inside and not in a "
    "macro";

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '$' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool is_raw_prefix(std::string_view word) {
  return word == "R" || word == "u8R" || word == "uR" || word == "UR" || word == "LR";
}

class Reader {
 public:
  explicit Reader(std::string_view source) : in_(source) {
    text_.code.reserve(source.size());
    skip_splices();
  }

  SourceText read() {
    while (at_ < in_.size()) {
      const char c = peek(0), d = peek(1);
      if (c == '/' && d == '/') {
        while (at_ < in_.size() && in_[at_] != '\n') take(false);
      } else if (c == '/' && d == '*') {
        block_comment();
      } else if (is_digit(c) || (c == '.' && is_digit(d))) {
        number();
      } else if (is_word(c)) {
        word();
      } else if ((c == '"' || c == '<') && is_include(line())) {
        header_name(c == '<' ? '>' : '"');
      } else if (c == '"' || c == '\'') {
        literal(c);
      } else {
        take(true);
      }
    }
    flush();
    return std::move(text_);
  }

 private:
  /// The current line so far, without blanks in front.
  std::string_view line() const {
    const std::string_view text = std::string_view(text_.code).substr(line_begin_);
    return text.substr(std::min(text.find_first_not_of(" \t\r"), text.size()));
  }

  static bool is_include(std::string_view line) {
    const std::size_t mark = line.starts_with("#") ? 1 : line.starts_with("%:") ? 2 : 0;
    if (mark == 0) return false;
    line.remove_prefix(std::min(line.find_first_not_of(" \t\r", mark), line.size()));
    return line.starts_with("include") && line.find_first_not_of(" \t\r", 7) == std::string_view::npos;
  }

  std::size_t splice_at(std::size_t at) const {
    if (in_.substr(at, 2) == "\\\n") return 2;
    return in_.substr(at, 3) == "\\\r\n" ? 3 : 0;
  }

  /// The character `count` places on, as if there were no splices; 0 at the end.
  char peek(int count) const {
    std::size_t at = at_;
    for (; count > 0 && at < in_.size(); --count) {
      ++at;
      while (const std::size_t size = splice_at(at)) at += size;
    }
    return at < in_.size() ? in_[at] : '\0';
  }

  void skip_splices() {
    while (const std::size_t size = splice_at(at_)) {
      pending_ += '\n';
      pending_.append(size - 1, ' ');
      at_ += size;
    }
  }

  /// What splices took out of the line follows it, so that later lines keep their numbers.
  void flush() {
    text_.code += pending_;
    pending_.clear();
    line_begin_ = text_.code.size();
  }

  void put(char c, bool is_kept) {
    text_.code += is_kept || c == '\n' ? c : ' ';
    if (c == '\n') flush();
    ++at_;
  }

  void take(bool is_kept) {
    put(in_[at_], is_kept);
    skip_splices();
  }

  void refuse(std::string_view words, std::size_t at) {
    if (!text_.problem.empty()) return;
    text_.problem = words;
    text_.problem_at = at;
  }

  void block_comment() {
    take(false);
    take(false);
    while (at_ < in_.size() && !(in_[at_] == '*' && peek(1) == '/')) take(false);
    for (int i = 0; i < 2 && at_ < in_.size(); ++i) take(false);
  }

  /// A preprocessing number: digits, letters, points, signs of exponents, separators before a digit or letter.
  void number() {
    while (at_ < in_.size()) {
      const char c = in_[at_], d = peek(1);
      const bool is_exponent = (c == 'e' || c == 'E' || c == 'p' || c == 'P') && (d == '+' || d == '-');
      if (!is_word(c) && c != '.' && !(c == '\'' && is_word(d))) return;
      take(true);
      if (is_exponent) take(true);
    }
  }

  void word() {
    const std::size_t begin = text_.code.size(), spliced = pending_.size(), at = at_;
    while (at_ < in_.size() && is_word(in_[at_])) take(true);
    if (at_ >= in_.size() || in_[at_] != '"' || !is_raw_prefix(std::string_view(text_.code).substr(begin)))
      return;
    if (pending_.size() != spliced) refuse(k_raw_words, at);
    raw_string();
  }

  /// From the quote of R"x( to behind that of )x". Splices are text in there.
  void raw_string() {
    const std::size_t at = at_;
    const auto open = in_.find('(', at_ + 1);
    const std::string_view delimiter =
        open == std::string_view::npos ? std::string_view() : in_.substr(at_ + 1, open - at_ - 1);
    const bool is_plain = open != std::string_view::npos && delimiter.size() <= 16 &&
                          delimiter.find_first_of(" \t\r\n\\()\"") == std::string_view::npos;
    std::string closing = ")";
    closing.append(delimiter).push_back('"');
    const auto close = is_plain ? in_.find(closing, open) : std::string_view::npos;
    if (close == std::string_view::npos) refuse(k_raw_words, at);
    const std::size_t end = close == std::string_view::npos ? in_.size() : close + closing.size();
    const std::string_view body = in_.substr(at, end - at);
    const bool is_directive = line().starts_with("#") || line().starts_with("%:");
    if (is_directive && body.find('\n') != std::string_view::npos) refuse(k_raw_words, at);
    // In a group that #if skips, a compiler may not see the string but a directive in it.
    for (auto newline = body.find('\n'); newline != std::string_view::npos;
         newline = body.find('\n', newline + 1)) {
      const auto first = body.find_first_not_of(" \t\r\n", newline);
      if (first != std::string_view::npos && (body[first] == '#' || body.substr(first, 2) == "%:"))
        refuse(k_raw_words, at);
    }
    put('"', true);
    while (at_ + 1 < end) put(in_[at_], false);
    if (at_ < end) put('"', true);
    skip_splices();
  }

  void header_name(char close) {
    take(true);
    while (at_ < in_.size() && in_[at_] != '\n' && in_[at_] != close) take(true);
    if (at_ < in_.size() && in_[at_] == close) take(true);
  }

  void literal(char quote) {
    take(true);
    while (at_ < in_.size() && in_[at_] != quote && in_[at_] != '\n') {
      if (in_[at_] == '\\' && peek(1) != '\n') take(false);
      if (at_ < in_.size()) take(false);
    }
    if (at_ < in_.size() && in_[at_] == quote) take(true);
  }

  std::string_view in_;
  std::size_t at_ = 0;
  std::size_t line_begin_ = 0;  ///< in the code
  std::string pending_;         ///< what splices took out of the current line
  SourceText text_;
};

}  // namespace

SourceText read_source(std::string_view source) { return Reader(source).read(); }

}  // namespace kernelites::worker
