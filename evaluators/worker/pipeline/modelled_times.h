// SPDX-License-Identifier: Apache-2.0
// Modelled times of one workload, and what the launches behind them wrote (virtual GPU).
//
// Inputs, memory and blocks are the same for every arm of every duel and every examination that have the same model
// key, so that under one key a modelled time is a function of code, plan, workload and device profile alone. Who
// learned its inputs from the times themselves must not profit: what was timed runs once more, watched, and the rows
// that it completes are compared with the reference; and other blocks must not all take much longer than those that
// stood for the launch (one sample may miss the longest sequence of a batch). The timed blocks must not execute much
// more once earlier launches have run whole: timed, they found next to nothing of what those write. And where no drawn
// blocks complete a row, nothing is known, and there is no time.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/core/device_facts.h"
#include "evaluators/worker/pipeline/workload_session.h"

namespace kernelites::worker {

/// Proven kernels, but a worker is not left to one that hangs all the same.
inline constexpr double k_modelled_run_s_max = 20;

/// Draws the inputs that every modelled arm of `workload` sees.
void fill_for_model(WorkloadSession& session, const Task& task, const Workload& workload,
                    const Key& model_key);

/// Microseconds that the time model gives an arm of the session, which lies on a virtual GPU. A fault, and the launches
/// that the time is made of, are the executor's to tell. REQUIRES: `fill_for_model` since any other fill.
double modelled_time_us(WorkloadSession& session, int arm, const Key& model_key);

/// A modelled time below this, in microseconds, means that work was skipped. A wide margin, since modelled inputs
/// repeat, and what is left out is not counted. REQUIRES: a fill.
double modelled_floor_us(const WorkloadSession& session, const Task& task, const Workload& workload,
                         const DeviceFacts& device);

/// As many rows of a modelled launch as are compared.
std::int64_t modelled_rows(const Task& task, const Workload& workload);

/// A launch that was timed. Borrows its members.
struct ModelledLook {
  WorkloadSession& session;
  ExecutorClient& executor;
  const Task& task;
  const Workload& workload;
  const ReferencePlan& reference;  ///< of `modelled_rows` rows
  int arm = 0;
  double time_us = 0;                           ///< as modelled
  const std::vector<ModelledLaunch>& launches;  ///< that the time is made of
  const Key& model_key;                         ///< under which it was
  const Key& key;                               ///< draws what is looked at: of this evaluation
  std::size_t looks = 1;                        ///< that share the budget
  bool may_count_blocks = false;                ///< its code has atomics that tell how many came before
};

/// What was seen. A fault of the executor says more.
struct ModelledSight {
  std::vector<double> other_ratios;  ///< times that other samples let expect, over the modelled one
  double work_ratio = 1;             ///< the same by what timed blocks execute behind whole launches
  std::optional<OutputError> wrong;  ///< of the rows that the timed blocks complete
  /// No drawn blocks complete a row, and nothing explains that but how few they are.
  bool is_barren = false;
  /// Why the time is none.
  struct Objection {
    const char* reason;
    std::string_view words;  ///< of an arm
    std::string message;     ///< of a candidate
  };
  std::optional<Objection> objection(const std::string& workload) const;
};

/// The least of the ratios, if they show that the sample that was timed does not stand for the launch: three of them
/// are above 2; or eight above 1.25 and within a tenth of each other, so that chance does not explain the timed one.
std::optional<double> unevenness(std::span<const double> ratios);
/// Whether a further ratio could show it. An honest launch mostly ends this with the first.
bool may_be_uneven(std::span<const double> ratios);

ModelledSight look_at_modelled(const ModelledLook& look);

}  // namespace kernelites::worker
