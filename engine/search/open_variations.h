// SPDX-License-Identifier: Apache-2.0
// Ask: the variations under way, from the choice of parents to a recorded candidate or rejection.
//
// In a deterministic run variations submit in the order in which they were asked, model-free operators start only
// when every earlier variation has submitted, and a rejection counts when everything before it is over. What a
// variation sees then depends on order alone, never on which reply came first.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/search/budget.h"
#include "engine/search/run_parts.h"
#include "engine/search/selection.h"
#include "engine/variation/operator.h"

namespace kernelites {

class OpenVariations {
 public:
  OpenVariations(RunParts& parts, Announcer& announcer) : parts_(parts), announcer_(announcer) {}

  /// Takes up what the archive says is open; recorded replies are used again, calls in flight are made again.
  void resume(const std::string& baseline_id);
  /// Chooses, records and starts one more. False if there is nothing to do: no elites, no model and nothing to tune.
  bool ask(const Grid& grid, const std::string& baseline_id, bool has_model);
  void on_reply(ModelReply reply);
  /// Starts calls that the budget held back, and closes what has ended: returns the new candidates, by ordinal.
  /// `completed`: every ordinal up to it is told or rejected.
  std::vector<CandidateRecord> settle(std::uint64_t completed);

  std::size_t count() const { return open_.size(); }
  /// Lowest open ordinal; nothing if none is open.
  std::optional<std::uint64_t> first() const;
  /// Calls in flight.
  std::size_t calls() const { return call_of_.size(); }
  /// True if some variation is neither waiting for a reply nor settled: the budget allows no call.
  bool has_held_back() const;
  /// Upper estimates of what is in flight. `candidates` is count().
  Reserved reserved() const;
  /// Rejections of later ordinals than `ordinal`: with the last one told, since when nothing came out.
  int rejections_after(std::uint64_t ordinal) const;
  const std::string& last_rejection() const { return last_rejection_; }

 private:
  struct Open {
    VariationRecord record;
    std::unique_ptr<Operator> worker;
    bool is_started = false;
    int calls = 0;
    std::optional<ModelRequest> held_back;  // wants to be called, budget permitting
    std::string prompt_digest;
    std::variant<std::monostate, Proposal, Rejection> end;
  };

  VariationInput input_for(const VariationRecord& record, const std::string& baseline_id) const;
  bool is_known(const Candidate& candidate) const;
  std::vector<std::string> tunable_elites(const Grid& grid) const;
  Open& open(VariationRecord record, const std::string& baseline_id);
  void start(Open& open);
  void advance(Open& open, Observation observation);
  std::optional<Observation> call(Open& open, ModelRequest request);
  void send(Open& open);
  bool submit(const Open& open, const Proposal& proposal, std::vector<CandidateRecord>& admitted);
  void reject(const Open& open, const Rejection& rejection);

  struct Call {
    std::uint64_t ordinal = 0;
    std::int64_t tokens_max = 0;
    double usd_max = 0;
  };

  RunParts& parts_;
  Announcer& announcer_;
  std::map<std::uint64_t, Open> open_;
  std::map<std::string, Call> call_of_;  // in flight, by request id
  std::vector<std::uint64_t> rejected_;
  std::string last_rejection_;
};

}  // namespace kernelites
