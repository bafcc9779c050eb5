// SPDX-License-Identifier: Apache-2.0
// One scanner, one table of names.
#include "engine/variation/source_disguise.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "engine/variation/known_names.h"

namespace kernelites {
namespace {

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_part(char c) { return is_name_start(c) || is_digit(c); }

/// What the name of a template's instance may hold beside names: "kernel<float, true>".
bool is_template_argument(std::string_view word) {
  for (const char* known : {"true", "false", "float", "double", "int", "half", "__half", "__nv_bfloat16"}) {
    if (word == known) return true;
  }
  return false;
}

class Disguise {
 public:
  Disguise(std::string_view source, const std::set<std::string, std::less<>>& kept)
      : text_(source), kept_(kept) {}

  std::string run() {
    while (at_ < text_.size()) step();
    return std::move(out_);
  }

 private:
  char ahead(std::size_t by = 0) const { return at_ + by < text_.size() ? text_[at_ + by] : '\0'; }
  void copy(std::size_t count) {
    out_ += text_.substr(at_, count);
    at_ += count;
  }

  void step() {
    const char c = ahead();
    if (c == '/' && ahead(1) == '/') return line_comment();
    if (c == '/' && ahead(1) == '*') return block_comment();
    if (c == '"' || c == '\'') return quoted(c);
    if (is_digit(c) || (c == '.' && is_digit(ahead(1)))) return number();
    if (is_name_start(c)) return name();
    if (c == '<' && is_include_) {
      const std::size_t end = std::min(text_.find_first_of(">\n", at_), text_.size() - 1);
      return copy(end - at_ + 1);
    }
    if (c == '\n' && (at_ == 0 || text_[at_ - 1] != '\\')) is_include_ = false;
    if (c == ';' || c == '{' || c == '}') is_assembly_ = false;
    if (!is_space(c)) before_ = c;
    copy(1);
  }

  static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

  /// Newlines stay, so that lines keep their numbers.
  void drop(std::size_t end) {
    out_ += ' ';
    for (; at_ < end; ++at_) {
      if (text_[at_] == '\n') out_ += '\n';
    }
  }

  void line_comment() {
    std::size_t end = at_;
    while (end < text_.size() && text_[end] != '\n')
      end += text_[end] == '\\' && end + 1 < text_.size() ? 2 : 1;
    drop(std::min(end, text_.size()));
  }

  void block_comment() {
    const std::size_t end = text_.find("*/", at_ + 2);
    drop(end == std::string_view::npos ? text_.size() : end + 2);
  }

  /// pp-number: digits, names, points, signs behind an exponent, and separators.
  void number() {
    std::size_t end = at_ + 1;
    while (end < text_.size()) {
      const char c = text_[end], last = text_[end - 1];
      const bool is_sign =
          (c == '+' || c == '-') && (last == 'e' || last == 'E' || last == 'p' || last == 'P');
      const bool is_separator = c == '\'' && end + 1 < text_.size() && is_name_part(text_[end + 1]);
      if (!is_name_part(c) && c != '.' && !is_sign && !is_separator) break;
      ++end;
    }
    before_ = '0';
    copy(end - at_);
  }

  void name() {
    std::size_t end = at_;
    while (end < text_.size() && is_name_part(text_[end])) ++end;
    const std::string_view word = text_.substr(at_, end - at_);
    if (end < text_.size() && text_[end] == '"' && !word.empty() && word.back() == 'R' &&
        is_prefix(word.substr(0, word.size() - 1)))
      return raw_string(end);
    if (end < text_.size() && (text_[end] == '"' || text_[end] == '\'') && is_prefix(word))
      return copy(end - at_);
    if (word == "include") is_include_ = true;
    if (word == "asm" || word == "__asm__" || word == "__asm") is_assembly_ = true;
    // A name that stood alone before is the candidate's own, whatever it is put into.
    const bool is_member = before_ == ':' && is_behind_kept_scope() && !names_.contains(word);
    last_is_kept_ = is_known(word) || is_member;
    out_ += last_is_kept_ ? std::string(word) : renamed(word);
    before_ = 'a';
    at_ = end;
  }

  static bool is_prefix(std::string_view word) {
    return word.empty() || word == "u8" || word == "u" || word == "U" || word == "L";
  }

  /// "std::" and the like: what stands before the two colons kept its name.
  bool is_behind_kept_scope() const { return out_.size() >= 2 && out_.ends_with("::") && last_is_kept_; }

  bool is_known(std::string_view word) const { return kept_.contains(word) || is_known_name(word); }

  std::string renamed(std::string_view word) {
    const auto [found, is_new] = names_.try_emplace(std::string(word), names_.size() + 1);
    return fmt::format("v{}", found->second);
  }

  void raw_string(std::size_t quote) {
    const std::size_t open = text_.find('(', quote);
    if (open == std::string_view::npos) return copy(text_.size() - at_);
    const std::string end = ")" + std::string(text_.substr(quote + 1, open - quote - 1)) + "\"";
    const std::size_t close = std::min(text_.find(end, open), text_.size());
    out_ += "R\"(" + words(text_.substr(open + 1, close - open - 1)) + ")\"";
    at_ = std::min(close + end.size(), text_.size());
    before_ = '"';
  }

  void quoted(char quote) {
    std::size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote && text_[end] != '\n')
      end += text_[end] == '\\' && end + 1 < text_.size() ? 2 : 1;
    end = std::min(end, text_.size());
    out_ += quote;
    const std::string_view content = text_.substr(at_ + 1, end - at_ - 1);
    out_ += quote == '"' ? words(content) : std::string(content);
    at_ = end;
    if (ahead() == quote) copy(1);
    before_ = quote;
  }

  /// The content of a string: assembly without its comments, or names as they are called now.
  std::string words(std::string_view content) {
    std::string result;
    for (std::size_t i = 0; i < content.size();) {
      if (is_assembly_ && content.substr(i, 2) == "//") {
        const std::size_t end = std::min({content.find('\n', i), content.find("\\n", i), content.size()});
        i = end;
        continue;
      }
      if (is_assembly_ && content.substr(i, 2) == "/*") {
        const std::size_t end = content.find("*/", i + 2);
        i = end == std::string_view::npos ? content.size() : end + 2;
        continue;
      }
      if (content[i] == '\\' && i + 1 < content.size()) {
        result += content.substr(i, 2);
        i += 2;
        continue;
      }
      std::size_t end = i;
      while (end < content.size() && is_name_part(content[end])) ++end;
      if (end == i || is_digit(content[i]) || is_assembly_) {
        const std::size_t count = std::max<std::size_t>(end - i, 1);
        result += content.substr(i, count);
        i += count;
        continue;
      }
      const std::string_view word = content.substr(i, end - i);
      const auto found = names_.find(word);
      result += found != names_.end()        ? fmt::format("v{}", found->second)
                : is_template_argument(word) ? std::string(word)
                                             : "text";
      i = end;
    }
    return result;
  }

  std::string_view text_;
  const std::set<std::string, std::less<>>& kept_;
  std::size_t at_ = 0;
  std::string out_;
  std::map<std::string, std::size_t, std::less<>> names_;
  char before_ = '\0';  ///< the last character that was no space; a letter stands for a name
  bool is_include_ = false, is_assembly_ = false, last_is_kept_ = false;
};

}  // namespace

std::string disguised_source(std::string_view source, const std::set<std::string, std::less<>>& kept) {
  return Disguise(source, kept).run();
}

}  // namespace kernelites
