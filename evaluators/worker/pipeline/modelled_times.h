// SPDX-License-Identifier: Apache-2.0
// Modelled times of one workload, and what the launches behind them wrote (virtual GPU).
//
// Inputs, memory and blocks are the same for every arm of every duel and every examination that have the same model
// key, so that under one key a modelled time is a function of code, plan, workload and device profile alone. Who
// learned its inputs from the times themselves must not profit: what was timed runs once more, watched, and the rows
// that it completes are compared with the reference; and other blocks must not all take much longer than those that
// stood for the launch (one sample may miss the longest sequence of a batch).
#pragma once

#include <optional>

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
  double time_us = 0;     ///< as modelled
  const Key& model_key;   ///< under which it was
  const Key& key;         ///< draws what is looked at: of this evaluation
  std::size_t looks = 1;  ///< that share the budget
};

/// What was seen. A fault of the executor says more.
struct ModelledSight {
  double other_ratio = 1;            ///< the least time that other samples let expect, over the modelled one
  std::optional<OutputError> wrong;  ///< of the rows that the timed blocks complete
  bool is_uneven() const;
};
ModelledSight look_at_modelled(const ModelledLook& look);

}  // namespace kernelites::worker
