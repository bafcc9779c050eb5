// SPDX-License-Identifier: Apache-2.0
// What is known of one candidate of a run, as values for every view: speed-up with interval, times, proof, what it is.
//
// A gain is time of the other / time of this one, so that above 1 is faster; the interval is of the named confidence.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/evaluation.h"
#include "tools/inspect/run_reader.h"

namespace kernelites {

/// A speed-up with what makes it a number: interval, paired rounds, measured or modelled.
struct Gain {
  double x = 1, low = 1, high = 1;
  double confidence = 0.95;  ///< of the interval
  int rounds = 0;            ///< paired rounds, over all duels
  int duels = 1;             ///< that count together
  bool is_modelled = false;
};
/// Of a paired ratio of times (negative logarithm: faster).
Gain gain_of(const PairedRatio& ratio, bool is_modelled, int duels = 1);

/// Its time at one bench workload, from the deciding duel, beside the baseline's in the same rounds.
struct WorkloadTime {
  std::string workload;
  ArmTiming own;
  std::optional<ArmTiming> baseline;
  std::optional<Gain> over_baseline;
  // From the task's compulsory work at this workload and the time (engine/core/roofline.h):
  double gb_per_s = 0, tflop_per_s = 0;
  double flop_per_byte = 0;
  double of_copy_rate = 0;  ///< 0: unknown
  double floor_us = 0;      ///< of the highest roof; 0: unknown
  double of_floor = 0;      ///< 1 is the best possible; 0: unknown
  std::string limit;        ///< the highest roof's resource
};

/// One stage of the examination.
struct StageFact {
  std::string stage;
  std::string outcome;  ///< passed, failed, unchecked
  std::string remark;
  std::int64_t counted = 0;  ///< launches, else shapes that it looked at
};

/// What proves that it is right.
struct Proof {
  std::vector<StageFact> stages;                       ///< of the newest examination
  std::vector<CheckSummary> checks;                    ///< worst errors against their gates
  int examinations = 0, duels = 0, confirmations = 0;  ///< answered and passed
  std::string judgement;                               ///< a model's opinion, if one was asked
  std::vector<std::string> claims_not_executed;        ///< what its summary says and its code does not do
};

/// One candidate as far as views show it. Texts of a model: `summary` alone.
struct EliteFacts {
  std::string cell;  ///< where it is the elite; empty: nowhere
  std::uint64_t ordinal = 0;
  std::string id;
  std::optional<std::uint64_t> parent;
  std::string operator_name, endpoint;
  int generation = 0;
  std::string summary;
  double fitness = 0;  ///< what cells are ranked by; 0: no elite
  double speedup = 0;  ///< against the baseline; 0: not timed
  std::optional<Gain> over_baseline;
  std::optional<Gain> over_parent;  ///< from the newest duel that had both
  std::vector<WorkloadTime> times;  ///< in the task's order
  bool is_modelled = false;
  Descriptors descriptors;  ///< as they are told (tools/inspect/told_kind.h); `cell` is as it was stored
  std::vector<KernelResources> kernels;
  std::string bottleneck;  ///< what limits it, in words; empty: not timed
  Proof proof;
};

/// `elite`: as the grid has it, or null for a candidate that is none. Throws Error if there is none of the number.
EliteFacts elite_facts(const RunReader& run, std::uint64_t ordinal, const Elite* elite);

}  // namespace kernelites
