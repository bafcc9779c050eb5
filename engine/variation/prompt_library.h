// SPDX-License-Identifier: Apache-2.0
// All text a model sees: the files under prompts/, read and checked at start-up.
//
// A prompt file is Markdown below a small header between two lines "---":
//   name: refine                        the file's own name, without .md
//   parents: 1                          parents the operator needs (operators only)
//   reply: file_or_edits                what is asked for (operators only): file_or_edits, edits, json, tools, regions
//   placeholders: task parent ...       every {{placeholder}} of the text, no more and no fewer
// An operator's text may have marked regions that evolve (prompt_regions.h); the markers are no part of the text.
// An unknown header key, a placeholder that is not listed, and one that the program does not fill are errors.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/variation/prompt_regions.h"
#include "engine/variation/prompt_template.h"

namespace kernelites {

/// How the reply to an operator's prompt is read.
enum class ReplyFormat { none, file_or_edits, edits, json, tools, regions };

/// One prompt file.
struct PromptFile {
  std::string name;
  int parents = 0;
  ReplyFormat reply = ReplyFormat::none;
  std::set<std::string> placeholders;
  std::string text;
  std::vector<PromptPiece> pieces = {};  ///< `text`, cut at its markers
};

/// Parses one file's text. Throws ConfigError naming `where`.
PromptFile parse_prompt(std::string_view text, const std::string& where);

/// The file that says what a label of an axis means as measured: "labels/movement_tma".
std::string label_prompt(std::string_view axis, std::string_view label);

/// The prompt files of one folder. Immutable after loading.
class PromptLibrary {
 public:
  /// Reads `<folder>/*.md` and those of the folders parts, operators, labels, exchange, tools and playbook/<arch>, and
  /// checks that each file that the program renders (prompt_values.h), each operator of the table and each label of
  /// the axes exists and has only placeholders that the program fills. Throws ConfigError.
  static PromptLibrary load(const std::filesystem::path& folder);

  /// The library with other texts in the regions of the operator's file; regions that are not named stay. REQUIRES: the
  /// file has the regions, and the texts came through `read_regions`.
  PromptLibrary with_regions(const std::string& operator_name, const PromptRegions& regions) const;
  /// Operators whose files have regions, sorted.
  std::vector<std::string> evolvable() const;

  /// By name: "system", "parts/task", "operators/refine", "playbook/sm_90/sm90_1_mapping". REQUIRES: the file exists.
  const PromptFile& file(const std::string& name) const;
  bool has(const std::string& name) const { return files_.contains(name); }
  /// The file's text, filled. REQUIRES: `values` fills all its placeholders.
  std::string render(const std::string& name, const PromptValues& values) const;
  std::vector<std::string> names() const;
  /// Names that begin with `prefix`, sorted.
  std::vector<std::string> names_under(const std::string& prefix) const;
  /// Twelve digits that change with every text that an operator's calls can show: the arm's prompt version.
  std::string version(const std::string& operator_name) const;
  /// Digest over all files: recorded with the run.
  const std::string& digest() const { return digest_; }

 private:
  std::map<std::string, PromptFile> files_;
  std::string digest_;
};

}  // namespace kernelites
