// SPDX-License-Identifier: Apache-2.0
// What an evaluation found: descriptors and resources from `examine`, paired times from `duel`.
//
// Every number carries unit, sample count, spread, device and whether it was measured or modelled (invariant 9).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/counter_report.h"
#include "engine/core/device_facts.h"
#include "engine/core/launch_plan.h"
#include "engine/core/verdict.h"

namespace kernelites {

/// Resources of one compiled kernel, from the cubin and the compiler's log.
struct KernelResources {
  std::string kernel;  ///< name expression as the plan wrote it
  int registers = 0;   ///< per thread
  int static_shared_bytes = 0;
  int local_bytes = 0;  ///< stack frame per thread
  int spill_store_bytes = 0;
  int spill_load_bytes = 0;
  int code_bytes = 0;
  int threads_max = 0;  ///< launch bound; 0: none
};

/// Where a candidate stands on the grid's axes: axis -> label ("movement" -> "cp_async"), measured from plan and PTX.
using Descriptors = std::map<std::string, std::string>;

/// How the compiled code looks: executed by nobody, counted in the PTX (opcode classes) and the machine code.
struct StaticCounts {
  std::map<std::string, std::int64_t> opcodes;  ///< "mma.sync", "cp.async", "ld.global", ... -> occurrences
  std::map<std::string, std::int64_t> sass;     ///< "HGMMA", "LDG", "MUFU", ... -> occurrences, all kernels
  /// In the PTX, of floating-point numbers in memory: by atom, red and TMA's reductions. Empty: an older harness.
  std::optional<std::int64_t> float_additions = {};
};

/// Error of the worst row of one output over everything checked, relative to its gate.
struct CheckSummary {
  std::string output;
  double worst_row = 0;  ///< rms(e)/rms(g) of the worst row
  double gate_row = 0;
  std::int64_t rows = 0;  ///< rows compared
  int trials = 0;         ///< (workload, family, metadata) triples
};

/// Milliseconds spent per stage: what the worker cost, for budgets and for the 3-second promise.
using StageTimes = std::map<std::string, double>;

/// What one stage did: facts for people (`evaluate --explain`) and budgets, never a hidden shape, a seed or a value.
struct StageReport {
  std::string stage;
  std::string outcome;  ///< "passed", "failed", or "unchecked": it could not look, and `remark` says why
  double wall_s = 0;
  double device_s = 0;                         ///< of it, with the device held
  std::map<std::string, std::int64_t> counts;  ///< "shapes", "families", "launches", "rows", ...
  std::string remark;                          ///< what was looked at, in one line
  bool operator==(const StageReport&) const = default;
};

/// The reply to `examine`.
struct Examination {
  Verdict verdict;
  Descriptors descriptors;
  std::vector<KernelResources> kernels;
  std::map<std::string, LaunchPlan> plans;  ///< by bench workload
  StaticCounts counts;
  std::vector<CheckSummary> checks;
  std::map<std::string, double>
      modelled_us;                 ///< by bench workload, from the virtual GPU's counts; may be empty
  std::vector<std::string> notes;  ///< advisories: "vgpu cannot execute wgmma", ptxas performance warnings
  std::string code_digest;         ///< of the compiled code: equal code is never timed twice
  /// Digest of machine code and constants alone: equal in every run and shape; empty: of older harnesses.
  std::string machine_code;
  StageTimes stage_ms;
  std::vector<StageReport> stages;                ///< those that ran, in their order
  std::map<std::string, CounterReport> counters;  ///< by bench workload; only of thorough examinations
};

/// Times of one arm at one workload.
struct ArmTiming {
  double time_us_median = 0;
  double time_us_p10 = 0;
  double time_us_p90 = 0;
  int samples = 0;
  bool is_modelled = false;
  // Of measured ones:
  int launches_each = 1;  ///< launches that one sample is the mean of, each with cold caches
  double clock_ghz = 0;   ///< of the multiprocessors, median over samples; 0: unknown
  int discarded = 0;      ///< samples thrown away and taken again, because the clock moved
};

/// Paired comparison of an arm with the candidate: log(time of candidate / time of arm), so negative is faster.
struct PairedRatio {
  double log_ratio_median = 0;
  double log_ratio_low = 0;  ///< bootstrap interval at `confidence`
  double log_ratio_high = 0;
  double confidence = 0.95;
  int rounds = 0;
};

/// One launch as the virtual GPU's time model sees it: modelled, never measured.
struct ModelledLaunch {
  std::string kernel;  ///< name expression as the plan wrote it
  double time_us = 0;
  std::string limit;                     ///< what sets the time: "DRAM", "tensor cores", "latency", ...
  double occupancy = 0;                  ///< share of an SM's warps that are resident
  double waves = 0;                      ///< of blocks over the device
  std::map<std::string, double> counts;  ///< of the whole grid: what the model was given
};

/// The reply to `duel`. Arm 0 is the candidate; the others are named in the request.
struct Duel {
  Verdict verdict;                                              ///< of the candidate: timed outputs verified
  std::vector<std::string> arms;                                ///< labels, arm 0 first
  std::map<std::string, std::vector<ArmTiming>> timing;         ///< workload -> one entry per arm
  std::map<std::string, std::vector<PairedRatio>> ratio;        ///< workload -> one per arm 1.. against arm 0
  std::map<std::string, std::vector<ModelledLaunch>> modelled;  ///< virtual GPU: workload -> arm 0's launches
  std::vector<std::string> notes;
  StageTimes stage_ms;
};

/// Where and by what an evaluation was made: stored with every row.
struct Provenance {
  std::string task_digest;
  std::string harness_version;  ///< k_harness_version
  std::string toolkit;          ///< "NVRTC 13.0"
  DeviceFacts device;
};

/// Changes whenever a stage, a gate or an input family changes what it lets pass. Elites of another are re-examined.
inline constexpr const char* k_harness_version = "5";

void to_json(Json& json, const StageReport& report);
void from_json(const Json& json, StageReport& report);
void to_json(Json& json, const ArmTiming& timing);
void from_json(const Json& json, ArmTiming& timing);
void to_json(Json& json, const ModelledLaunch& launch);
void from_json(const Json& json, ModelledLaunch& launch);
void to_json(Json& json, const Examination& examination);
void from_json(const Json& json, Examination& examination);
void to_json(Json& json, const Duel& duel);
void from_json(const Json& json, Duel& duel);
void to_json(Json& json, const Provenance& provenance);
void from_json(const Json& json, Provenance& provenance);

}  // namespace kernelites
