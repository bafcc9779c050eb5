// SPDX-License-Identifier: Apache-2.0
// Making a run's file smaller: space that nothing uses, and long texts of candidates that led nowhere.
#pragma once

#include <cstdint>
#include <filesystem>

namespace kernelites {

struct CompactReport {
  std::int64_t bytes_before = 0;  ///< database and write-ahead log
  std::int64_t bytes_after = 0;   ///< as expected, where nothing was changed
  int version_before = 0;
};

/// Brings the file to today's format, rewrites it without free pages, and empties its log. SQLite does it in one
/// transaction: whatever happens, the file holds the run. `is_dry`: changes nothing and tells what would be gained.
/// Throws ConfigError if there is no run, or another process writes it.
CompactReport compact_run(const std::filesystem::path& folder, bool is_dry);

struct PruneReport {
  std::int64_t kept_whole =
      0;                    ///< candidates: elites of any time, champions, seeds, their ancestors, unfinished
  std::int64_t pruned = 0;  ///< candidates
  std::int64_t evaluations = 0;  ///< whose details go
  std::int64_t model_calls = 0;  ///< whose prompt and reply go
  std::int64_t messages = 0;     ///< of prompts, which nothing names any more
  std::int64_t bytes = 0;        ///< of text that goes
  CompactReport compacted;
};

/// Drops what is long and will not be read again: prompts and replies of variations that led to nothing, and plans,
/// opcode counts, stage reports and modelled launches of their evaluations. Kept of everybody: the source, the verdict,
/// descriptors, resources, times and costs, so that every count and curve stays. What goes is missing afterwards in
/// `show --prompt`, `run --fork` and training records. One transaction, then compacted.
PruneReport prune_run(const std::filesystem::path& folder, bool is_dry);

}  // namespace kernelites
