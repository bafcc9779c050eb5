// SPDX-License-Identifier: Apache-2.0
// Ask: the variations under way, from the choice of parents to a recorded candidate or rejection.
//
// In a deterministic run variations submit in the order in which they were asked, model-free operators start only
// when every earlier variation has submitted, agents only when everything before them is over, and a rejection counts
// when everything before it is over. What a variation sees then depends on order alone, never on which reply came
// first.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/search/inside_evaluations.h"
#include "engine/search/model_calls.h"
#include "engine/search/parent_pool.h"
#include "engine/search/prompt_evolution.h"
#include "engine/search/run_parts.h"
#include "engine/search/search_history.h"
#include "engine/search/selection.h"
#include "engine/search/steering.h"
#include "engine/search/tunable_elites.h"
#include "engine/search/variation_inputs.h"
#include "engine/variation/operator.h"

namespace kernelites {

/// A variation that is over, and which of its inner candidates it submitted; 0: none of them.
struct ClosedVariation {
  std::uint64_t ordinal = 0;
  std::uint64_t submitted = 0;
};

class OpenVariations {
 public:
  /// `may_send`: whether the run may start anything now; asked before every call.
  OpenVariations(RunParts& parts, Announcer& announcer, std::function<bool()> may_send)
      : parts_(parts),
        announcer_(announcer),
        may_send_(std::move(may_send)),
        calls_(parts, announcer),
        inside_(parts, announcer),
        history_(parts.archive, history_settings(parts.config)),
        evolution_(parts.prompts, parts.archive, parts.config.prompts) {}

  /// Takes up what the archive says is open; recorded replies are used again, calls in flight are made again.
  void resume(const std::string& baseline_id);
  /// Takes in what was told since the last call.
  void look_back();
  /// Chooses, records and starts one more. False if there is nothing to do: no elites, no model and nothing to tune.
  bool ask(const Grid& grid, const std::string& baseline_id, const Steering& steering);
  void on_reply(ModelReply reply);
  /// The evaluation that an agent waits for is there: of its inner candidate `ordinal`.
  void on_evaluated(std::uint64_t ordinal);
  /// Starts calls that the budget held back, and closes what has ended: returns the new candidates, by ordinal.
  /// `completed`: every ordinal up to it is told or rejected.
  std::vector<CandidateRecord> settle(std::uint64_t completed);
  std::vector<InsideRequest> take_inside_requests() { return inside_.take_requests(); }
  std::vector<ClosedVariation> take_closed() { return std::exchange(closed_, {}); }

  std::size_t count() const { return open_.size(); }
  /// Lowest open ordinal; nothing if none is open.
  std::optional<std::uint64_t> first() const;
  /// Calls in flight.
  std::size_t calls() const { return calls_.in_flight(); }
  bool is_reply_possible() const { return calls_.is_reply_possible(); }
  /// True if some variation is neither waiting for a reply nor settled: the budget allows no call.
  bool has_held_back() const;
  /// Candidates that may yet come: count().
  Reserved reserved() const { return {.candidates = static_cast<std::int64_t>(open_.size())}; }
  /// Rejections of later ordinals than `ordinal`: with the last one told, since when nothing came out.
  int rejections_after(std::uint64_t ordinal) const;
  const std::string& last_rejection() const { return last_rejection_; }
  const Stagnation& stagnation() const { return history_.stagnation(); }

 private:
  struct Open {
    VariationRecord record;
    std::unique_ptr<Operator> worker;
    bool is_started = false;
    int calls = 0;
    std::optional<PendingCall> held_back;  // wants to be called, budget permitting
    std::string prompt_digest;
    std::variant<std::monostate, Proposal, SubmitPrompt, Rejection> end;
  };

  InputSource source() const;
  Choices choices(const Grid& grid, const Steering& steering, std::uint64_t ordinal, Json& decision);
  const std::string& prompt_version(const std::string& operator_name);
  void aim(VariationRecord& record, const std::string& baseline_id) const;
  bool is_known(const Candidate& candidate) const;
  std::vector<std::string> failed_candidates(const std::map<std::string, double>& operators) const;
  std::vector<std::string> improvers(const Grid& grid, const std::map<std::string, double>& operators) const;
  Open& open(VariationRecord record, const std::string& baseline_id);
  bool may_start(const Open& open, std::uint64_t completed, bool are_earlier_settled) const;
  void start(Open& open);
  void advance(Open& open, Observation observation);
  std::optional<Observation> call(Open& open, CallModel wanted);
  void send(Open& open);
  bool submit(const Open& open, const Proposal& proposal, std::vector<CandidateRecord>& admitted);
  bool hand_in(const Open& open, const CandidateRecord& known, std::vector<CandidateRecord>& admitted);
  bool ask_for_prompt(std::uint64_t ordinal, const std::string& baseline_id);
  const PromptLibrary& library_of(const VariationRecord& record) const;
  void accept_prompt(Open& open);
  void reject(const Open& open, const Rejection& rejection);
  void close(const VariationRecord& record, std::uint64_t submitted);

  RunParts& parts_;
  Announcer& announcer_;
  std::function<bool()> may_send_;
  ModelCalls calls_;
  InsideEvaluations inside_;
  std::map<std::uint64_t, Open> open_;
  std::string baseline_id_;
  std::vector<ClosedVariation> closed_;
  std::vector<std::uint64_t> rejected_;  // ascending
  TunableElites tunable_elites_;
  std::string last_rejection_;
  SearchHistory history_;
  ParentPool pool_;
  std::int64_t pool_told_ = 0;  // as far as it has read
  PromptEvolution evolution_;
  std::map<std::string, std::string> prompt_versions_;  // by operator
};

}  // namespace kernelites
