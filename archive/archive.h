// SPDX-License-Identifier: Apache-2.0
// The archive of a run: the only writer of `run.db`, one transaction per operation, no state outside the
// file.
//
// Reopening is resuming. What was asked, submitted, sent, answered and told is in the database before
// anything depends on it (invariant 6), so a process killed at any instant leaves a file that says exactly
// what is still to be done: `open_variations`, `open_model_calls`, `unfinished_candidates` and
// `outstanding_requests`. A reply is matched by its request id and counts once, however often it arrives. The
// format is archive/schema.sql.
//
// One process writes: it holds a lock on `run.lock` beside the database, which the system drops when the
// process ends. Any number may read at the same time. All operations throw Error when the disk or the
// database fails.
#pragma once

#include <filesystem>
#include <map>
#include <memory>

#include "archive/database.h"
#include "archive/elite_rule.h"
#include "archive/grid.h"
#include "archive/ledger.h"
#include "archive/records.h"
#include "engine/core/digest.h"
#include "engine/core/effect.h"

namespace kernelites {

/// What people type of an id: "show RUN 3fa4".
inline constexpr std::size_t k_id_prefix_min = 4;

/// The end of a candidate's way: what became of it, told once.
struct Outcome {
  std::uint64_t ordinal = 0;
  std::string status;               ///< insert_status_name(...), or another code ("duplicate_code", ...)
  std::optional<Elite> elite;       ///< the candidate as its cell's new elite
  std::vector<Champion> champions;  ///< the workloads it is now champion of
  double told_unix_s = 0;
};

/// A candidate with its newest answered evaluations.
struct EvaluatedCandidate {
  CandidateRecord record;
  std::optional<EvaluationRecord> examination;
  std::optional<EvaluationRecord> duel;
};

/// That a candidate was told.
struct Telling {
  std::uint64_t ordinal = 0;
  bool is_seed = false;
  bool is_placed = false;  ///< it entered a cell
};

/// How far back some queries look.
inline constexpr int k_children_searched = 64;
inline constexpr int k_tellings_searched = 512;

/// Variations of one operator with the same first parent.
struct ChildCount {
  std::string parent_id;
  std::string operator_name;
  int count = 0;
};

/// One step of a cell's history.
struct EliteStep {
  std::int64_t sequence = 0;
  std::string status;  ///< added, improved, renewed, withdrawn
  Elite elite;         ///< who entered or (withdrawn) left
  std::string reason;  ///< why it was withdrawn
};

class RunLock;

class Archive {
 public:
  /// Makes `<folder>/run.db` and records the run. Throws ConfigError if there is one already or it is in use.
  static Archive create(const std::filesystem::path& folder, const RunRecord& run);
  /// Opens for writing: resumes. Throws ConfigError, and changes nothing, if there is no run, another process
  /// writes it, the file is no database, belongs to another program or was written by a newer version.
  static Archive open(const std::filesystem::path& folder);
  /// Opens for reading: whatever is read is of the instant of this call, whoever writes meanwhile. Throws ConfigError
  /// as `open` does, save for the lock.
  static Archive open_read_only(const std::filesystem::path& folder);
  /// True if `folder` holds a recorded run.
  static bool exists(const std::filesystem::path& folder);

  Archive(Archive&&) noexcept;
  ~Archive();

  // --- ask: recorded before anything is spent ---

  /// One more than the highest ordinal of any variation or candidate; the first is 1.
  std::uint64_t next_ordinal() const;
  /// ENSURES: state open. Parents and inspirations must be recorded candidates.
  void record_variation(const VariationRecord& variation);
  /// Before it is sent. A second record of one request id is an Error.
  void record_model_call(const ModelCallRecord& call);
  /// A call that was under way is made again, and may be charged a second time: its bounds grow.
  void record_model_call_again(const std::string& request_id, std::int64_t tokens_most, double usd_most);
  /// The end of a call, by `call.request_id`; reads the members below "filled in by the answer" except state.
  /// False, and nothing changes, if it has ended before.
  bool record_model_reply(const ModelCallRecord& call);
  /// Closes the variation without a candidate.
  void record_rejection(const RejectionRecord& rejection);
  /// Records what the variation submitted and closes it if the ordinals agree. False, and nothing changes, if
  /// a candidate of this content is known already: the caller rejects it as duplicate.
  bool record_candidate(const CandidateRecord& candidate);
  /// A candidate that an agent left unfinished now belongs to `variation` and is open again. False, and nothing
  /// changes, if its outcome is another.
  bool take_up(std::uint64_t ordinal, std::uint64_t variation);
  /// Replaces one of the same variation and position.
  void record_inside_result(const InsideResultRecord& result);
  /// Closes a variation whose submission is the candidate `submitted` that it evaluated inside, so that no new one was
  /// recorded: its `decision` says so.
  void close_variation(std::uint64_t ordinal, std::uint64_t submitted);

  /// Closes the variation that wrote it: its `decision` names the version. False, and nothing changes, if there is one
  /// of this name already.
  bool record_prompt_version(const PromptVersionRecord& version);
  /// The version is not used for new variations any more.
  void retire_prompt_version(const std::string& version);

  // --- evaluate ---

  /// Before it is sent. A second record of one request id is an Error; a resumed run sends outstanding ones
  /// again under their old id without recording them.
  void record_request_sent(const EvaluationRecord& evaluation);
  /// The reply to an `examine`. False, and nothing changes, if the request has been answered before.
  bool record_examination(const std::string& request_id, const Examination& examination,
                          const Provenance& provenance, double worker_s, double device_s);
  /// The reply to a `duel`, in the same way.
  bool record_duel(const std::string& request_id, const Duel& duel, const Provenance& provenance,
                   double worker_s, double device_s);
  /// No result came and none will under this id; what it cost still counts.
  bool record_request_failed(const std::string& request_id, const std::string& error, double worker_s,
                             double device_s);

  // --- tell ---

  /// History, elite, champions and the candidate's end in one transaction. False, and nothing changes, if the
  /// candidate was told before.
  bool tell(const Outcome& outcome);
  /// A stale elite proven and timed again: same candidate, new provenance, speed-up and duel; fitness may
  /// change.
  void renew_elite(const Elite& elite);
  /// Empties a cell whose elite was disproved, and takes the candidate's championships away.
  void withdraw_elite(const std::string& cell, const std::string& reason);

  /// What the run knows of earlier ones, in place of what it knew: before anything is asked.
  void record_imported_effects(const EffectSet& effects);
  /// `event` is an object with a member "event" and, where it concerns a candidate, "ordinal". Returns its
  /// sequence.
  std::int64_t append_event(const Json& event);
  /// What was written survives a power cut from here on. A killed process loses nothing in any case: call this a few
  /// times a second, not after every write. False if nothing was written since the last call.
  bool sync();
  void set_state(const std::string& state);
  void set_wall_s(double wall_s);
  /// Of a run that has none yet: an older version began it.
  void set_model_key(const Key& key);
  /// The budget's limits in the recorded configuration, for a run that goes on with others.
  void set_budget(const Json& budget);

  // --- read ---

  RunRecord run() const;
  EffectSet imported_effects() const;
  /// Whether an operator of this name was asked to start from the candidate, in whatever came of it.
  bool was_asked(const std::string& operator_name, const std::string& parent_id) const;
  Spent spent() const;
  Counters counters() const;

  std::vector<VariationRecord> open_variations() const;
  std::vector<ModelCallRecord> open_model_calls() const;
  std::optional<InsideResultRecord> inside_result(std::uint64_t variation, std::int64_t position) const;
  /// Not told, by ordinal.
  std::vector<CandidateRecord> unfinished_candidates() const;
  /// Sent and neither answered nor failed, in the order sent.
  std::vector<EvaluationRecord> outstanding_requests() const;

  std::optional<VariationRecord> variation(std::uint64_t ordinal) const;
  std::optional<CandidateRecord> candidate(std::uint64_t ordinal) const;
  /// By id or by an unambiguous prefix of at least k_id_prefix_min characters.
  std::optional<CandidateRecord> find_candidate(const std::string& id) const;
  /// All, by ordinal.
  std::vector<CandidateRecord> candidates() const;
  /// Of all candidates and rejections, in order.
  std::vector<std::uint64_t> proposed_ordinals() const;
  /// Those of operator "seed", by ordinal.
  std::vector<CandidateRecord> seeds() const;
  /// In the order told, after `after`: a bandit replays its rewards from these.
  std::vector<CandidateRecord> told_candidates(std::int64_t after = 0) const;
  /// All tellings, without what was told of: sources are long.
  std::vector<Telling> tellings() const;
  std::optional<EvaluatedCandidate> evaluated(std::uint64_t ordinal) const;
  /// The highest `told`; 0 if nothing was told.
  std::int64_t last_told() const;
  /// Told candidates of this very source, whatever their tuning, with `told` up to `told_max`, newest first.
  std::vector<EvaluatedCandidate> tunings(const std::string& source, std::int64_t told_max, int limit) const;
  /// All requests of a candidate, in the order sent.
  std::vector<EvaluationRecord> evaluations(std::uint64_t ordinal) const;
  /// Of the first examination that was answered.
  std::optional<Provenance> first_provenance() const;
  /// How many requests of a candidate are duels with itself (`is_null` in the request).
  std::int64_t null_duels(std::uint64_t ordinal) const;
  /// Another candidate that passed and compiled to the same code, if there is one that makes timing `other_than`
  /// useless: an earlier one, or a later one whose duel was sent already. Equal code is never timed twice.
  std::optional<std::uint64_t> first_with_code(const std::string& code_digest,
                                               std::uint64_t other_than) const;
  /// Told children of `parent_id` (as first parent) that failed, newest first; of its last k_children_searched
  /// variations, so that a parent of thousands costs no more than one of few.
  std::vector<EvaluatedCandidate> recent_failures(const std::string& parent_id, int limit) const;
  /// Rejections of variations whose first parent is `parent_id`, newest first; of as many.
  std::vector<RejectionRecord> recent_rejections(const std::string& parent_id, int limit) const;
  std::vector<RejectionRecord> rejections() const;
  std::optional<RejectionRecord> rejection(std::uint64_t ordinal) const;
  /// First parents of the variations that were rejected for `reason`.
  std::vector<std::string> parents_rejected_for(const std::string& reason) const;
  /// How many variations have which first parent, by operator: open ones count.
  std::vector<ChildCount> child_counts() const;
  /// Told candidates that failed and that no variation of operator "repair" has started from, newest first; of the last
  /// k_tellings_searched that were told.
  std::vector<CandidateRecord> repairable(int limit) const;
  /// All, in the order recorded.
  std::vector<PromptVersionRecord> prompt_versions() const;
  /// Variations of the operator under this version that are over (told or rejected), newest first.
  std::vector<std::uint64_t> variations_under(const std::string& operator_name, const std::string& version,
                                              int limit) const;
  /// How many are over, by version. Reads all of the operator's.
  std::map<std::string, std::int64_t> variations_by_version(const std::string& operator_name) const;
  /// Of this operator, open ones too.
  std::vector<VariationRecord> variations_of(const std::string& operator_name) const;
  /// What each arm has cost and brought, by operator, endpoint and prompt version.
  std::vector<ArmLedger> arms() const;
  /// What one candidate has cost, with the calls of its variation.
  CandidateLedger cost_of(std::uint64_t ordinal) const;
  /// What the calls of one variation cost.
  double usd_of(std::uint64_t variation) const;
  /// From the candidate back along first parents to a seed, the candidate first. Throws Error if it does not end.
  std::vector<CandidateRecord> lineage(std::uint64_t ordinal) const;
  std::vector<ModelCallRecord> model_calls(std::uint64_t ordinal) const;
  /// Answered or failed, in the order sent.
  std::vector<ModelCallRecord> ended_model_calls() const;

  /// Of the grid: those that the configuration names, `k_axes` where it names none (runs before there was a choice).
  std::vector<Axis> axes() const;
  Grid grid() const;
  /// Steps after the one with sequence `after`.
  std::vector<EliteStep> elite_history(std::int64_t after = 0) const;
  /// By workload name.
  std::vector<Champion> champions() const;
  /// Events after `after`, at most `limit`.
  std::vector<Json> events(std::int64_t after, int limit) const;

 private:
  friend std::string dump(const Archive& archive);  // reads every table in its own order
  Archive(std::unique_ptr<RunLock> lock, Database database);
  bool record_result(const EvaluationRecord& result);
  /// Keeps the cached sums in step with what was just committed.
  template <typename Change>
  void change_spent(Change change) {
    if (spent_) change(*spent_);
  }

  std::unique_ptr<RunLock> lock_;  // released after the database is closed
  mutable Database database_;
  std::int64_t synced_changes_ = 0;
  mutable std::optional<Spent> spent_;  // of a writer: summed once, then kept in step
};

}  // namespace kernelites
