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

std::vector<Seed> choose_seeds(const fs::path& folder, const std::vector<std::string>& names) {
  if (names.empty()) return load_seeds(folder);
  if (names.size() > k_seeds_max)
    throw ConfigError("seeds", "",
                      fmt::format("{} named, at most {} can start a run", names.size(), k_seeds_max));
  std::vector<Seed> seeds;
  for (const std::string& name : names) {
    const fs::path file = name.find('/') == std::string::npos ? folder / name : fs::path(name);
    if (!fs::is_regular_file(file))
      throw ConfigError("seeds", name,
                        fmt::format("no such file; expected one of {} or a path", folder.string()));
    Seed seed{file.filename().string(), load_candidate(file)};
    for (const Seed& other : seeds)
      if (other.name == seed.name) throw ConfigError("seeds", name, "is named twice");
    seeds.push_back(std::move(seed));
  }
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
