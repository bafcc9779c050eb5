// SPDX-License-Identifier: Apache-2.0
// Splits a source into declarations and follows names from `plan`.
#include "tools/exporting/plan_closure.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <vector>

#include "evaluators/worker/contract/source_text.h"

namespace kernelites {
namespace {

constexpr std::size_t k_declarations_max = 4096;
constexpr int k_nesting_max = 16;

/// A word or one character of code; `begin` and `end` are places in the source.
struct Token {
  std::string_view text;
  std::size_t begin = 0, end = 0;
};

bool is_word(std::string_view text) {
  return !text.empty() && (std::isalpha(static_cast<unsigned char>(text[0])) || text[0] == '_');
}

/// Of a piece of the source: a declaration, a preprocessor line, or the edge of a namespace or struct.
struct Piece {
  enum class Kind { declaration, directive, edge } kind = Kind::declaration;
  std::string text;
  std::set<std::string, std::less<>> declares, uses;
  bool is_taken = false;
  std::string word = {};  ///< of a directive: if, else, endif
};

const std::set<std::string_view> k_type_keywords{"struct", "class", "union", "enum"};
/// Words before a parenthesis that is not a function's.
const std::set<std::string_view> k_not_functions{
    "alignas",       "decltype",          "noexcept",  "requires", "sizeof",        "explicit",
    "static_assert", "__launch_bounds__", "__align__", "asm",      "__attribute__", "__declspec"};

class Splitter {
 public:
  explicit Splitter(std::string_view source) : source_(source), code_(worker::read_source(source).code) {}

  std::variant<std::vector<Piece>, ClosureProblem> run() {
    tokenize();
    scope(false, 0);
    if (!problem_.empty()) return ClosureProblem{problem_};
    if (at_ != tokens_.size()) return ClosureProblem{"the file has a brace too many"};
    return std::move(pieces_);
  }

 private:
  void tokenize() {
    for (std::size_t i = 0; i < code_.size();) {
      const auto c = static_cast<unsigned char>(code_[i]);
      std::size_t end = i + 1;
      if (std::isspace(c)) {
        ++i;
        continue;
      }
      const std::size_t line = code_.rfind('\n', i) == std::string::npos ? 0 : code_.rfind('\n', i) + 1;
      const bool begins_line = code_.find_first_not_of(" \t", line) == i;
      if (c == '#' && begins_line) {
        while (end < code_.size() && (code_[end] != '\n' || source_[end - 1] == '\\')) ++end;
      } else if (std::isalnum(c) || c == '_') {
        while (end < code_.size() &&
               (std::isalnum(static_cast<unsigned char>(code_[end])) || code_[end] == '_'))
          ++end;
      } else if (c == '"' || c == '\'') {
        while (end < code_.size() && code_[end] != static_cast<char>(c)) ++end;
        end = std::min(end + 1, code_.size());
      }
      tokens_.push_back({std::string_view(code_).substr(i, end - i), i, end});
      i = end;
    }
  }

  bool is_at(std::string_view text) const { return at_ < tokens_.size() && tokens_[at_].text == text; }

  void add_directive(std::size_t token) {
    const std::string_view text = tokens_[token].text;
    std::size_t word = text.find_first_not_of(" \t", 1);
    const std::size_t end =
        std::min(text.find_first_of(" \t\\", word == std::string_view::npos ? 0 : word), text.size());
    if (word == std::string_view::npos) return;
    const std::string_view name = text.substr(word, end - word);
    if (name == "include" || name == "pragma" || name == "line" || name == "error" || name == "warning")
      return;
    Piece piece{.kind = Piece::Kind::directive, .text = {}, .declares = {}, .uses = {}};
    piece.text =
        std::string(source_.substr(tokens_[token].begin, tokens_[token].end - tokens_[token].begin)) + "\n";
    if (name == "define" || name == "undef") {
      // A macro is taken where it is named, as a declaration is.
      std::size_t macro = text.find_first_not_of(" \t", end), macro_end = macro;
      while (macro_end < text.size() &&
             (std::isalnum(static_cast<unsigned char>(text[macro_end])) || text[macro_end] == '_'))
        ++macro_end;
      if (macro >= text.size()) return;
      piece.kind = Piece::Kind::declaration;
      piece.declares.emplace(text.substr(macro, macro_end - macro));
    } else {
      piece.word = name;
      piece.is_taken = true;
    }
    add_words(text, piece.uses);
    pieces_.push_back(std::move(piece));
  }

  static void add_words(std::string_view text, std::set<std::string, std::less<>>& words) {
    for (std::size_t i = 0; i < text.size();) {
      std::size_t end = i + 1;
      if (std::isalpha(static_cast<unsigned char>(text[i])) || text[i] == '_') {
        while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) || text[end] == '_'))
          ++end;
        words.emplace(text.substr(i, end - i));
      }
      i = end;
    }
  }

  void add_edge(std::string text) {
    Piece piece{.kind = Piece::Kind::edge, .text = {}, .declares = {}, .uses = {}};
    piece.text = std::move(text);
    pieces_.push_back(std::move(piece));
  }

  /// Everything up to the closing brace of a scope, or the end of the file.
  void scope(bool is_nested, int depth) {
    if (depth > k_nesting_max) problem_ = "namespaces are nested too deeply";
    while (problem_.empty() && at_ < tokens_.size() && !is_at("}")) {
      if (pieces_.size() > k_declarations_max) problem_ = "the file has too many declarations";
      if (tokens_[at_].text[0] == '#') {
        add_directive(at_++);
      } else if (is_at(";")) {
        ++at_;
      } else if (!open_scope(depth)) {
        declaration();
      }
    }
    if (is_nested && problem_.empty() && !is_at("}")) problem_ = "a brace is not closed";
  }

  /// `namespace a {` and `extern "C" {`: their content is looked at piece by piece.
  bool open_scope(int depth) {
    const std::size_t begin = at_;
    std::size_t at = at_;
    if (tokens_[at].text == "inline") ++at;
    if (at >= tokens_.size() || (tokens_[at].text != "namespace" && tokens_[at].text != "extern"))
      return false;
    const bool is_namespace = tokens_[at].text == "namespace";
    for (++at; at < tokens_.size(); ++at) {
      const std::string_view text = tokens_[at].text;
      if (text == "{") break;
      const bool belongs = is_namespace ? is_word(text) || text == ":" : text[0] == '"';
      if (!belongs) return false;
    }
    if (at >= tokens_.size()) return false;
    // C linkage is for kernels: nothing of a plan needs it.
    if (is_namespace) add_edge(text_of(begin, at + 1) + "\n");
    at_ = at + 1;
    scope(true, depth + 1);
    if (problem_.empty()) ++at_;
    if (is_namespace) add_edge("}\n");
    return true;
  }

  /// Skips to the bracket that closes the one at `at`.
  std::size_t closing(std::size_t at) const {
    int depth = 0;
    for (; at < tokens_.size(); ++at) {
      const std::string_view text = tokens_[at].text;
      if (text == "(" || text == "[" || text == "{") ++depth;
      if ((text == ")" || text == "]" || text == "}") && --depth == 0) return at;
    }
    return tokens_.size();
  }

  /// The `>` of the parameters of the `template` at `at`, whose defaults are no value of what is declared.
  std::size_t template_end(std::size_t at) const {
    int depth = 0;
    for (++at; at < tokens_.size(); ++at) {
      const std::string_view text = tokens_[at].text;
      if (text == "<") ++depth;
      if (text == ">" && --depth <= 0) return at;
      if (text == "(" || text == "[" || text == "{") at = closing(at);
    }
    return tokens_.size();
  }

  struct Shape {
    std::size_t end = 0;  ///< token behind it
    bool is_function = false, is_type = false, is_constexpr = false, is_const = false;
    std::size_t body = 0;  ///< token of the brace of a type or function; 0: none
    std::set<std::string, std::less<>> names;

    /// A constant expression could use it.
    bool is_constant() const { return is_constexpr || (is_const && !is_function); }
  };

  /// Where the declaration that begins at `at` ends, and what it is. 0: it does not end.
  Shape measure(std::size_t at) const {
    Shape shape;
    bool has_value = false;
    std::string_view before;
    for (; at < tokens_.size(); ++at) {
      const std::string_view text = tokens_[at].text;
      if (text == "template") {
        at = template_end(at);
        before = ">";
        continue;
      }
      if (text == "constexpr" || text == "consteval") shape.is_constexpr = true;
      if (text == "const" || text == "concept" || text == "using" || text == "typedef") shape.is_const = true;
      if (k_type_keywords.contains(text) && !has_value && !shape.is_function && before != "<" &&
          before != ",")
        shape.is_type = true;
      if (text == "=") has_value = true;
      if (text == ";") {
        shape.end = at + 1;
        if (is_word(before)) shape.names.emplace(before);
        return shape;
      }
      if (text == "(" || text == "[" || text == "{") {
        const bool is_call = is_word(before) && !k_not_functions.contains(before);
        if (text == "(" && is_call && !has_value && !shape.is_type && !shape.is_function) {
          shape.is_function = true;
          shape.names.emplace(before);
        }
        if (text != "(" && is_word(before)) shape.names.emplace(before);
        const std::size_t close = closing(at);
        if (close == tokens_.size()) return {};
        if (text == "{" && shape.body == 0 && !has_value) {
          shape.body = at;
          if (shape.is_function) {
            shape.end = close + 1;
            return shape;
          }
        }
        at = close;
        before = tokens_[at].text;
        continue;
      }
      if ((text == "=" || text == "," || text == ":" || text == "<") && is_word(before))
        shape.names.emplace(before);
      before = text;
    }
    return {};
  }

  void declaration() {
    const Shape shape = measure(at_);
    if (shape.end == 0) {
      problem_ = "a declaration does not end";
      return;
    }
    const std::size_t begin = at_;
    at_ = shape.end;
    // What is neither a type nor constant is nothing that a constant expression can use.
    if ((!shape.is_type || shape.is_function) && !shape.is_constant()) return;
    if (tokens_[begin].text == "static_assert") return;
    Piece piece{.kind = Piece::Kind::declaration, .text = {}, .declares = shape.names, .uses = {}};
    if (shape.is_type && !shape.is_function && shape.body != 0) {
      piece.text = type_text(begin, shape, piece);
    } else {
      piece.text = constant_text(begin, shape.end) + "\n";
    }
    add_words(piece.text, piece.uses);
    pieces_.push_back(std::move(piece));
  }

  std::string text_of(std::size_t begin, std::size_t end) const {
    return std::string(source_.substr(tokens_[begin].begin, tokens_[end - 1].end - tokens_[begin].begin));
  }

  /// The same, where a variable is constexpr: `const` alone would let its initialiser run when a program is loaded.
  std::string constant_text(std::size_t begin, std::size_t end) const {
    static const std::set<std::string_view> k_others{"constexpr", "consteval", "using", "typedef", "concept"};
    std::size_t first = end;
    for (std::size_t at = tokens_[begin].text == "template" ? template_end(begin) : begin; at < end; ++at) {
      const std::string_view text = tokens_[at].text;
      if (k_others.contains(text)) return text_of(begin, end);
      if (text == "const" && first == end) first = at;
      if (text == "=" || text == "(" || text == "{") break;
    }
    if (first == end) return text_of(begin, end);
    return (first > begin ? text_of(begin, first) : "") + " constexpr " + text_of(first, end);
  }

  /// A type without the member functions that are not constexpr.
  std::string type_text(std::size_t begin, const Shape& shape, Piece& piece) const {
    const std::size_t close = closing(shape.body);
    bool is_enum = false;
    for (std::size_t i = begin; i < shape.body; ++i) is_enum = is_enum || tokens_[i].text == "enum";
    if (is_enum) {
      for (std::size_t i = shape.body; i < close; ++i)
        if (is_word(tokens_[i].text)) piece.declares.emplace(tokens_[i].text);
      return text_of(begin, shape.end) + "\n";
    }
    std::string text = text_of(begin, shape.body + 1) + "\n";
    for (std::size_t at = shape.body + 1; at < close;) {
      if (tokens_[at].text[0] == '#') {
        text += std::string(source_.substr(tokens_[at].begin, tokens_[at].end - tokens_[at].begin)) + "\n";
        ++at;
        continue;
      }
      const bool is_label =
          at + 1 < close && tokens_[at + 1].text == ":" &&
          (tokens_[at].text == "public" || tokens_[at].text == "private" || tokens_[at].text == "protected");
      if (is_label) {
        text += text_of(at, at + 2) + "\n";
        at += 2;
        continue;
      }
      const Shape member = measure(at);
      if (member.end == 0 || member.end > close) return text_of(begin, shape.end) + "\n";
      const bool is_variable = !member.is_function && tokens_[at].text == "static";
      if (!member.is_function || member.is_constant())
        text += (is_variable ? constant_text(at, member.end) : text_of(at, member.end)) + "\n";
      at = member.end;
    }
    return text + text_of(close, shape.end) + "\n";
  }

  const std::string_view source_;
  const std::string code_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  std::vector<Piece> pieces_;
  std::string problem_;
};

/// Takes `plan` and what it reaches. False if there is no `plan`.
bool follow(std::vector<Piece>& pieces) {
  std::vector<std::string> wanted{"plan"};
  std::set<std::string, std::less<>> seen{"plan"};
  bool has_plan = false;
  const auto want = [&](const Piece& piece) {
    for (const std::string& word : piece.uses)
      if (seen.insert(word).second) wanted.push_back(word);
  };
  for (const Piece& piece : pieces)
    if (piece.kind == Piece::Kind::directive) want(piece);
  while (!wanted.empty()) {
    const std::string word = std::move(wanted.back());
    wanted.pop_back();
    for (Piece& piece : pieces) {
      if (piece.kind != Piece::Kind::declaration || piece.is_taken || !piece.declares.contains(word))
        continue;
      piece.is_taken = true;
      has_plan = has_plan || word == "plan";
      want(piece);
    }
  }
  return has_plan;
}

/// Conditions around nothing that was taken (kernels, say) stay behind.
void drop_empty_conditions(std::vector<Piece>& pieces) {
  struct Group {
    std::vector<Piece*> lines;
    bool is_needed = false;
  };
  std::vector<Group> open;
  for (Piece& piece : pieces) {
    if (piece.kind != Piece::Kind::directive) {
      if (!open.empty() && (piece.is_taken || piece.kind == Piece::Kind::edge)) open.back().is_needed = true;
      continue;
    }
    if (piece.word.starts_with("if")) open.emplace_back();
    if (open.empty()) continue;
    open.back().lines.push_back(&piece);
    if (piece.word != "endif") continue;
    const Group group = std::move(open.back());
    open.pop_back();
    if (group.is_needed && !open.empty()) open.back().is_needed = true;
    for (Piece* line : group.lines) line->is_taken = group.is_needed;
  }
}

}  // namespace

std::variant<std::string, ClosureProblem> plan_closure(std::string_view source) {
  auto split = Splitter(source).run();
  if (auto* problem = std::get_if<ClosureProblem>(&split)) return *problem;
  auto& pieces = std::get<std::vector<Piece>>(split);
  if (!follow(pieces)) return ClosureProblem{"the source has no constexpr function plan"};
  drop_empty_conditions(pieces);
  std::string text;
  for (const Piece& piece : pieces)
    if (piece.kind == Piece::Kind::edge || piece.is_taken) text += piece.text;
  return text;
}

}  // namespace kernelites
