// SPDX-License-Identifier: Apache-2.0
// The seeds of a task: generation 0 of every run.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/core/candidate.h"

namespace kernelites {

struct Seed {
  std::string name;  ///< file name: "naive.cu"
  Candidate candidate;
};

/// The `*.cu` files of `folder` in the order of their names, tunables at their defaults. Throws ConfigError if there
/// is none or one is too long.
std::vector<Seed> load_seeds(const std::filesystem::path& folder);
/// The seeds that `names` ask for, in that order: a name of a file in `folder`, or with a slash a path to one. No
/// names: `load_seeds`. Throws ConfigError, for a name that is given twice too.
std::vector<Seed> choose_seeds(const std::filesystem::path& folder, const std::vector<std::string>& names);
/// One file as a candidate with its default tuning. Throws ConfigError if it cannot be read or is too long.
Candidate load_candidate(const std::filesystem::path& file);

/// Seeds of one run: all of them are arms of one duel.
inline constexpr std::size_t k_seeds_max = 7;

}  // namespace kernelites
