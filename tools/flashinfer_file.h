// SPDX-License-Identifier: Apache-2.0
// FlashInfer-Bench's files as they are written: definitions and workloads, checked member by member.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/core/json.h"

namespace kernelites::flashinfer {

using Axes = std::map<std::string, std::int64_t>;

/// An operator with its axes; the names are the schema's.
struct Definition {
  std::string file, name, op_type;
  Json inputs;
  Axes constants;
  std::set<std::string> variables;

  /// Throws ConfigError.
  [[noreturn]] void fail(const std::string& field, const std::string& problem) const;
  bool has_input(const char* input) const { return inputs.contains(input); }
  /// Throws ConfigError if the axis is not a constant one.
  std::int64_t constant(const char* axis) const;
};

struct BenchWorkload {
  std::string uuid;
  Axes axes;  ///< constant ones too
};

/// A definition and the workloads of it.
struct Bundle {
  Definition definition;
  std::vector<BenchWorkload> workloads;
};

/// Reads files that hold one object, or one on each line, in any order. Throws ConfigError naming file, line and field;
/// what else the objects have is left alone.
Bundle read_bundle(const std::vector<std::filesystem::path>& files);

/// A text member of `object`. Throws ConfigError.
std::string text_member(const Json& object, const char* key, const std::string& file,
                        const std::string& path = {});
/// Any member. Throws ConfigError if it is missing.
const Json& member(const Json& object, const char* key, const std::string& file, const std::string& path);

}  // namespace kernelites::flashinfer
