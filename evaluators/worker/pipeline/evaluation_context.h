// SPDX-License-Identifier: Apache-2.0
// What the stages of one `examine` share, and the table of stages.
#pragma once

#include <array>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evaluators/protocol/protocol.h"
#include "evaluators/worker/nvrtc/candidate_compiler.h"
#include "evaluators/worker/pipeline/reference_library.h"
#include "evaluators/worker/pipeline/station.h"

namespace kernelites::worker {

/// What a shape is used for, which decides what a failure there may say.
enum class PointUse { check, bench, hold_out };

/// A shape of this evaluation: the candidate's plan, the reference's plan and the rows it is compared on.
struct EvaluationPoint {
  Workload workload;
  PointUse use = PointUse::check;
  std::int64_t rows =
      0;  ///< how many are compared: all at check and hold-out shapes, a sample at bench shapes
};

/// State of one examination. Stages fill in `examination` and what later stages need.
struct EvaluationContext {
  const ExamineRequest& request;
  const Task& task;
  Compiler& compiler;
  StationPool& stations;
  StationPool& sanitizers;  ///< of the virtual GPU; the stations themselves where that is the device
  const DeviceFacts device;
  std::chrono::steady_clock::time_point deadline;

  std::vector<EvaluationPoint> points;
  CompiledCandidate compiled;                 ///< after `compile`; plans in the order of `points`
  std::shared_future<Reference> reference;    ///< compiled beside the candidate from the beginning
  std::optional<StationPool::Lease> station;  ///< after `take_device`
  std::unique_ptr<ExecutorClient> executor;   ///< the one of this examination, candidate loaded; likewise
  int module = -1;
  std::optional<std::chrono::steady_clock::time_point> device_since;  ///< when the station was taken
  double device_s = 0;  ///< seconds that it was held, once it was given back
  Examination examination;

  double seconds_left() const;
  /// Of the stage that is running.
  StageReport& report() { return examination.stages.back(); }
  /// Takes a station and loads the candidate into a fresh executor, unless that is done. Throws Error if no device
  /// becomes free.
  void take_device();
  /// Ends the executor and gives the station back; nothing where it was not taken.
  void give_back_device();
  /// Tells a referee how to compute the task's computed inputs, if there are any.
  void use_computed_inputs(Referee& referee) const;
};

/// A stage: a verdict ends the examination, nothing passes on to the next.
struct Stage {
  const char* name;
  std::optional<Verdict> (*run)(EvaluationContext&);
};

// One file each, in the order of their cost.
std::optional<Verdict> run_compile_stage(EvaluationContext& context);
std::optional<Verdict> run_screen_stage(EvaluationContext& context);
std::optional<Verdict> run_sanitize_stage(EvaluationContext& context);
std::optional<Verdict> run_smoke_stage(EvaluationContext& context);
std::optional<Verdict> run_probe_stage(EvaluationContext& context);
std::optional<Verdict> run_check_stage(EvaluationContext& context);
std::optional<Verdict> run_bench_stage(EvaluationContext& context);
std::optional<Verdict> run_stress_stage(EvaluationContext& context);
std::optional<Verdict> run_memcheck_stage(EvaluationContext& context);
std::optional<Verdict> run_counters_stage(EvaluationContext& context);
std::optional<Verdict> run_model_stage(EvaluationContext& context);

inline constexpr std::array k_examine_stages = {
    Stage{"compile", run_compile_stage},  // evaluates the plans first: verdicts and report of stage "plan" too
    Stage{"screen", run_screen_stage},     Stage{"sanitize", run_sanitize_stage},  // needs no device
    Stage{"smoke", run_smoke_stage},       Stage{"probe", run_probe_stage},
    Stage{"check", run_check_stage},       Stage{"bench", run_bench_stage},
    Stage{"stress", run_stress_stage},     Stage{"memcheck", run_memcheck_stage},
    Stage{"counters", run_counters_stage}, Stage{"model", run_model_stage},  // needs no device any more
};

/// Seconds that one run of a plan may take at such a shape. On the virtual GPU they are a count of instructions, so
/// that no verdict depends on how busy the machine is.
double run_deadline_s(const DeviceFacts& device, PointUse use);

/// Indices of the check shapes, the one with the least data first.
std::vector<std::size_t> smallest_checks(const EvaluationContext& context);

/// The task's reference for all shapes of an evaluation. Throws as `compile_reference`.
Reference reference_for(Compiler& compiler, const Task& task, const std::vector<EvaluationPoint>& points,
                        const DeviceFacts& device);

/// All shapes of an evaluation: check workloads, bench workloads, and hold-out shapes drawn by `key`.
std::vector<EvaluationPoint> draw_points(const Task& task, const Key& key);

/// The trials of stage bench: sampled rows of bench shapes, but for those that are too large for the virtual GPU.
std::optional<Verdict> run_bench_trials(EvaluationContext& context);

/// On the virtual GPU: as many rows of hold-out shapes, and of those that stage bench samples, as the reference gets
/// through.
void limit_sampled_rows(const Task& task, std::vector<EvaluationPoint>& points);

/// Whether the virtual GPU can run this shape in full; larger ones are only modelled.
bool is_small_enough_to_interpret(const Task& task, const Workload& workload);

/// A fault of the executor as a verdict of `stage`.
Verdict fault_verdict(const char* stage, const DeviceFault& fault);

}  // namespace kernelites::worker
