// SPDX-License-Identifier: Apache-2.0
// Whether a run's database is whole: what it says twice agrees, and what it names is there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace kernelites {

/// One rule, over how many things it was looked at, and where it is broken.
struct RunCheck {
  std::string rule;  ///< "elites are the replay of their history"
  std::int64_t checked = 0;
  std::vector<std::string> problems;  ///< at most k_check_problems_max are told
  std::int64_t problem_count = 0;
};
inline constexpr std::size_t k_check_problems_max = 20;

/// Reads everything and changes nothing; also beside a process that writes. Throws ConfigError if there is no run.
std::vector<RunCheck> check_run(const std::filesystem::path& folder);

bool is_whole(const std::vector<RunCheck>& checks);

}  // namespace kernelites
