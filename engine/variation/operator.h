// SPDX-License-Identifier: Apache-2.0
// The seam of variation: an operator is a small state machine that asks for things; only the loop acts.
#pragma once

#include <functional>
#include <map>
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
#include "engine/variation/agent_limits.h"
#include "engine/variation/lesson.h"
#include "engine/variation/prompt_budget.h"
#include "engine/variation/prompt_study.h"
#include "engine/variation/tune_model.h"

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
  std::optional<PairedRatio> over_parent =
      {};  ///< paired, over bench workloads; only where the parent was an arm
};

/// One step of the parent's ancestry, for agents that ask.
struct Ancestor {
  Specimen specimen;
  std::string summary;
  int generation = 0;
};

/// What an operator starts from.
struct VariationInput {
  const Task& task;  ///< outlives the operator
  DeviceFacts device;
  Specimen parent;
  std::optional<Specimen> second_parent = {};  ///< crossover: of another cell; port: the workload's champion
  std::string target_cell = {};                ///< target: the cell to reach, as the grid names it
  std::string target_workload = {};            ///< port: the bench workload to become fast at
  std::vector<Specimen> inspirations;          ///< elites of other cells, best first
  std::vector<Specimen> failures;              ///< recent failed children of this parent, newest first
  std::vector<std::string> rejections;         ///< reasons of recent unusable replies, newest first
  std::function<bool(const Candidate&)>
      is_known;                             ///< has been evaluated or is about to be; empty: nothing is known
  std::vector<Ancestor> lineage;            ///< the parent's ancestors, its own parent first, a seed last
  std::vector<TunedPoint> tuned = {};       ///< tune: tunings of the parent's source that were evaluated
  std::optional<PromptStudy> study = {};    ///< meta: whose prompt is rewritten
  LessonReader lessons;                     ///< of earlier runs; empty: there are none
  std::vector<std::string> hints;           ///< lines of the person who watches the run
  std::int64_t prompt_tokens_max = 48'000;  ///< prompts are trimmed to this estimate
  int output_tokens_max = 16'384;
  AgentLimits agent;
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
/// What came of one wish.
struct InsideResult {
  Specimen specimen;       ///< as far as the step brought it
  std::string refusal;     ///< not empty: nothing was evaluated, and why, in words
  bool is_reused = false;  ///< another variation had it evaluated before
  double device_s = 0;     ///< what it cost beyond what was told of this candidate before
};
struct Evaluated {
  std::vector<InsideResult> results;  ///< in the order of the wishes
};
using Observation = std::variant<Started, ModelAnswered, Evaluated>;

struct CallModel {
  ModelRequest request;               ///< id and ordinal are filled in by the loop
  std::vector<SectionCut> cuts = {};  ///< what was left out of the prompt
};
/// How far an inner evaluation goes. `check` includes `compile`; `profile` (hardware counters, where the device has
/// them) and `time` include `check`.
enum class InsideStep { compile, check, profile, time };
const char* inside_step_name(InsideStep step);
struct InsideWish {
  Candidate candidate;
  InsideStep step = InsideStep::check;
  std::string summary;
};
/// Inner evaluations (agents), all under way together: each is a recorded candidate; the results come back as
/// Evaluated, when all are there. REQUIRES: at least one, of different candidates.
struct EvaluateInside {
  std::vector<InsideWish> wishes;
};
struct Submit {
  Proposal proposal;
};
/// Other texts for the regions of an operator's prompt (prompt_regions.h): all of them.
struct SubmitPrompt {
  std::string operator_name;
  std::map<std::string, std::string> regions;
};
struct GiveUp {
  Rejection rejection;
};
using Action = std::variant<CallModel, EvaluateInside, Submit, SubmitPrompt, GiveUp>;

/// One variation in progress. `next` is called once with Started, then with the answer to each action until
/// it returns Submit, SubmitPrompt or GiveUp.
class Operator {
 public:
  virtual ~Operator() = default;
  virtual Action next(const Observation& observation) = 0;
};

}  // namespace kernelites
