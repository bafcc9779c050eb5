// SPDX-License-Identifier: Apache-2.0
// What differs between two candidates of a run: source, tunables, plans, code, counters and times.
//
// Only what the worker measured, modelled or counted, beside the two sources. `before` is usually the parent of
// `after`; it need not be.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/search/measured_change.h"
#include "tools/inspect/run_reader.h"
#include "tools/inspect/source_diff.h"

namespace kernelites {

/// One of the two.
struct CandidateEnd {
  CandidateRecord record;
  ChangeEnd end;  ///< what was measured of it; duels with itself are left out
  Provenance provenance;
};

/// A value in words; empty: it is not there.
struct ChangedValue {
  std::string name;
  std::string before;
  std::string after;
};

/// A number; empty: it is not known, or not there.
struct ChangedNumber {
  std::string name;
  std::string unit;
  std::string words;
  std::optional<double> before;
  std::optional<double> after;
};

/// One bench workload that either was timed at.
struct WorkloadTimes {
  std::string workload;
  std::optional<ArmTiming> before;
  std::optional<ArmTiming> after;
  /// log(time of `after` / time of `before`), from duels of the two; without it the times are of different duels.
  std::optional<PairedRatio> ratio;
  double floor_us = 0;  ///< what the task's roofline allows; 0: unknown
  std::string limit;    ///< the resource that sets it
};

/// All differences; what is equal is left out, except counters and times, which are all there.
struct CandidateChange {
  CandidateEnd before;
  CandidateEnd after;
  std::vector<ChangedValue> tunables;
  std::vector<DiffLine> source;
  std::vector<ChangedValue> descriptors;
  std::vector<ChangedValue> resources;                     ///< per kernel: registers, spills, shared memory
  std::map<std::string, std::vector<ChangedValue>> plans;  ///< by bench workload
  std::vector<ChangedNumber> instructions;                 ///< of machine code, by what they do; not executed
  std::vector<ChangedNumber> opcodes;                      ///< of machine code, by mnemonic
  std::map<std::string, std::vector<ChangedNumber>> counters;  ///< hardware counters by bench workload
  std::vector<WorkloadTimes> times;
  bool is_modelled = false;          ///< the times and the ratio
  std::optional<ChangeRatio> ratio;  ///< over all workloads, 95 %: below 0 `after` is faster
};

/// Reads a candidate with all its duels. Throws ConfigError if `name` names none.
CandidateEnd candidate_end(const RunReader& run, const std::string& name);

CandidateChange change_between(const RunReader& run, const CandidateEnd& before, const CandidateEnd& after);

/// The timing of arm 0 in the newest duel; null if it was not timed there.
const ArmTiming* own_timing(const CandidateEnd& end, const std::string& workload);
/// "split_kv" of "split_kv<128, 4>": by this kernels are matched.
std::string kernel_stem(const std::string& kernel);

}  // namespace kernelites
