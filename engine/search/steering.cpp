// SPDX-License-Identifier: Apache-2.0
// Reading and watching steer.json.
#include "engine/search/steering.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include "engine/core/error.h"
#include "engine/search/shares.h"
#include "engine/variation/operator_table.h"
#include "engine/variation/text_rules.h"

namespace kernelites {

Steering parse_steering(const Json& json, const std::string& where, const SteeringNames& names) {
  ObjectReader reader(json, where);
  Steering steering;
  steering.operators = read_shares(reader, "operators");
  for (const auto& [name, weight] : steering.operators)
    if (find_operator(name) == nullptr)
      reader.fail("operators", fmt::format("there is no operator \"{}\"", name));
  steering.endpoints = read_shares(reader, "endpoints");
  for (const auto& [name, weight] : steering.endpoints)
    if (!names.endpoints.contains(name))
      reader.fail("endpoints", fmt::format("the run has no endpoint \"{}\"", name));
  steering.focus_cells = reader.optional("focus_cells", std::vector<std::string>());
  for (const std::string& cell : steering.focus_cells)
    if (!names.cells.contains(cell)) reader.fail("focus_cells", fmt::format("there is no cell \"{}\"", cell));
  steering.hints = reader.optional("hints", std::vector<std::string>());
  if (steering.hints.size() > k_hints_max)
    reader.fail("hints",
                fmt::format("has {} lines, expected at most {}", steering.hints.size(), k_hints_max));
  for (std::string& hint : steering.hints) {
    if (hint.empty() || hint.size() > k_hint_bytes_max)
      reader.fail("hints", fmt::format("one has {} bytes, expected 1 to {}", hint.size(), k_hint_bytes_max));
    hint = single_line(hint, k_hint_bytes_max);
  }
  steering.pause = reader.optional("pause", false);
  steering.stop = reader.optional("stop", false);
  reader.finish();
  return steering;
}

Json steering_json(const Steering& steering) {
  Json json = Json::object();
  if (!steering.operators.empty()) json["operators"] = steering.operators;
  if (!steering.endpoints.empty()) json["endpoints"] = steering.endpoints;
  if (!steering.focus_cells.empty()) json["focus_cells"] = steering.focus_cells;
  if (!steering.hints.empty()) json["hints"] = steering.hints;
  if (steering.pause) json["pause"] = true;
  if (steering.stop) json["stop"] = true;
  return json;
}

SteerFile::Stamp SteerFile::stamp() const {
  struct stat state {};
  if (file_.empty() || stat(file_.c_str(), &state) != 0) return {};
  return {.is_there = true,
          .file = state.st_ino,
          .bytes = state.st_size,
          .time_s = state.st_mtim.tv_sec,
          .time_ns = state.st_mtim.tv_nsec};
}

std::optional<SteeringChange> SteerFile::poll() {
  const Stamp now = stamp();
  if (now == seen_) return std::nullopt;
  seen_ = now;
  if (!now.is_there) {
    steering_ = {};
    return SteeringChange{};
  }
  try {
    const std::string name = file_.filename().string();
    if (now.bytes > static_cast<std::int64_t>(k_steering_bytes_max))
      throw ConfigError(name, "", fmt::format("has more than {} bytes", k_steering_bytes_max));
    steering_ = parse_steering(parse_json(read_text(file_), name), name, names_);
  } catch (const Error& error) {  // a person's slip must not end the run
    return SteeringChange{steering_, error.what()};
  }
  return SteeringChange{steering_, ""};
}

}  // namespace kernelites
