// SPDX-License-Identifier: Apache-2.0
// The inner evaluations that agents wait for, and the record of what they were told.
//
// Every wish has a position in its variation, and what came of it is recorded under that before the agent hears it. A
// resumed episode is told what is recorded, word for word: neither a later evaluation of the same candidate nor a
// changed budget makes it take another course.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/search/run_parts.h"
#include "engine/search/variation_inputs.h"

namespace kernelites {

/// A candidate that an agent wants evaluated as far as `step`.
struct InsideRequest {
  CandidateRecord record;
  InsideStep step = InsideStep::check;
};

class InsideEvaluations {
 public:
  InsideEvaluations(RunParts& parts, Announcer& announcer) : parts_(parts), announcer_(announcer) {}

  /// Takes up the wishes of an open variation: what is recorded is told again, new candidates are recorded and asked
  /// for. The results if none has to be waited for. `reserved`: candidates that open variations may yet submit.
  std::optional<Evaluated> begin(const InputSource& source, std::uint64_t variation,
                                 const std::string& prompt_digest, const EvaluateInside& wanted,
                                 std::int64_t reserved);
  /// The candidate `ordinal` has gone as far as was wished. If that completes what its variation waits for: the
  /// variation and its results.
  std::optional<std::pair<std::uint64_t, Evaluated>> on_evaluated(const InputSource& source,
                                                                  std::uint64_t ordinal);
  std::vector<InsideRequest> take_requests() { return std::exchange(requests_, {}); }
  /// The variation is over.
  void forget(std::uint64_t variation) { episodes_.erase(variation); }

 private:
  struct Slot {
    InsideWish wish;
    std::string id;
    std::int64_t position = 0;
    std::uint64_t ordinal = 0;  ///< of the candidate that is waited for
    std::optional<InsideResult> result;
  };
  struct Episode {
    std::int64_t wishes = 0;               ///< so far: the next position
    std::map<std::string, double> told_s;  ///< device time that was told, by candidate id
    std::vector<Slot> slots;               ///< of the present action
  };

  std::optional<InsideResult> recorded(std::uint64_t variation, const Slot& slot) const;
  std::optional<InsideResult> begin_one(const InputSource& source, std::uint64_t variation,
                                        const std::string& prompt_digest, Slot& slot, std::int64_t reserved);
  CandidateRecord record_new(std::uint64_t variation, const std::string& prompt_digest, const Slot& slot);
  std::string refusal(std::int64_t reserved) const;
  InsideResult result_of(const InputSource& source, const Episode& episode, const CandidateRecord& record,
                         InsideStep step) const;
  void keep(std::uint64_t variation, Episode& episode, Slot& slot, InsideResult result);
  static std::optional<Evaluated> take_all(Episode& episode);

  RunParts& parts_;
  Announcer& announcer_;
  std::map<std::uint64_t, Episode> episodes_;  // by variation
  std::vector<InsideRequest> requests_;
};

}  // namespace kernelites
