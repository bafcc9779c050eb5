// SPDX-License-Identifier: Apache-2.0
// A candidate: one .cu file and the values of its tunables. Its identity is its content.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/json.h"

namespace kernelites {

/// `// tune: BN = 32 | 64 | 128` above the code: a name and its allowed values, in the order written.
struct Tunable {
  std::string name;
  std::vector<std::int64_t> values;
  bool operator==(const Tunable&) const = default;
};

/// The tunables that `source` declares. The first value is the default. Throws nothing: a malformed line is reported
/// in `problems` (one sentence each) and skipped.
std::vector<Tunable> parse_tunables(std::string_view source, std::vector<std::string>* problems = nullptr);

/// What is evaluated. Immutable after construction.
struct Candidate {
  std::string source;                          ///< the whole .cu text
  std::map<std::string, std::int64_t> tuning;  ///< chosen values of tunables; passed as -DNAME=value
  bool operator==(const Candidate&) const = default;
};

/// Content digest: two candidates with one id are the same candidate.
std::string candidate_id(const Candidate& candidate);

/// Limits on text that enters an evaluation.
inline constexpr std::size_t k_source_bytes_max = 64 * 1024;
inline constexpr std::size_t k_tunables_max = 12;

void to_json(Json& json, const Candidate& candidate);
void from_json(const Json& json, Candidate& candidate);

}  // namespace kernelites
