// SPDX-License-Identifier: Apache-2.0
// What an export's own programs measured, read back: the bench's times and the regression test's findings.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/core/json.h"
#include "tools/exporting/portfolio.h"

namespace kernelites {

/// What a bench said: times for a dispatch, and the whole of it for the manifest.
struct MeasuredBench {
  std::vector<ShapeTimes> shapes;
  Json document;
};

/// Reads the output of an exported bench. Throws ConfigError naming --confirm if it is not one, or is of other kernels
/// than `portfolio` has.
MeasuredBench read_bench(const std::filesystem::path& file, const Portfolio& portfolio, const Task& task);

/// The last line of an exported regression test's output. Throws ConfigError naming --tested.
Json read_findings(const std::filesystem::path& file);

/// {workload: time_us} of the caller's own kernel. Throws ConfigError naming --fallback-times.
std::map<std::string, double> read_fallback_times(const std::filesystem::path& file, const Task& task);

}  // namespace kernelites
