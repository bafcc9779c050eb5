// SPDX-License-Identifier: Apache-2.0
// What a candidate needs next: an examination, a duel and against whom, a confirmation, or its end.
//
// A pure function of what the archive says about it and of the grid, so that a resumed run continues as if it had
// never stopped. Arms of a duel are labelled by candidate id ("candidate" for arm 0): who is incumbent, champion or
// baseline is decided when the result is used, not when it was asked for.
#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "archive/archive.h"
#include "archive/elite_rule.h"
#include "archive/grid.h"
#include "engine/search/triage.h"
#include "engine/variation/operator.h"

namespace kernelites {

/// The way of one candidate through the worker, so far.
struct Course {
  CandidateRecord record;
  bool is_seed = false;
  std::optional<Examination> examination;
  Provenance provenance;
  bool has_thorough = false;  ///< an examination with the costly stages was answered
  std::vector<EvaluationRecord>
      duels;  ///< answered, in the order sent; a seed's spoilt ones if nothing follows
  std::vector<Verdict>
      accusations;  ///< of a seed's first duels that another arm made useless: which one and why
  std::vector<std::string> waiting_for;  ///< request ids sent and not answered
  int duels_sent = 0;
  std::string error;  ///< no result came and none will
  // Candidates that an agent evaluates inside its variation:
  bool is_inside = false;          ///< and the variation is open: goes only as far as is wished
  bool is_left = false;            ///< the variation is over and submitted another one
  std::optional<InsideStep> wish;  ///< how far to go now; empty: rests
  std::optional<Examination>
      compiled;  ///< of an examination that was to end after the compile, and got there
};

/// A verdict's reason where an examination ended at the stage that it was asked to end at.
inline constexpr const char* k_stopped_as_asked = "stopped_as_asked";
/// Of a duel that another arm than the first made useless: it says nothing of the candidate.
inline constexpr const char* k_arm_unusable = "arm_unusable";

/// True if another arm made the course's first duel useless, and no other duel has come of it yet.
bool is_spoilt(const Course& course);

/// The course that the evaluations of a candidate amount to.
Course course_of(const CandidateRecord& record, const std::vector<EvaluationRecord>& evaluations);

/// What placing depends on besides the course.
struct PlacementContext {
  const Grid& grid;
  const std::vector<Champion>& champions;
  std::string baseline_id;
  std::map<std::string, double> weights;  ///< of bench workloads
  EliteRule rule;
  bool confirms_eagerly = false;  ///< batches: ask for the confirmation together with the duel
  /// Whoever would enter the archive is first examined once more, on inputs of its own, with the costly stages. With
  /// `confirms_eagerly` the first examination has them.
  bool wants_thorough = false;
  /// Of a run that leaves out duels by modelled times: how the candidate stands. It decides about a first duel alone.
  std::optional<Standing> standing = {};
};

struct NeedsExamination {
  bool is_thorough = false;     ///< the costly stages too
  std::string last_stage = {};  ///< empty: all
};
struct Waits {};
/// `arms`: candidate ids of the opponents.
struct NeedsDuel {
  std::vector<std::string> arms;
  bool is_confirmation = false;
  bool wants_confirmation_at_once = false;
};
struct Ends {
  Outcome outcome;
};
using NextStep = std::variant<NeedsExamination, Waits, NeedsDuel, Ends>;

/// Duels that one candidate may have against one incumbent before it is told as it stands.
inline constexpr int k_duels_max = 8;
/// Opponents in one duel.
inline constexpr std::size_t k_opponents_max = 7;

/// True if what is wished of an inner candidate is there.
bool has_wish(const Course& course);

/// The next step. REQUIRES: context.baseline_id is known unless the examination is missing or failed.
NextStep next_step(const Course& course, const PlacementContext& context);

/// The fastest of the seeds that `courses` (passed and dueled against each other) hold: the run's baseline. By the
/// first one's duel: the arm with the greatest pooled log ratio against it, or itself.
std::string fastest_seed(const std::vector<const Course*>& courses,
                         const std::map<std::string, double>& weights);

/// The duel with the arms of `request` renamed: the opponent `id` becomes `label`. An arm can play several roles.
Duel with_role(Duel duel, const std::string& id, const std::string& label);

/// Speed-up of the candidate over the arm `baseline_id`, geometric mean by weight; 0 if that arm is missing.
double speedup_over(const Duel& duel, const std::string& baseline_id,
                    const std::map<std::string, double>& weights);

/// Weights of the bench workloads.
std::map<std::string, double> workload_weights(const Task& task);

}  // namespace kernelites
