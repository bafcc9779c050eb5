// SPDX-License-Identifier: Apache-2.0
// The seam of variation: an operator is a small state machine that asks for things; only the loop acts.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/core/candidate.h"
#include "engine/core/device_facts.h"
#include "engine/core/evaluation.h"
#include "engine/core/rng.h"
#include "engine/core/task.h"
#include "engine/llm/endpoint.h"

namespace kernelites {

/// An evaluated candidate as operators and prompts see it.
struct Specimen {
  std::string id;
  Candidate candidate;
  std::string operator_name;
  Verdict verdict;
  Examination examination;
  std::optional<Duel> duel;
  double speedup = 0;  ///< geometric mean against the baseline over bench workloads; 0: not timed
};

/// What an operator starts from.
struct VariationInput {
  const Task& task;  ///< outlives the operator
  DeviceFacts device;
  Specimen parent;
  std::vector<Specimen> inspirations;   ///< elites of other cells, best first
  std::vector<Specimen> failures;       ///< recent failed children of this parent, newest first
  std::vector<std::string> rejections;  ///< reasons of recent unusable replies, newest first
  std::function<bool(const Candidate&)>
      is_known;  ///< has been evaluated or is about to be; empty: nothing is known
};

/// A candidate that wants to be evaluated.
struct Proposal {
  Candidate candidate;
  std::string summary;  ///< one line: what was changed and why, in the model's words, never executed
};

/// Why no candidate came out of a reply. Counted and fed back.
struct Rejection {
  std::string reason;  ///< code: "no_code_block", "edit_does_not_apply", "too_long", "duplicate", ...
  std::string message;
};

// --- what the loop tells an operator (Observation) and what it asks for (Action) ---

struct Started {};
struct ModelAnswered {
  ModelReply reply;
};
struct Evaluated {
  Specimen specimen;
};
using Observation = std::variant<Started, ModelAnswered, Evaluated>;

struct CallModel {
  ModelRequest request;  ///< id and ordinal are filled in by the loop
};
struct EvaluateInside {  ///< an inner evaluation (agents); the result comes back as Evaluated
  Candidate candidate;
};
struct Submit {
  Proposal proposal;
};
struct GiveUp {
  Rejection rejection;
};
using Action = std::variant<CallModel, EvaluateInside, Submit, GiveUp>;

/// One variation in progress. `next` is called once with Started, then with the answer to each action until
/// it returns Submit or GiveUp.
class Operator {
 public:
  virtual ~Operator() = default;
  virtual Action next(const Observation& observation) = 0;
};

}  // namespace kernelites
