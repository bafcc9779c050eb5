// SPDX-License-Identifier: Apache-2.0
// What the commands that look at a run share: task, baseline, weights of an archive.
#include "tools/inspect/run_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/error.h"
#include "engine/search/baseline.h"
#include "engine/search/placement.h"

namespace kernelites {

RunReader read_run(const std::string& folder) {
  Archive archive = Archive::open_read_only(folder);
  const RunRecord record = archive.run();
  RunReader run{.archive = std::move(archive),
                .task = parse_task(record.task_document, record.reference_source, folder + ": task"),
                .baseline_id = {},
                .weights = {},
                .device = {}};
  run.weights = workload_weights(run.task);
  run.baseline_id = baseline_of(run.archive, run.weights).id;
  if (const auto provenance = run.archive.first_provenance()) run.device = provenance->device;
  return run;
}

std::optional<std::uint64_t> ordinal_from(const std::string& name) {
  const std::string digits = !name.empty() && name[0] == '#' ? name.substr(1) : name;
  const bool is_ordinal =
      !digits.empty() && digits.size() <= 9 &&
      std::all_of(digits.begin(), digits.end(), [](unsigned char c) { return std::isdigit(c); });
  if (!is_ordinal) return std::nullopt;
  return std::stoull(digits);
}

CandidateRecord find_candidate(const RunReader& run, const std::string& name) {
  std::optional<CandidateRecord> record;
  if (const auto ordinal = ordinal_from(name)) record = run.archive.candidate(*ordinal);
  if (!record && name.size() >= k_id_prefix_min) record = run.archive.find_candidate(name);
  if (!record)
    throw ConfigError(
        "ID", name,
        fmt::format("names no candidate of this run; expected its number, or at least {} characters "
                    "of its id",
                    k_id_prefix_min));
  return *record;
}

}  // namespace kernelites
