// SPDX-License-Identifier: Apache-2.0
// Where the program's data lies: tasks, seeds, prompts, and the worker beside the program.
#include "tools/data_root.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "engine/core/error.h"
#include "engine/core/nearest_name.h"

namespace kernelites {

namespace fs = std::filesystem;

DataRoot find_data_root(const std::string& given, const fs::path& executable) {
  const auto is_root = [](const fs::path& folder) {
    return fs::is_directory(folder / "tasks") && fs::is_directory(folder / "prompts");
  };
  if (!given.empty()) {
    if (!is_root(given)) throw ConfigError("--data", given, "has no folders tasks and prompts");
    return {given};
  }
  for (fs::path folder = executable.parent_path(); !folder.empty(); folder = folder.parent_path()) {
    if (is_root(folder)) return {folder};
    if (is_root(folder / "share" / "kernelites")) return {folder / "share" / "kernelites"};
    if (folder == folder.root_path()) break;
  }
  throw ConfigError("--data", "", "is needed: no folder above the program has tasks and prompts");
}

namespace {

/// ", did you mean rmsnorm?" of a slip of the hand, or of a part of few names: "softmax" of softmax_row.
std::string meant_tasks(const std::string& name, const std::vector<std::string>& known) {
  constexpr std::size_t k_letters_min = 3, k_told_max = 4;
  if (const std::string near = surely_meant(name, known); !near.empty()) return near;
  std::vector<std::string> longer;
  for (const std::string& other : known)
    if (name.size() >= k_letters_min && other.find(name) != std::string::npos) longer.push_back(other);
  if (longer.empty() || longer.size() > k_told_max) return "";
  return fmt::format(", did you mean {}?", fmt::join(longer, " or "));
}

}  // namespace

Task find_task(const std::string& name, const DataRoot& data, const std::string& where) {
  if (name.empty()) throw ConfigError(where, "", "is needed: a name (see kernelites tasks) or a folder");
  if (fs::exists(fs::path(name) / "task.json")) return load_task(name);
  const bool is_name = name.find('/') == std::string::npos && name != "." && name != "..";
  if (is_name && fs::exists(data.tasks() / name / "task.json")) return load_task(data.tasks() / name);
  const std::vector<std::string> known = list_tasks(data.tasks());
  const std::string near = meant_tasks(name, known);
  throw ConfigError(
      where, name,
      near.empty() ? fmt::format("is neither a folder with a task.json nor one of {}", fmt::join(known, ", "))
                   : "is no task" + near + " (see kernelites tasks)");
}

fs::path seed_folder(const Task& task, const DataRoot& data) {
  if (fs::is_directory(task.folder / "seeds")) return task.folder / "seeds";
  return data.folder / "kernels_seed" / task.name;
}

std::vector<Seed> find_seeds(const Task& task, const DataRoot& data, const std::vector<std::string>& names) {
  return choose_seeds(seed_folder(task, data), names);
}

fs::path find_worker(const std::string& given, const fs::path& executable) {
  if (!given.empty()) return given;
  const fs::path beside = executable.parent_path();
  for (const fs::path& place :
       {beside / "kernelites-worker", beside / ".." / "evaluators" / "worker" / "kernelites-worker",
        beside / ".." / "libexec" / "kernelites" / "kernelites-worker"})
    if (fs::exists(place)) return fs::weakly_canonical(place);
  throw ConfigError("--worker", "", "is needed: kernelites-worker is not beside this program");
}

}  // namespace kernelites
