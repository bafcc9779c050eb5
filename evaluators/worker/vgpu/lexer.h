// SPDX-License-Identifier: Apache-2.0
// PTX text to tokens. An opcode with its modifiers ("ld.global.nc.L1::no_allocate.v4.u32") is one word token.
#pragma once

#include <string>
#include <string_view>

#include "evaluators/worker/vgpu/types.h"

namespace kernelites::worker::vgpu {

struct Token {
  enum class Kind { end, word, number, string, punctuation };
  Kind kind = Kind::end;
  std::string_view text;   ///< a slice of the source
  u64 value = 0;           ///< bits of a number
  bool is_float = false;   ///< 0f..., 0d... and decimal fractions
  bool is_double = false;  ///< `value` holds the bits of a double
  int line = 0;            ///< line of the PTX

  bool is(std::string_view what) const { return kind != Kind::string && text == what; }
};

/// Yields tokens of `source`, which must outlive the lexer and its tokens.
class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) { advance(); }

  const Token& peek() const { return token_; }
  Token next();
  /// Consumes the token if it reads `text`.
  bool accept(std::string_view text);
  /// Consumes the token or throws Error naming the PTX line.
  void expect(std::string_view text);
  /// Throws Error: "line N of the PTX: ...".
  [[noreturn]] void fail(std::string_view problem) const;
  /// Everything up to (not including) the end of the current line, as text; used for .loc and .file.
  std::string_view rest_of_line();
  /// Position of the current token in the source.
  std::size_t position() const { return begin_; }
  std::string_view source() const { return source_; }

 private:
  void skip_blanks();
  void advance();
  void read_number();
  void read_word();

  std::string_view source_;
  std::size_t at_ = 0;
  std::size_t begin_ = 0;
  int line_ = 1;
  Token token_;
};

}  // namespace kernelites::worker::vgpu
