// SPDX-License-Identifier: Apache-2.0
// Examine, place, duel and tell: the candidates that are recorded and not told.
//
// In a deterministic run examinations overlap, but a candidate is placed, dueled and told only when every earlier
// ordinal is over. Seeds are special: they duel each other, the fastest becomes the baseline, and only then the
// first one is told.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/search/null_duels.h"
#include "engine/search/placement.h"
#include "engine/search/run_parts.h"
#include "engine/search/triage.h"

namespace kernelites {

class OpenCandidates {
 public:
  OpenCandidates(RunParts& parts, Announcer& announcer);

  /// Takes up what the archive says is untold, and sends outstanding requests again under their old ids.
  void resume();
  /// A new one, or one that was left unfinished and is taken up again.
  void admit(const CandidateRecord& record);
  /// Goes as far as `step` with a candidate that an agent evaluates inside its open variation; `take_answered` tells
  /// when it is there.
  void wish(const CandidateRecord& record, InsideStep step);
  /// The variation is over: its candidate `submitted` (0: another one) goes the whole way, the rest is told as it
  /// stands.
  void leave(std::uint64_t variation, std::uint64_t submitted);
  /// Ordinals of inner candidates whose wish was fulfilled, or that were told, since the last call.
  std::vector<std::uint64_t> take_answered() { return std::exchange(answered_, {}); }
  void on_reply(const Reply& reply);
  /// One pass in order of ordinals: sends requests (if `may_send`) and tells. In a deterministic run only the ordinal
  /// `completed + 1` is placed and the pass ends after one was told. Returns how many were told.
  int step(std::uint64_t completed, bool may_send);

  /// Those that something is to be done for: inner ones that rest do not count.
  std::size_t count() const;
  std::optional<std::uint64_t> first() const;
  /// Requests sent and not answered.
  std::size_t outstanding() const { return outstanding_; }
  /// The fastest seed's id; empty until the seeds have dueled.
  const std::string& baseline_id() const { return baseline_id_; }
  std::uint64_t last_told() const { return last_told_; }
  const Grid& grid() const { return grid_; }
  const std::vector<Champion>& champions() const { return champions_; }

 private:
  struct WaitingDuel {
    Course* course;
    NeedsDuel need;
    std::optional<Standing> standing;
  };

  std::optional<NextStep> next(const Course& course, std::uint64_t completed) const;
  std::optional<NextStep> seed_step(const Course& course) const;
  bool repeats_code(const Course& course) const;
  bool is_its_turn(const Course& course, std::uint64_t completed) const;
  void find_baseline();
  void examine(Course& course, const NeedsExamination& need);
  void duel(Course& course, const NeedsDuel& need);
  void send_null();
  void send_duel(Course& course, const NeedsDuel& need, bool is_confirmation);
  void send(Course& course, const EvaluationRecord& record);
  void send_in_order(std::vector<WaitingDuel> waiting);
  /// In a batch everything goes out together, and in a deterministic run one candidate is dueled at a time.
  bool orders_duels() const {
    return triage_.is_on() && !parts_.config.is_batch && !parts_.config.is_deterministic;
  }
  std::optional<Standing> standing_of(const Course& course) const;
  void tell(const Course& course, const Outcome& outcome);
  EliteRule rule_for(const Course& course) const;

  RunParts& parts_;
  Announcer& announcer_;
  NullDuels nulls_;
  std::map<std::string, double> weights_;
  Triage triage_;
  std::map<std::uint64_t, Course> courses_;
  std::set<std::uint64_t> undueled_;                 ///< seeds that are no arm of any duel
  std::map<std::string, std::uint64_t> ordinal_of_;  // of requests outstanding
  std::size_t outstanding_ = 0;
  Grid grid_;
  std::vector<Champion> champions_;
  std::string baseline_id_;
  double null_half_width_ = 0;
  std::uint64_t last_told_ = 0;
  std::vector<std::uint64_t> answered_;
  int errors_in_a_row_ = 0;
};

}  // namespace kernelites
