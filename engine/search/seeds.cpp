// SPDX-License-Identifier: Apache-2.0
// The seeds of a task: generation 0 of every run.
#include "engine/search/seeds.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/error.h"
#include "engine/variation/text_rules.h"
#include "engine/variation/tuning.h"

namespace kernelites {

namespace fs = std::filesystem;

std::vector<Seed> load_seeds(const fs::path& folder) {
  std::vector<Seed> seeds;
  if (fs::is_directory(folder))
    for (const fs::directory_entry& entry : fs::directory_iterator(folder))
      if (entry.is_regular_file() && entry.path().extension() == ".cu")
        seeds.push_back({entry.path().filename().string(), load_candidate(entry.path())});
  if (seeds.empty()) throw ConfigError(folder.string(), "", "holds no seed kernel (*.cu) to start from");
  if (seeds.size() > k_seeds_max)
    throw ConfigError(folder.string(), "",
                      fmt::format("holds {} seeds, at most {} can start a run", seeds.size(), k_seeds_max));
  std::sort(seeds.begin(), seeds.end(), [](const Seed& a, const Seed& b) { return a.name < b.name; });
  return seeds;
}

Candidate load_candidate(const fs::path& file) {
  Candidate candidate{with_unix_newlines(read_text(file)), {}};
  if (candidate.source.size() > k_source_bytes_max)
    throw ConfigError(
        file.string(), "",
        fmt::format("has {} bytes, at most {} are allowed", candidate.source.size(), k_source_bytes_max));
  if (!is_clean_utf8(candidate.source)) throw ConfigError(file.string(), "", "is not plain UTF-8 text");
  return with_full_tuning(std::move(candidate));
}

}  // namespace kernelites
