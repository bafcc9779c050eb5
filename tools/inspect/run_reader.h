// SPDX-License-Identifier: Apache-2.0
// What the commands that look at a run share: task, baseline, weights of an archive.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "archive/archive.h"
#include "engine/variation/operator.h"

namespace kernelites {

/// A run opened for reading.
struct RunReader {
  Archive archive;
  Task task;
  std::string baseline_id;  ///< empty: the seeds have not dueled yet
  std::map<std::string, double> weights;
  DeviceFacts device;  ///< of the newest evaluation; default if there is none
};

/// Throws ConfigError if `folder` holds no run.
RunReader read_run(const std::string& folder);

/// "12" or "#12" as a number; empty for anything else.
std::optional<std::uint64_t> ordinal_from(const std::string& name);
/// A candidate by ordinal ("12" or "#12"), id or prefix of one. Throws ConfigError if there is none.
CandidateRecord find_candidate(const RunReader& run, const std::string& name);

}  // namespace kernelites
