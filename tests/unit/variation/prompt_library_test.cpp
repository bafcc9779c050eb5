// SPDX-License-Identifier: Apache-2.0
// Prompt files: placeholders are listed, used and filled, or start-up fails.
#include "engine/variation/prompt_library.h"

#include <filesystem>
#include <fstream>

#include "engine/core/error.h"
#include "engine/variation/prompt_values.h"
#include "tests/support/catch.h"

using namespace kernelites;
using Catch::Contains;
namespace fs = std::filesystem;

namespace {

std::string problem_of(const std::string& text) {
  try {
    parse_prompt(text, "x.md");
    return "";
  } catch (const ConfigError& error) {
    return error.what();
  }
}

/// A copy of the repository's prompts in which one file is `text`.
std::string problem_with(const std::string& file, const std::string& text) {
  const fs::path folder = fs::temp_directory_path() / "kernelites_prompt_test";
  fs::remove_all(folder);
  fs::copy(fs::path(KERNELITES_SOURCE_DIR) / "prompts", folder, fs::copy_options::recursive);
  std::ofstream(folder / file) << text;
  try {
    PromptLibrary::load(folder);
    return "";
  } catch (const ConfigError& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("placeholders are filled and values are not scanned again") {
  CHECK(fill_placeholders("a {{x}} b {{y}}{{x}}", {{"x", "{{y}}"}, {"y", "2"}}) == "a {{y}} b 2{{y}}");
}

TEST_CASE("double braces of code are no placeholders") {
  CHECK(placeholders_in("int a[1][2] = {{1, 2}}; {{ x }} {{X}} {{}} {{{ok}}}") ==
        std::set<std::string>{"ok"});
  CHECK(fill_placeholders("{{1, 2}} {{", {}) == "{{1, 2}} {{");
}

TEST_CASE("a prompt file states name, parents, reply format and placeholders") {
  const PromptFile prompt = parse_prompt(
      "---\nname: x\nparents: 1\nreply: file_or_edits\nplaceholders: task\n---\nDo {{task}}.\n", "x.md");
  CHECK(prompt.name == "x");
  CHECK(prompt.parents == 1);
  CHECK(prompt.reply == ReplyFormat::file_or_edits);
  CHECK(prompt.text == "Do {{task}}.\n");
}

TEST_CASE("a malformed prompt file is an error that names file and field") {
  const std::pair<std::string, std::string> rows[] = {
      {"text", "---"},
      {"---\nname: x\n", "second line ---"},
      {"---\nname: x\ncolour: red\n---\ntext\n", "colour"},
      {"---\nname: x\nparents: many\n---\ntext\n", "parents"},
      {"---\nname: x\nreply: poem\n---\ntext\n", "file_or_edits"},
      {"---\nplaceholders:\n---\ntext\n", "name"},
      {"---\nname: x\nplaceholders:\n---\n{{task}}\n", "task"},
      {"---\nname: x\nplaceholders: task\n---\ntext\n", "task"},
      {"---\nname: x\n---\n\n", "no text"},
  };
  for (const auto& [text, word] : rows) {
    INFO(text);
    CHECK_THAT(problem_of(text), Catch::Contains("x.md") && Catch::Contains(word));
  }
}

TEST_CASE("the repository's prompts load") {
  const PromptLibrary library = PromptLibrary::load(fs::path(KERNELITES_SOURCE_DIR) / "prompts");
  CHECK(library.digest().size() == 64);
  CHECK(library.file("operators/refine").parents == 1);
}

TEST_CASE("a placeholder that nothing fills stops the start") {
  CHECK_THAT(problem_with("system.md", "---\nname: system\nplaceholders: weather\n---\nIt is {{weather}}.\n"),
             Catch::Contains("weather") && Catch::Contains("system.md"));
}

TEST_CASE("a prompt file under another name stops the start") {
  CHECK_THAT(problem_with("system.md", "---\nname: other\n---\ntext\n"), Catch::Contains("file's name"));
}

TEST_CASE("the digest changes with any prompt text") {
  const fs::path folder = fs::temp_directory_path() / "kernelites_prompt_digest";
  fs::remove_all(folder);
  fs::copy(fs::path(KERNELITES_SOURCE_DIR) / "prompts", folder, fs::copy_options::recursive);
  const std::string before = PromptLibrary::load(folder).digest();
  std::ofstream(folder / "system.md", std::ios::app) << "More.\n";
  CHECK(PromptLibrary::load(folder).digest() != before);
}

TEST_CASE("a missing folder is a configuration error") {
  CHECK_THROWS_AS(PromptLibrary::load("/no/such/folder"), ConfigError);
}

TEST_CASE("a label of the grid without words about how it is measured stops the start") {
  const fs::path folder = fs::temp_directory_path() / "kernelites_label_test";
  fs::remove_all(folder);
  fs::copy(fs::path(KERNELITES_SOURCE_DIR) / "prompts", folder, fs::copy_options::recursive);
  fs::remove(folder / "labels" / "movement_tma.md");
  CHECK_THROWS_WITH(PromptLibrary::load(folder),
                    Contains("labels/movement_tma.md") && Contains("is missing"));
}

TEST_CASE("words about labels change the version of the operator that shows them, and of no other") {
  const fs::path folder = fs::temp_directory_path() / "kernelites_version_test";
  fs::remove_all(folder);
  fs::copy(fs::path(KERNELITES_SOURCE_DIR) / "prompts", folder, fs::copy_options::recursive);
  const PromptLibrary before = PromptLibrary::load(folder);
  std::ofstream(folder / "labels" / "movement_tma.md", std::ios::app) << "More words.\n";
  const PromptLibrary after = PromptLibrary::load(folder);
  CHECK(before.version("refine") == after.version("refine"));
  CHECK(before.version("target") != after.version("target"));
}
