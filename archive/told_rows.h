// SPDX-License-Identifier: Apache-2.0
// The past of a run as far as costs and arms are concerned, in one go and without a long text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "archive/database.h"

namespace kernelites {

/// A variation's arm and cost.
struct ArmOfVariation {
  std::uint64_t variation = 0;
  std::string operator_name;
  std::string endpoint;
  std::string prompt_version;
  double usd = 0;  ///< of its calls that ended
};

/// A told candidate.
struct ToldRow {
  std::uint64_t ordinal = 0;
  std::int64_t told = 0;
  ArmOfVariation arm;
  std::uint64_t submitted =
      0;  ///< what its variation handed in, if that is a candidate of another number; 0: it is not
  double device_s = 0;
};

struct HistoryRows {
  std::vector<ToldRow> told;             ///< in the order told
  std::vector<ArmOfVariation> rejected;  ///< variations that gave no candidate, by ordinal
};

/// Empty if an older version wrote the file. Throws Error if the database fails.
std::optional<HistoryRows> read_history_rows(Database& database);
std::optional<HistoryRows> read_history_rows(const std::filesystem::path& database);

}  // namespace kernelites
