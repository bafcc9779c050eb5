// SPDX-License-Identifier: Apache-2.0
// What the commands that look at a run share: task, baseline, weights of an archive.
#include "tools/inspect/run_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/error.h"
#include "engine/core/json_shape.h"
#include "engine/search/baseline.h"
#include "engine/search/placement.h"

namespace kernelites {

namespace {

RunReader reader_of(const std::string& folder) {
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

}  // namespace

RunReader read_run(const std::string& folder) {
  return in_shape(folder, [&] { return reader_of(folder); });
}

std::optional<std::uint64_t> ordinal_from(const std::string& name) {
  const std::string digits = !name.empty() && name[0] == '#' ? name.substr(1) : name;
  const bool is_ordinal =
      !digits.empty() && digits.size() <= 9 &&
      std::all_of(digits.begin(), digits.end(), [](unsigned char c) { return std::isdigit(c); });
  if (!is_ordinal) return std::nullopt;
  return std::stoull(digits);
}

namespace {

/// Of the number of a variation that has no candidate of its own; else empty.
std::string why_no_candidate(const Archive& archive, std::uint64_t ordinal) {
  const auto variation = archive.variation(ordinal);
  if (!variation) return "";
  if (const auto rejection = archive.rejection(ordinal))
    return fmt::format("is a variation that gave no candidate ({}); `show` tells of it", rejection->reason);
  if (variation->decision.contains("submitted"))
    return fmt::format("is a variation that handed in #{}, which it had evaluated", in_shape("run.db", [&] {
                         return variation->decision.at("submitted").get<std::uint64_t>();
                       }));
  return "is a variation that is under way: it has no candidate yet";
}

}  // namespace

CandidateRecord find_candidate(const RunReader& run, const std::string& name) {
  std::optional<CandidateRecord> record;
  const auto ordinal = ordinal_from(name);
  if (ordinal) record = run.archive.candidate(*ordinal);
  if (!record && name.size() >= k_id_prefix_min) record = run.archive.find_candidate(name);
  if (!record && ordinal)
    if (const std::string why = why_no_candidate(run.archive, *ordinal); !why.empty())
      throw ConfigError("ID", name, why);
  if (!record && !ordinal && name.size() < k_id_prefix_min)
    throw ConfigError(
        "ID", name,
        fmt::format("is too short for an id: expected at least {} characters of one, or a number",
                    k_id_prefix_min));
  if (!record)
    throw ConfigError(
        "ID", name,
        fmt::format("names no candidate of this run; expected its number, or at least {} characters "
                    "of its id",
                    k_id_prefix_min));
  return *record;
}

}  // namespace kernelites
