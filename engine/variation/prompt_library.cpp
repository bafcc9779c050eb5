// SPDX-License-Identifier: Apache-2.0
// All text a model sees: the files under prompts/, read and checked at start-up.
#include "engine/variation/prompt_library.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>

#include "engine/core/axes.h"
#include "engine/core/digest.h"
#include "engine/core/error.h"
#include "engine/core/json.h"
#include "engine/variation/agent_tools.h"
#include "engine/variation/operator_table.h"
#include "engine/variation/prompt_values.h"
#include "engine/variation/text_rules.h"

namespace kernelites {
namespace {

namespace fs = std::filesystem;

void read_header_line(std::string_view line, const std::string& where, PromptFile& prompt) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) throw ConfigError(where, "header", "expected lines \"key: value\"");
  const std::string key(line.substr(0, colon));
  const std::string value = single_line(line.substr(colon + 1), 4096);
  if (key == "name") {
    prompt.name = value;
  } else if (key == "parents") {
    const auto end = std::from_chars(value.data(), value.data() + value.size(), prompt.parents);
    if (end.ec != std::errc{} || end.ptr != value.data() + value.size() || prompt.parents < 0 ||
        prompt.parents > 8)
      throw ConfigError(where, key, "expected a number from 0 to 8");
  } else if (key == "reply") {
    static constexpr std::array<std::pair<std::string_view, ReplyFormat>, 5> k_formats{
        {{"file_or_edits", ReplyFormat::file_or_edits},
         {"edits", ReplyFormat::edits},
         {"json", ReplyFormat::json},
         {"tools", ReplyFormat::tools},
         {"regions", ReplyFormat::regions}}};
    for (const auto& [name, format] : k_formats)
      if (value == name) prompt.reply = format;
    if (prompt.reply == ReplyFormat::none)
      throw ConfigError(where, key, "expected file_or_edits, edits, json, tools or regions");
  } else if (key == "placeholders") {
    std::istringstream words(value);
    for (std::string word; words >> word;) prompt.placeholders.insert(word);
  } else {
    throw ConfigError(where, key, "unknown key; known are name, parents, reply, placeholders");
  }
}

void check_placeholders(const PromptFile& prompt, const std::string& where) {
  const std::set<std::string> used = placeholders_in(prompt.text);
  for (const std::string& name : used)
    if (prompt.placeholders.count(name) == 0)
      throw ConfigError(where, "placeholders",
                        fmt::format("the text uses {{{{{}}}}}, which is not listed", name));
  for (const std::string& name : prompt.placeholders)
    if (used.count(name) == 0)
      throw ConfigError(where, "placeholders",
                        fmt::format("{} is listed but the text does not use it", name));
}

void check_filled(const PromptFile& prompt, const std::set<std::string>& filled, const std::string& where) {
  for (const std::string& name : prompt.placeholders)
    if (filled.count(name) == 0)
      throw ConfigError(
          where, "placeholders",
          fmt::format("nothing fills {{{{{}}}}} here; filled are {}", name, fmt::join(filled, ", ")));
}

/// Files that only some operators show: those of tools, and those with this placeholder.
constexpr std::array<std::pair<std::string_view, std::string_view>, 4> k_special_files{
    {{"labels/", "target"},
     {"parts/target", "target"},
     {"parts/workload", "workload"},
     {"parts/reply_regions", "reply_regions"}}};

/// Whether a call of the operator whose file is `own` can show the text of the file `name`, besides its own.
bool can_show(const PromptFile& own, const std::string& name) {
  if (name.starts_with("operators/")) return false;
  if (name.starts_with("tools/") || name.starts_with("playbook/")) return own.reply == ReplyFormat::tools;
  for (const auto& [prefix, placeholder] : k_special_files)
    if (name.starts_with(prefix)) return own.placeholders.contains(std::string(placeholder));
  return true;
}

/// "", "parts/", ..., and a folder for each architecture of the playbook; those that are there.
std::vector<std::string> prompt_folders(const fs::path& folder) {
  std::vector<std::string> prefixes{""};
  for (const char* name : {"parts/", "operators/", "labels/", "exchange/", "tools/"})
    if (fs::is_directory(folder / name)) prefixes.emplace_back(name);
  if (fs::is_directory(folder / "playbook"))
    for (const fs::directory_entry& entry : fs::directory_iterator(folder / "playbook"))
      if (entry.is_directory()) prefixes.push_back("playbook/" + entry.path().filename().string() + "/");
  return prefixes;
}

}  // namespace

PromptFile parse_prompt(std::string_view text, const std::string& where) {
  const std::string clean = with_unix_newlines(text);
  const std::vector<std::string_view> lines = split_lines(clean);
  if (lines.empty() || lines[0] != "---") throw ConfigError(where, "header", "expected a first line ---");
  PromptFile prompt;
  std::size_t at = 1;
  for (; at < lines.size() && lines[at] != "---"; ++at) read_header_line(lines[at], where, prompt);
  if (at == lines.size()) throw ConfigError(where, "header", "expected a second line ---");
  std::string body;
  for (++at; at < lines.size(); ++at) body.append(lines[at]).append("\n");
  prompt.pieces = cut_at_markers(body, where);
  prompt.text = joined(prompt.pieces);
  if (prompt.name.empty()) throw ConfigError(where, "name", "is missing");
  if (prompt.text.find_first_not_of(" \n\t") == std::string::npos)
    throw ConfigError(where, "", "has no text");
  check_placeholders(prompt, where);
  return prompt;
}

PromptLibrary PromptLibrary::load(const fs::path& folder) {
  if (!fs::is_directory(folder)) throw ConfigError(folder.string(), "", "the prompt folder does not exist");
  PromptLibrary library;
  for (const std::string& prefix : prompt_folders(folder))
    for (const fs::directory_entry& entry : fs::directory_iterator(folder / prefix)) {
      if (!entry.is_regular_file() || entry.path().extension() != ".md") continue;
      PromptFile prompt = parse_prompt(read_text(entry.path()), entry.path().string());
      if (prompt.name != entry.path().stem().string())
        throw ConfigError(entry.path().string(), "name", "must be the file's name without .md");
      library.files_.emplace(prefix + prompt.name, std::move(prompt));
    }
  std::string all;
  for (const auto& [name, prompt] : library.files_) all += digest_parts({name, prompt.text});
  library.digest_ = kernelites::digest(all);

  std::vector<PromptUse> uses = prompt_uses();
  for (const OperatorRow& row : operator_table())
    if (row.needs_model) uses.push_back({"operators/" + std::string(row.name), operator_placeholders()});
  for (const Axis& axis : axis_table())
    for (const std::string_view label : axis.labels) uses.push_back({label_prompt(axis.name, label), {}});
  for (const AgentTool& tool : agent_tools()) uses.push_back({"tools/" + std::string(tool.name), {}});
  for (const PromptUse& use : uses) {
    const auto file = library.files_.find(use.name);
    if (file == library.files_.end())
      throw ConfigError((folder / (use.name + ".md")).string(), "", "the prompt file is missing");
    check_filled(file->second, use.filled, (folder / (use.name + ".md")).string());
  }
  return library;
}

PromptLibrary PromptLibrary::with_regions(const std::string& operator_name,
                                          const PromptRegions& regions) const {
  PromptLibrary library = *this;
  const auto found = library.files_.find("operators/" + operator_name);
  KERNELITES_ASSERT(found != library.files_.end());
  for (PromptPiece& piece : found->second.pieces)
    if (const auto text = regions.find(piece.region); !piece.region.empty() && text != regions.end())
      piece.text = text->second;
  found->second.text = joined(found->second.pieces);
  KERNELITES_ASSERT(placeholders_in(found->second.text) == found->second.placeholders);
  return library;
}

std::vector<std::string> PromptLibrary::evolvable() const {
  std::vector<std::string> names;
  for (const std::string& name : names_under("operators/"))
    if (!regions_of(file(name).pieces).empty()) names.push_back(name.substr(10));
  return names;
}

const PromptFile& PromptLibrary::file(const std::string& name) const {
  const auto found = files_.find(name);
  KERNELITES_ASSERT(found != files_.end());
  return found->second;
}

std::string label_prompt(std::string_view axis, std::string_view label) {
  return fmt::format("labels/{}_{}", axis, label);
}

std::string PromptLibrary::render(const std::string& name, const PromptValues& values) const {
  return fill_placeholders(file(name).text, values);
}

std::vector<std::string> PromptLibrary::names() const {
  std::vector<std::string> names;
  for (const auto& [name, prompt] : files_) names.push_back(name);
  return names;
}

std::vector<std::string> PromptLibrary::names_under(const std::string& prefix) const {
  std::vector<std::string> names;
  for (auto file = files_.lower_bound(prefix); file != files_.end() && file->first.starts_with(prefix);
       ++file)
    names.push_back(file->first);
  return names;
}

std::string PromptLibrary::version(const std::string& operator_name) const {
  const auto own = files_.find("operators/" + operator_name);
  if (own == files_.end()) return "";  // a model-free operator
  std::string all = digest_parts({own->first, own->second.text});
  for (const auto& [name, prompt] : files_)
    if (can_show(own->second, name)) all += digest_parts({name, prompt.text});
  return kernelites::digest(all).substr(0, 12);
}

}  // namespace kernelites
