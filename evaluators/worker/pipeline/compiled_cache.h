// SPDX-License-Identifier: Apache-2.0
// Proven candidates with their one compile: a duel launches the very code that was examined.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "engine/core/candidate.h"
#include "engine/core/launch_plan.h"
#include "evaluators/worker/contract/compiled_candidate.h"

namespace kernelites::worker {

/// Code of a candidate that passed its examination, and its plans of the bench workloads by name.
struct ProvenCode {
  CompiledCandidate compiled;
  std::map<std::string, LaunchPlan> plans;
};

/// The most recently proven candidates of a worker. Thread-safe.
class CompiledCache {
 public:
  /// Null if it is not known: proven by another worker, or long ago.
  std::shared_ptr<const ProvenCode> find(const std::string& task_digest, const Candidate& candidate) const;
  void add(const std::string& task_digest, const Candidate& candidate, ProvenCode code);

  /// Whether what a candidate wrote while it was timed has been looked at, under a name that tells everything that it
  /// depends on. The newest are remembered.
  bool was_looked_at(const std::string& name) const;
  void add_look(const std::string& name);

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const ProvenCode>> codes_;
  std::deque<std::string> order_;  ///< oldest first
  std::set<std::string> looks_;
  std::deque<std::string> look_order_;
};

/// Entries kept; some hundred kilobytes each.
inline constexpr std::size_t k_codes_cached_max = 64;
inline constexpr std::size_t k_looks_max = 4096;

}  // namespace kernelites::worker
