// SPDX-License-Identifier: Apache-2.0
// Controls are edits of a seed: the mistake, and nothing else, differs from an honest kernel.
#include "engine/core/negative_control.h"

#include <fmt/format.h>

#include "engine/core/identifier.h"
#include "engine/core/json.h"

namespace kernelites {
namespace {

using Edit = std::pair<std::string, std::string>;

std::string edited(std::string source, const std::vector<Edit>& edits, ObjectReader& reader) {
  if (edits.empty()) reader.fail("edits", "expected at least one [text, replacement]");
  for (const auto& [text, replacement] : edits) {
    const std::size_t at = source.find(text);
    if (text.empty() || at == std::string::npos || source.find(text, at + 1) != std::string::npos)
      reader.fail("edits", fmt::format("\"{}\" does not occur exactly once in the seed", text));
    source.replace(at, text.size(), replacement);
  }
  return source;
}

std::filesystem::path file_in(const std::filesystem::path& folder, ObjectReader& reader, const char* key) {
  const auto name = reader.required<std::string>(key);
  if (name.empty() || name.find('/') != std::string::npos)
    reader.fail(key, "expected a file name without a folder");
  return folder / name;
}

NegativeControl read_control(const std::string& name, ObjectReader& reader,
                             const std::filesystem::path& task_folder,
                             const std::filesystem::path& seed_folder) {
  NegativeControl control{.name = name,
                          .mistake = reader.required<std::string>("mistake"),
                          .stages = reader.optional<std::vector<std::string>>("stages", {"probe", "check"}),
                          .candidate = {}};
  if (reader.has("file")) {
    control.candidate.source = read_text(file_in(task_folder / "negative", reader, "file"));
  } else {
    const std::string seed = read_text(file_in(seed_folder, reader, "seed"));
    control.candidate.source = edited(seed, reader.required<std::vector<Edit>>("edits"), reader);
  }
  for (const Tunable& tunable : parse_tunables(control.candidate.source))
    control.candidate.tuning[tunable.name] = tunable.values.front();
  return control;
}

}  // namespace

std::vector<NegativeControl> load_controls(const std::filesystem::path& task_folder,
                                           const std::filesystem::path& seed_folder) {
  const std::filesystem::path file = task_folder / "negative" / "controls.json";
  std::vector<NegativeControl> controls;
  if (!std::filesystem::exists(file)) return controls;
  const Json document = read_json(file);
  ObjectReader root(document, file.string());
  for (const auto& [name, value] : document.items()) {
    if (!is_identifier(name)) root.fail(name, "is not an identifier");
    ObjectReader reader(root.member(name.c_str()), file.string(), name);
    controls.push_back(read_control(name, reader, task_folder, seed_folder));
    reader.finish();
  }
  return controls;
}

}  // namespace kernelites
