// SPDX-License-Identifier: Apache-2.0
// The lexer: one token of look-ahead over the PTX text.
#include "evaluators/worker/vgpu/lexer.h"

#include <charconv>
#include <cstdlib>

#include <fmt/core.h>

#include "engine/core/error.h"

namespace kernelites::worker::vgpu {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_word_start(char c) { return is_letter(c) || c == '_' || c == '$' || c == '%' || c == '.'; }
bool is_word_part(char c) { return is_word_start(c) || is_digit(c); }

}  // namespace

Token Lexer::next() {
  Token token = token_;
  advance();
  return token;
}

bool Lexer::accept(std::string_view text) {
  if (!token_.is(text)) return false;
  advance();
  return true;
}

void Lexer::expect(std::string_view text) {
  if (!accept(text)) fail(fmt::format("expected '{}', found '{}'", text, token_.text.substr(0, 40)));
}

void Lexer::fail(std::string_view problem) const {
  throw Error(fmt::format("line {} of the PTX: {}", token_.line, problem));
}

std::string_view Lexer::rest_of_line() {
  if (token_.kind == Token::Kind::end || token_.line != line_) return {};
  std::size_t end = source_.find('\n', begin_);
  if (end == std::string_view::npos) end = source_.size();
  const std::string_view rest = source_.substr(begin_, end - begin_);
  at_ = end;
  advance();
  return rest;
}

void Lexer::skip_blanks() {
  while (at_ < source_.size()) {
    const char c = source_[at_];
    const std::string_view two = source_.substr(at_, 2);
    if (c == '\n') {
      ++line_;
      ++at_;
    } else if (c == ' ' || c == '\t' || c == '\r' || c == '\0') {
      ++at_;
    } else if (two == "//") {
      while (at_ < source_.size() && source_[at_] != '\n') ++at_;
    } else if (two == "/*") {
      const std::size_t end = std::min(source_.find("*/", at_ + 2), source_.size());
      for (; at_ < end; ++at_) line_ += source_[at_] == '\n';
      at_ = std::min(at_ + 2, source_.size());
    } else {
      return;
    }
  }
}

void Lexer::advance() {
  skip_blanks();
  token_ = Token{};
  token_.line = line_;
  begin_ = at_;
  if (at_ >= source_.size()) return;
  const char c = source_[at_];
  if (is_digit(c)) {
    read_number();
  } else if (is_word_start(c)) {
    read_word();
  } else if (c == '"') {
    // PTX has no escapes: a string ends at the next quote.
    const std::size_t end = std::min(source_.find('"', at_ + 1), source_.size());
    token_.kind = Token::Kind::string;
    token_.text = source_.substr(at_ + 1, end - at_ - 1);
    for (const char in_text : token_.text) line_ += in_text == '\n';
    at_ = std::min(end + 1, source_.size());
  } else {
    token_.kind = Token::Kind::punctuation;
    token_.text = source_.substr(at_, 1);
    ++at_;
  }
}

void Lexer::read_word() {
  while (at_ < source_.size()) {
    if (is_word_part(source_[at_])) {
      ++at_;
    } else if (source_.substr(at_, 2) == "::" && at_ + 2 < source_.size() && is_word_part(source_[at_ + 2])) {
      at_ += 2;
    } else {
      break;
    }
  }
  token_.kind = Token::Kind::word;
  token_.text = source_.substr(begin_, at_ - begin_);
}

void Lexer::read_number() {
  while (at_ < source_.size() && (is_digit(source_[at_]) || is_letter(source_[at_]) || source_[at_] == '.'))
    ++at_;
  token_.kind = Token::Kind::number;
  token_.text = source_.substr(begin_, at_ - begin_);
  const std::string text(token_.text);
  const char second = text.size() > 1 ? text[1] : '0';
  if (second == 'f' || second == 'F' || second == 'd' || second == 'D') {
    token_.is_float = true;
    token_.is_double = second == 'd' || second == 'D';
    token_.value = std::strtoull(text.c_str() + 2, nullptr, 16);
  } else if (text.find('.') != std::string::npos) {
    token_.is_float = token_.is_double = true;
    token_.value = bits_as<u64>(std::strtod(text.c_str(), nullptr));
  } else if (second == 'b' || second == 'B') {
    token_.value = std::strtoull(text.c_str() + 2, nullptr, 2);
  } else {
    token_.value = std::strtoull(text.c_str(), nullptr, 0);  // decimal, 0x, octal; a trailing U ends it
  }
}

}  // namespace kernelites::worker::vgpu
