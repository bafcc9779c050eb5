// SPDX-License-Identifier: Apache-2.0
// Where the program's data lies: tasks, seeds, prompts, and the worker beside the program.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/core/task.h"
#include "engine/search/seeds.h"

namespace kernelites {

struct DataRoot {
  std::filesystem::path folder;

  std::filesystem::path tasks() const { return folder / "tasks"; }
  std::filesystem::path prompts() const { return folder / "prompts"; }
  /// What is kept of measurements of the project's own seeds.
  std::filesystem::path measured() const { return folder / "docs" / "measured"; }
  /// What a model answered in the project's own run of a task; may not exist.
  std::filesystem::path recording(const std::string& task) const {
    return folder / "docs" / "runs" / task / "replies.json";
  }
};

/// `given` if it is not empty, else the nearest folder above `executable` that has tasks/ and prompts/. Throws
/// ConfigError.
DataRoot find_data_root(const std::string& given, const std::filesystem::path& executable);

/// `name` as a folder with a task.json, else as a task of the data root. Throws ConfigError that says which one was
/// meant, else lists the tasks; `where` is what the user wrote the name behind.
Task find_task(const std::string& name, const DataRoot& data, const std::string& where = "--task");
/// Where the seeds of a task lie: <folder>/seeds/ if the task has one, else kernels_seed/<task>/ of the data root.
std::filesystem::path seed_folder(const Task& task, const DataRoot& data);
/// Those that `names` ask for (`choose_seeds`), all without.
std::vector<Seed> find_seeds(const Task& task, const DataRoot& data,
                             const std::vector<std::string>& names = {});

/// The worker program: `given`, else kernelites-worker where the build or an installation puts it. Throws
/// ConfigError.
std::filesystem::path find_worker(const std::string& given, const std::filesystem::path& executable);

}  // namespace kernelites
