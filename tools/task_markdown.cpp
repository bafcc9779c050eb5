// SPDX-License-Identifier: Apache-2.0
// One table row per task.
#include "tools/task_markdown.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "engine/core/error.h"
#include "engine/core/negative_control.h"

namespace kernelites {
namespace {

/// A cell must not end at a bar.
std::string cell(std::string text) {
  for (std::size_t at = text.find('|'); at != std::string::npos; at = text.find('|', at + 2))
    text.insert(at, "\\");
  return text;
}

/// "naive, split_kv": the files without .cu.
std::string seed_names(const Task& task, const DataRoot& data) {
  std::vector<std::string> names;
  try {
    for (const Seed& seed : find_seeds(task, data))
      names.push_back(std::filesystem::path(seed.name).stem().string());
  } catch (const ConfigError&) {
    return "none";
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string baseline_names(const Task& task) {
  std::vector<std::string> names;
  for (const Json& baseline : task.baselines) names.push_back(baseline.at("name").get<std::string>());
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

std::string task_markdown(const std::vector<Task>& tasks, const DataRoot& data) {
  std::string text =
      "# The tasks\n\n"
      "Written by `kernelites tasks --markdown`; a test says when it is out of date. On the virtual GPU all "
      "seeds are\n"
      "examined by `kernelites tasks --seeds`. Controls are wrong kernels that the gates must reject.\n\n"
      "| task | family | operator | source | seeds | controls | baselines |\n"
      "|---|---|---|---|---|---|---|\n";
  for (const Task& task : tasks) {
    text += fmt::format("| `{}` | {} | {} | {} | {} | {} | {} |\n", task.name, cell(task.family),
                        cell(task.title), cell(task.source), seed_names(task, data),
                        load_controls(task.folder, seed_folder(task, data)).size(), baseline_names(task));
  }
  return text;
}

}  // namespace kernelites
