// SPDX-License-Identifier: Apache-2.0
// A run of any size without kernels, models or waiting: for views and figures of large databases.
//
// Everything goes in through the archive, in the order in which a run writes it. Sources are the task's seeds with a
// line changed, speeds are drawn: children resemble their parents and the gains get rarer, as in a real search.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace kernelites {

struct LargeRun {
  std::filesystem::path data;  ///< of tasks/ and kernels_seed/
  std::string task = "gqa_decode_splitkv";
  int variations = 10'000;  ///< beyond the seeds; an eighth of the replies hold no candidate
  std::uint64_t seed = 1;
  bool is_bare = false;   ///< a run that has only begun: not even the seeds are there
  bool is_small = false;  ///< sources, prompts and bodies of a few hundred bytes instead of their usual size
  bool is_modelled = false;  ///< as on the virtual GPU: times without a spread, and its launches
  std::string text;          ///< appended to every text that a model could have written
  std::function<void()> after_each = [] {};  ///< called after every variation: tests read beside the writer
};

/// Makes `<folder>/run.db`. Throws ConfigError if there is one already.
void write_large_run(const std::filesystem::path& folder, const LargeRun& run);

}  // namespace kernelites
