// SPDX-License-Identifier: Apache-2.0
// The harness as an environment: a kernel to be made faster, and an answer to every attempt.
//
// Requests and answers are JSON objects, one a line (docs/dataset.md). A request has "command": "reset", "step" or
// "close", and may have an "id" that its answer repeats. What is wrong with a request is said in an answer of its own
// and changes nothing. Every evaluation draws its inputs and hidden shapes anew from the operating system's
// randomness: nothing that an earlier step was told helps against the next one.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/core/json.h"
#include "engine/search/seeds.h"
#include "engine/variation/operator.h"
#include "engine/variation/prompt_library.h"
#include "evaluators/protocol/protocol.h"
#include "tools/dataset/step_reward.h"

namespace kernelites {

/// What episodes are made of. Borrows task and prompts.
struct EpisodeSettings {
  const Task& task;
  const PromptLibrary& prompts;
  std::vector<Seed> seeds;  ///< where episodes begin; at least one
  DeviceFacts device;
  std::string operator_name = "refine";  ///< whose prompt is shown
  int steps_max = 8;                     ///< of one episode
  int rounds = 30;                       ///< of a duel
  double examine_deadline_s = 180;
  double duel_deadline_s = 300;
  bool is_timed = true;                ///< false: verdicts alone, no gain
  std::function<Key()> draw_key = {};  ///< of each evaluation; empty: Key::random
};

/// A source as an observation shows it is never longer than this in one request line.
inline constexpr std::size_t k_episode_line_bytes_max = std::size_t{1} << 20;

class Episodes {
 public:
  /// Sends a request to a worker and waits for its reply, whose `error` says why there is none.
  using Ask = std::function<Reply(const Request&)>;

  Episodes(EpisodeSettings settings, Ask ask);
  /// The answer to one line. Throws nothing that a line can cause.
  Json answer(const std::string& line);
  bool is_closed() const { return is_closed_; }

 private:
  /// A kernel as far as it was evaluated.
  struct Tried {
    Specimen specimen;
    std::optional<StepGain> over_parent, over_start;
  };
  struct Episode {
    int number = 0;
    int step = 0;
    Specimen start, parent;
    std::vector<Specimen> failures;       // of this parent, newest first
    std::vector<std::string> rejections;  // newest first
    std::set<std::string> known;          // candidate ids
    bool is_done = false;
  };

  Json handle(const Json& request);
  Json reset(const Json& request);
  Json step(const Json& request);
  Candidate start_of(const Json& request) const;
  std::variant<Proposal, Rejection> proposal_of(const Json& request) const;
  /// `against`: the episode whose parent and start it is timed with; null: alone.
  Tried evaluate(const Candidate& candidate, const Episode* against);
  void time(Tried& tried, const Episode* against);
  void take(const Tried& tried);
  Json observation() const;
  VariationInput input() const;
  Request request(double deadline_s);

  EpisodeSettings settings_;
  Ask ask_;
  std::map<std::string, double> weights_;
  std::optional<Episode> episode_;
  int episodes_ = 0;
  std::uint64_t requests_ = 0;
  Key model_key_;  ///< of the episode's modelled times
  bool is_closed_ = false;
};

}  // namespace kernelites
