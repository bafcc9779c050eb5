// SPDX-License-Identifier: Apache-2.0
// Why one candidate is faster than another, as far as the facts say: what each could account for, and what they do not.
//
// A fact accounts for time where a device rate turns it into time: fewer bytes at the memory's rate, fewer instructions
// at the schedulers' rate. That is the most that it can have saved, since work of different kinds overlaps; a launch of
// the virtual GPU's time model is its own time. Facts without a rate (stalls, occupancy, the code) are told beside it:
// they go with the gain and may be its cause, or not.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/inspect/candidate_change.h"

namespace kernelites {

/// Where a fact comes from.
enum class FactSource {
  counted,   ///< hardware counters of one launch
  modelled,  ///< the virtual GPU's time model
  planned,   ///< the evaluated plan
  compiled   ///< the compiled code: there, executed or not
};
const char* fact_source_name(FactSource source);

/// One fact in words.
struct GainFact {
  FactSource source = FactSource::compiled;
  std::string words;
  std::optional<double>
      worth_us;            ///< saved at most (negative: cost at most); empty: no rate turns it into time
  std::string brief = {};  ///< the same in fewer words; empty: `words` are few
};

/// How well the facts explain a difference in time.
enum class Explained {
  accounted,    ///< one or more facts of this size are known
  overlap,      ///< the counted work is the same: what changed is how much of it goes on at once
  uncounted,    ///< no counters of both: only code and plan are known to differ
  unexplained,  ///< counters of both are known, and no change in them is of this size
  no_change     ///< no difference in time is proven
};
const char* explained_name(Explained explained);

/// One step: a candidate against another.
struct GainReasons {
  std::string workload;  ///< where the facts are of: the one with the greatest change that has the most facts
  std::optional<PairedRatio> ratio;  ///< there
  double before_us = 0;
  double after_us = 0;
  bool is_modelled = false;
  std::vector<GainFact> facts;  ///< those that account for most first
  Explained explained = Explained::no_change;
  std::string conclusion;            ///< one sentence
  std::vector<std::string> against;  ///< workloads where it goes the other way: "1.5x slower at x"
};

GainReasons gain_reasons(const RunReader& run, const CandidateChange& change);

/// The first facts that go the way of the difference, at most `count`.
std::vector<GainFact> leading_facts(const GainReasons& reasons, std::size_t count);

/// One candidate of a lineage and what it gained.
struct GainStep {
  CandidateChange change;
  GainReasons reasons;
  std::optional<PairedRatio>
      from_seed;  ///< log time ratio to the seed: steps multiplied; empty from a gap on
};

/// From the seed's first descendant to the candidate. Empty for a seed. Throws ConfigError if `name` names none.
std::vector<GainStep> gain_chain(const RunReader& run, const std::string& name);

/// Steps of a line whose reasons a view of a whole run tells.
inline constexpr std::size_t k_steps_told = 3;
/// Where in `chain` the steps stand that gained most, at most `count`, in the chain's order. Losses are none of them.
std::vector<std::size_t> steps_that_gained(const std::vector<GainStep>& chain,
                                           std::size_t count = k_steps_told);

}  // namespace kernelites
