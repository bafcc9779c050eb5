// SPDX-License-Identifier: Apache-2.0
// The rows of run.db as values: one struct per table (archive/schema.sql says what each column means).
//
// A member, its JSON key and its SQL column have one name. Times `*_unix_s` are seconds since 1970 by the
// caller's clock; nothing in the archive reads a clock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/candidate.h"
#include "engine/core/evaluation.h"
#include "engine/core/json.h"

namespace kernelites {

/// `run`: what a run is, fixed at its start, except `state` and `wall_s`.
struct RunRecord {
  std::uint64_t seed = 0;
  std::string task;
  std::string task_digest;
  Json task_document;
  std::string reference_source;
  Json configuration;
  double started_unix_s = 0;
  std::string state =
      "running";      ///< running, waiting (for a batch or a person), stopped (a budget, Ctrl-C), done
  double wall_s = 0;  ///< wall clock over all sessions, as last told by `set_wall_s`
  std::string model_key =
      {};  ///< in hex: DuelRequest::model_key of the run's duels; empty: of an older version
};

/// `variation`: one ask. Written before its first model call, so that a resumed run asks exactly this again.
struct VariationRecord {
  std::uint64_t ordinal = 0;
  int generation = 0;
  std::string operator_name;              ///< "seed", "refine", "tune", ...
  std::string endpoint;                   ///< empty: no model takes part
  std::vector<std::string> parents;       ///< candidate ids; the first is the one whose failures are fed back
  std::vector<std::string> inspirations;  ///< candidate ids, in prompt order
  Json decision = Json::object();         ///< what else the choice was (bandit arm, tunables, ...)
  std::string state = "open";             ///< open, submitted, rejected
  double created_unix_s = 0;
  std::string prompt_version = {};  ///< of the operator's prompt files; empty: no prompt
};

/// `candidate`: what a variation submitted. Recorded before anything is spent on it.
struct CandidateRecord {
  std::uint64_t ordinal = 0;    ///< of its variation, unless an agent evaluates inside one
  std::string id;               ///< candidate_id(candidate)
  std::uint64_t variation = 0;  ///< ordinal of the variation it came from
  Candidate candidate;
  std::string summary;
  std::string prompt_digest;  ///< empty: no prompt
  double created_unix_s = 0;
  // Kept by the archive, ignored when recording:
  std::string state = "proposed";  ///< proposed, examining, examined, dueling, done
  std::string outcome;             ///< what `tell` said: a name of InsertStatus or another code
  std::int64_t told = 0;           ///< 1, 2, ... in the order of `tell`; 0: not told
  double told_unix_s = 0;
  int generation = 0;  ///< of the variation, as are the next three
  std::string operator_name;
  std::string endpoint;
  std::vector<std::string> parents;
};

/// `evaluation`: one request to a worker and, once answered, its reply.
struct EvaluationRecord {
  std::string request_id;         ///< unique within a run: no reply counts twice
  std::uint64_t ordinal = 0;      ///< of the candidate
  std::string verb;               ///< examine, duel
  Json request = Json::object();  ///< what is needed to send it again: arms, workloads, rounds; never a key
  double sent_unix_s = 0;
  // Filled in by the reply:
  std::string state = "sent";  ///< sent, answered, failed
  std::string error;           ///< why no result came (failed)
  Provenance provenance;
  double worker_s = 0;
  double device_s = 0;
  std::optional<Examination> examination;
  std::optional<Duel> duel;
};

/// `model_call`: one call of a model, recorded when it is sent and again when it ends.
struct ModelCallRecord {
  std::string request_id;     ///< ModelRequest::id
  std::uint64_t ordinal = 0;  ///< of the variation
  int attempt = 1;
  std::string endpoint;
  std::string prompt_digest;
  Json prompt;  ///< the messages: [{"role": ..., "text": ...}], with tool calls where there are any
  double sent_unix_s = 0;
  Json extras = Json::object();  ///< what the request asks for besides: tools, schema, effort
  Json cuts = Json::array();     ///< what was left out of the prompt
  std::int64_t tokens_estimated = 0;
  double usd_reserved = 0;       ///< set aside when it was sent
  std::int64_t tokens_most = 0;  ///< what it can have cost at most, while it is under way too
  double usd_most = 0;
  // Filled in by the answer:
  std::string state = "sent";  ///< sent, answered, failed
  std::string model;
  std::string reply;
  std::int64_t input_tokens = 0;
  std::int64_t cached_input_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t reasoning_tokens = 0;    ///< part of the output
  std::int64_t cache_write_tokens = 0;  ///< part of the input
  double usd = 0;
  bool is_estimated = false;
  double latency_s = 0;
  std::string failure;  ///< code; empty: answered
  std::string message;
  std::string finish;
  Json tool_calls = Json::array();
};

/// `inside_result`: what an agent was told of one evaluation.
struct InsideResultRecord {
  std::uint64_t variation = 0;
  std::int64_t position = 0;  ///< 0, 1, ... in the order asked
  std::string candidate_id;
  std::string step;
  Json result;
};

/// `rejection`: a variation that gave no candidate.
struct RejectionRecord {
  std::uint64_t ordinal = 0;
  std::string reason;
  std::string message;
};

/// `prompt_version`: an operator's prompt as a model rewrote its regions.
struct PromptVersionRecord {
  std::string version;  ///< as VariationRecord::prompt_version
  std::string operator_name;
  std::string parent;             ///< the version that was edited
  std::uint64_t ordinal = 0;      ///< of the variation in which it was written
  Json regions = Json::object();  ///< region -> text, all of the operator's
  std::string state = "live";     ///< live, retired
  double created_unix_s = 0;
};

/// `champion`: the fastest proven candidate of one bench workload.
struct Champion {
  std::string workload;
  std::uint64_t ordinal = 0;
  std::string candidate_id;
  double speedup = 0;  ///< against the baseline at this workload
  ArmTiming timing;
  std::string duel_id;  ///< request id of the duel that says so
  bool operator==(const Champion& other) const {
    return workload == other.workload && ordinal == other.ordinal;
  }
};

/// What a run has used up: what budgets are compared with.
struct Spent {
  std::int64_t candidates = 0;  ///< recorded, seeds included
  std::int64_t seeds = 0;
  std::int64_t model_calls = 0;  ///< ended; those in flight are unknown
  std::int64_t input_tokens = 0;
  std::int64_t cached_input_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t reasoning_tokens = 0;
  std::int64_t cache_write_tokens = 0;
  double usd = 0;
  std::int64_t tokens_most = 0;  ///< input + output at most, with all calls that are under way
  double usd_most = 0;           ///< in the same way
  double worker_s = 0;
  double device_s = 0;
  double wall_s = 0;
};

/// How many rows there are of what.
struct Counters {
  std::int64_t variations = 0;
  std::int64_t rejections = 0;
  std::int64_t candidates = 0;
  std::int64_t examined = 0;  ///< candidates with an answered examination
  std::int64_t passed = 0;    ///< of those, passed
  std::int64_t dueled = 0;    ///< candidates with an answered duel
  std::int64_t told = 0;
  std::int64_t distinct_codes = 0;   ///< machine codes that examinations compiled
  std::int64_t duplicate_codes = 0;  ///< candidates that compiled to a known one, and were not timed
  std::int64_t events = 0;
};

}  // namespace kernelites
