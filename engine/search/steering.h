// SPDX-License-Identifier: Apache-2.0
// steer.json: how a person steers a run that is under way.
//
//   {"operators": {"edit": 2, "tune": 0},        shares that replace those of the configuration
//    "endpoints": {"openai:small": 0.25},         factors on the shares of an endpoint's arms; 0: never
//    "focus_cells": ["cp_async/mma_sync/split_kv"],  half of the variations aim at one of them
//    "hints": ["the keys of a tile fit into registers"],  lines that every prompt shows
//    "pause": false,                              nothing new is begun
//    "stop": false}                               what is under way ends, then the run
// All members are optional. The file is looked at in each round of the loop; without it nothing is steered.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/core/json.h"

namespace kernelites {

inline constexpr std::size_t k_hints_max = 8;
inline constexpr std::size_t k_hint_bytes_max = 500;
inline constexpr std::size_t k_steering_bytes_max = 64 * 1024;

struct Steering {
  std::map<std::string, double> operators, endpoints;
  std::vector<std::string> focus_cells;
  std::vector<std::string> hints;
  bool pause = false, stop = false;
  bool operator==(const Steering&) const = default;
};

/// What can be named in it.
struct SteeringNames {
  std::set<std::string> endpoints;
  std::set<std::string> cells;
};

/// Throws ConfigError naming `where`, the field and what was expected; operators are those of the table.
Steering parse_steering(const Json& json, const std::string& where, const SteeringNames& names);
/// What `parse_steering` reads back; members that steer nothing are left out.
Json steering_json(const Steering& steering);

/// What became of the file since it was looked at last.
struct SteeringChange {
  Steering steering;    ///< in force now
  std::string problem;  ///< not empty: the file is malformed, and `steering` is what it said before
};

/// Watches the file.
class SteerFile {
 public:
  /// An empty path is never there. `names` are those that may be named.
  SteerFile(std::filesystem::path file, SteeringNames names)
      : file_(std::move(file)), names_(std::move(names)) {}

  /// The change, if the file was written, replaced or removed since the last call.
  std::optional<SteeringChange> poll();
  const Steering& steering() const { return steering_; }

 private:
  struct Stamp {
    bool is_there = false;
    std::uint64_t file = 0;  // inode
    std::int64_t bytes = 0, time_s = 0, time_ns = 0;
    bool operator==(const Stamp&) const = default;
  };
  Stamp stamp() const;

  std::filesystem::path file_;
  SteeringNames names_;
  Stamp seen_;
  Steering steering_;
};

}  // namespace kernelites
