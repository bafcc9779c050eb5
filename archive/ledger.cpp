// SPDX-License-Identifier: Apache-2.0
// Sums over the tables of a run; nothing is kept besides the rows themselves.
#include "archive/ledger.h"

#include <fmt/format.h>

#include <array>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "archive/archive.h"
#include "engine/core/error.h"

namespace kernelites {
namespace {

constexpr const char* k_call_sums =
    "count(*), coalesce(sum(state = 'failed'), 0), coalesce(sum(input_tokens), 0), "
    "coalesce(sum(cached_input_tokens), 0), coalesce(sum(cache_write_tokens), 0), "
    "coalesce(sum(output_tokens), 0), "
    "coalesce(sum(reasoning_tokens), 0), coalesce(sum(usd), 0.0), coalesce(sum(latency_s), 0.0)";

CallSums read_sums(const Statement& row) {
  return {.calls = row.integer(0),
          .failed = row.integer(1),
          .input_tokens = row.integer(2),
          .cached_input_tokens = row.integer(3),
          .cache_write_tokens = row.integer(4),
          .output_tokens = row.integer(5),
          .reasoning_tokens = row.integer(6),
          .usd = row.real(7),
          .latency_s = row.real(8)};
}

/// Sums by arm in one pass over each table, whatever the number of arms: all but variations are read from covering
/// indices, in the order of their ordinals.
class ArmSums {
 public:
  explicit ArmSums(Database& database) : database_(database) {
    read_variations();
    read_candidates();
    read_evaluations();
    read_calls();
    each("SELECT ordinal FROM rejection", [](const Statement&, ArmLedger& arm) { ++arm.rejections; });
    for (const auto& [ordinal, newest] : newest_)
      if (newest.is_passed && ended_.contains(ordinal)) ++arms_[candidate_arm_.at(ordinal)].passed;
  }

  /// By operator, endpoint and prompt version.
  std::vector<ArmLedger> take() {
    std::vector<ArmLedger> sorted;
    for (const auto& [name, at] : index_) sorted.push_back(std::move(arms_[at]));
    return sorted;
  }

 private:
  struct Newest {
    std::int64_t id = 0;
    bool is_passed = false;
  };

  /// `take` for every row whose first column is a variation's ordinal.
  template <typename Take>
  void each(const char* sql, Take take) {
    Statement rows = database_.prepare(sql);
    while (rows.step())
      if (const auto arm = variation_arm_.find(rows.integer(0)); arm != variation_arm_.end())
        take(rows, arms_[arm->second]);
  }

  void read_variations() {
    Statement rows = database_.prepare(
        "SELECT ordinal, operator_name, endpoint, prompt_version, created_unix_s FROM variation ORDER BY "
        "ordinal");
    while (rows.step()) {
      const std::array<std::string, 3> name{rows.text(1), rows.text(2), rows.text(3)};
      const auto [found, is_new] = index_.try_emplace(name, arms_.size());
      if (is_new)
        arms_.push_back(
            {.operator_name = name[0], .endpoint = name[1], .prompt_version = name[2], .calls = {}});
      ++arms_[found->second].variations;
      variation_arm_[rows.integer(0)] = found->second;
      created_[rows.integer(0)] = rows.real(4);
    }
  }

  void read_candidates() {
    each("SELECT variation, ordinal, told, outcome, told_unix_s FROM candidate ORDER BY variation",
         [&](const Statement& row, ArmLedger& arm) {
           ++arm.candidates;
           candidate_arm_[row.integer(1)] = static_cast<std::size_t>(&arm - arms_.data());
           if (!row.is_null(2) && row.text(3) != "unfinished") ended_.insert(row.integer(1));
           if (row.real(4) > 0) arm.wall_s += row.real(4) - created_.at(row.integer(0));
         });
    Statement steps =
        database_.prepare("SELECT ordinal FROM elite_history WHERE status IN ('added', 'improved')");
    while (steps.step())
      if (const auto arm = candidate_arm_.find(steps.integer(0)); arm != candidate_arm_.end())
        ++arms_[arm->second].elites;
  }

  void read_evaluations() {
    Statement rows = database_.prepare(
        "SELECT ordinal, id, state, is_passed, worker_s, device_s FROM evaluation ORDER BY ordinal");
    while (rows.step()) {
      const auto arm = candidate_arm_.find(rows.integer(0));
      const std::string state = rows.text(2);
      if (arm == candidate_arm_.end() || state == "sent") continue;
      arms_[arm->second].worker_s += rows.real(4);
      arms_[arm->second].device_s += rows.real(5);
      Newest& newest = newest_[rows.integer(0)];
      if (state == "answered" && rows.integer(1) > newest.id)
        newest = {.id = rows.integer(1), .is_passed = rows.integer(3) != 0};
    }
  }

  void read_calls() {
    each(
        "SELECT ordinal, state = 'failed', input_tokens, cached_input_tokens, cache_write_tokens, "
        "output_tokens, "
        "reasoning_tokens, usd, latency_s FROM model_call WHERE state <> 'sent' ORDER BY ordinal",
        [](const Statement& row, ArmLedger& arm) {
          ++arm.calls.calls;
          arm.calls.failed += row.integer(1);
          arm.calls.input_tokens += row.integer(2);
          arm.calls.cached_input_tokens += row.integer(3);
          arm.calls.cache_write_tokens += row.integer(4);
          arm.calls.output_tokens += row.integer(5);
          arm.calls.reasoning_tokens += row.integer(6);
          arm.calls.usd += row.real(7);
          arm.calls.latency_s += row.real(8);
        });
  }

  Database& database_;
  std::vector<ArmLedger> arms_;
  std::map<std::array<std::string, 3>, std::size_t> index_;
  std::unordered_map<std::int64_t, std::size_t> variation_arm_, candidate_arm_;  // by ordinal
  std::unordered_map<std::int64_t, double> created_;                             // variations
  std::unordered_set<std::int64_t> ended_;           // candidates that are told and not unfinished
  std::unordered_map<std::int64_t, Newest> newest_;  // answered evaluation of a candidate
};

}  // namespace

std::vector<ChildCount> Archive::child_counts() const {
  std::vector<ChildCount> counts;
  Statement rows = database_.prepare(
      "SELECT p.parent_id, v.operator_name, count(*) FROM variation_parent p JOIN variation v USING "
      "(ordinal) "
      "WHERE p.role = 'parent' AND p.position = 0 GROUP BY 1, 2 ORDER BY 1, 2");
  while (rows.step()) counts.push_back({rows.text(0), rows.text(1), static_cast<int>(rows.integer(2))});
  return counts;
}

std::vector<ArmLedger> Archive::arms() const { return ArmSums(database_).take(); }

CandidateLedger Archive::cost_of(std::uint64_t ordinal) const {
  CandidateLedger ledger;
  Statement calls =
      database_.prepare(fmt::format("SELECT {} FROM model_call WHERE state <> 'sent' AND ordinal = "
                                    "(SELECT variation FROM candidate WHERE ordinal = ?1)",
                                    k_call_sums));
  if (calls.bind(ordinal).step()) ledger.calls = read_sums(calls);
  Statement evaluations = database_.prepare(
      "SELECT coalesce(sum(worker_s), 0.0), coalesce(sum(device_s), 0.0) FROM evaluation WHERE state <> "
      "'sent' AND "
      "ordinal = ?1");
  if (evaluations.bind(ordinal).step()) {
    ledger.worker_s = evaluations.real(0);
    ledger.device_s = evaluations.real(1);
  }
  Statement wall = database_.prepare(
      "SELECT c.told_unix_s - v.created_unix_s FROM candidate c JOIN variation v ON v.ordinal = c.variation "
      "WHERE c.ordinal = ?1 AND c.told_unix_s > 0");
  if (wall.bind(ordinal).step()) ledger.wall_s = wall.real(0);
  return ledger;
}

double Archive::usd_of(std::uint64_t variation) const {
  Statement sum = database_.prepare(
      "SELECT coalesce(sum(usd), 0.0) FROM model_call WHERE state <> 'sent' AND ordinal = ?1");
  const bool has_row = sum.bind(variation).step();  // a sum always is one
  KERNELITES_ASSERT(has_row);
  return sum.real(0);
}

void to_json(Json& json, const CallSums& sums) {
  json = {{"calls", sums.calls},
          {"failed", sums.failed},
          {"input_tokens", sums.input_tokens},
          {"cached_input_tokens", sums.cached_input_tokens},
          {"cache_write_tokens", sums.cache_write_tokens},
          {"output_tokens", sums.output_tokens},
          {"reasoning_tokens", sums.reasoning_tokens},
          {"usd", sums.usd},
          {"latency_s", sums.latency_s}};
}

void to_json(Json& json, const ArmLedger& arm) {
  json = {{"operator_name", arm.operator_name},
          {"endpoint", arm.endpoint},
          {"prompt_version", arm.prompt_version},
          {"variations", arm.variations},
          {"rejections", arm.rejections},
          {"candidates", arm.candidates},
          {"passed", arm.passed},
          {"elites", arm.elites},
          {"calls", arm.calls},
          {"worker_s", arm.worker_s},
          {"device_s", arm.device_s},
          {"wall_s", arm.wall_s}};
}

void to_json(Json& json, const CandidateLedger& candidate) {
  json = {{"calls", candidate.calls},
          {"worker_s", candidate.worker_s},
          {"device_s", candidate.device_s},
          {"wall_s", candidate.wall_s}};
}

}  // namespace kernelites
